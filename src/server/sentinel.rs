//! Sentinels: who is the primary, asked of one after the other, and whether it agrees. Nothing is
//! written to a server before.
#![forbid(unsafe_code)]

use super::login::Credentials;
use super::session::{Greeting, Session};
use super::tls::Tls;
use super::{Access, Connection, Deadline};
use crate::commands::{Marker, Missing, Replies, refusal, text, unexpected, with_grant};
use crate::error::{Cause, Error, Refusal, printable};
use crate::params::Address;
use omvalkeyaudit_address::word;
use redis::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a connection is held against what a sentinel says. An old primary that has not failed takes
/// writes for about ten seconds before the sentinels make it a replica, and loses them then.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long that may hold up a flush; and how soon the next sentinel is asked after one that did not
/// answer, so that sentinels out of reach do not slow down a primary that is well.
const LOOK_TIMEOUT: Duration = Duration::from_millis(250);
const LOOK_INTERVAL_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The longest part of a ROLE that is repeated in a log line, in characters.
const MAX_ROLE_CHARS: usize = 40;

/// The sentinels of an action. Shared by its workers.
#[derive(Clone, Debug)]
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    /// The name under which they watch the group of servers.
    master: String,
    credentials: Arc<Credentials>,
    /// How to speak TLS with them, and with the primary.
    tls: Option<Arc<Tls>>,
    /// The place in `addresses` to begin with.
    first: Arc<AtomicUsize>,
}

impl Sentinels {
    pub(super) fn new(
        addresses: Vec<Address>,
        master: String,
        credentials: Credentials,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        Self { addresses, master, credentials: Arc::new(credentials), tls, first: Arc::default() }
    }

    /// Reads the password file again, if there is one.
    pub(super) fn reload(&self) -> Result<(), String> {
        self.credentials.reload()
    }

    /// Asks for the primary, connects to it, logs in and fences as [`Session::open`] does.
    pub(super) fn connect(
        &self,
        access: &Access,
        marker: &Marker,
        timeout: Duration,
        deadline: Deadline,
    ) -> Result<(Session, Vec<u8>), Error> {
        let count = self.addresses.len();
        let first = self.first.load(Ordering::Relaxed);
        let in_turn = self.addresses.iter().enumerate().cycle().skip(first).take(count);
        let mut unasked = u32::try_from(count).unwrap_or(u32::MAX);
        let mut silent = Vec::new();
        let mut tried = Vec::new();
        let mut failed = None;
        for (place, sentinel) in in_turn {
            let Some(left) = deadline.remaining() else { break };
            // One that does not answer must leave time for the others and for the primary.
            let share = timeout.min(left / unasked.saturating_add(1));
            unasked -= 1;
            match self.ask(sentinel, deadline.capped(share)) {
                Ok(primary) if tried.contains(&primary) => {}
                Ok(primary) => {
                    match open_primary(&primary, access, marker, deadline.capped(timeout)) {
                        Ok((mut session, held)) => {
                            self.first.store(place, Ordering::Relaxed);
                            session.look_at = Instant::now() + LOOK_INTERVAL;
                            return Ok((session, held));
                        }
                        Err(error) => {
                            let what = format!("{error}; sentinel {sentinel} names it the primary");
                            failed = Some(Error { what, ..error });
                            tried.push(primary);
                        }
                    }
                }
                Err(error) => silent.push(error),
            }
            // Whoever was of no use is asked last the next time, which may have no time for all.
            self.first.store((place + 1) % count, Ordering::Relaxed);
        }
        Err(failed.unwrap_or_else(|| none_knows(&self.master, &silent)))
    }

    /// Asks now and then whether the server of `session` is still the primary.
    pub(super) fn has_moved(&self, session: &mut Session, deadline: Deadline) -> bool {
        if Instant::now() < session.look_at {
            return false;
        }
        let place = self.first.load(Ordering::Relaxed);
        let Some(sentinel) = self.addresses.get(place) else { return false };
        let answer = self.ask(sentinel, deadline.capped(LOOK_TIMEOUT));
        let interval = match &answer {
            Ok(_) => LOOK_INTERVAL,
            Err(_) => {
                self.first.store((place + 1) % self.addresses.len(), Ordering::Relaxed);
                LOOK_INTERVAL_AFTER_FAILURE
            }
        };
        session.look_at = Instant::now() + interval;
        answer.is_ok_and(|primary| !session.leads_to(&primary))
    }

