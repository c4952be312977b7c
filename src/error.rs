//! What can go wrong between a record and the server, and what follows from it: whether the
//! connection is still usable, which counter it belongs to, and the sentence an operator reads.
#![forbid(unsafe_code)]

use omvalkeyaudit_tls::Fault as TlsFault;
use std::fmt;

/// What a call tells rsyslog's core. The mapping to the host's numbers lives at the seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything handed over so far is committed.
    Committed,
    /// The record is kept; it is settled by a later call.
    Deferred,
    /// Everything before this record is committed, this record is kept.
    PreviousCommitted,
    /// Nothing more can be committed now; the core has to resume and replay.
    Suspended,
}

/// Why the server, or the way to it, refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The address could not be resolved or reached.
    Connect,
    /// An established connection ended or failed.
    Lost,
    /// The deadline of the call passed.
    Timeout,
    /// The server (or something else at that address) did not speak the protocol.
    Protocol,
    /// TLS, on our side or on the server's, for this reason.
    Tls(TlsFault),
    /// Credentials are missing or wrong, or the ACL forbids a command or key.
    Auth,
    /// The server is a replica or was made read-only.
    ReadOnly,
    /// The server is out of memory.
    OutOfMemory,
    /// The server cannot serve right now and says so: loading, no quorum, a failed save.
    Busy,
    /// Fewer copies of what was written exist than the operator asks for.
    NotDurable,
    /// The key holds another type than the action writes.
    WrongType,
    /// The server refused the command for another reason.
    Refused,
    /// No sentinel could be asked for the primary.
    Sentinel,
    /// A sentinel wants other credentials, or its ACL forbids the question.
    SentinelLogin,
    /// The sentinels do not know the group of servers.
    SentinelMaster,
}

impl Cause {
    /// What to do about it, as the second half of a log line.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Connect => "check server, serverport or socketpath and that the server runs",
            Self::Lost => "the server or the network closed the connection",
            Self::Timeout => "see timeout.connect and timeout.commit",
            Self::Protocol => "check that a Valkey or Redis server listens at this address",
            Self::Tls(fault) => tls_advice(fault),
            Self::Auth => {
                "check user, serverpassword or passwordfile and the ACL rule of this user"
            }
            Self::ReadOnly => "the server does not accept writes; point server at the primary",
            Self::OutOfMemory => "raise maxmemory of the server or trim its streams",
            Self::Busy => "the server does not accept writes for now",
            Self::NotDurable => {
                "check the server's replicas and its append-only file, or what durability.replicas and \
                 durability.fsync ask for"
            }
            Self::WrongType => {
                "another program uses this key; choose another key or delete that key"
            }
            Self::Refused => "the server refused the command",
            Self::Sentinel => "check that server names sentinels and that they run",
            Self::SentinelLogin => {
                "check sentinel.user, sentinel.passwordfile and the ACL rule of this user"
            }
            Self::SentinelMaster => "check sentinel.master",
        }
    }
}

fn tls_advice(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::Name => {
            "let server, or tls.servername, be a name that is in the certificate, or have the \
                 certificate issued for this one"
        }
        TlsFault::Expired => "renew the server's certificate, or correct this machine's clock",
        TlsFault::NotYetValid => "correct the clock of this machine, or of the one that issued it",
        TlsFault::Issuer => {
            "let tls.cacert name the certificate of the authority that issued the server's; \
                 authorities in between are the server's to send"
        }
        TlsFault::Certificate => "give the server another certificate",
        TlsFault::OwnCertificateMissing => {
            "give tls.mycert and tls.myprivkey, or do not ask for one (tls-auth-clients)"
        }
        TlsFault::OwnCertificateRefused => {
            "check that tls.mycert is valid, for clients, and issued by an authority that the \
                 server knows (its tls-ca-cert-file)"
        }
        TlsFault::Agreement => {
            "TLS 1.2 with ECDHE and AEAD, or 1.3, is needed: see tls-protocols, tls-ciphers and \
                 tls-ciphersuites of the server"
        }
        TlsFault::NotSpoken => "let server name the port for TLS, or set tls=\"off\"",
        TlsFault::Expected => "set tls=\"on\", or let server name the port without TLS",
        TlsFault::Other => "the server's log may say more",
    }
}

/// What of a command a record chooses itself, and may be to blame for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All is configured.
    Nothing,
    /// A key.
    Key,
    /// The command and all that it touches.
    Command,
}

