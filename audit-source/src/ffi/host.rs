//! What the source asks of the server while it reports an event, and a command's arguments.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;

use super::api::{self, Api, Ctx, ModuleString};
use crate::event::{Arguments, ClientInfo, Host, Running};

/// A command's arguments, as the server has them during a callback.
pub(super) struct Argv<'a> {
    api: &'a Api,
    strings: &'a [*const ModuleString],
}

impl<'a> Argv<'a> {
    /// # Safety
    /// `argv` leads to `argc` strings that are alive and unchanged for `'a`.
    pub(super) unsafe fn new(api: &'a Api, argv: *const *const ModuleString, argc: c_int) -> Self {
        let count = usize::try_from(argc).unwrap_or(0);
        if argv.is_null() || count == 0 {
            return Argv { api, strings: &[] };
        }
        // SAFETY: the caller's word.
        Argv { api, strings: unsafe { std::slice::from_raw_parts(argv, count) } }
    }
}

impl Arguments for Argv<'_> {
    fn count(&self) -> usize {
        self.strings.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        match self.strings.get(index) {
            // SAFETY: the strings live as long as this value, see `new`; the result no longer than it.
            Some(string) if !string.is_null() => unsafe { self.api.bytes(*string) },
            _ => &[],
        }
    }
}

/// The server during a callback.
pub(super) struct Server<'a> {
    pub(super) api: &'a Api,
    pub(super) ctx: *mut Ctx,
    pub(super) argv: &'a Argv<'a>,
}

impl Host for Server<'_> {
    /// Asks for the user first: that looks in the table of connections. Asking for the address of what is no
    /// connection crashes Valkey 9.1.2 when it is the client that runs just now, as in a script.
    fn client(&self, id: u64) -> Option<ClientInfo> {
        // SAFETY: the context is the callback's own; any number may be asked for.
        let name = unsafe { (self.api.client_user_name)(self.ctx, id) };
        let mut user = None;
        if !name.is_null() {
            // SAFETY: the string was made by the call before and is freed below.
            user = Some(unsafe { self.api.bytes(name) }.to_vec());
            // SAFETY: as above, and nobody has it any more.
            unsafe { (self.api.free_string)(self.ctx, name) };
        } else if io::Error::last_os_error().raw_os_error() != Some(libc::ENOTSUP) {
            return None;
        }
        let mut info =
            api::ClientInfo { version: 1, flags: 0, id: 0, addr: [0; 46], port: 0, db: 0 };
        // SAFETY: the id is that of a connection, see above, and the structure has the version it says.
        let result = unsafe { (self.api.client_info)((&raw mut info).cast::<c_void>(), id) };
        if result != api::OK {
            return None;
        }
        let has = |flag: u64| info.flags & flag != 0;
        Some(ClientInfo {
            user: user.filter(|_| has(api::CLIENT_AUTHENTICATED)),
            addr: addr(&info),
            db: info.db,
            is_primary: has(api::CLIENT_PRIMARY),
            is_in_multi: has(api::CLIENT_MULTI),
        })
    }

    fn running(&self) -> Running {
        // SAFETY: the context is the callback's own.
        let flags = unsafe { (self.api.context_flags)(self.ctx) };
        let has = |flag: c_int| flags & flag != 0;
        Running {
            is_script: has(api::CONTEXT_LUA),
            is_exec: has(api::CONTEXT_MULTI),
            is_loading: has(api::CONTEXT_LOADING) || has(api::CONTEXT_ASYNC_LOADING),
        }
    }

    fn key_positions(&self, positions: &mut Vec<usize>) {
        let strings = self.argv.strings;
        let Ok(argc) = c_int::try_from(strings.len()) else { return };
        let mut count = 0;
        // SAFETY: the arguments are alive during the callback; the server reads them only.
        let keys =
            unsafe { (self.api.command_keys)(self.ctx, strings.as_ptr(), argc, &raw mut count) };
        if keys.is_null() {
            return;
        }
        // SAFETY: the server gave so many numbers at this place.
        let numbers =
            unsafe { std::slice::from_raw_parts(keys, usize::try_from(count).unwrap_or(0)) };
        positions.extend(numbers.iter().filter_map(|key| usize::try_from(*key).ok()));
        // SAFETY: the array is the caller's to free, and not used any more.
        unsafe { (self.api.free)(keys.cast()) };
    }
}

fn addr(info: &api::ClientInfo) -> String {
    if info.flags & api::CLIENT_UNIX_SOCKET != 0 {
        return "unix".into();
    }
    let bytes: Vec<u8> =
        info.addr.iter().take_while(|c| **c != 0).map(|c| c.to_ne_bytes()[0]).collect();
    let host = String::from_utf8_lossy(&bytes);
    let port = info.port;
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// A C string's bytes; `None` for a null pointer.
///
/// # Safety
/// The pointer is null or leads to a C string that is alive and unchanged for `'a`.
pub(super) unsafe fn c_bytes<'a>(pointer: *const c_char) -> Option<&'a [u8]> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the caller's word.
    Some(unsafe { CStr::from_ptr(pointer) }.to_bytes())
}
