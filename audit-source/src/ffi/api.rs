//! The part of Valkey's module interface that is used: types, numbers and functions, by the names that the
//! server's documentation has. The functions are asked for at load.

use std::ffi::{CStr, c_char, c_int, c_long, c_longlong, c_uint, c_void};
use std::sync::OnceLock;

/// The server's context of a call.
#[repr(C)]
pub(super) struct Ctx {
    /// The first word is the function that finds all others.
    pub(super) get_api: Option<GetApi>,
    _rest: [u8; 0],
}

/// The server's string.
#[repr(C)]
pub(super) struct ModuleString {
    _opaque: [u8; 0],
}

/// The server's INFO in the making.
#[repr(C)]
pub(super) struct InfoCtx {
    _opaque: [u8; 0],
}

pub(super) type GetApi = unsafe extern "C" fn(*const c_char, *mut *mut c_void) -> c_int;

/// `ValkeyModuleEvent`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct ServerEvent {
    pub(super) id: u64,
    pub(super) dataver: u64,
}

/// `ValkeyModuleCommandResultInfo`, version 1.
#[repr(C)]
pub(super) struct CommandResultInfo {
    pub(super) version: u64,
    pub(super) command_name: *const c_char,
    pub(super) duration_us: c_longlong,
    pub(super) dirty: c_longlong,
    pub(super) client_id: u64,
    pub(super) is_module_client: c_int,
    pub(super) argc: c_int,
    pub(super) argv: *const *const ModuleString,
    pub(super) rejection_context: *const c_char,
}

/// `ValkeyModuleClientInfo`, version 1.
#[repr(C)]
pub(super) struct ClientInfo {
    pub(super) version: u64,
    pub(super) flags: u64,
    pub(super) id: u64,
    pub(super) addr: [c_char; 46],
    pub(super) port: u16,
    pub(super) db: u16,
}

/// `ValkeyModuleAuthenticationInfo`, version 1, as far as it is read.
#[repr(C)]
pub(super) struct AuthenticationInfo {
    pub(super) version: u64,
    pub(super) client_id: u64,
}

pub(super) const OK: c_int = 0;
pub(super) const ERR: c_int = 1;
pub(super) const API_VERSION: c_int = 1;

/// 9.1.0, the first with command result events.
pub(super) const LEAST_SERVER: c_int = 0x0009_0100;

pub(super) const EVENT_CLIENT_CHANGE: u64 = 4;
pub(super) const EVENT_SHUTDOWN: u64 = 5;
pub(super) const EVENT_CRON_LOOP: u64 = 8;
pub(super) const EVENT_MODULE_CHANGE: u64 = 9;
pub(super) const EVENT_AUTHENTICATION_ATTEMPT: u64 = 18;
pub(super) const EVENT_COMMAND_SUCCESS: u64 = 20;
pub(super) const EVENT_COMMAND_FAILURE: u64 = 21;
pub(super) const EVENT_COMMAND_REJECTED: u64 = 22;
pub(super) const EVENT_COMMAND_ACL_REJECTED: u64 = 23;
pub(super) const CLIENT_CONNECTED: u64 = 0;

pub(super) const CLIENT_UNIX_SOCKET: u64 = 1 << 4;
pub(super) const CLIENT_MULTI: u64 = 1 << 5;
pub(super) const CLIENT_PRIMARY: u64 = 1 << 7;
pub(super) const CLIENT_AUTHENTICATED: u64 = 1 << 11;

pub(super) const CONTEXT_LUA: c_int = 1;
pub(super) const CONTEXT_MULTI: c_int = 1 << 1;
pub(super) const CONTEXT_LOADING: c_int = 1 << 13;
pub(super) const CONTEXT_ASYNC_LOADING: c_int = 1 << 23;

pub(super) const CONFIG_IMMUTABLE: c_uint = 1;
/// The module stores nothing in the keyspace: I/O errors and diskless loading are no matter to it.
pub(super) const OPTIONS_NO_DATA: c_int = 1 | 1 << 2;

pub(super) type EventCallback = unsafe extern "C" fn(*mut Ctx, ServerEvent, u64, *mut c_void);
pub(super) type CommandCallback =
    unsafe extern "C" fn(*mut Ctx, *mut *mut ModuleString, c_int) -> c_int;
