//! Which commands are recorded: by user, by command or ACL category, by address. Each list has names to
//! include and, after `!`, names to exclude; without names to include all are included.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::net::IpAddr;

/// A list split into what it includes and what it excludes.
#[derive(Clone, Debug)]
struct Terms<T> {
    include: Vec<T>,
    exclude: Vec<T>,
}

impl<T> Default for Terms<T> {
    fn default() -> Self {
        Terms { include: Vec::new(), exclude: Vec::new() }
    }
}

impl<T> Terms<T> {
    fn parse(text: &str, term: impl Fn(&str) -> Option<T>) -> Option<Self> {
        let mut terms = Terms::default();
        for word in text.split_whitespace() {
            let (list, word) = match word.strip_prefix('!') {
                Some(word) => (&mut terms.exclude, word),
                None => (&mut terms.include, word),
            };
            list.push(term(word).filter(|_| !word.is_empty())?);
        }
        Some(terms)
    }

    fn includes(&self, is_match: impl Fn(&T) -> bool) -> bool {
        (self.include.is_empty() || self.include.iter().any(&is_match))
            && !self.exclude.iter().any(is_match)
    }
}

/// User names, compared as they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Terms<String>);

impl Names {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Terms::parse(text, |word| Some(word.to_owned())).map(Names)
    }

    /// A user that is not known cannot be excluded: better a record too many.
    pub(crate) fn includes(&self, user: Option<&[u8]>) -> bool {
        user.is_none_or(|user| self.0.includes(|name| name.as_bytes() == user))
    }
}

/// Commands and categories.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commands(Terms<CommandTerm>);

#[derive(Clone, Debug)]
enum CommandTerm {
    /// Lower case; `config` stands for all its subcommands, `config|set` for one.
    Name(String),
    /// The category, and its commands as far as they have been asked for.
    Category { name: String, commands: BTreeSet<String> },
}

impl CommandTerm {
    fn is_match(&self, command: &str) -> bool {
        match self {
            CommandTerm::Name(name) => {
                let rest = command.strip_prefix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
            }
            CommandTerm::Category { commands, .. } => commands.contains(command),
        }
    }
}

impl Commands {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let term = |word: &str| {
            let lower = word.to_ascii_lowercase();
            match lower.strip_prefix('@') {
                Some("") => None,
                Some(name) => {
                    Some(CommandTerm::Category { name: name.into(), commands: BTreeSet::new() })
                }
                None => Some(CommandTerm::Name(lower)),
            }
        };
        Terms::parse(text, term).map(Commands)
    }

    /// Asks for the commands of each category. Gives the first category that the server does not know.
    pub(crate) fn resolve(
        &mut self,
        commands_of: impl Fn(&str) -> Option<BTreeSet<String>>,
    ) -> Result<(), String> {
        for term in self.0.include.iter_mut().chain(&mut self.0.exclude) {
            if let CommandTerm::Category { name, commands } = term {
                *commands = commands_of(name).ok_or_else(|| name.clone())?;
            }
        }
        Ok(())
    }

    /// An unknown command, which has no name, cannot be excluded.
    pub(crate) fn includes(&self, command: Option<&str>) -> bool {
        command.is_none_or(|command| self.0.includes(|term| term.is_match(command)))
    }
}

/// Networks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses(Terms<Network>);

#[derive(Clone, Copy, Debug)]
enum Network {
    Unix,
    Ip { address: IpAddr, bits: u8 },
}

impl Network {
    fn parse(word: &str) -> Option<Self> {
        if word == "unix" {
            return Some(Network::Unix);
        }
        let (address, bits) = match word.split_once('/') {
            Some((address, bits)) => (address.parse::<IpAddr>().ok()?, bits.parse().ok()?),
            None => {
                let address = word.parse::<IpAddr>().ok()?;
                (address, longest(address))
            }
        };
        (bits <= longest(address)).then_some(Network::Ip { address, bits })
    }

