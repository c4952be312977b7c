//! What servers say about where another one is, and about what they are themselves. Takes the words of their
//! replies, which each caller reads in its own way.
#![forbid(unsafe_code)]

use crate::Address;

/// The primary that a sentinel names (`SENTINEL get-master-addr-by-name`).
///
/// # Errors
/// What is not there, as the end of a sentence.
pub fn primary(host: &str, port: &str) -> Result<Address, &'static str> {
    let port = read_port(port).ok_or("no host and port")?;
    Address::tcp(host, port).map_err(|_| "no host")
}

/// Whether the first word of a server's ROLE contradicts who calls it a primary.
pub fn is_no_primary(role: &str) -> bool {
    ["slave", "replica", "sentinel"].contains(&role)
}

/// The node that an error reply of `asked` redirects to: `MOVED 3999 127.0.0.1:6381`, or `ASK`.
pub fn redirection(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.split_ascii_whitespace().nth(2)?.rsplit_once(':')?;
    node(host, read_port(port)?, asked)
}

/// A node of a cluster, as `asked` announces it: without a host it is that one's own.
pub fn node(host: &str, port: u16, asked: &Address) -> Option<Address> {
    match (host, asked) {
        ("", Address::Tcp { host, .. }) => Address::tcp(host, port).ok(),
        ("", Address::Unix(_)) => None,
        _ => Address::tcp(host, port).ok(),
    }
}

fn read_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Address {
        Address::tcp("10.0.0.9", 7000).unwrap()
    }

    // Oracle: the address as one would write it.
    #[test]
    fn a_primary_is_named_by_number_of_either_kind_or_by_name() {
        for (host, shown) in [
            ("10.0.0.1", "10.0.0.1:6379"),
            ("::1", "[::1]:6379"),
            ("db1.example.org", "db1.example.org:6379"),
        ] {
            assert_eq!(primary(host, "6379").map(|a| a.to_string()).as_deref(), Ok(shown));
        }
        for (host, port, why) in [
            ("a", "0", "no host and port"),
            ("a", "65536", "no host and port"),
            ("a", "", "no host and port"),
            ("", "6379", "no host"),
            ("a\nb", "6379", "no host"),
        ] {
            assert_eq!(primary(host, port), Err(why), "{host:?} {port:?}");
        }
    }

    // Oracle: the node as one would write it.
    #[test]
    fn a_redirection_names_a_node_by_number_by_name_or_by_port_alone() {
        for (text, node) in [
            ("MOVED 3999 127.0.0.1:6381", "127.0.0.1:6381"),
            ("MOVED 3999 ::1:6381", "[::1]:6381"),
            ("MOVED 3999 db1.example.org:6381", "db1.example.org:6381"),
            ("MOVED 3999 :6381", "10.0.0.9:6381"),
            ("ASK 1 a:2", "a:2"),
        ] {
            let found = redirection(text, &asked()).map(|node| node.to_string());
            assert_eq!(found.as_deref(), Some(node), "{text}");
        }
    }

    // Oracle: nothing that could be followed.
    #[test]
    fn what_names_no_node_is_none() {
        for text in ["MOVED", "MOVED 1", "MOVED 1 a", "MOVED 1 ?:1", "MOVED 1 a:0", "ASK 1 a b:x"] {
            assert_eq!(redirection(text, &asked()), None, "{text}");
        }
        assert_eq!(redirection("MOVED 1 :1", &Address::unix("/s").unwrap()), None);
    }
}