    /// What one sentinel says.
    fn ask(&self, sentinel: &Address, deadline: Deadline) -> Result<Address, Error> {
        let mut question = redis::cmd("SENTINEL");
        question.arg("get-master-addr-by-name").arg(&self.master);
        let greeting = Greeting::to_sentinel(&self.credentials, sentinel);
        let question = question.get_packed_command();
        let tls = self.tls.as_deref();
        let reply = Session::greet(sentinel, tls, greeting, &question, deadline)
            .and_then(|mut session| session.replies(deadline).next())
            .map_err(|error| Error { cause: cause_of(error.cause), ..error })?;
        match read_primary(&reply) {
            Answer::Primary(address) => Ok(address),
            Answer::Unknown => Err(Error::broken(
                Cause::SentinelMaster,
                format!("sentinel {sentinel} does not know \"{}\"", self.master),
            )),
            Answer::Refused(refusal) => {
                let mut missing = Missing::default();
                missing.note(&refusal, "");
                let what =
                    format!("sentinel {sentinel} does not say where the primary is: {refusal}");
                let error = Error::broken(cause_of(refusal.cause()), what);
                Err(with_grant(error, self.credentials.login().user_name(), &missing))
            }
            Answer::Unusable(why) => Err(Error::broken(
                Cause::Sentinel,
                format!("sentinel {sentinel} says nothing of use: {why}"),
            )),
        }
    }
}

/// What is wrong with a sentinel is not to be looked for at the server.
fn cause_of(cause: Cause) -> Cause {
    match cause {
        Cause::Auth => Cause::SentinelLogin,
        Cause::Tls(fault) => Cause::Tls(fault),
        _ => Cause::Sentinel,
    }
}

/// One error out of those of all sentinels; its cause is the one that somebody must act on.
fn none_knows(master: &str, errors: &[Error]) -> Error {
    let first = |is: fn(Cause) -> bool| errors.iter().map(|error| error.cause).find(|of| is(*of));
    let cause = first(|cause| cause == Cause::SentinelLogin)
        .or_else(|| first(|cause| matches!(cause, Cause::Tls(_))))
        .or_else(|| first(|cause| cause == Cause::SentinelMaster));
    let mut reasons: Vec<&str> = errors.iter().map(|error| error.what.as_str()).collect();
    if reasons.is_empty() {
        reasons.push("no time is left to ask one");
    }
    let what = format!("no sentinel names the primary of \"{master}\": {}", reasons.join("; "));
    Error::broken(cause.unwrap_or(Cause::Sentinel), what)
}

/// As [`Session::open`], for a server whose ROLE must not contradict the sentinel's word: a replica
/// may be writable, and would keep what is written to it for itself.
fn open_primary(
    address: &Address,
    access: &Access,
    marker: &Marker,
    deadline: Deadline,
) -> Result<(Session, Vec<u8>), Error> {
    let question = redis::cmd("ROLE").get_packed_command();
    let greeting = Greeting::to_server(&access.credentials);
    let tls = access.tls.as_deref();
    let mut session = Session::greet(address, tls, greeting, &question, deadline)?;
    let reply = session.replies(deadline).next()?;
    if let Some(refusal) = refusal(&reply) {
        let error = Error::refused(&format!("cannot ask {address} for its ROLE"), &refusal);
        session.missing.note(&refusal, "");
        return Err(access.rights.explain(error, &session.missing));
    }
    let role = read_role(&reply).ok_or_else(|| unexpected("ROLE", &reply))?;
    if word::is_no_primary(role) {
        let role = printable(role, MAX_ROLE_CHARS);
        return Err(Error::broken(Cause::Busy, format!("{address} has the ROLE \"{role}\"")));
    }
    session.send(&[access.rights.probes(), &marker.fence()], deadline)?;
    session.fenced(access, deadline)
}

