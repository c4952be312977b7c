//! What one sees of the module in the server: the section of INFO and the command AUDITSOURCE STATUS.

use std::ffi::{CStr, CString, c_int, c_long, c_longlong};

use super::api::{self, Api, Ctx, InfoCtx, ModuleString, api};
use super::guard::{guarded, with_source};
use crate::counters::COUNTERS;

const COMMAND: &CStr = c"auditsource";

/// Registers both. A category that is there already is that of an earlier load.
pub(super) fn register(api: &Api, ctx: *mut Ctx) -> Option<()> {
    let is_done = |result: c_int| (result == api::OK).then_some(());
    // SAFETY: the context is that of the load, and the text a C string; so in all calls here.
    unsafe { (api.add_acl_category)(ctx, COMMAND.as_ptr()) };
    // SAFETY: as above.
    is_done(unsafe { (api.create_command)(ctx, COMMAND.as_ptr(), None, c"".as_ptr(), 0, 0, 0) })?;
    // SAFETY: as above; the command was just made.
    let parent = unsafe { (api.get_command)(ctx, COMMAND.as_ptr()) };
    if parent.is_null() {
        return None;
    }
    // SAFETY: as above; the callback stays mapped for good.
    is_done(unsafe {
        (api.create_subcommand)(
            parent,
            c"status".as_ptr(),
            on_status,
            c"allow-loading allow-stale fast".as_ptr(),
            0,
            0,
            0,
        )
    })?;
    // SAFETY: as above; the subcommand was just made.
    let status = unsafe { (api.get_command)(ctx, c"auditsource|status".as_ptr()) };
    for command in [parent, status] {
        if command.is_null() {
            return None;
        }
        // SAFETY: a command of this module, during its load.
        is_done(unsafe { (api.set_acl_categories)(command, COMMAND.as_ptr()) })?;
    }
    // SAFETY: as above; the callback stays mapped for good.
    is_done(unsafe { (api.register_info)(ctx, on_info) })
}

/// INFO auditsource. It reads atomic numbers only: the server also asks when it has just crashed.
unsafe extern "C" fn on_info(info: *mut InfoCtx, _is_crash: c_int) {
    guarded((), || {
        let Some(api) = api() else { return };
        // SAFETY: the server's own pointer, valid during the callback; an empty name makes the section that
        // has the module's.
        if unsafe { (api.info_section)(info, c"".as_ptr()) } != api::OK {
            return;
        }
        for (name, value) in COUNTERS.all() {
            let Ok(name) = CString::new(name) else { continue };
            // SAFETY: as above; the server copies the name.
            unsafe { (api.info_number)(info, name.as_ptr(), value) };
        }
    });
}

/// AUDITSOURCE STATUS: the counters and the target.
unsafe extern "C" fn on_status(ctx: *mut Ctx, _argv: *mut *mut ModuleString, argc: c_int) -> c_int {
    guarded(api::ERR, || {
        let Some(api) = api() else { return api::ERR };
        if argc != 2 {
            // SAFETY: the context is that of the command.
            return unsafe { (api.wrong_arity)(ctx) };
        }
        let target = with_source(|source| source.settings().target.to_string());
        let target = target.unwrap_or_default();
        let count = c_long::try_from(COUNTERS.all().count() + 1).unwrap_or(0);
        // SAFETY: the context is that of the command; so many pairs follow.
        unsafe { (api.reply_map)(ctx, count) };
        reply_text(api, ctx, "target");
        reply_text(api, ctx, &target);
        for (name, value) in COUNTERS.all() {
            reply_text(api, ctx, name);
            let value = c_longlong::try_from(value).unwrap_or(c_longlong::MAX);
            // SAFETY: the context is that of the command.
            unsafe { (api.reply_number)(ctx, value) };
        }
        api::OK
    })
}

fn reply_text(api: &Api, ctx: *mut Ctx, text: &str) {
    // SAFETY: the context is that of the command; pointer and length of one live text.
    unsafe { (api.reply_text)(ctx, text.as_ptr().cast(), text.len()) };
}
