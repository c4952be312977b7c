//! The functions that c-shim/omvalkeyaudit.h declares, and `modInit`.

use super::guard::{Postponed, Uncancelled, guarded};
use super::host::{self, HOST_LOG, Queue};
use super::seam::{
    OMVALKEYAUDIT_LIST, OMVALKEYAUDIT_TEXT, omvalkeyaudit_host, omvalkeyaudit_kind,
    omvalkeyaudit_queue,
};
use super::{codes, return_code};
use crate::error::Verdict;
use crate::params::{Kind, Retries, Settings, TABLE, Values};
use crate::stats;
use crate::worker::{Action, Log, MAX_TEMPLATES, Severity, Worker, prefix};
use libc::{c_char, c_int, c_void, size_t};
use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::{Arc, OnceLock};

/// What a worker handle points to.
pub struct HostWorker {
    worker: Worker<'static>,
    postponed: Postponed,
}

unsafe extern "C" {
    // The entry point that the shim's macros make. Only the plugin itself is linked with it.
    safe fn modInitShim(
        requested: c_int,
        provided: *mut c_int,
        query: *mut *mut c_void,
        host_query: *mut c_void,
        info: *mut c_void,
    ) -> c_int;
}

/// rsyslog's entry point; it passes everything through to the shim.
#[unsafe(no_mangle)]
pub extern "C" fn modInit(
    requested: c_int,
    provided: *mut c_int,
    query: *mut *mut c_void,
    host_query: *mut c_void,
    info: *mut c_void,
) -> c_int {
    modInitShim(requested, provided, query, host_query, info)
}

/// Remembers the host's callbacks.
///
/// # Safety
/// `host` is null or points to a table whose functions stay callable as long as the process lives.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_attach(host: *const omvalkeyaudit_host) {
    // SAFETY: the caller's promise.
    let host = unsafe { host.as_ref() };
    guarded(|| (), || host.map_or((), host::attach));
}

/// Name and kind of a parameter; null past the last one.
///
/// # Safety
/// `kind` points to a writable variable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_parameter(
    number: size_t,
    kind: *mut omvalkeyaudit_kind,
) -> *const c_char {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    // SAFETY: the caller's promise.
    let Some(kind) = (unsafe { kind.as_mut() }) else { return ptr::null() };
    guarded(ptr::null, || {
        let names = NAMES.get_or_init(|| c_texts(TABLE.iter().map(|parameter| parameter.name)));
        let (Some(name), Some(parameter)) = (names.get(number), TABLE.get(number)) else {
            return ptr::null();
        };
        *kind = if parameter.kind == Kind::List { OMVALKEYAUDIT_LIST } else { OMVALKEYAUDIT_TEXT };
        name.as_ptr()
    })
}

/// An empty collection of values.
#[unsafe(no_mangle)]
pub extern "C" fn omvalkeyaudit_values_new() -> *mut Values {
    guarded(ptr::null_mut, || Box::into_raw(Box::new(Values::default())))
}

/// Adds a value.
///
/// # Safety
/// `values` is null or from [`omvalkeyaudit_values_new`]; `name` is null or a terminated text;
/// `value` is null or points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_values_add(
    values: *mut Values,
    name: *const c_char,
    value: *const c_char,
    length: size_t,
) {
    // SAFETY: the caller's promise.
    let values = unsafe { values.as_mut() };
    // SAFETY: the caller's promise.
    let name = unsafe { text(name) };
    let value = match value.is_null() || length == 0 {
        true => &[][..],
        // SAFETY: the caller's promise; the bytes are not changed while we copy them.
        false => unsafe { std::slice::from_raw_parts(value.cast::<u8>(), length) },
    };
    guarded(
        || (),
        || {
            if let (Some(values), Some(name)) = (values, name) {
                values.add(&name.to_string_lossy(), value);
            }
        },
    );
}

/// Gives the values back.
///
/// # Safety
/// `values` is null or from [`omvalkeyaudit_values_new`], and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_values_free(values: *mut Values) {
    if !values.is_null() {
        // SAFETY: the caller's promise: the box is ours, and given back once.
        let values = unsafe { Box::from_raw(values) };
        guarded(|| (), || drop(values));
    }
}

