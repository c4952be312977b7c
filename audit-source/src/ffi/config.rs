//! The module's parameters in the server: registered from the table, read and set as texts.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use super::api::{self, Api, Ctx, ModuleString, api};
use super::callbacks::{OWN_CALL, subscribe_to};
use super::guard::{guarded, with_source};
use crate::settings::{Settings, TABLE};

/// The values as they were set last; they take effect when the server says that all of one CONFIG SET are
/// fine.
static DRAFT: LazyLock<Mutex<Settings>> = LazyLock::new(|| Mutex::new(Settings::new()));

fn draft() -> MutexGuard<'static, Settings> {
    DRAFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What CONFIG GET was given last, for each parameter: the server does not free it.
static GIVEN: Mutex<Vec<Given>> = Mutex::new(Vec::new());

struct Given(*mut ModuleString);

// SAFETY: the server's strings are used under its global lock only, from whatever thread.
unsafe impl Send for Given {}

/// Registers all parameters and takes what valkey.conf says about them.
pub(super) fn register(api: &Api, ctx: *mut Ctx) -> Option<Settings> {
    *draft() = Settings::new();
    for (index, parameter) in TABLE.iter().enumerate() {
        let name = CString::new(parameter.name).ok()?;
        let default = CString::new(parameter.default).ok()?;
        let flags = if parameter.is_fixed { api::CONFIG_IMMUTABLE } else { 0 };
        let index = ptr::without_provenance_mut(index);
        // SAFETY: the context is that of the load; the server copies both texts, and the callbacks stay
        // mapped for good.
        let result = unsafe {
            (api.register_string_config)(
                ctx,
                name.as_ptr(),
                default.as_ptr(),
                flags,
                on_get,
                on_set,
                on_apply,
                index,
            )
        };
        if result != api::OK {
            return None;
        }
    }
    // SAFETY: the context is that of the load.
    if unsafe { (api.load_configs)(ctx) } != api::OK {
        return None;
    }
    Some(draft().clone())
}

unsafe extern "C" fn on_get(_name: *const c_char, index: *mut c_void) -> *mut ModuleString {
    guarded(ptr::null_mut(), || {
        let Some(api) = api() else { return ptr::null_mut() };
        let text = draft().text(index.addr()).to_owned();
        // SAFETY: pointer and length of one live text, which the server copies.
        let string =
            unsafe { (api.create_string)(ptr::null_mut(), text.as_ptr().cast(), text.len()) };
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        given.resize_with(TABLE.len(), || Given(ptr::null_mut()));
        if let Some(place) = given.get_mut(index.addr()) {
            let before = std::mem::replace(&mut place.0, string);
            if !before.is_null() {
                // SAFETY: made by this function, and the server has long read it.
                unsafe { (api.free_string)(ptr::null_mut(), before) };
            }
        }
        string
    })
}

unsafe extern "C" fn on_set(
    _name: *const c_char,
    value: *mut ModuleString,
    index: *mut c_void,
    error: *mut *mut ModuleString,
) -> c_int {
    guarded(api::ERR, || {
        let (Some(api), Some(parameter)) = (api(), TABLE.get(index.addr())) else {
            return api::ERR;
        };
        // SAFETY: the server's string, alive until the callback returns.
        let value = unsafe { api.bytes(value) };
        let outcome = match std::str::from_utf8(value) {
            Ok(value) => draft().set(parameter.name, value),
            Err(_) => Err(format!("auditsource.{} must be a text in UTF-8", parameter.name)),
        };
        let Err(sentence) = outcome else { return api::OK };
        // SAFETY: the server gives a place for one string, and frees what is put there.
        unsafe { give_error(api, error, &sentence) };
        api::ERR
    })
}

/// # Safety
/// `error` is null or a place for one string, which the server frees.
unsafe fn give_error(api: &Api, error: *mut *mut ModuleString, sentence: &str) {
    if error.is_null() {
        return;
    }
    // SAFETY: pointer and length of one live text, which the server copies.
    let string =
        unsafe { (api.create_string)(ptr::null_mut(), sentence.as_ptr().cast(), sentence.len()) };
    // SAFETY: the caller's word.
    unsafe { error.write(string) };
}

