//! What is to be known about a command by its name alone, kept from one event to the next.
#![forbid(unsafe_code)]

use crate::redact::{Rule, rule_of};
use crate::settings::{Class, Settings};

/// What a command changes about its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    /// The user, the database or the transaction: the server has to be asked again.
    Client,
    /// Users as such: everybody has to be asked for again.
    Everybody,
}

/// A command that was met.
#[derive(Debug)]
pub(crate) struct Command {
    name: Box<[u8]>,
    pub(crate) rule: Rule,
    pub(crate) effect: Effect,
    /// It is recorded whatever the filters say.
    pub(crate) is_always: bool,
    /// It belongs to those that `always` can name: its arguments are no payload.
    pub(crate) is_administrative: bool,
    /// The command filter lets it pass.
    pub(crate) is_included: bool,
    /// How many of the first arguments are the command's name.
    pub(crate) name_words: usize,
}

impl Command {
    fn new(name: &[u8], settings: &Settings) -> Self {
        let text = String::from_utf8_lossy(name);
        let class = class(&text);
        Command {
            name: name.into(),
            rule: rule_of(&text),
            effect: effect(&text),
            is_always: class.is_some_and(|class| settings.has_always(class)),
            is_administrative: class.is_some(),
            is_included: settings.commands.includes(Some(&text)),
            name_words: if text.contains('|') { 2 } else { 1 },
        }
    }

    /// A command that does not exist.
    fn unknown() -> Self {
        Command {
            name: Box::default(),
            rule: Rule::Unknown,
            effect: Effect::None,
            is_always: false,
            is_administrative: false,
            is_included: true,
            name_words: 1,
        }
    }
}

fn class(name: &str) -> Option<Class> {
    match name {
        "auth" | "hello" | "reset" => Some(Class::Auth),
        "config|set" | "config|rewrite" | "config|resetstat" => Some(Class::Config),
        "module|load" | "module|loadex" | "module|unload" => Some(Class::Config),
        name if name.starts_with("acl|") => Some(Class::Acl),
        _ => None,
    }
}

fn effect(name: &str) -> Effect {
    match name {
        "auth" | "hello" | "reset" | "select" | "multi" | "exec" | "discard" => Effect::Client,
        "acl|setuser" | "acl|deluser" | "acl|load" => Effect::Everybody,
        // A module's command may log its client in or change its database.
        name if name.contains('.') => Effect::Client,
        _ => Effect::None,
    }
}

/// More than there are commands; two that share a place take turns in it.
const PLACES: usize = 1024;

/// The commands that were met.
#[derive(Debug)]
pub(crate) struct KnownCommands {
    places: Vec<Option<Box<Command>>>,
    unknown: Command,
}

impl KnownCommands {
    pub(crate) fn new() -> Self {
        KnownCommands { places: (0..PLACES).map(|_| None).collect(), unknown: Command::unknown() }
    }

    /// What is known about a command; `None` stands for one that does not exist.
    pub(crate) fn get(&mut self, name: Option<&[u8]>, settings: &Settings) -> &Command {
        let Some(name) = name else { return &self.unknown };
        let Some(place) = self.places.get_mut(place(name)) else { return &self.unknown };
        if place.as_ref().is_none_or(|command| *command.name != *name) {
            *place = None;
        }
        place.get_or_insert_with(|| Box::new(Command::new(name, settings)))
    }

    /// Forgets all verdicts: the settings have changed.
    pub(crate) fn clear(&mut self) {
        self.places.fill_with(|| None);
    }
}

/// A place for a name: its first and last bytes and its length make the names of one server differ.
fn place(name: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let (first, last) = (word(name.first_chunk()), word(name.last_chunk()));
    let short = name.iter().take(3).fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    let mixed = u64::from(first ^ last.rotate_left(11) ^ short.rotate_left(19))
        .wrapping_add(name.len() as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 54).unwrap_or(0) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the names themselves, asked for in turns.
    #[test]
    fn no_command_is_taken_for_another() {
        let settings = Settings::new();
        let mut known = KnownCommands::new();
        let names = ["get", "set", "config|set", "config|get", "acl|setuser", "a.b", "", "sset"];
        for _ in 0..3 {
            for name in names {
                let command = known.get(Some(name.as_bytes()), &settings);
                assert_eq!((&*command.name, command.rule), (name.as_bytes(), rule_of(name)));
            }
            assert_eq!(known.get(None, &settings).rule, Rule::Unknown);
        }
    }

    // Oracle: the parameter `always`.
    #[test]
    fn administrative_commands_are_always_recorded_unless_that_is_switched_off() {
        let mut settings = Settings::new();
        settings.set("commands", "get").unwrap();
        let verdicts = |settings: &Settings| {
            let mut known = KnownCommands::new();
            ["auth", "acl|setuser", "config|set", "module|unload", "set", "get"].map(|name| {
                let command = known.get(Some(name.as_bytes()), settings);
                command.is_always || command.is_included
            })
        };
        assert_eq!(verdicts(&settings), [true, true, true, true, false, true]);
        settings.set("always", "acl").unwrap();
        assert_eq!(verdicts(&settings), [false, true, false, false, false, true]);
    }
}