pub(super) type InfoCallback = unsafe extern "C" fn(*mut InfoCtx, c_int);
pub(super) type GetCallback = unsafe extern "C" fn(*const c_char, *mut c_void) -> *mut ModuleString;
pub(super) type SetCallback = unsafe extern "C" fn(
    *const c_char,
    *mut ModuleString,
    *mut c_void,
    *mut *mut ModuleString,
) -> c_int;
pub(super) type ApplyCallback =
    unsafe extern "C" fn(*mut Ctx, *mut c_void, *mut *mut ModuleString) -> c_int;

/// A function of the server's, as it is found by name. The types are those of valkeymodule.h.
macro_rules! api {
    ($($field:ident = $name:literal : $kind:ty;)*) => {
        /// The functions.
        pub(super) struct Api { $(pub(super) $field: $kind,)* }

        impl Api {
            /// Asks for all functions; gives the first name that the server does not know.
            fn find(get_api: GetApi) -> Result<Api, &'static CStr> {
                Ok(Api { $($field: {
                    let pointer = find(get_api, $name)?;
                    // SAFETY: the server gave this pointer for this name, whose type is as declared in
                    // valkeymodule.h and has not changed since the function exists.
                    unsafe { std::mem::transmute::<*mut c_void, $kind>(pointer) }
                },)* })
            }
        }
    };
}

api! {
    set_module_options = c"ValkeyModule_SetModuleOptions": unsafe extern "C" fn(*mut Ctx, c_int);
    log = c"ValkeyModule_Log":
        unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...);
    subscribe = c"ValkeyModule_SubscribeToServerEvent":
        unsafe extern "C" fn(*mut Ctx, ServerEvent, Option<EventCallback>) -> c_int;
    string_ptr_len = c"ValkeyModule_StringPtrLen":
        unsafe extern "C" fn(*const ModuleString, *mut usize) -> *const c_char;
    create_string = c"ValkeyModule_CreateString":
        unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> *mut ModuleString;
    free_string = c"ValkeyModule_FreeString": unsafe extern "C" fn(*mut Ctx, *mut ModuleString);
    free = c"ValkeyModule_Free": unsafe extern "C" fn(*mut c_void);
    client_user_name = c"ValkeyModule_GetClientUserNameById":
        unsafe extern "C" fn(*mut Ctx, u64) -> *mut ModuleString;
    client_info = c"ValkeyModule_GetClientInfoById":
        unsafe extern "C" fn(*mut c_void, u64) -> c_int;
    context_flags = c"ValkeyModule_GetContextFlags": unsafe extern "C" fn(*mut Ctx) -> c_int;
    command_keys = c"ValkeyModule_GetCommandKeys":
        unsafe extern "C" fn(*mut Ctx, *const *const ModuleString, c_int, *mut c_int) -> *mut c_int;
    microseconds = c"ValkeyModule_Microseconds": unsafe extern "C" fn() -> c_longlong;
    cached_microseconds = c"ValkeyModule_CachedMicroseconds": unsafe extern "C" fn() -> c_longlong;
    server_info = c"ValkeyModule_GetServerInfo":
        unsafe extern "C" fn(*mut Ctx, *const c_char) -> *mut c_void;
    free_server_info = c"ValkeyModule_FreeServerInfo": unsafe extern "C" fn(*mut Ctx, *mut c_void);
    server_info_field = c"ValkeyModule_ServerInfoGetFieldC":
        unsafe extern "C" fn(*mut c_void, *const c_char) -> *const c_char;
    detached_context = c"ValkeyModule_GetDetachedThreadSafeContext":
        unsafe extern "C" fn(*mut Ctx) -> *mut Ctx;
    free_context = c"ValkeyModule_FreeThreadSafeContext": unsafe extern "C" fn(*mut Ctx);
    call = c"ValkeyModule_Call":
        unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, ...) -> *mut c_void;
    reply_length = c"ValkeyModule_CallReplyLength": unsafe extern "C" fn(*mut c_void) -> usize;
    reply_element = c"ValkeyModule_CallReplyArrayElement":
        unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
    reply_string = c"ValkeyModule_CallReplyStringPtr":
        unsafe extern "C" fn(*mut c_void, *mut usize) -> *const c_char;
    reply_type = c"ValkeyModule_CallReplyType": unsafe extern "C" fn(*mut c_void) -> c_int;
    free_reply = c"ValkeyModule_FreeCallReply": unsafe extern "C" fn(*mut c_void);
    register_string_config = c"ValkeyModule_RegisterStringConfig":
        unsafe extern "C" fn(*mut Ctx, *const c_char, *const c_char, c_uint, GetCallback, SetCallback,
            ApplyCallback, *mut c_void) -> c_int;
    load_configs = c"ValkeyModule_LoadConfigs": unsafe extern "C" fn(*mut Ctx) -> c_int;
    create_command = c"ValkeyModule_CreateCommand":
        unsafe extern "C" fn(*mut Ctx, *const c_char, Option<CommandCallback>, *const c_char, c_int,
            c_int, c_int) -> c_int;
    get_command = c"ValkeyModule_GetCommand":
        unsafe extern "C" fn(*mut Ctx, *const c_char) -> *mut c_void;
    create_subcommand = c"ValkeyModule_CreateSubcommand":
        unsafe extern "C" fn(*mut c_void, *const c_char, CommandCallback, *const c_char, c_int, c_int,
            c_int) -> c_int;
    add_acl_category = c"ValkeyModule_AddACLCategory":
        unsafe extern "C" fn(*mut Ctx, *const c_char) -> c_int;
    set_acl_categories = c"ValkeyModule_SetCommandACLCategories":
        unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int;
    register_info = c"ValkeyModule_RegisterInfoFunc":
        unsafe extern "C" fn(*mut Ctx, InfoCallback) -> c_int;
    info_section = c"ValkeyModule_InfoAddSection":
        unsafe extern "C" fn(*mut InfoCtx, *const c_char) -> c_int;
    info_number = c"ValkeyModule_InfoAddFieldULongLong":
        unsafe extern "C" fn(*mut InfoCtx, *const c_char, u64) -> c_int;
    reply_map = c"ValkeyModule_ReplyWithMap": unsafe extern "C" fn(*mut Ctx, c_long) -> c_int;
    reply_text = c"ValkeyModule_ReplyWithStringBuffer":
        unsafe extern "C" fn(*mut Ctx, *const c_char, usize) -> c_int;
    reply_number = c"ValkeyModule_ReplyWithLongLong":
        unsafe extern "C" fn(*mut Ctx, c_longlong) -> c_int;
    wrong_arity = c"ValkeyModule_WrongArity": unsafe extern "C" fn(*mut Ctx) -> c_int;
}