/// An error reply of the server: its code and its text, never a record's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The first word of the reply, `WRONGTYPE` for instance; of an EXEC that was refused itself, that of the
    /// reason.
    pub code: String,
    /// The reply as it came, cut to a bounded length and free of control characters.
    pub text: String,
}

/// The longest part of a server's reply that is repeated in a log line, in characters.
const MAX_REPLY_CHARS: usize = 200;

/// How a server begins to repeat the arguments of a command that it does not know.
const ECHO: &str = ", with args beginning with";

/// How a server begins to say why it refused an EXEC.
const ABORTED: &str = "discarded because of: ";

impl Refusal {
    /// Takes the first word and the rest of a server's error reply.
    pub fn new(first_word: &str, detail: Option<&str>) -> Self {
        // What follows these words are the command's own arguments: a record, or a password.
        let detail = detail.and_then(|detail| detail.split(ECHO).next());
        // An EXEC that is itself refused says why behind these words; after a refused command it has none.
        let code = match detail.and_then(|detail| detail.split_once(ABORTED)) {
            Some((_, reason)) if first_word == "EXECABORT" => {
                reason.split(' ').next().unwrap_or(first_word)
            }
            _ => first_word,
        };
        let full = match detail {
            Some(detail) => format!("{first_word} {detail}"),
            None => first_word.to_owned(),
        };
        Self { code: code.to_owned(), text: printable(&full, MAX_REPLY_CHARS) }
    }

    /// Sorts the reply by its code. Codes that this version does not know are refusals of the one
    /// command, which is the reading that holds up the least.
    pub fn cause(&self) -> Cause {
        match self.code.as_str() {
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Cause::Auth,
            "READONLY" => Cause::ReadOnly,
            "OOM" => Cause::OutOfMemory,
            "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MISCONF" | "NOREPLICAS"
            | "BUSY" | "MOVED" | "ASK" | "UNKILLABLE" => Cause::Busy,
            "WRONGTYPE" => Cause::WrongType,
            _ => Cause::Refused,
        }
    }

    /// True where a node of a cluster has not, or not all of, what a command needs: it is elsewhere, on its
    /// way, or nowhere for now.
    pub fn is_redirection(&self) -> bool {
        matches!(self.code.as_str(), "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN")
    }

    /// True where the user lacks a right.
    pub fn is_about_rights(&self) -> bool {
        self.code == "NOPERM"
    }

    /// The command that the user may not run; `None` where it is the key that it may not use.
    pub fn forbidden_command(&self) -> Option<&str> {
        let (_, rest) = self.text.split_once(" run the '")?;
        let (command, _) = rest.split_once("' command")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "|-_.".contains(c);
        (self.is_about_rights() && command.chars().all(is_name)).then_some(command)
    }

