//! Redaction: which arguments of a command are shown. It happens before anything leaves the callback, and
//! rather hides too much.
#![forbid(unsafe_code)]

mod table;
#[cfg(test)]
mod tests;

pub(crate) use table::{Rule, TABLE, rule_of};

use crate::event::Arguments;
use table::{ACL_PREFIXES, ACL_WORDS, HARMLESS_NAMES, SECRET_NAMES, SECRET_WORDS};

/// What stands in the place of a secret.
pub(crate) const REDACTED: &str = "(redacted)";
/// What stands in the place of an argument that `auditsource.payload` leaves out.
pub(crate) const OMITTED: &str = "(omitted)";

/// How an argument is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Whole,
    /// One byte and then [`REDACTED`].
    Head,
    Redacted,
    Omitted,
}

/// Marks the arguments that are secrets; `shown` has one place for each that will be shown at all.
/// `is_settled` says that the command succeeded, so that its arguments were what they look like.
pub(crate) fn mark(
    rule: Rule,
    args: &(impl Arguments + ?Sized),
    is_settled: bool,
    shown: &mut [Shown],
) {
    Marker { args, at: 0, is_settled, shown }.mark(rule);
}

struct Marker<'a, A: ?Sized> {
    args: &'a A,
    /// Where the command's name stands: inside another command's arguments not at 0.
    at: usize,
    is_settled: bool,
    shown: &'a mut [Shown],
}

impl<A: Arguments + ?Sized> Marker<'_, A> {
    fn mark(&mut self, rule: Rule) {
        match rule {
            Rule::Plain => {}
            Rule::Auth => match self.count() {
                3 => self.hide_from(2),
                _ => self.hide_from(1),
            },
            Rule::Hello => self.hello(),
            Rule::AclSetuser => self.acl_rules(3),
            Rule::ConfigSet => {
                if self.is_settled && self.count().is_multiple_of(2) {
                    self.pairs(2);
                } else {
                    self.hide_from(3);
                }
            }
            Rule::Migrate => self.migrate(),
            Rule::Pairs(from) => self.pairs(from),
            Rule::ModuleLoadex => self.module_loadex(),
            Rule::From(from) => self.hide_from(from),
            Rule::Script(body) => self.script(body),
            Rule::Carrier(from) => self.carrier(from),
            Rule::Unknown => self.unknown(),
        }
    }

    /// The number of arguments, the command's name included.
    fn count(&self) -> usize {
        self.args.count().saturating_sub(self.at)
    }

    fn get(&self, index: usize) -> &[u8] {
        self.args.get(self.at + index)
    }

    fn is(&self, index: usize, word: &str) -> bool {
        self.get(index).eq_ignore_ascii_case(word.as_bytes())
    }

    fn set(&mut self, index: usize, shown: Shown) {
        if let Some(place) = self.shown.get_mut(self.at + index) {
            *place = shown;
        }
    }

    fn hide(&mut self, index: usize) {
        self.set(index, Shown::Redacted);
    }

    fn hide_from(&mut self, index: usize) {
        if let Some(rest) = self.shown.get_mut(self.at + index..) {
            rest.fill(Shown::Redacted);
        }
    }

    fn hello(&mut self) {
        let is_version = self.get(1).iter().all(u8::is_ascii_digit);
        let mut index = if is_version { 2 } else { 1 };
        while index < self.count() {
            if self.is(index, "auth") && index + 2 < self.count() {
                self.hide(index + 2);
                index += 3;
            } else if self.is(index, "setname") && index + 1 < self.count() {
                index += 2;
            } else {
                return self.hide_from(index);
            }
        }
    }

    fn acl_rules(&mut self, from: usize) {
        for index in from..self.count().min(self.shown.len()) {
            let rule = self.get(index);
            let shown = match rule.first() {
                Some(b'>' | b'<' | b'#' | b'!') => Shown::Head,
                _ if is_acl_rule(rule) => Shown::Whole,
                _ => Shown::Redacted,
            };
            self.set(index, shown);
        }
    }

    fn pairs(&mut self, from: usize) {
        for index in (from..self.count().min(self.shown.len())).step_by(2) {
            if is_secret_name(self.get(index)) {
                self.hide(index + 1);
            }
        }
    }

    fn migrate(&mut self) {
        let mut index = 6;
        while index < self.count() {
            if self.is(index, "keys") {
                return;
            }
            if self.is(index, "auth") {
                self.hide(index + 1);
                index += 2;
            } else if self.is(index, "auth2") {
                self.hide(index + 2);
                index += 3;
            } else if self.is(index, "copy") || self.is(index, "replace") {
                index += 1;
            } else {
                return self.hide_from(index);
            }
        }
    }

    fn module_loadex(&mut self) {
        let mut index = 3;
        while index < self.count() {
            if !self.is(index, "config") {
                return self.hide_from(index);
            }
            if is_secret_name(self.get(index + 1)) {
                self.hide(index + 2);
            }
            index += 3;
        }
    }

    fn script(&mut self, body: usize) {
        // FUNCTION LOAD may have REPLACE in front of the text; no option mentions a secret.
        for index in [body, body + 1] {
            if mentions_secret(self.get(index)) {
                self.hide(index);
            }
        }
        self.carrier(body + 1);
    }

    fn carrier(&mut self, from: usize) {
        for index in from..self.count().min(self.shown.len()) {
            if let Some(rule) = self.carried(index) {
                let at = self.at + index;
                // Whether the inner command succeeded is not known.
                Marker { args: self.args, at, is_settled: false, shown: &mut *self.shown }
                    .mark(rule);
                return;
            }
        }
    }

    /// The rule of the command whose name stands at `index`, if one does.
    fn carried(&self, index: usize) -> Option<Rule> {
        let is_command = |name: &str| match name.split_once('|') {
            Some((container, sub)) => self.is(index, container) && self.is(index + 1, sub),
            None => self.is(index, name),
        };
        TABLE.iter().find(|(name, _)| is_command(name)).map(|(_, rule)| *rule)
    }

    fn unknown(&mut self) {
        if !is_command_word(self.get(0)) {
            self.hide(0);
        }
        self.hide_from(1);
    }
}

