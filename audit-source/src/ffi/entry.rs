//! Loading and unloading: the two symbols that the server looks for.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use super::api::{self, Api, Ctx, ModuleString, api};
use super::guard::{guarded, replace_source};
use super::{callbacks, config, sight};
use crate::clock::Moment;
use crate::source::Source;
use crate::writer::Writer;

const NAME: &CStr = c"auditsource";
const MODULE_VERSION: c_int = 1;

/// The server loads the module.
///
/// # Safety
/// The server calls this with its context and the module's arguments.
#[unsafe(no_mangle)]
unsafe extern "C" fn ValkeyModule_OnLoad(
    ctx: *mut Ctx,
    _argv: *mut *mut ModuleString,
    argc: c_int,
) -> c_int {
    guarded(api::ERR, || {
        // SAFETY: the server's context, alive until the load is over.
        let Some(get_api) = (unsafe { ctx.as_ref() }).and_then(|ctx| ctx.get_api) else {
            return api::ERR;
        };
        refuse_older(ctx, get_api)
            .and_then(|()| load(ctx, get_api, argc))
            .map_or(api::ERR, |()| api::OK)
    })
}

/// The server is about to unload the module.
///
/// # Safety
/// The server calls this with its context.
#[unsafe(no_mangle)]
unsafe extern "C" fn ValkeyModule_OnUnload(_ctx: *mut Ctx) -> c_int {
    guarded(api::OK, || {
        if let Some(source) = replace_source(None) {
            callbacks::part(source);
        }
        api::OK
    })
}

/// Says which version is needed, with functions that every Valkey has.
fn refuse_older(ctx: *mut Ctx, get_api: api::GetApi) -> Option<()> {
    type Version = unsafe extern "C" fn() -> c_int;
    type Attributes = unsafe extern "C" fn(*mut Ctx, *const c_char, c_int, c_int);
    type Log = unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...);
    let version = api::find(get_api, c"ValkeyModule_GetServerVersion").ok()?;
    // SAFETY: the server gave this pointer for this name.
    let version = unsafe { std::mem::transmute::<*mut std::ffi::c_void, Version>(version) };
    // SAFETY: a function without arguments.
    let have = unsafe { version() };
    let attributes = api::find(get_api, c"ValkeyModule_SetModuleAttribs").ok()?;
    // SAFETY: the server gave this pointer for this name.
    let attributes =
        unsafe { std::mem::transmute::<*mut std::ffi::c_void, Attributes>(attributes) };
    // SAFETY: the context is that of the load, and the name a C string; every module begins like this.
    unsafe { attributes(ctx, NAME.as_ptr(), MODULE_VERSION, api::API_VERSION) };
    if have >= api::LEAST_SERVER {
        return Some(());
    }
    let log = api::find(get_api, c"ValkeyModule_Log").ok()?;
    // SAFETY: the server gave this pointer for this name.
    let log = unsafe { std::mem::transmute::<*mut std::ffi::c_void, Log>(log) };
    let format =
        c"auditsource needs Valkey 9.1 or later, which reports command results; this is Valkey \
                   %d.%d: upgrade the server or do not load the module";
    // SAFETY: the format takes two ints, and gets two.
    unsafe { log(ctx, c"warning".as_ptr(), format.as_ptr(), have >> 16, have >> 8 & 0xff) };
    None
}

fn load(ctx: *mut Ctx, get_api: api::GetApi, argc: c_int) -> Option<()> {
    let api = match api::load(get_api) {
        Ok(api) => api,
        // It is 9.1 or later by its own account, and yet lacks something: the server logs the failed load.
        Err(_) => return None,
    };
    let complain = |text: &str| {
        api.log_line(ctx, c"warning", text);
        None
    };
    if argc > 0 {
        return complain(
            "auditsource takes no arguments; set auditsource.target and its like in valkey.conf, or with \
             MODULE LOADEX ... CONFIG",
        );
    }
    // SAFETY: the context is that of the load.
    unsafe { (api.set_module_options)(ctx, api::OPTIONS_NO_DATA) };
    let Some(mut settings) = config::register(api, ctx) else {
        return complain("auditsource cannot be configured; see the line above");
    };
    if let Err(sentence) = config::resolve(api, ctx, &mut settings) {
        return complain(&sentence);
    }
    if sight::register(api, ctx).is_none() {
        return complain(
            "auditsource cannot register its command; does another module have that name?",
        );
    }
    let Some((node, version)) = server_fields(api, ctx) else {
        return complain("auditsource cannot read the server's run_id from INFO");
    };
    let (target, kinds) = (settings.target.clone(), settings.events);
    let (mut source, outbox) = Source::new(&node, now, settings);
    match Writer::start(outbox, target, log_line) {
        Ok(writer) => source.attach(writer),
        Err(e) => return complain(&format!("auditsource cannot start its thread: {e}")),
    }
    source.start(&version);
    replace_source(Some(source));
    if !callbacks::subscribe_all(api, ctx, kinds) {
        if let Some(source) = replace_source(None) {
            callbacks::part(source);
        }
        return complain("auditsource cannot subscribe to the server's command result events");
    }
    Some(())
}

/// The run id and the version, as INFO has them.
fn server_fields(api: &Api, ctx: *mut Ctx) -> Option<(String, String)> {
    // SAFETY: the context is that of the load, and the text a C string.
    let info = unsafe { (api.server_info)(ctx, c"server".as_ptr()) };
    if info.is_null() {
        return None;
    }
    let field = |name: &CStr| {
        // SAFETY: the information is freed at the end of this function.
        let value = unsafe { (api.server_info_field)(info, name.as_ptr()) };
        // SAFETY: null or a C string that lives as long as the information.
        let bytes = unsafe { super::host::c_bytes(value) }?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    };
    let fields = field(c"run_id").zip(field(c"valkey_version"));
    // SAFETY: nobody has the information any more.
    unsafe { (api.free_server_info)(ctx, info) };
    fields
}

/// The server's clock.
fn now(moment: Moment) -> u64 {
    let Some(api) = api() else { return 0 };
    let clock = match moment {
        Moment::Begin => api.cached_microseconds,
        Moment::Present => api.microseconds,
    };
    // SAFETY: a function without arguments that gives a number.
    unsafe { clock() }.unsigned_abs()
}

/// The writer thread's lines.
fn log_line(text: &str) {
    if let Some(api) = api() {
        api.log_line(ptr::null_mut(), c"notice", &format!("auditsource: {text}"));
    }
}