unsafe extern "C" fn on_apply(
    ctx: *mut Ctx,
    _index: *mut c_void,
    error: *mut *mut ModuleString,
) -> c_int {
    guarded(api::ERR, || {
        let Some(api) = api() else { return api::ERR };
        let mut settings = draft().clone();
        if let Err(sentence) = resolve(api, ctx, &mut settings) {
            // SAFETY: the server gives a place for one string, and frees what is put there.
            unsafe { give_error(api, error, &sentence) };
            return api::ERR;
        }
        // What is switched off goes with the next tick, so that this command is still recorded.
        if !subscribe_to(api, ctx, settings.events) {
            return api::ERR;
        }
        with_source(|source| source.apply(settings));
        api::OK
    })
}

/// Asks the server for the commands of each category that the filter names.
pub(super) fn resolve(api: &Api, ctx: *mut Ctx, settings: &mut Settings) -> Result<(), String> {
    let resolved = settings.commands.resolve(|category| commands_of(api, ctx, category));
    resolved.map_err(|category| {
        format!(
            "auditsource.commands names the category \"@{category}\", which this server does not \
             have; ACL CAT lists those it has"
        )
    })
}

/// A module came or went, and its commands with it.
pub(super) fn resolve_again(api: &Api, ctx: *mut Ctx) {
    let Some(mut settings) = with_source(|source| source.settings().clone()) else { return };
    // A category that has gone keeps the commands it had.
    if resolve(api, ctx, &mut settings).is_ok() {
        with_source(|source| source.apply(settings));
    }
    with_source(crate::source::Source::commands_changed);
}

/// ACL CAT. The context of a parameter's callback has no client, and a call without one crashes the server:
/// the call gets a context of its own.
fn commands_of(api: &Api, ctx: *mut Ctx, category: &str) -> Option<BTreeSet<String>> {
    let category = CString::new(category).ok()?;
    // SAFETY: the context is that of the call from the server.
    let own = unsafe { (api.detached_context)(ctx) };
    if own.is_null() {
        return None;
    }
    OWN_CALL.store(true, Ordering::Relaxed);
    // SAFETY: the server's lock is held in every callback; the format names two C strings, which follow, and
    // the server copies them.
    let reply = unsafe {
        (api.call)(own, c"ACL".as_ptr(), c"cc".as_ptr(), c"CAT".as_ptr(), category.as_ptr())
    };
    OWN_CALL.store(false, Ordering::Relaxed);
    let commands = if reply.is_null() {
        None
    } else {
        // SAFETY: a reply that the server made, and that is freed below.
        let commands = unsafe { texts(api, reply) };
        // SAFETY: nobody has the reply or its elements any more.
        unsafe { (api.free_reply)(reply) };
        commands
    };
    // SAFETY: made above, and not used any more.
    unsafe { (api.free_context)(own) };
    commands
}

/// The texts of an array, in lower case; `None` when the reply is something else.
///
/// # Safety
/// `reply` is alive.
unsafe fn texts(api: &Api, reply: *mut c_void) -> Option<BTreeSet<String>> {
    const REPLY_ARRAY: c_int = 3;
    // SAFETY: the caller's word.
    if unsafe { (api.reply_type)(reply) } != REPLY_ARRAY {
        return None;
    }
    // SAFETY: the caller's word.
    let count = unsafe { (api.reply_length)(reply) };
    let text = |index| {
        // SAFETY: the index is below the length.
        let element = unsafe { (api.reply_element)(reply, index) };
        let mut length = 0;
        // SAFETY: an element lives as long as its reply.
        let text = unsafe { (api.reply_string)(element, &raw mut length) };
        if text.is_null() {
            return None;
        }
        // SAFETY: the server gave pointer and length of the element's bytes.
        let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
        Some(String::from_utf8_lossy(bytes).to_ascii_lowercase())
    };
    Some((0..count).filter_map(text).collect())
}
