//! The seam to the C shim: the only place with `unsafe` code. Exported functions check their
//! pointers, guard the call and delegate; nothing here decides anything about records or servers.

pub mod exports;
mod guard;
mod host;

/// Generated from c-shim/omvalkeyaudit.h.
#[allow(
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    missing_docs,
    unreachable_pub,
    improper_ctypes,
    clippy::all,
    reason = "generated code with pointers to Rust types, of which only the types are used outside of the tests"
)]
mod seam {
    // What the header leaves opaque.
    type omvalkeyaudit_values = crate::params::Values;
    type omvalkeyaudit_action = crate::worker::Action;
    type omvalkeyaudit_worker = super::exports::HostWorker;

    include!(concat!(env!("OUT_DIR"), "/seam.rs"));
}

/// Generated from rsyslog's runtime/rsyslog.h and the C library's pthread.h.
#[allow(
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code, of which a handful of constants is used"
)]
mod codes {
    include!(concat!(env!("OUT_DIR"), "/codes.rs"));
}

use crate::error::Verdict;
use libc::c_int;

/// The verdict in rsyslog's numbers.
fn return_code(verdict: Verdict) -> c_int {
    match verdict {
        Verdict::Committed => codes::RS_RET_OK,
        Verdict::Deferred => codes::RS_RET_DEFER_COMMIT,
        Verdict::PreviousCommitted => codes::RS_RET_PREVIOUS_COMMITTED,
        Verdict::Suspended => codes::RS_RET_SUSPENDED,
    }
}

#[cfg(test)]
mod tests {
    use super::{codes, exports, return_code, seam};
    use crate::error::Verdict;

    /// Compiles only where the exported function has the type that the header declares.
    macro_rules! assert_declared {
        ($($name:ident($($argument:tt),*)),* $(,)?) => {
            $(let _ = [
                seam::$name as unsafe extern "C" fn($($argument),*) -> _,
                exports::$name,
            ];)*
        };
    }

    // Oracle: the compiler, on the types that bindgen read from the header.
    #[test]
    fn every_exported_function_is_as_the_header_declares_it() {
        assert_declared!(
            omvalkeyaudit_attach(_),
            omvalkeyaudit_parameter(_, _),
            omvalkeyaudit_values_new(),
            omvalkeyaudit_values_add(_, _, _, _),
            omvalkeyaudit_values_free(_),
            omvalkeyaudit_action_new(_, _, _, _),
            omvalkeyaudit_action_template(_, _),
            omvalkeyaudit_action_hup(_),
            omvalkeyaudit_action_stats_name(_),
            omvalkeyaudit_action_counter(_, _, _, _),
            omvalkeyaudit_action_free(_),
            omvalkeyaudit_worker_new(_),
            omvalkeyaudit_worker_free(_),
            omvalkeyaudit_begin_transaction(_),
            omvalkeyaudit_do_action(_, _),
            omvalkeyaudit_end_transaction(_),
            omvalkeyaudit_try_resume(_),
        );
    }

    // Oracle: the name under which the shim makes it.
    #[test]
    fn the_template_that_an_action_takes_by_default_is_the_one_that_the_shim_makes() {
        let name = std::ffi::CStr::from_bytes_with_nul(seam::OMVALKEYAUDIT_MESSAGE_TEMPLATE);
        assert_eq!(name.unwrap().to_bytes(), crate::params::MESSAGE_TEMPLATE.as_bytes());
    }

    // Oracle: the numbers are part of rsyslog's stable interface; a header that says otherwise is
    // not one that we know.
    #[test]
    fn the_codes_come_out_of_the_header_with_the_numbers_every_core_uses() {
        assert_eq!(return_code(Verdict::Committed), 0);
        assert_eq!(return_code(Verdict::Deferred), codes::RS_RET_DEFER_COMMIT);
        assert_eq!(codes::RS_RET_DEFER_COMMIT, -2121);
        assert_eq!(codes::RS_RET_PREVIOUS_COMMITTED, -2122);
        assert_eq!(codes::RS_RET_SUSPENDED, -2007);
    }
}
