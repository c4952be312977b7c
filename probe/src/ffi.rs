//! The functions that c-shim/omvalkeyaudit.h declares, and `modInit`. They only translate.

use crate::Worker;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

/// The action's parameters: the script.
const PARAMETERS: [&CStr; 1] = [c"script"];

/// `OMVALKEYAUDIT_TEXT`.
const TEXT: c_int = 0;

unsafe extern "C" {
    // The entry point that the shim's macros make.
    safe fn modInitShim(
        requested: c_int,
        provided: *mut c_int,
        query: *mut *mut c_void,
        host_query: *mut c_void,
        info: *mut c_void,
    ) -> c_int;

    // POSIX: any thread may call it at any time; a null pointer is not written to.
    safe fn pthread_setcancelstate(state: c_int, previous: Option<&mut c_int>) -> c_int;
}

#[unsafe(no_mangle)]
extern "C" fn modInit(
    requested: c_int,
    provided: *mut c_int,
    query: *mut *mut c_void,
    host_query: *mut c_void,
    info: *mut c_void,
) -> c_int {
    modInitShim(requested, provided, query, host_query, info)
}

/// Runs `call` while rsyslogd cannot cancel the thread: writing the trace is a point where it could.
fn uncancelled<T>(call: impl FnOnce() -> T) -> T {
    const PTHREAD_CANCEL_DISABLE: c_int = 1;
    let mut previous = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, Some(&mut previous));
    let result = call();
    pthread_setcancelstate(previous, Some(&mut 0));
    result
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_attach(_host: *const c_void) {}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_parameter(number: usize, kind: Option<&mut c_int>) -> *const c_char {
    let Some(kind) = kind else { return ptr::null() };
    *kind = TEXT;
    PARAMETERS.get(number).map_or(ptr::null(), |name| name.as_ptr())
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_values_new() -> Box<PathBuf> {
    Box::default()
}

/// # Safety
/// `name` is a terminated text, and `value` points to `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn omvalkeyaudit_values_add(
    values: Option<&mut PathBuf>,
    name: *const c_char,
    value: *const u8,
    length: usize,
) {
    // SAFETY: the shim passes one of `PARAMETERS`.
    let name = unsafe { CStr::from_ptr(name) };
    // SAFETY: the shim passes the core's buffer with its length; parameters here are never empty.
    let value = unsafe { std::slice::from_raw_parts(value, length) };
    if let Some(values) = values
        && name == c"script"
    {
        *values = PathBuf::from(OsStr::from_bytes(value));
    }
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_values_free(values: Option<Box<PathBuf>>) {
    drop(values);
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_action_new(
    _name: *const c_char,
    _resume_retry_count: i64,
    _queue: *const c_void,
    values: &PathBuf,
) -> Box<PathBuf> {
    Box::new(values.clone())
}

/// The record's only: one of the configuration that the probe is tested with.
#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_action_template(_action: &PathBuf, number: usize) -> *const c_char {
    if number == 0 { c"raw".as_ptr() } else { ptr::null() }
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_action_hup(_action: &PathBuf) {}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_action_stats_name(_action: &PathBuf) -> *const c_char {
    c"probe".as_ptr()
}

/// It has none.
#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_action_counter(
    _action: &PathBuf,
    _number: usize,
    _name: *mut *const c_char,
) -> *mut u64 {
    ptr::null_mut()
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_action_free(action: Option<Box<PathBuf>>) {
    drop(action);
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_worker_new(action: &PathBuf) -> Box<Worker> {
    uncancelled(|| Box::new(Worker::new(action)))
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_worker_free(worker: Box<Worker>) {
    uncancelled(|| worker.free());
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_begin_transaction(worker: &mut Worker) -> c_int {
    uncancelled(|| worker.begin().code())
}

/// # Safety
/// `texts` points to a terminated text.
#[unsafe(no_mangle)]
unsafe extern "C" fn omvalkeyaudit_do_action(
    worker: &mut Worker,
    texts: *const *const c_char,
) -> c_int {
    // SAFETY: the shim passes the core's array, with one text for each template.
    let record = unsafe { texts.read() };
    // SAFETY: the shim passes the core's rendered template.
    let text = unsafe { CStr::from_ptr(record) };
    uncancelled(|| worker.act(&text.to_string_lossy(), record.addr()).code())
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_end_transaction(worker: &mut Worker) -> c_int {
    uncancelled(|| worker.end().code())
}

#[unsafe(no_mangle)]
extern "C" fn omvalkeyaudit_try_resume(worker: &mut Worker) -> c_int {
    uncancelled(|| worker.resume().code())
}
