//! The worker against real servers, without rsyslogd: the test calls what the core would call, with
//! a proxy of ours in front of the server where something has to break.
//!
//! Oracle throughout: what the server holds, read back over a connection of its own and counted by
//! the numbers that the records carry.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test that cannot go on has failed, and says where"
)]

/// Makes a test of `$name` for each server that the plugin must get along with.
macro_rules! on_each_server {
    ($name:ident) => {
        mod $name {
            #[test]
            fn on_redis_7_0() {
                super::$name(testkit::Flavour::Redis70);
            }

            #[test]
            fn on_valkey_9_1() {
                super::$name(testkit::Flavour::Valkey91);
            }
        }
    };
}

mod acl;
mod action;
mod cluster;
mod commit;
mod core;
mod doubt;
mod durability;
mod durability_needs;
mod ended;
mod ending;
mod failover;
mod hold;
mod hold_content;
mod modes;
mod note;
mod reading;
mod refusal;
mod risks;
mod sentinel;
mod sequence;
mod shards;
mod stats;
mod tls;
mod tls_files;
mod tls_refusal;
mod tls_sentinel;
