//! The error replies by which a node says that a slot is not, or not all, with it.
#![forbid(unsafe_code)]

use super::announced;
use crate::error::Refusal;
use crate::params::Address;

/// What a redirection says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redirect {
    /// The slot is another node's.
    Moved(Address),
    /// This key is with another node already, on the way of its slot there.
    Ask(Address),
    /// Some keys are on their way, or no node has the slot for now.
    Later,
}

impl Redirect {
    /// Reads an error reply of `asked`; nothing where it is another one.
    pub fn read(refusal: &Refusal, asked: &Address) -> Option<Self> {
        let target = || {
            // MOVED 3999 127.0.0.1:6381
            let (host, port) = refusal.text.split_ascii_whitespace().nth(2)?.rsplit_once(':')?;
            announced(host, port.parse().ok().filter(|port| *port > 0)?, asked)
        };
        match refusal.code.as_str() {
            "MOVED" => Some(target().map_or(Self::Later, Self::Moved)),
            "ASK" => Some(target().map_or(Self::Later, Self::Ask)),
            _ if refusal.is_redirection() => Some(Self::Later),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(code: &str, detail: &str) -> Option<Redirect> {
        let asked = Address::tcp("10.0.0.9", 7000).unwrap();
        Redirect::read(&Refusal::new(code, Some(detail)), &asked)
    }

    #[test]
    fn a_redirection_names_a_node_by_number_by_name_or_by_port_alone() {
        let to = |host, port| Address::tcp(host, port).unwrap();
        let moved = |detail| read("MOVED", detail);
        assert_eq!(moved("3999 127.0.0.1:6381"), Some(Redirect::Moved(to("127.0.0.1", 6381))));
        assert_eq!(moved("3999 ::1:6381"), Some(Redirect::Moved(to("::1", 6381))));
        assert_eq!(
            moved("3999 db1.example.org:6381"),
            Some(Redirect::Moved(to("db1.example.org", 6381)))
        );
        assert_eq!(moved("3999 :6381"), Some(Redirect::Moved(to("10.0.0.9", 6381))));
        assert_eq!(read("ASK", "1 a:2"), Some(Redirect::Ask(to("a", 2))));
    }

    #[test]
    fn what_names_no_node_is_tried_again_later_and_other_errors_are_no_redirection() {
        for (code, detail) in [
            ("MOVED", ""),
            ("MOVED", "3999"),
            ("MOVED", "3999 a"),
            ("MOVED", "3999 a:0"),
            ("ASK", "3999 a b:x"),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot"),
            ("CLUSTERDOWN", "Hash slot not served"),
        ] {
            assert_eq!(read(code, detail), Some(Redirect::Later), "{code} {detail}");
        }
        assert_eq!(read("READONLY", "x"), None);
        assert_eq!(read("ERR", "MOVED 1 a:1"), None);
    }
}
