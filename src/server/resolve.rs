//! Host names to addresses, under a deadline. The system's resolver knows none, so it runs in a
//! thread of its own that may be left behind.
#![forbid(unsafe_code)]

use super::Deadline;
use crate::error::{Cause, Error};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// So many look-ups may be under way in the process; a resolver that hangs must not collect threads.
const MAX_LOOKUPS: usize = 8;
static LOOKUPS: AtomicUsize = AtomicUsize::new(0);

/// Counts one look-up for as long as it lives.
struct Lookup;

impl Lookup {
    fn start() -> Option<Self> {
        let add = |count| (count < MAX_LOOKUPS).then_some(count + 1);
        LOOKUPS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok().then_some(Self)
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        LOOKUPS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All addresses of `host`, in the resolver's order.
pub(super) fn resolve(host: &str, port: u16, deadline: Deadline) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let fail =
        |why: &str| Error::broken(Cause::Connect, format!("cannot resolve \"{host}\": {why}"));
    let lookup = Lookup::start().ok_or_else(|| fail("earlier look-ups are still waiting"))?;
    let (sender, receiver) = mpsc::channel();
    let name = host.to_owned();
    std::thread::Builder::new()
        .name("omvalkeyaudit:dns".to_owned())
        .spawn(move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            drop(lookup);
            // Nobody listens any more when the deadline has passed.
            drop(sender.send(found));
        })
        .map_err(|error| fail(&error.to_string()))?;
    let remaining = deadline.remaining().unwrap_or_default();
    match receiver.recv_timeout(remaining) {
        Ok(Ok(addresses)) if addresses.is_empty() => Err(fail("the name has no address")),
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(fail(&error.to_string())),
        Err(_) => Err(Error::broken(
            Cause::Timeout,
            format!("cannot resolve \"{host}\": no answer in time"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_need_no_resolver_and_names_give_addresses() {
        let deadline = Deadline::after(Duration::from_secs(20));
        assert_eq!(resolve("::1", 7, deadline).unwrap(), ["[::1]:7".parse().unwrap()]);
        assert!(resolve("localhost", 7, deadline).unwrap().iter().all(|a| a.ip().is_loopback()));
        let error = resolve("no-such-host.invalid", 7, deadline).unwrap_err();
        assert!(error.what.contains("no-such-host.invalid"), "{error}");
    }
}
