//! A module for the tests: CALLER.CALL calls a command as modules do, CALLER.TIMER does it later, and
//! CALLER.THREAD on another thread.
#![allow(unsafe_code, reason = "a module needs the server's C interface")]
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::missing_safety_doc,
    reason = "a test's module; every block calls the server with what the server just gave"
)]

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::thread;

type Pointer = *mut c_void;
type Command = unsafe extern "C" fn(Pointer, *mut Pointer, c_int) -> c_int;

struct Api(unsafe extern "C" fn(*const c_char, *mut Pointer) -> c_int);

static API: OnceLock<Api> = OnceLock::new();

fn find(name: &CStr) -> Pointer {
    let mut pointer = null_mut();
    if let Some(api) = API.get() {
        unsafe { (api.0)(name.as_ptr(), &raw mut pointer) };
    }
    assert!(!pointer.is_null(), "{name:?}");
    pointer
}

macro_rules! function {
    ($name:literal : $kind:ty) => {
        unsafe { transmute::<Pointer, $kind>(find($name)) }
    };
}

/// Calls the command of `argv` from 2 on; `format` is what the call's own flags are.
unsafe fn call(ctx: Pointer, format: &CStr, argv: *mut Pointer, argc: c_int) -> Pointer {
    let text = function!(c"ValkeyModule_StringPtrLen":
        unsafe extern "C" fn(Pointer, *mut usize) -> *const c_char);
    let call = function!(c"ValkeyModule_Call":
        unsafe extern "C" fn(Pointer, *const c_char, *const c_char, ...) -> Pointer);
    unsafe {
        let name = text(*argv.add(2), null_mut());
        call(ctx, name, format.as_ptr(), argv.add(3), usize::try_from(argc - 3).unwrap_or(0))
    }
}

unsafe extern "C" fn on_call(ctx: Pointer, argv: *mut Pointer, argc: c_int) -> c_int {
    let text = function!(c"ValkeyModule_StringPtrLen":
        unsafe extern "C" fn(Pointer, *mut usize) -> *const c_char);
    let reply_call = function!(c"ValkeyModule_ReplyWithCallReply":
        unsafe extern "C" fn(Pointer, Pointer) -> c_int);
    let reply_error = function!(c"ValkeyModule_ReplyWithError":
        unsafe extern "C" fn(Pointer, *const c_char) -> c_int);
    unsafe {
        let flags = CStr::from_ptr(text(*argv.add(1), null_mut()));
        let format = match flags.to_bytes() {
            b"-" => c"v",
            b"!" => c"!v",
            b"C!" => c"C!v",
            _ => c"Ev",
        };
        let reply = call(ctx, format, argv, argc);
        if reply.is_null() {
            reply_error(ctx, c"ERR no reply".as_ptr())
        } else {
            reply_call(ctx, reply)
        }
    }
}

unsafe fn incr(ctx: Pointer, key: &CStr) {
    let call = function!(c"ValkeyModule_Call":
        unsafe extern "C" fn(Pointer, *const c_char, *const c_char, ...) -> Pointer);
    let free = function!(c"ValkeyModule_FreeCallReply": unsafe extern "C" fn(Pointer));
    unsafe { free(call(ctx, c"INCR".as_ptr(), c"c".as_ptr(), key.as_ptr())) };
}

unsafe extern "C" fn on_time(ctx: Pointer, _data: Pointer) {
    unsafe { incr(ctx, c"from-timer") };
}

unsafe fn reply_ok(ctx: Pointer) -> c_int {
    let reply = function!(c"ValkeyModule_ReplyWithSimpleString":
        unsafe extern "C" fn(Pointer, *const c_char) -> c_int);
    unsafe { reply(ctx, c"OK".as_ptr()) }
}

unsafe extern "C" fn on_timer(ctx: Pointer, _argv: *mut Pointer, _argc: c_int) -> c_int {
    let create = function!(c"ValkeyModule_CreateTimer":
        unsafe extern "C" fn(Pointer, c_longlong, unsafe extern "C" fn(Pointer, Pointer), Pointer) -> u64);
    unsafe {
        create(ctx, 1, on_time, null_mut());
        reply_ok(ctx)
    }
}

unsafe extern "C" fn on_thread(ctx: Pointer, _argv: *mut Pointer, _argc: c_int) -> c_int {
    let detached = function!(c"ValkeyModule_GetDetachedThreadSafeContext":
        unsafe extern "C" fn(Pointer) -> Pointer);
    let own = unsafe { detached(ctx) }.expose_provenance();
    thread::spawn(move || {
        let lock = function!(c"ValkeyModule_ThreadSafeContextLock": unsafe extern "C" fn(Pointer));
        let unlock =
            function!(c"ValkeyModule_ThreadSafeContextUnlock": unsafe extern "C" fn(Pointer));
        let own = std::ptr::with_exposed_provenance_mut(own);
        for _ in 0..1000 {
            unsafe {
                lock(own);
                incr(own, c"from-thread");
                unlock(own);
            }
        }
    });
    unsafe { reply_ok(ctx) }
}

/// The server loads the module.
#[unsafe(no_mangle)]
unsafe extern "C" fn ValkeyModule_OnLoad(ctx: Pointer, _argv: *mut Pointer, _argc: c_int) -> c_int {
    unsafe { API.get_or_init(|| transmute::<Pointer, Api>(*ctx.cast::<Pointer>())) };
    let attributes = function!(c"ValkeyModule_SetModuleAttribs":
        unsafe extern "C" fn(Pointer, *const c_char, c_int, c_int));
    let create = function!(c"ValkeyModule_CreateCommand":
        unsafe extern "C" fn(Pointer, *const c_char, Command, *const c_char, c_int, c_int, c_int) -> c_int);
    let commands: [(&CStr, Command); 3] =
        [(c"caller.call", on_call), (c"caller.timer", on_timer), (c"caller.thread", on_thread)];
    unsafe { attributes(ctx, c"caller".as_ptr(), 1, 1) };
    let make = |(name, callback): (&CStr, Command)| unsafe {
        create(ctx, name.as_ptr(), callback, c"write deny-oom".as_ptr(), 0, 0, 0)
    };
    commands.into_iter().map(make).max().unwrap_or(1)
}
