//! Sentinels: who is the primary, and whether the server that was read has remained it.
#![forbid(unsafe_code)]

use crate::error::CannotCheck;
use crate::reply::{Head, ReadError, Replies, shown};
use crate::server::{Access, Login, Session};
use omvalkeyaudit_address::{Address, word};
use std::io::Read;

/// The longest host name, port or role, in bytes.
const MAX_WORD_BYTES: u64 = 255;

/// The options that concern sentinels.
#[derive(Clone, Debug, Default)]
pub struct SentinelOptions {
    /// The name under which they watch the group of servers; without it there are none.
    pub master: Option<String>,
    /// How to log in to them.
    pub login: Login,
}

impl SentinelOptions {
    /// Refuses what does not go together.
    pub(crate) fn check(&self) -> Result<(), CannotCheck> {
        let given = [
            ("--sentinel-user", self.login.user.is_some()),
            ("--sentinel-passwordfile", self.login.password_file.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given && self.master.is_none()) {
            None => Ok(()),
            Some((name, _)) => Err(CannotCheck(format!(
                "{name} is given, but --sentinel-master is not: give both"
            ))),
        }
    }
}

/// The sentinels of a group of servers.
pub(crate) struct Sentinels<'a> {
    addresses: &'a [Address],
    master: &'a str,
    /// To them.
    access: Access,
    /// To the servers that they watch.
    to_servers: &'a Access,
}

impl<'a> Sentinels<'a> {
    /// Reads the password file of the login there; TLS and the time limit are those of the servers.
    pub(crate) fn new(
        addresses: &'a [Address],
        master: &'a str,
        login: &Login,
        to_servers: &'a Access,
    ) -> Result<Self, CannotCheck> {
        Ok(Self { addresses, master, access: to_servers.to_sentinels(login)?, to_servers })
    }

    /// Connects to the server that a sentinel names the primary, and that does not contradict. Those that are of no use
    /// are passed over.
    pub(crate) fn primary(&self) -> Result<Session, CannotCheck> {
        let (mut silent, mut tried, mut failed) = (Vec::new(), Vec::new(), None);
        for sentinel in self.addresses {
            match self.ask(sentinel) {
                Ok(primary) if tried.contains(&primary) => {}
                Ok(primary) => match self.open(&primary) {
                    Ok(session) => return Ok(session),
                    Err(no) => {
                        failed = Some(CannotCheck(format!(
                            "{}; sentinel {sentinel} names it the primary",
                            no.why(&primary)
                        )));
                        tried.push(primary);
                    }
                },
                Err(why) => silent.push(why.to_string()),
            }
        }
        Err(failed.unwrap_or_else(|| CannotCheck(self.no_word(&silent))))
    }

    /// The outcome of reading the server that was the primary before, if it is so still: what another server has taken
    /// over from is not the trail any more, whether its streams look whole or not. Every sentinel is asked, because one
    /// learns of a change from the others, seconds later.
    pub(crate) fn vouch<T>(
        &self,
        primary: &Address,
        outcome: Result<T, CannotCheck>,
    ) -> Result<T, CannotCheck> {
        let failure = outcome.as_ref().err().map(ToString::to_string);
        match self.change(primary, failure.as_deref()) {
            None => outcome,
            Some(change) => Err(CannotCheck(format!("{change}; check again"))),
        }
    }

    /// What has become of the primary; nothing where it is one still. `failure` is how reading it failed.
    fn change(&self, primary: &Address, failure: Option<&str>) -> Option<String> {
        let master = self.master;
        let known = failure.map(|why| format!(" ({why})")).unwrap_or_default();
        let mut silent = Vec::new();
        for sentinel in self.addresses {
            match self.ask(sentinel) {
                Ok(named) if named == *primary => {}
                Ok(named) => {
                    return Some(format!(
                        "the primary of \"{master}\" changed while it was read: {primary} was read{known}, and \
                         sentinel {sentinel} names {named}"
                    ));
                }
                Err(why) => silent.push(why.to_string()),
            }
        }
        if silent.len() == self.addresses.len() {
            return Some(format!(
                "{primary} was read{known}, but whether it is still the primary of \"{master}\" is not known: {}",
                self.no_word(&silent)
            ));
        }
        match self.open(primary) {
            Ok(_) => None,
            Err(NoPrimary::Role(role)) => Some(format!(
                "the primary of \"{master}\", {primary}, was demoted while it was read{known}: its ROLE is \"{role}\""
            )),
            Err(NoPrimary::Lost(why)) => Some(format!(
                "the primary of \"{master}\", {primary}, was lost while it was read: {}",
                failure.unwrap_or(&why.0)
            )),
        }
    }

    fn no_word(&self, whys: &[String]) -> String {
        format!("no sentinel names the primary of \"{}\": {}", self.master, whys.join("; "))
    }

    /// The primary that a sentinel names.
    fn ask(&self, sentinel: &Address) -> Result<Address, CannotCheck> {
        let mut session = Session::open(sentinel, &self.access)?;
        session.send(&["SENTINEL", "get-master-addr-by-name", self.master])?;
        match read_primary(session.replies()).map_err(|error| session.unreadable(&error))? {
            Answer::Primary(address) => Ok(address),
            Answer::Unknown => Err(CannotCheck(format!(
                "sentinel {sentinel} does not know \"{}\", check --sentinel-master",
                self.master
            ))),
            Answer::Refused(why) => Err(CannotCheck(format!(
                "sentinel {sentinel} does not say where the primary is: {}{}",
                shown(&why),
                match why.split(' ').next() {
                    Some("NOAUTH") => ", give --sentinel-passwordfile",
                    Some("NOPERM") => ", its user needs +sentinel|get-master-addr-by-name",
                    Some("ERR") if why.contains("unknown command") =>
                        ", let --server name sentinels",
                    _ => "",
                }
            ))),
            Answer::Unusable(why) => {
                Err(CannotCheck(format!("sentinel {sentinel} says nothing of use: {why}")))
            }
        }
    }

