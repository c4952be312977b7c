//! Real servers and a real rsyslogd for the tests, the demo and the benchmarks of omvalkeyaudit.
//!
//! A test makes a [`Scratch`] folder, starts a [`Server`] and an [`Rsyslogd`] in it, sends numbered
//! records and reads back what the server holds:
//!
//! ```no_run
//! use testkit::{Count, Flavour, Rsyslogd, Scratch, Server, Version, entries, numbers, record};
//!
//! let scratch = Scratch::new();
//! let server = Server::builder(Flavour::Valkey91).start(&scratch);
//! let action = format!(r#"action(type="omvalkeyaudit" server="{}" key="audit")"#, server.address());
//! let rsyslogd = Rsyslogd::builder(Version::V8_2504).action(&action).start(&scratch);
//! rsyslogd.send((1..=100).map(record));
//! rsyslogd.stop();
//! let count = Count::of(numbers(&entries(&mut server.connection(), "audit")), 1..101);
//! assert!(count.is_exact() && count.is_in_order(), "{count}");
//! ```
//!
//! Nothing here sleeps for a fixed time: every wait has a condition and a deadline ([`wait_until`]).
//! What is missing is a panic that says what to run, never a skip.

mod acl;
mod aof;
mod certificates;
mod clock;
mod cluster;
mod count;
mod net;
mod process;
mod programs;
pub mod proxy;
mod random;
mod rsyslogd;
mod scratch;
mod sender;
mod sentinel;
mod server;
mod shipped;
mod stream;
mod wait;

pub use acl::AclRule;
pub use certificates::{Authority, CertificateBuilder, Identity};
pub use clock::{CallClock, Calls};
pub use cluster::{Cluster, ClusterBuilder};
pub use count::Count;
pub use net::{Address, DemandingServer, free_port};
pub use process::Process;
pub use programs::{
    Flavour, Version, module_path, plugin_path, probe_path, source_path, verify_path,
};
pub use proxy::{Fault, Proxy};
pub use random::Random;
pub use rsyslogd::{Check, Rsyslogd, RsyslogdBuilder, Stopped, check_config};
pub use scratch::Scratch;
pub use sender::Sender;
pub use sentinel::{SentinelGroup, SentinelGroupBuilder};
pub use server::{Server, ServerBuilder};
pub use shipped::shipped_config;
pub use stream::{Entry, entries, for_each_entry, number_in, numbers, record, record_of};
pub use wait::{poll, poll_every, wait_for, wait_until};