/// Makes an action of the values, or says in the log what is wrong with them.
///
/// # Safety
/// `action_name` is null or a terminated text, `queue` is null or points to a queue whose texts are so;
/// `values` is null or from [`omvalkeyaudit_values_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_action_new(
    action_name: *const c_char,
    resume_retry_count: i64,
    queue: *const omvalkeyaudit_queue,
    values: *const Values,
) -> *const Action {
    // SAFETY: the caller's promise.
    let name = unsafe { text(action_name) };
    // SAFETY: the caller's promise.
    let queue = unsafe { queue.as_ref() };
    let queue = queue.map_or(Queue::NONE, |queue| Queue {
        // SAFETY: the caller's promise.
        kind: unsafe { text(queue.type_) },
        has_file: queue.has_file != 0,
        is_saved: queue.is_saved != 0,
    });
    // SAFETY: the caller's promise.
    let values = unsafe { values.as_ref() };
    guarded(ptr::null, || {
        let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let prefix = prefix(&name);
        let Some(values) = values else { return ptr::null() };
        let retries = Retries::from_core(resume_retry_count);
        let action = Settings::from_values(values)
            .and_then(|settings| Action::new(name, settings, retries).map_err(|why| vec![why]));
        match action {
            Ok(action) => {
                action.warn(&HOST_LOG);
                Arc::into_raw(Arc::new(action.under(host::at_stop(&queue))))
            }
            Err(complaints) => {
                for complaint in complaints {
                    HOST_LOG.line(Severity::Error, &format!("{prefix}{complaint}"));
                }
                ptr::null()
            }
        }
    })
}

/// The name of one of the action's templates; null past the last one. It is good as long as the action
/// lives.
///
/// # Safety
/// `action` is null or from [`omvalkeyaudit_action_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_action_template(
    action: *const Action,
    number: size_t,
) -> *const c_char {
    // SAFETY: the caller's promise.
    let action = unsafe { action.as_ref() };
    guarded(ptr::null, || {
        action.and_then(|action| action.template(number)).map_or(ptr::null(), CStr::as_ptr)
    })
}

/// Tells the action that rsyslogd got a HUP.
///
/// # Safety
/// `action` is null or from [`omvalkeyaudit_action_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_action_hup(action: *const Action) {
    // SAFETY: the caller's promise.
    let action = unsafe { action.as_ref() };
    guarded(|| (), || action.map_or((), |action| action.hup(&HOST_LOG)));
}

/// The name for the action's statistics object; null without an action.
///
/// # Safety
/// `action` is null or from [`omvalkeyaudit_action_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_action_stats_name(action: *const Action) -> *const c_char {
    // SAFETY: the caller's promise.
    let action = unsafe { action.as_ref() };
    guarded(ptr::null, || action.map_or(ptr::null(), |action| action.stats_name().as_ptr()))
}

/// Address and name of a counter, and whether it is a level; null past the last one. The address is good as long as the action
/// lives. What the host stores there is stored as a whole, as it is in all of its counters.
///
/// # Safety
/// `action` is null or from [`omvalkeyaudit_action_new`]; `name` and `is_level` point to
/// writable variables.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_action_counter(
    action: *const Action,
    number: size_t,
    name: *mut *const c_char,
    is_level: *mut c_int,
) -> *mut u64 {
    static NAMES: OnceLock<Vec<CString>> = OnceLock::new();
    // SAFETY: the caller's promise.
    let action = unsafe { action.as_ref() };
    // SAFETY: the caller's promise.
    let Some(name) = (unsafe { name.as_mut() }) else { return ptr::null_mut() };
    // SAFETY: the caller's promise.
    let Some(is_level) = (unsafe { is_level.as_mut() }) else { return ptr::null_mut() };
    guarded(ptr::null_mut, || {
        let names = NAMES.get_or_init(|| c_texts(stats::TABLE.iter().map(|counter| counter.name)));
        let count = action.and_then(|action| action.stats.at(number));
        let (Some(text), Some(counter), Some(count)) =
            (names.get(number), stats::TABLE.get(number), count)
        else {
            return ptr::null_mut();
        };
        *name = text.as_ptr();
        *is_level = c_int::from(counter.is_level);
        count.as_ptr()
    })
}

/// Gives the action back.
///
/// # Safety
/// `action` is null or from [`omvalkeyaudit_action_new`], and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_action_free(action: *const Action) {
    if !action.is_null() {
        // SAFETY: the caller's promise: the reference is ours, and given back once.
        let action = unsafe { Arc::from_raw(action) };
        guarded(|| (), || drop(action));
    }
}

/// A worker of the action.
///
/// # Safety
/// `action` is null or from [`omvalkeyaudit_action_new`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_worker_new(action: *const Action) -> *mut HostWorker {
    if action.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: the caller's promise: the handle holds one reference, so one more may be made.
    unsafe { Arc::increment_strong_count(action) };
    // SAFETY: this is the reference that was just made.
    let action = unsafe { Arc::from_raw(action) };
    guarded(ptr::null_mut, || {
        let worker = Worker::new(action, &HOST_LOG);
        Box::into_raw(Box::new(HostWorker { worker, postponed: Postponed::default() }))
    })
}

