//! The server's events: subscribing to them, and what they say, as plain values.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::api::{self, Api, Ctx, ServerEvent, api};
use super::guard::{guarded, with_source};
use super::host::{Argv, Server, c_bytes};
use crate::event::{CommandResult, DenyReason, Kind, Kinds};
use crate::source::Source;

/// The module itself calls a command: that is no event.
pub(super) static OWN_CALL: AtomicBool = AtomicBool::new(false);

/// The kinds of command events that the server reports, as bits.
static SUBSCRIBED: AtomicU8 = AtomicU8::new(0);

fn id_of(kind: Kind) -> u64 {
    match kind {
        Kind::Success => api::EVENT_COMMAND_SUCCESS,
        Kind::Failure => api::EVENT_COMMAND_FAILURE,
        Kind::Rejected => api::EVENT_COMMAND_REJECTED,
        Kind::AclDenied => api::EVENT_COMMAND_ACL_REJECTED,
    }
}

fn subscribe(api: &Api, ctx: *mut Ctx, id: u64, is_wanted: bool) -> bool {
    let callback: Option<api::EventCallback> = if is_wanted { Some(on_event) } else { None };
    // SAFETY: the context is that of the call from the server; the callback stays mapped for good.
    let result = unsafe { (api.subscribe)(ctx, ServerEvent { id, dataver: 1 }, callback) };
    result == api::OK
}

/// Subscribes to what is wanted about clients, commands and the server. Gives whether the server has all of
/// these events.
pub(super) fn subscribe_all(api: &Api, ctx: *mut Ctx, kinds: Kinds) -> bool {
    let others = [
        api::EVENT_CLIENT_CHANGE,
        api::EVENT_SHUTDOWN,
        api::EVENT_CRON_LOOP,
        api::EVENT_MODULE_CHANGE,
        api::EVENT_AUTHENTICATION_ATTEMPT,
    ];
    SUBSCRIBED.store(0, Ordering::Relaxed);
    others.into_iter().all(|id| subscribe(api, ctx, id, true)) && subscribe_to(api, ctx, kinds)
}

/// Subscribes to the kinds of command events that are wanted and not yet subscribed to.
pub(super) fn subscribe_to(api: &Api, ctx: *mut Ctx, kinds: Kinds) -> bool {
    change(api, ctx, |kind, is_subscribed| is_subscribed || kinds.has(kind))
}

/// Unsubscribes from what is not wanted any more. Not inside the event of a command: the server would go on
/// with a listener that is freed.
fn unsubscribe_others(api: &Api, ctx: *mut Ctx, kinds: Kinds) -> bool {
    change(api, ctx, |kind, is_subscribed| is_subscribed && kinds.has(kind))
}

fn change(api: &Api, ctx: *mut Ctx, shall_be: impl Fn(Kind, bool) -> bool) -> bool {
    let before = SUBSCRIBED.load(Ordering::Relaxed);
    let mut after = 0;
    for kind in Kind::ALL {
        let bit = kind as u8;
        let is_subscribed = before & bit != 0;
        let shall_be = shall_be(kind, is_subscribed);
        if shall_be != is_subscribed && !subscribe(api, ctx, id_of(kind), shall_be) {
            return false;
        }
        after |= if shall_be { bit } else { 0 };
    }
    SUBSCRIBED.store(after, Ordering::Relaxed);
    if after != before {
        with_source(|source| source.subscribed(after & Kind::Success as u8 != 0));
    }
    true
}

/// Every event.
unsafe extern "C" fn on_event(ctx: *mut Ctx, event: ServerEvent, sub: u64, data: *mut c_void) {
    if OWN_CALL.load(Ordering::Relaxed) {
        return;
    }
    guarded((), || {
        let Some(api) = api() else { return };
        match event.id {
            api::EVENT_COMMAND_SUCCESS => {
                // SAFETY: the server's data for this event.
                unsafe { on_command(api, ctx, Kind::Success, sub, data) }
            }
            api::EVENT_COMMAND_FAILURE => {
                // SAFETY: the server's data for this event.
                unsafe { on_command(api, ctx, Kind::Failure, sub, data) }
            }
            api::EVENT_COMMAND_REJECTED => {
                // SAFETY: the server's data for this event.
                unsafe { on_command(api, ctx, Kind::Rejected, sub, data) }
            }
            api::EVENT_COMMAND_ACL_REJECTED => {
                // SAFETY: the server's data for this event.
                unsafe { on_command(api, ctx, Kind::AclDenied, sub, data) }
            }
            api::EVENT_CLIENT_CHANGE if sub != api::CLIENT_CONNECTED => {
                // SAFETY: the server's data for this event, alive until the callback returns.
                if let Some(info) = unsafe { data.cast::<api::ClientInfo>().as_ref() } {
                    with_source(|source| source.client_gone(info.id));
                }
            }
            api::EVENT_AUTHENTICATION_ATTEMPT => {
                // SAFETY: the server's data for this event, alive until the callback returns.
                if let Some(info) = unsafe { data.cast::<api::AuthenticationInfo>().as_ref() }
                    && info.version >= 1
                {
                    with_source(|source| source.login_tried(info.client_id));
                }
            }
            api::EVENT_CRON_LOOP => on_tick(api, ctx),
            api::EVENT_MODULE_CHANGE => super::config::resolve_again(api, ctx),
            api::EVENT_SHUTDOWN => {
                with_source(|source| source.stop("shutdown"));
            }
            _ => {}
        }
    });
}

/// # Safety
/// `data` is what the server hands over with a command result event.
unsafe fn on_command(api: &Api, ctx: *mut Ctx, kind: Kind, sub: u64, data: *mut c_void) {
    // SAFETY: the caller's word; the structure is alive until the callback returns.
    let Some(info) = (unsafe { data.cast::<api::CommandResultInfo>().as_ref() }) else { return };
    if info.version < 1 {
        return;
    }
    // SAFETY: the server's own arguments, alive until the callback returns.
    let argv = unsafe { Argv::new(api, info.argv, info.argc) };
    let result = CommandResult {
        kind,
        acl_deny_reason: u8::try_from(sub).ok().filter(|_| kind == Kind::AclDenied).map(DenyReason),
        // SAFETY: null or a C string that is alive until the callback returns.
        command_name: unsafe { c_bytes(info.command_name) },
        duration_us: info.duration_us,
        dirty: info.dirty,
        client_id: info.client_id,
        is_module_client: info.is_module_client != 0,
        // SAFETY: as above.
        context: unsafe { c_bytes(info.rejection_context) },
    };
    let server = Server { api, ctx, argv: &argv };
    with_source(|source| source.command(&result, &argv, &server));
}

fn on_tick(api: &Api, ctx: *mut Ctx) {
    let kinds = with_source(|source| {
        source.tick();
        source.settings().events
    });
    let subscribed = SUBSCRIBED.load(Ordering::Relaxed);
    let Some(kinds) = kinds else { return };
    if Kind::ALL.into_iter().any(|kind| subscribed & kind as u8 != 0 && !kinds.has(kind)) {
        unsubscribe_others(api, ctx, kinds);
    }
}

/// Says goodbye: the module is unloaded.
pub(super) fn part(mut source: Source) {
    source.stop("unload");
    source.end();
}
