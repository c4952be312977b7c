//! WAIT and WAITAOF: how a server is asked on how many copies a connection's writes are, and what its
//! answers mean.
//!
//! The servers count only what the connection itself has written: one that has written nothing is told
//! at once that every replica has it (Valkey), and reads do not change that. So the question comes after a
//! write: a flush, or the marker's fence, behind which everything earlier is.
#![forbid(unsafe_code)]

use super::{Replies, refusal, unexpected};
use crate::error::{Cause, Error, Refusal};
use crate::params::{Durability, Fsync};
use redis::Value;
use std::time::Duration;

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// How many replicas have received it.
    Wait { replicas: u64 },
    /// Whether it is on this server's disk, and on those of how many replicas.
    WaitAof { replicas: u64 },
}

/// Too few copies, as half a sentence.
pub type Shortfall = String;

fn questions(durability: &Durability) -> Vec<Question> {
    let replicas = durability.replicas;
    match (durability.fsync, replicas) {
        (Fsync::None, 0) => Vec::new(),
        (Fsync::None, _) => vec![Question::Wait { replicas }],
        (Fsync::Local, 0) => vec![Question::WaitAof { replicas: 0 }],
        (Fsync::Local, _) => {
            vec![Question::WaitAof { replicas: 0 }, Question::Wait { replicas }]
        }
        (Fsync::Replicas, _) => vec![Question::WaitAof { replicas }],
    }
}