/// Gives the worker back.
///
/// # Safety
/// `worker` is null or from [`omvalkeyaudit_worker_new`], and not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_worker_free(worker: *mut HostWorker) {
    if !worker.is_null() {
        // SAFETY: the caller's promise: the box is ours, and given back once.
        let worker = unsafe { Box::from_raw(worker) };
        guarded(|| (), || worker.worker.close());
    }
}

/// rsyslog's `beginTransaction`.
///
/// # Safety
/// `worker` is null or from [`omvalkeyaudit_worker_new`], and used by this thread only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_begin_transaction(worker: *mut HostWorker) -> c_int {
    // SAFETY: the caller's promise.
    let Some(worker) = (unsafe { worker.as_mut() }) else { return codes::RS_RET_PARAM_ERROR };
    return_code(call(worker, Verdict::Committed, Worker::begin_transaction))
}

/// rsyslog's `doAction`.
///
/// # Safety
/// As for [`omvalkeyaudit_begin_transaction`]; `texts` is null or points to as many texts as the action has
/// templates, each null or terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_do_action(
    worker: *mut HostWorker,
    texts: *const *const c_char,
) -> c_int {
    // SAFETY: the caller's promise.
    let Some(worker) = (unsafe { worker.as_mut() }) else { return codes::RS_RET_PARAM_ERROR };
    let count = if texts.is_null() { 0 } else { worker.worker.action().templates() };
    // SAFETY: the caller's promise.
    let (address, made) = unsafe { made(texts, count) };
    // The core must not hear of a suspension here: an old one would forget the records before.
    return_code(call(worker, Verdict::Deferred, |worker| {
        let texts = worker.action().texts(made.into_iter());
        worker.do_action(address, &texts)
    }))
}

/// The texts, and the address of the first of them, which is the record. Any error code would make the core
/// write off the worker, so that no text is an empty one.
///
/// # Safety
/// `texts` points to at least `count` texts, each null or terminated, that live and do not change for `'a`.
unsafe fn made<'a>(
    texts: *const *const c_char,
    count: usize,
) -> (usize, [&'a [u8]; MAX_TEMPLATES]) {
    let mut made = [&[][..]; MAX_TEMPLATES];
    let mut address = 0;
    for (number, made) in made.iter_mut().enumerate().take(count) {
        // SAFETY: the caller's promise: there are as many.
        let place = unsafe { texts.add(number) };
        // SAFETY: as above.
        let start = unsafe { place.read() };
        // SAFETY: as above; the core changes its buffer only after we return.
        *made = unsafe { text(start) }.unwrap_or_default().to_bytes();
        if number == 0 {
            address = start.addr();
        }
    }
    (address, made)
}

/// rsyslog's `endTransaction`.
///
/// # Safety
/// As for [`omvalkeyaudit_begin_transaction`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_end_transaction(worker: *mut HostWorker) -> c_int {
    // SAFETY: the caller's promise.
    let Some(worker) = (unsafe { worker.as_mut() }) else { return codes::RS_RET_PARAM_ERROR };
    return_code(call(worker, Verdict::Suspended, Worker::end_transaction))
}

/// rsyslog's `tryResume`.
///
/// # Safety
/// As for [`omvalkeyaudit_begin_transaction`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn omvalkeyaudit_try_resume(worker: *mut HostWorker) -> c_int {
    // SAFETY: the caller's promise.
    let Some(worker) = (unsafe { worker.as_mut() }) else { return codes::RS_RET_PARAM_ERROR };
    return_code(call(worker, Verdict::Suspended, Worker::try_resume))
}

/// One call into a worker. After a panic the worker is poisoned and the answer is `on_panic`.
fn call(
    handle: &mut HostWorker,
    on_panic: Verdict,
    call: impl FnOnce(&mut Worker<'static>) -> Verdict,
) -> Verdict {
    let HostWorker { worker, postponed } = handle;
    let uncancelled = Uncancelled::new();
    let verdict = guarded(|| None, || Some(call(worker))).unwrap_or_else(|| {
        guarded(|| (), || worker.poison(on_panic == Verdict::Suspended));
        on_panic
    });
    // An earlier core ends a suspended worker by cancelling it, and in no other way.
    postponed.end(uncancelled, !(host::is_later_core() && worker.must_end_by_itself()));
    verdict
}

/// # Safety
/// `text` is null or points to a terminated text that lives and does not change for `'a`.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    Some(unsafe { CStr::from_ptr(text) })
}

/// Names as C reads them. None of them has a NUL.
fn c_texts(names: impl Iterator<Item = &'static str>) -> Vec<CString> {
    names.map(|name| CString::new(name).unwrap_or_default()).collect()
}
