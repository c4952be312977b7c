//! From the values in rsyslog.conf to checked settings. Every complaint is a sentence that names the
//! parameter, the value and what is allowed.
#![forbid(unsafe_code)]

mod durability;
mod place;
mod settings;
mod slot;
mod store;
mod table;
mod tls;

pub use durability::{Durability, Fsync};
pub use omvalkeyaudit_address::Address;
pub use settings::{Batch, Login, MESSAGE_TEMPLATE, Retries, Secret, Settings, Timeouts, Topology};
pub use slot::{SLOTS, Slot, number_in, slot_of};
pub use store::{Key, Layout, Mode, Origin, RecordFormat, Retention, Store, Trim};
pub use table::{Kind, Parameter, TABLE, find};
pub use tls::Tls;

use crate::error::printable;
use omvalkeyaudit_address::is_url;
use settings::size;
use std::collections::HashMap;

/// The values an action was given, by parameter name.
#[derive(Default)]
pub struct Values(HashMap<&'static str, Vec<Vec<u8>>>);

/// The longest part of a wrong value that is repeated in a complaint, in characters.
const MAX_VALUE_CHARS: usize = 80;

impl Values {
    /// Adds a value; a list has one call for each element. Unknown names are the core's business.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        if let Some(parameter) = find(name) {
            self.0.entry(parameter.name).or_default().push(value.to_vec());
        }
    }

    /// True when the configuration gives the parameter.
    fn is_given(&self, name: &str) -> bool {
        self.count(name) > 0
    }

    /// How many values the configuration gives; a list may have several.
    fn count(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, Vec::len)
    }
}

/// Reads values by their declaration and collects what is wrong with them.
struct Reader<'a> {
    values: &'a Values,
    complaints: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(values: &'a Values) -> Self {
        Self { values, complaints: Vec::new() }
    }

    /// Says what is wrong with the value of `name`.
    fn complain(&mut self, name: &str, value: &str, allowed: &str) {
        // Who writes a server as a URL may have written the password into it.
        let is_secret = match find(name).map(|parameter| parameter.kind) {
            Some(Kind::Secret) => true,
            Some(Kind::List) => is_url(value),
            _ => false,
        };
        let shown = if is_secret { "***".to_owned() } else { printable(value, MAX_VALUE_CHARS) };
        self.complaints.push(format!(
            "parameter \"{name}\" has the value \"{shown}\", but it must be {allowed}"
        ));
    }

    /// All values of `name`, or its default; wrong text encodings are complained about.
    fn texts(&mut self, name: &str) -> Vec<String> {
        let Some(parameter) = find(name) else {
            self.complaints.push(format!("parameter \"{name}\" is not declared"));
            return Vec::new();
        };
        let Some(given) = self.values.0.get(name) else {
            return parameter.default.map(str::to_owned).into_iter().collect();
        };
        let mut texts = Vec::with_capacity(given.len());
        for value in given {
            match std::str::from_utf8(value) {
                Ok(text) if !text.is_empty() && !text.contains('\0') => texts.push(text.to_owned()),
                _ => {
                    let shown = String::from_utf8_lossy(value).into_owned();
                    self.complain(name, &shown, &parameter.kind.allowed());
                }
            }
        }
        texts
    }

    /// The one value of `name`, or its default.
    fn text(&mut self, name: &str) -> Option<String> {
        self.texts(name).into_iter().next()
    }

    fn is_on(&mut self, name: &str) -> bool {
        match self.text(name).as_deref() {
            Some("on") => true,
            Some("off") | None => false,
            Some(other) => {
                self.complain(name, other, &Kind::Switch.allowed());
                false
            }
        }
    }

    /// One of the declared words.
    fn choice(&mut self, name: &str) -> String {
        let value = self.text(name).unwrap_or_default();
        if let Some(Parameter { kind: kind @ Kind::Choice(words), .. }) = find(name)
            && !words.contains(&value.as_str())
            && !value.is_empty()
        {
            self.complain(name, &value, &kind.allowed());
        }
        value
    }

    /// A number in the declared range, in the declared unit.
    fn number(&mut self, name: &str) -> u64 {
        let Some(value) = self.text(name) else { return 0 };
        let Some(parameter) = find(name) else { return 0 };
        let (number, low, high) = match parameter.kind {
            Kind::Bytes(low, high) => (parse_bytes(&value), low, high),
            Kind::Count(low, high) | Kind::Milliseconds(low, high) | Kind::Seconds(low, high) => {
                (parse_digits(&value), low, high)
            }
            Kind::Text | Kind::Secret | Kind::List | Kind::Switch | Kind::Choice(_) => (None, 0, 0),
        };
        match number {
            Some(number) if (low..=high).contains(&number) => number,
            _ => {
                self.complain(name, &value, &parameter.kind.allowed());
                low
            }
        }
    }
}

/// Decimal digits only: no sign, no blanks.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Digits and perhaps one of k, m, g (times 1024), as rsyslog writes sizes.
fn parse_bytes(text: &str) -> Option<u64> {
    let shift = match text.as_bytes().last()? {
        b'k' | b'K' => 10,
        b'm' | b'M' => 20,
        b'g' | b'G' => 30,
        _ => return parse_digits(text),
    };
    let number = parse_digits(text.get(..text.len() - 1)?)?;
    number.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests;