/// Asks the server for one function.
pub(super) fn find(get_api: GetApi, name: &'static CStr) -> Result<*mut c_void, &'static CStr> {
    let mut pointer: *mut c_void = std::ptr::null_mut();
    // SAFETY: the server's own function, with a name that ends with NUL and a place for one pointer.
    let result = unsafe { get_api(name.as_ptr(), &raw mut pointer) };
    if result == OK && !pointer.is_null() { Ok(pointer) } else { Err(name) }
}

static API: OnceLock<Api> = OnceLock::new();

/// Finds all functions, once; gives the first name that the server does not know.
pub(super) fn load(get_api: GetApi) -> Result<&'static Api, &'static CStr> {
    if API.get().is_none() {
        let api = Api::find(get_api)?;
        return Ok(API.get_or_init(|| api));
    }
    API.get().ok_or(c"")
}

/// The functions, after [`load`].
pub(super) fn api() -> Option<&'static Api> {
    API.get()
}

impl Api {
    /// A line for the server's log; safe on any thread. `ctx` may be null.
    pub(super) fn log_line(&self, ctx: *mut Ctx, level: &CStr, text: &str) {
        // What is cut at a NUL is still a line.
        let text: Vec<u8> = text.bytes().take_while(|byte| *byte != 0).chain([0]).collect();
        // SAFETY: the format takes one C string, and gets one; the server copies it. A null context is
        // allowed, and the log may be written by any thread.
        unsafe { (self.log)(ctx, level.as_ptr(), c"%s".as_ptr(), text.as_ptr()) };
    }

    /// A string's bytes. The lifetime is the caller's word.
    ///
    /// # Safety
    /// The string is alive and unchanged for `'a`.
    pub(super) unsafe fn bytes<'a>(&self, string: *const ModuleString) -> &'a [u8] {
        let mut length = 0;
        // SAFETY: the caller's word that the string is alive.
        let pointer = unsafe { (self.string_ptr_len)(string, &raw mut length) };
        if pointer.is_null() {
            return &[];
        }
        // SAFETY: the server gave pointer and length of the string's bytes.
        unsafe { std::slice::from_raw_parts(pointer.cast(), length) }
    }
}