/// The reply to `SENTINEL get-master-addr-by-name`.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Primary(Address),
    /// No group of that name is watched.
    Unknown,
    Refused(Refusal),
    /// Neither, and why.
    Unusable(String),
}

fn read_primary(reply: &Value) -> Answer {
    match reply {
        Value::Nil => Answer::Unknown,
        Value::Array(parts) => match parts.as_slice() {
            [host, port] => {
                let named = match (text(host), text(port)) {
                    (Some(host), Some(port)) => word::primary(host, port),
                    _ => Err("no host and port"),
                };
                named.map_or_else(|why| Answer::Unusable(why.to_owned()), Answer::Primary)
            }
            _ => Answer::Unusable("no pair of host and port".to_owned()),
        },
        other => refusal(other)
            .map_or_else(|| Answer::Unusable(unexpected("SENTINEL", other).what), Answer::Refused),
    }
}

/// The first word of the reply to ROLE.
fn read_role(reply: &Value) -> Option<&str> {
    let Value::Array(parts) = reply else { return None };
    text(parts.first()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(wire: &str) -> Value {
        redis::parse_redis_value(wire.as_bytes()).unwrap()
    }

    // Oracle: the address as one would write it.
    #[test]
    fn a_primary_is_named_by_a_pair_of_texts() {
        let wire = "*2\r\n$3\r\n::1\r\n$4\r\n6379\r\n";
        let Answer::Primary(address) = read_primary(&reply(wire)) else { panic!("{wire}") };
        assert_eq!(address.to_string(), "[::1]:6379");
    }

    #[test]
    fn a_name_that_no_sentinel_watches_is_told_from_a_refusal_and_from_nonsense() {
        assert_eq!(read_primary(&reply("*-1\r\n")), Answer::Unknown);
        assert_eq!(read_primary(&reply("$-1\r\n")), Answer::Unknown);
        let refused = read_primary(&reply("-NOAUTH Authentication required.\r\n"));
        assert!(matches!(&refused, Answer::Refused(refusal) if refusal.code == "NOAUTH"));
        for wire in [
            "+OK\r\n",
            "*0\r\n",
            "*1\r\n$1\r\na\r\n",
            "*2\r\n$1\r\na\r\n$1\r\n0\r\n",
            "*2\r\n$1\r\na\r\n$5\r\n65536\r\n",
            "*2\r\n$0\r\n\r\n$4\r\n6379\r\n",
            "*2\r\n$3\r\na\nb\r\n$4\r\n6379\r\n",
            "*2\r\n:1\r\n:2\r\n",
            "*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n1\r\n",
        ] {
            let answer = read_primary(&reply(wire));
            assert!(matches!(answer, Answer::Unusable(_)), "{wire:?} {answer:?}");
        }
    }

    #[test]
    fn a_role_is_the_first_word_of_its_reply() {
        assert_eq!(read_role(&reply("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")), Some("master"));
        assert_eq!(read_role(&reply("*1\r\n$5\r\nslave\r\n")), Some("slave"));
        assert_eq!(read_role(&reply("+master\r\n")), None);
        assert_eq!(read_role(&reply("*0\r\n")), None);
    }

    // Oracle: all sentinels are named, and the advice is for what only a person can mend.
    #[test]
    fn what_all_sentinels_said_becomes_one_error() {
        let of = |cause, what: &str| Error::broken(cause, what);
        let down = of(Cause::Sentinel, "a is down");
        let nil = of(Cause::SentinelMaster, "b does not know");
        let login = of(Cause::SentinelLogin, "c wants a password");
        let cause = |errors: &[Error]| none_knows("m", errors).cause;
        assert_eq!(cause(std::slice::from_ref(&down)), Cause::Sentinel);
        assert_eq!(cause(&[down.clone(), nil.clone()]), Cause::SentinelMaster);
        let all = none_knows("m", &[nil, login, down]);
        assert_eq!(all.cause, Cause::SentinelLogin);
        assert!(all.what.ends_with("b does not know; c wants a password; a is down"), "{all}");
    }
}
