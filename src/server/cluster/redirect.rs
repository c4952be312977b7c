//! The error replies by which a node says that a slot is not, or not all, with it.
#![forbid(unsafe_code)]

use crate::error::Refusal;
use crate::params::Address;
use omvalkeyaudit_address::word;

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
        let target = || word::redirection(&refusal.text, asked);
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
    fn a_redirection_is_for_good_or_for_one_request() {
        let to = |host, port| Address::tcp(host, port).unwrap();
        assert_eq!(read("MOVED", "3999 b:6381"), Some(Redirect::Moved(to("b", 6381))));
        assert_eq!(read("MOVED", "3999 :6381"), Some(Redirect::Moved(to("10.0.0.9", 6381))));
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