/// The commands that wait for the copies, `patience` at most in all.
pub fn wait_for_copies(durability: &Durability, patience: Duration) -> Vec<u8> {
    let questions = questions(durability);
    let share = patience / u32::try_from(questions.len()).unwrap_or(u32::MAX).max(1);
    // A server takes 0 for ever.
    let millis = u64::try_from(share.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut wire = Vec::new();
    for question in questions {
        let command = match question {
            Question::Wait { replicas } => redis::cmd("WAIT").arg(replicas).arg(millis).to_owned(),
            Question::WaitAof { replicas } => {
                redis::cmd("WAITAOF").arg(1).arg(replicas).arg(millis).to_owned()
            }
        };
        command.write_packed_command(&mut wire);
    }
    wire
}

/// Reads the replies to [`wait_for_copies`]: what is missing, if anything.
///
/// # Errors
/// The connection's; or the server cannot be asked such a thing, and the sentence says what it lacks.
pub fn read_copies(
    durability: &Durability,
    replies: &mut dyn Replies,
) -> Result<Option<Shortfall>, Error> {
    let mut answers = Vec::new();
    for question in questions(durability) {
        answers.push((question, replies.next()?));
    }
    let mut shortfall = None;
    for (question, reply) in answers {
        if let Some(refusal) = refusal(&reply) {
            return Err(question.refused(&refusal));
        }
        shortfall = shortfall.or(question.shortfall(&reply)?);
    }
    Ok(shortfall)
}

impl Question {
    fn shortfall(self, reply: &Value) -> Result<Option<Shortfall>, Error> {
        match (self, reply) {
            (Self::Wait { replicas: asked }, Value::Int(have)) => {
                Ok(too_few("replicas have what was written", *have, asked))
            }
            (Self::WaitAof { replicas: asked }, Value::Array(counts)) => match counts.as_slice() {
                [Value::Int(0), Value::Int(_)] => {
                    let why = "what was written is not on the server's disk yet (with appendfsync no \
                               it is never said to be)";
                    Ok(Some(why.to_owned()))
                }
                [Value::Int(_), Value::Int(have)] => {
                    Ok(too_few("replicas have what was written on their disks", *have, asked))
                }
                _ => Err(unexpected("WAITAOF", reply)),
            },
            (Self::Wait { .. }, _) => Err(unexpected("WAIT", reply)),
            (Self::WaitAof { .. }, _) => Err(unexpected("WAITAOF", reply)),
        }
    }

    fn refused(self, refusal: &Refusal) -> Error {
        let of = |cause, what: &str, drops_connection| Error {
            cause,
            what: format!("{what}: {refusal}"),
            drops_connection,
        };
        let command = match self {
            Self::Wait { .. } => "WAIT",
            Self::WaitAof { .. } => "WAITAOF",
        };
        let text = &refusal.text;
        if text.contains("unknown command") {
            let what = "durability.fsync needs WAITAOF, which Redis has from 7.2 on and Valkey in all \
                        versions; this server is older, so leave durability.fsync out or use another one";
            of(Cause::Refused, what, false)
        } else if text.contains("appendonly") {
            let what =
                "durability.fsync needs the server's append-only file: set appendonly yes there";
            of(Cause::NotDurable, what, false)
        } else if text.contains("replica instances") || refusal.code == "UNBLOCKED" {
            of(Cause::ReadOnly, "cannot wait for copies, the server is no primary any more", true)
        } else {
            Error::refused(&format!("cannot wait for copies with {command}"), refusal)
        }
    }
}

fn too_few(what: &str, have: i64, asked: u64) -> Option<Shortfall> {
    let have = u64::try_from(have).unwrap_or(0);
    (have < asked).then(|| format!("{have} of {asked} {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::Script;

    fn asking(replicas: u64, fsync: Fsync) -> Durability {
        Durability { replicas, fsync, timeout: Duration::from_secs(1) }
    }

    fn read(durability: &Durability, wire: &str) -> Result<Option<Shortfall>, Error> {
        read_copies(durability, &mut Script::new(wire))
    }

    // Oracle: the commands as one would type them.
    #[test]
    fn each_setting_asks_its_own_question_and_never_waits_for_ever() {
        for (durability, expected) in [
            (asking(0, Fsync::None), vec![]),
            (asking(2, Fsync::None), vec!["WAIT 2 900"]),
            (asking(0, Fsync::Local), vec!["WAITAOF 1 0 900"]),
            (asking(1, Fsync::Local), vec!["WAITAOF 1 0 450", "WAIT 1 450"]),
            (asking(2, Fsync::Replicas), vec!["WAITAOF 1 2 900"]),
        ] {
            let pack = |text: &&str| {
                let mut words = text.split(' ');
                let mut command = redis::cmd(words.next().unwrap());
                command.arg(words.collect::<Vec<_>>());
                command.get_packed_command()
            };
            let expected: Vec<u8> = expected.iter().flat_map(pack).collect();
            assert_eq!(wait_for_copies(&durability, Duration::from_millis(900)), expected);
            assert_eq!(durability.is_asked(), !expected.is_empty());
        }
        let none_left = wait_for_copies(&asking(1, Fsync::None), Duration::ZERO);
        assert_eq!(none_left, redis::cmd("WAIT").arg(1).arg(1).get_packed_command());
    }

    #[test]
    fn fewer_copies_than_asked_for_are_a_shortfall_and_more_are_none() {
        let missing = |durability, wire| read(&durability, wire).unwrap();
        assert_eq!(missing(asking(2, Fsync::None), ":2\r\n"), None);
        assert_eq!(missing(asking(2, Fsync::None), ":3\r\n"), None);
        let text = missing(asking(2, Fsync::None), ":1\r\n").unwrap();
        assert_eq!(text, "1 of 2 replicas have what was written");
        assert_eq!(missing(asking(0, Fsync::Local), "*2\r\n:1\r\n:0\r\n"), None);
        assert!(missing(asking(0, Fsync::Local), "*2\r\n:0\r\n:5\r\n").is_some());
        assert_eq!(missing(asking(1, Fsync::Replicas), "*2\r\n:1\r\n:1\r\n"), None);
        assert!(missing(asking(1, Fsync::Replicas), "*2\r\n:1\r\n:0\r\n").is_some());
        assert_eq!(missing(asking(1, Fsync::Local), "*2\r\n:1\r\n:0\r\n:1\r\n"), None);
        assert!(missing(asking(1, Fsync::Local), "*2\r\n:1\r\n:0\r\n:0\r\n").is_some());
        assert!(missing(asking(1, Fsync::Local), "*2\r\n:0\r\n:1\r\n:1\r\n").is_some());
    }

    // Oracle: what the servers were seen to say, and what an operator has to do about it.
    #[test]
    fn a_server_that_cannot_be_asked_says_what_it_lacks() {
        for (wire, cause, drops_connection, said) in [
            (
                "-ERR unknown command 'WAITAOF', with args beginning with: '1'\r\n",
                Cause::Refused,
                false,
                "7.2",
            ),
            (
                "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n",
                Cause::NotDurable,
                false,
                "set appendonly yes",
            ),
            (
                "-ERR WAITAOF cannot be used with replica instances.\r\n",
                Cause::ReadOnly,
                true,
                "no primary",
            ),
            (
                "-UNBLOCKED force unblock from blocking operation\r\n",
                Cause::ReadOnly,
                true,
                "no primary",
            ),
            ("-NOPERM no permissions\r\n", Cause::Auth, true, "with WAITAOF: NOPERM"),
            ("-LOADING\r\n", Cause::Busy, false, "LOADING"),
        ] {
            let error = read(&asking(0, Fsync::Local), wire).unwrap_err();
            assert_eq!((error.cause, error.drops_connection), (cause, drops_connection), "{wire}");
            assert!(error.what.contains(said), "{error}");
        }
        for wire in ["+OK\r\n", "*1\r\n:1\r\n", "$1\r\n1\r\n", ":1\r\n"] {
            let error = read(&asking(0, Fsync::Local), wire).unwrap_err();
            assert_eq!(error.cause, Cause::Protocol, "{wire}");
        }
        // All answers are read, also behind a refusal: the connection stays in step.
        let mut replies = Script::new("-LOADING\r\n:1\r\n+next\r\n");
        assert!(read_copies(&asking(1, Fsync::Local), &mut replies).is_err());
        assert_eq!(replies.next().unwrap(), Value::SimpleString("next".to_owned()));
    }
}
