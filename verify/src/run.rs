//! A whole run: reads the streams that the options name into a check.
#![forbid(unsafe_code)]

use crate::checker::{Checker, Limits, Scope};
use crate::error::CannotCheck;
use crate::options::Options;
use crate::outcome::{Outcome, StreamRead};
use crate::progress::Progress;
use crate::sentinel::Sentinels;
use crate::server::Access;
use crate::servers::Servers;
use crate::stream::{self, Entry, Facts, Part, StreamId};

/// The field of a dead letter that holds the record.
const DEAD_RECORD: &str = "record";

/// Reads and checks.
///
/// # Errors
/// Why the check could not be made.
pub fn run(options: &Options) -> Result<Outcome, CannotCheck> {
    let access = Access::read(&options.login, &options.tls, options.timeout)?;
    if let Some(master) = &options.sentinel.master {
        let login = &options.sentinel.login;
        let sentinels = Sentinels::new(&options.servers, master, login, &access)?;
        let mut servers = Servers::with(sentinels.primary()?, &access);
        let primary = servers.named().clone();
        let ends = ends(&mut servers, options);
        return sentinels.vouch(&primary, ends.and_then(|ends| check(options, servers, ends)));
    }
    let mut whys = Vec::new();
    for server in &options.servers {
        let mut servers = Servers::new(server, &access);
        match ends(&mut servers, options) {
            Ok(facts) => return check(options, servers, facts),
            Err(why) => whys.push(why.to_string()),
        }
    }
    // The nodes of a cluster may all say the same.
    whys.dedup();
    Err(CannotCheck(whys.join("; ")))
}

/// What is added from now on is not read: a stream may grow faster than it is read. All ends are taken at once, because
/// what the end of one shows is looked for in the others.
fn ends(servers: &mut Servers<'_>, options: &Options) -> Result<Vec<Option<Facts>>, CannotCheck> {
    options.keys.iter().map(|key| stream::facts(servers, key)).collect()
}

/// Reads the streams up to their ends, of which some are known.
fn check(
    options: &Options,
    mut servers: Servers<'_>,
    ends: Vec<Option<Facts>>,
) -> Result<Outcome, CannotCheck> {
    require_streams(&servers, options, &ends)?;
    let limits = Limits { ranges: options.max_ranges, ..Limits::default() };
    let scope = Scope {
        nodes: options.nodes.clone(),
        is_from_start: options.is_from_start,
        expects_start: options.from.is_none(),
    };
    let mut checker = Checker::new(scope, limits);
    let mut progress = Progress::new(options.has_progress, options.is_quiet);
    let mut streams = Vec::new();
    for (key, facts) in options.keys.iter().zip(ends) {
        checker.begin_stream();
        let Some(facts) = facts else {
            streams.push(absent(&servers, key, false));
            continue;
        };
        let to = options.to.unwrap_or(StreamId::MAX).min(facts.last);
        let from = options.from.unwrap_or_default();
        let part = Part { key, from, to, field: &options.field };
        let read = read(&mut servers, part, facts, &mut progress, |entry| {
            let id = entry.id;
            checker.add(id, entry.into_record()).map_err(|full| CannotCheck(full.to_string()))
        })?;
        streams.push(read);
    }
    // Later than the streams, so that a record that is in neither was in neither at any time.
    for key in &options.dead_letters {
        checker.begin_dead_letter();
        let Some(facts) = stream::facts(&mut servers, key)? else {
            // The plugin makes it with the first dead letter.
            streams.push(absent(&servers, key, true));
            continue;
        };
        let part = Part { key, from: StreamId::default(), to: facts.last, field: DEAD_RECORD };
        let read = read(&mut servers, part, facts, &mut progress, |entry| {
            let reason = class_of(&entry.reason);
            let added = checker.add_dead(&reason, entry.into_dead_record());
            added.map_err(|full| CannotCheck(full.to_string()))
        })?;
        streams.push(StreamRead { is_dead_letter: true, ..read });
    }
    Ok(Outcome {
        server: servers.named().to_string(),
        streams,
        report: checker.finish(),
        is_strict: options.is_strict,
    })
}

/// Of shards some may not exist: no worker has begun them.
fn require_streams(
    servers: &Servers<'_>,
    options: &Options,
    ends: &[Option<Facts>],
) -> Result<(), CannotCheck> {
    let may_be_absent = options.shards.is_some() && ends.iter().any(Option::is_some);
    let mut found = options.keys.iter().zip(ends);
    match found.find(|(_, end)| end.is_none()) {
        Some((key, _)) if !may_be_absent => Err(CannotCheck(format!(
            "stream \"{key}\" does not exist in database {} of {}; check --key{} and --db",
            options.login.db,
            servers.home(key),
            if options.shards.is_some() { ", --shards" } else { "" },
        ))),
        _ => Ok(()),
    }
}

fn absent(servers: &Servers<'_>, key: &str, is_dead_letter: bool) -> StreamRead {
    let (key, server) = (key.to_owned(), servers.home(key).to_string());
    StreamRead { key, server, is_dead_letter, facts: None, entries: 0, ids: None }
}

fn read(
    servers: &mut Servers<'_>,
    part: Part<'_>,
    facts: Facts,
    progress: &mut Progress,
    mut each: impl FnMut(Entry) -> Result<(), CannotCheck>,
) -> Result<StreamRead, CannotCheck> {
    let mut read = StreamRead { facts: Some(facts), ..absent(servers, part.key, false) };
    if part.from <= part.to {
        servers.stay_with(part.key);
        stream::read(servers, part, |entry| {
            read.entries += 1;
            read.ids = Some((read.ids.map_or(entry.id, |(first, _)| first), entry.id));
            progress.step(part.key, read.entries, facts.length);
            each(entry)
        })?;
    }
    progress.end(part.key, read.entries);
    // Its slot may have moved meanwhile.
    read.server = servers.home(part.key).to_string();
    Ok(read)
}

/// Reasons that differ in numbers only are of one class; what could fool a terminal is escaped.
fn class_of(reason: &str) -> String {
    let mut class = String::with_capacity(reason.len());
    let mut was_digit = false;
    for letter in reason.escape_debug() {
        let is_digit = letter.is_ascii_digit();
        if !is_digit {
            class.push(letter);
        } else if !was_digit {
            class.push('N');
        }
        was_digit = is_digit;
    }
    if class.is_empty() { "no reason".to_owned() } else { class }
}

#[cfg(test)]
mod tests {
    use super::class_of;

    // Oracle: the classes worked out by hand.
    #[test]
    fn reasons_that_differ_in_numbers_are_of_one_class() {
        assert_eq!(class_of("record has 70 bytes, 8 allowed"), "record has N bytes, N allowed");
        assert_eq!(class_of("bad \u{1b}[m"), "bad \\u{Nb}[m");
        assert_eq!(class_of(""), "no reason");
    }
}