    /// True where the record, not the server's state or the configuration, is the reason: then the dead letter is
    /// the place for it.
    pub fn is_about_one_record(&self, choice: Choice) -> bool {
        match self.cause() {
            Cause::WrongType => choice != Choice::Nothing,
            // NOAUTH and WRONGPASS concern the whole connection, and a forbidden command every record that does not
            // bring its own; a forbidden key may be one record's alone.
            Cause::Auth if self.forbidden_command().is_some() => choice == Choice::Command,
            Cause::Auth => choice != Choice::Nothing && self.is_about_rights(),
            Cause::Refused => true,
            Cause::Connect
            | Cause::Lost
            | Cause::Timeout
            | Cause::Protocol
            | Cause::Tls(_)
            | Cause::ReadOnly
            | Cause::OutOfMemory
            | Cause::Busy
            | Cause::NotDurable
            | Cause::Sentinel
            | Cause::SentinelLogin
            | Cause::SentinelMaster => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a flush, or the attempt to reach the server, did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The group the error belongs to.
    pub cause: Cause,
    /// What happened, without a secret and without a record's content.
    pub what: String,
    /// False where the connection may go on: the server answered, and said no.
    pub drops_connection: bool,
}

impl Error {
    /// An error after which the connection cannot be used any more.
    pub fn broken(cause: Cause, what: impl Into<String>) -> Self {
        Self { cause, what: what.into(), drops_connection: true }
    }

    /// The server said no to `doing`.
    pub fn refused(doing: &str, refusal: &Refusal) -> Self {
        let cause = refusal.cause();
        // A read-only server will not become the primary on this connection, and one that lost our
        // login needs a new one.
        let drops_connection = matches!(cause, Cause::ReadOnly | Cause::Auth);
        Self { cause, what: format!("{doing}: {refusal}"), drops_connection }
    }

    /// The code of the server's refusal, where it is one: the first word behind a colon that is in capitals.
    pub fn code(&self) -> Option<&str> {
        let is_code = |word: &str| word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase());
        let mut words = self.what.split(": ").skip(1).filter_map(|part| part.split(' ').next());
        words.find(|word| is_code(word))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}

/// At most `max_chars` characters of `text`, control characters and the like replaced, so that a
/// hostile text can neither break a log line, nor turn it round on a screen, nor flood the log.
pub fn printable(text: &str, max_chars: usize) -> String {
    let is_unfit = |c: char| c.is_control() || is_separator_or_direction(c);
    let mut shown: String =
        text.chars().take(max_chars).map(|c| if is_unfit(c) { '?' } else { c }).collect();
    if text.chars().nth(max_chars).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Unicode's ends of lines and paragraphs, and its marks that change the direction of writing.
fn is_separator_or_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str) -> Refusal {
        Refusal::new(code, Some("some detail"))
    }

    #[test]
    fn a_state_of_the_server_is_never_blamed_on_a_record() {
        for code in ["LOADING", "OOM", "READONLY", "MISCONF", "NOREPLICAS", "CLUSTERDOWN", "BUSY"] {
            assert!(!refusal(code).is_about_one_record(Choice::Key), "{code}");
            assert!(!refusal(code).is_about_one_record(Choice::Nothing), "{code}");
        }
    }

    #[test]
    fn a_wrong_type_or_denied_key_is_the_records_fault_only_where_the_record_chose_the_key() {
        for code in ["WRONGTYPE", "NOPERM"] {
            assert!(refusal(code).is_about_one_record(Choice::Key), "{code}");
            assert!(!refusal(code).is_about_one_record(Choice::Nothing), "{code}");
        }
        assert!(!refusal("NOAUTH").is_about_one_record(Choice::Key));
    }

    #[test]
    fn a_denied_command_is_the_records_fault_only_where_the_record_chose_the_command() {
        let text = "User audit has no permissions to run the 'xadd' command";
        let refusal = Refusal::new("NOPERM", Some(text));
        assert!(!refusal.is_about_one_record(Choice::Key));
        assert!(refusal.is_about_one_record(Choice::Command));
    }

    #[test]
    fn read_only_and_auth_errors_drop_the_connection_and_out_of_memory_does_not() {
        assert!(Error::refused("x", &refusal("READONLY")).drops_connection);
        assert!(Error::refused("x", &refusal("NOAUTH")).drops_connection);
        assert!(!Error::refused("x", &refusal("OOM")).drops_connection);
    }

    #[test]
    fn an_error_has_the_code_of_the_refusal_that_it_is_about() {
        let wrapped = format!(
            "{}; grant what is missing: ACL SETUSER a",
            Error::refused("db1:6379 cannot be written to", &refusal("NOPERM"))
        );
        assert_eq!(Error::broken(Cause::Auth, wrapped).code(), Some("NOPERM"));
        assert_eq!(Error::broken(Cause::Lost, "connection to a:1 lost: end of file").code(), None);
    }

    #[test]
    fn arguments_that_the_server_repeats_are_cut_off() {
        let echo = "unknown command 'AUTH', with args beginning with: 'audit' 'hunter2'";
        assert_eq!(Refusal::new("ERR", Some(echo)).text, "ERR unknown command 'AUTH'");
    }

    #[test]
    fn an_exec_that_is_refused_itself_has_the_code_of_its_reason() {
        let reason = "Transaction discarded because of: NOPERM User a has no permissions to run the 'exec' command";
        let refusal = Refusal::new("EXECABORT", Some(reason));
        assert_eq!((refusal.cause(), refusal.forbidden_command()), (Cause::Auth, Some("exec")));
        let other = "Transaction discarded because of previous errors.";
        assert_eq!(Refusal::new("EXECABORT", Some(other)).code, "EXECABORT");
    }

    #[test]
    fn a_hostile_reply_cannot_break_a_log_line() {
        let hostile = Refusal::new("ERR", Some(&format!("a\nb\u{1b}[31m{}", "x".repeat(500))));
        assert!(!hostile.text.contains('\n') && !hostile.text.contains('\u{1b}'));
        assert!(hostile.text.chars().count() <= MAX_REPLY_CHARS + 3);
        assert_eq!(Refusal::new("ERR", Some("a\u{2028}b\u{202e}c\u{2066}ä")).text, "ERR a?b?c?ä");
    }
}