    fn contains(self, origin: Origin) -> bool {
        match (self, origin) {
            (Network::Unix, Origin::Unix) => true,
            (Network::Ip { address: IpAddr::V4(net), bits }, Origin::Ip(IpAddr::V4(ip))) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (Network::Ip { address: IpAddr::V6(net), bits }, Origin::Ip(IpAddr::V6(ip))) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

fn longest(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Where a client is.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Unix,
    Ip(IpAddr),
}

impl Addresses {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Terms::parse(text, Network::parse).map(Addresses)
    }

    /// `addr` is as in the record. An address that cannot be read cannot be excluded.
    pub(crate) fn includes(&self, addr: &str) -> bool {
        let origin = match addr {
            "unix" => Some(Origin::Unix),
            addr => addr.rsplit_once(':').and_then(|(host, _)| {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                // An IPv4 client of a socket that takes both is one of IPv4.
                host.parse::<IpAddr>().ok().map(|ip| Origin::Ip(ip.to_canonical()))
            }),
        };
        origin.is_none_or(|origin| self.0.includes(|network| network.contains(origin)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the rule at the head of this file.
    #[test]
    fn users_are_included_and_excluded_by_name() {
        let verdicts = |text: &str| {
            let names = Names::parse(text).unwrap();
            [Some("alice"), Some("bob"), Some("Alice"), None]
                .map(|user| names.includes(user.map(str::as_bytes)))
        };
        assert_eq!(verdicts(""), [true; 4]);
        assert_eq!(verdicts("alice"), [true, false, false, true]);
        assert_eq!(verdicts("!alice"), [false, true, true, true]);
        assert_eq!(verdicts("alice bob !bob"), [true, false, false, true]);
    }

    // Oracle: two categories made up here.
    #[test]
    fn commands_are_included_by_name_container_and_category() {
        let verdicts = |text: &str| {
            let mut commands = Commands::parse(text).unwrap();
            let resolved = commands.resolve(|name| match name {
                "read" => Some(["get", "mget"].map(String::from).into()),
                "slow" => Some(["config|get"].map(String::from).into()),
                _ => None,
            });
            resolved.unwrap();
            [Some("get"), Some("set"), Some("config|get"), Some("config|set"), None]
                .map(|command| commands.includes(command))
        };
        assert_eq!(verdicts(""), [true; 5]);
        assert_eq!(verdicts("GET"), [true, false, false, false, true]);
        assert_eq!(verdicts("config"), [false, false, true, true, true]);
        assert_eq!(verdicts("config|set"), [false, false, false, true, true]);
        assert_eq!(verdicts("conf"), [false, false, false, false, true]);
        assert_eq!(verdicts("@read config !@slow"), [true, false, false, true, true]);
        assert_eq!(verdicts("!@READ"), [false, true, true, true, true]);
        let unknown = Commands::parse("@nonsense").unwrap().resolve(|_| None);
        assert_eq!(unknown, Err("nonsense".into()));
    }

    // Oracle: the networks' own arithmetic, read by hand.
    #[test]
    fn addresses_are_included_by_network() {
        let verdicts = |text: &str| {
            let addresses = Addresses::parse(text).unwrap();
            ["10.1.2.3:1", "192.168.0.9:1", "[fd00::1]:1", "[::ffff:10.1.2.3]:1", "unix", "?"]
                .map(|addr| addresses.includes(addr))
        };
        assert_eq!(verdicts(""), [true; 6]);
        assert_eq!(verdicts("10.0.0.0/8"), [true, false, false, true, false, true]);
        assert_eq!(verdicts("!10.1.2.3"), [false, true, true, false, true, true]);
        assert_eq!(verdicts("fd00::/8 unix"), [false, false, true, false, true, true]);
        assert_eq!(verdicts("0.0.0.0/0"), [true, true, false, true, false, true]);
        assert_eq!(verdicts("::/0 !unix"), [false, false, true, false, false, true]);
    }
}