fn is_acl_rule(rule: &[u8]) -> bool {
    let Ok(rule) = std::str::from_utf8(rule) else { return false };
    let is_rule = |rule: &str| {
        let lower = rule.to_ascii_lowercase();
        ACL_WORDS.contains(&lower.as_str())
            || ACL_PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
    };
    // A selector is a list of rules in brackets, in one argument or spread over several.
    if rule.starts_with('(') || rule.ends_with(')') {
        return rule.trim_matches(['(', ')']).split_whitespace().all(is_rule);
    }
    is_rule(rule)
}

fn is_secret_name(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    !HARMLESS_NAMES.contains(&name.as_str()) && SECRET_NAMES.iter().any(|word| name.contains(word))
}

/// The bytes that a secret word begins with, in either case: scripts are long, and most bytes are others.
const BEGINNINGS: [bool; 256] = beginnings();

#[expect(clippy::indexing_slicing, reason = "at compile time")]
const fn beginnings() -> [bool; 256] {
    let mut beginnings = [false; 256];
    let mut index = 0;
    while index < SECRET_WORDS.len() {
        let first = SECRET_WORDS[index].as_bytes()[0];
        beginnings[first.to_ascii_lowercase() as usize] = true;
        beginnings[first.to_ascii_uppercase() as usize] = true;
        index += 1;
    }
    beginnings
}

fn mentions_secret(text: &[u8]) -> bool {
    let begins = |rest: &[u8], word: &str| {
        rest.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()))
    };
    let is_beginning = |byte: u8| BEGINNINGS.get(usize::from(byte)).copied().unwrap_or(true);
    text.iter().enumerate().filter(|(_, byte)| is_beginning(**byte)).any(|(at, _)| {
        let rest = text.get(at..).unwrap_or_default();
        SECRET_WORDS.iter().any(|word| begins(rest, word))
    })
}

/// Whether a name that is no command's could be meant as one. What is typed into a console by mistake may
/// be a password: digits and most signs do not occur in commands' names.
fn is_command_word(name: &[u8]) -> bool {
    const LONGEST: usize = 24;
    let begins_with_auth = name.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case(b"auth"));
    name.len() <= LONGEST
        && name.iter().all(|byte| byte.is_ascii_alphabetic() || b"._-".contains(byte))
        && !(begins_with_auth && name.len() > 4)
}

/// The text of a rejection without what it repeats of the command: the server echoes the arguments of an
/// unknown command, and a later one may echo others'.
pub(crate) fn clean_context<'a>(
    context: &'a [u8],
    is_unknown: bool,
    args: &(impl Arguments + ?Sized),
    shown: &[Shown],
) -> &'a [u8] {
    let context = context.trim_ascii();
    if is_unknown {
        // Up to the first quotation mark: what follows is the client's.
        let end = context.iter().position(|byte| *byte == b'\'').unwrap_or(context.len());
        return context.get(..end).unwrap_or_default().trim_ascii();
    }
    let is_echoed = |(index, shown): (usize, &Shown)| {
        let arg = args.get(index);
        *shown != Shown::Whole
            && !arg.is_empty()
            && context.windows(arg.len()).any(|window| window == arg)
    };
    if shown.iter().enumerate().any(is_echoed) { REDACTED.as_bytes() } else { context }
}