    /// Connects to a server whose ROLE does not contradict that it is the primary.
    fn open(&self, address: &Address) -> Result<Session, NoPrimary> {
        let mut session = Session::open(address, self.to_servers).map_err(NoPrimary::Lost)?;
        session.send(&["ROLE"]).map_err(NoPrimary::Lost)?;
        let role = read_role(session.replies());
        match role.map_err(|error| NoPrimary::Lost(session.unreadable(&error)))? {
            Ok(role) if word::is_no_primary(&role) => Err(NoPrimary::Role(role)),
            Ok(_) => Ok(session),
            Err(why) => Err(NoPrimary::Lost(CannotCheck(format!(
                "cannot ask {address} for its ROLE: {}{}",
                shown(&why),
                match why.split(' ').next() {
                    Some("NOPERM") => ", the user needs +role",
                    Some("NOAUTH") =>
                        ", give --passwordfile, and --user if it is not the default one",
                    _ => "",
                }
            )))),
        }
    }
}

/// Why a server cannot be taken for the primary.
enum NoPrimary {
    /// Its ROLE.
    Role(String),
    /// It could not be asked.
    Lost(CannotCheck),
}

impl NoPrimary {
    fn why(&self, address: &Address) -> String {
        match self {
            Self::Role(role) => format!("{address} has the ROLE \"{role}\""),
            Self::Lost(why) => why.to_string(),
        }
    }
}

/// The reply to `SENTINEL get-master-addr-by-name`.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Primary(Address),
    /// No group of that name is watched.
    Unknown,
    Refused(String),
    /// Neither, and why.
    Unusable(&'static str),
}

fn read_primary(replies: &mut Replies<impl Read>) -> Result<Answer, ReadError> {
    Ok(match replies.head()? {
        Head::Array(2) => {
            let (host, port) = (read_word(replies)?, read_word(replies)?);
            word::primary(&host, &port).map_or_else(Answer::Unusable, Answer::Primary)
        }
        Head::Nil => Answer::Unknown,
        Head::Refusal(why) => Answer::Refused(why),
        _ => Answer::Unusable("no pair of host and port"),
    })
}

/// The role, or why the server refuses to tell it.
fn read_role(replies: &mut Replies<impl Read>) -> Result<Result<String, String>, ReadError> {
    match replies.head()? {
        Head::Array(count @ 1..) => {
            let role = read_word(replies)?;
            replies.skip(count - 1)?;
            Ok(Ok(role))
        }
        Head::Refusal(why) => Ok(Err(why)),
        _ => Err(ReadError::NoReply),
    }
}

fn read_word(replies: &mut Replies<impl Read>) -> Result<String, ReadError> {
    let Head::Bulk(bytes @ 0..=MAX_WORD_BYTES) = replies.head()? else {
        return Err(ReadError::NoReply);
    };
    let mut text = Vec::new();
    replies.text(bytes, MAX_WORD_BYTES, &mut text)?;
    String::from_utf8(text).map_err(|_| ReadError::NoReply)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn primary(wire: &str) -> Option<Answer> {
        read_primary(&mut Replies::new(wire.as_bytes())).ok()
    }

    // Oracle: what was said, and that nothing else is taken for an address.
    #[test]
    fn a_sentinels_answer_is_an_address_or_why_there_is_none() {
        let named = Address::tcp("::1", 6379).unwrap();
        assert_eq!(primary("*2\r\n$3\r\n::1\r\n$4\r\n6379\r\n"), Some(Answer::Primary(named)));
        assert_eq!(primary("*-1\r\n"), Some(Answer::Unknown));
        assert_eq!(primary("$-1\r\n"), Some(Answer::Unknown));
        assert_eq!(primary("-NOAUTH x\r\n"), Some(Answer::Refused("NOAUTH x".to_owned())));
        for wire in ["+OK\r\n", "*0\r\n", "*2\r\n$1\r\na\r\n$1\r\n0\r\n"] {
            let answer = primary(wire);
            assert!(matches!(answer, Some(Answer::Unusable(_))), "{wire:?} {answer:?}");
        }
        for wire in ["*2\r\n:1\r\n:2\r\n", "*2\r\n$999\r\n", "*2\r\n$1\r\n\u{7f}"] {
            assert_eq!(primary(wire), None, "{wire:?}");
        }
    }

    // Oracle: the first word, and that the next reply is the next one.
    #[test]
    fn a_role_is_the_first_word_of_its_reply() {
        let wire = "*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*1\r\n$1\r\na\r\n*1\r\n$5\r\nslave\r\n-NOPERM x\r\n+x\r\n";
        let mut replies = Replies::new(wire.as_bytes());
        assert_eq!(read_role(&mut replies).unwrap(), Ok("master".to_owned()));
        assert_eq!(read_role(&mut replies).unwrap(), Ok("slave".to_owned()));
        assert_eq!(read_role(&mut replies).unwrap(), Err("NOPERM x".to_owned()));
        assert!(read_role(&mut replies).is_err());
    }
}
