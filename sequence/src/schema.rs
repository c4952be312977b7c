//! The names and limits of the audit record's members that a check looks at. The audit source writes
//! them; everything else in a record is left alone.
#![forbid(unsafe_code)]

/// The schema version that is checked.
pub const VERSION: u64 = 1;

/// The longest node id, in bytes; the run id of a server has 40.
pub const MAX_NODE_BYTES: usize = 64;

/// The longest value of any of these members, in bytes; what is longer is none of theirs.
pub const MAX_VALUE_BYTES: usize = 64;

/// A member of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// The schema version.
    Version,
    /// The run id of the audited server.
    Node,
    /// The number of the record in that run, from 1.
    Seq,
    /// When, RFC 3339, UTC.
    Ts,
    /// What kind of event.
    Event,
    /// Of a `lost` record: how many records the source could not hand over.
    LostCount,
    /// Of a `lost` record: the `seq` of the first of them.
    LostFirst,
    /// Of a `lost` record: the `seq` of the last of them.
    LostLast,
}

impl Member {
    /// All of them, with their names.
    pub const NAMES: [(&'static str, Member); 8] = [
        ("v", Member::Version),
        ("node", Member::Node),
        ("seq", Member::Seq),
        ("ts", Member::Ts),
        ("event", Member::Event),
        ("lost_count", Member::LostCount),
        ("lost_first", Member::LostFirst),
        ("lost_last", Member::LostLast),
    ];

    /// The longest of the names, in bytes.
    pub const MAX_NAME_BYTES: usize = 10;

    /// The member of that name, if it is looked at.
    #[inline]
    pub fn named(name: &[u8]) -> Option<Member> {
        // The plugin asks for each member of each record.
        match name {
            b"v" => Some(Self::Version),
            b"node" => Some(Self::Node),
            b"seq" => Some(Self::Seq),
            b"ts" => Some(Self::Ts),
            b"event" => Some(Self::Event),
            b"lost_count" => Some(Self::LostCount),
            b"lost_first" => Some(Self::LostFirst),
            b"lost_last" => Some(Self::LostLast),
            _ => None,
        }
    }
}

/// The value of `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A command succeeded.
    Success,
    /// A command failed.
    Failure,
    /// A command was rejected before it ran.
    Rejected,
    /// The access control list denied a command.
    AclDenied,
    /// The source started.
    Start,
    /// The source stopped.
    Stop,
    /// The source lives.
    Heartbeat,
    /// The source could not hand records over.
    Lost,
    /// Anything else, or nothing.
    Other,
}

impl Event {
    /// The name of the one that says what is missing.
    pub const LOST: &'static [u8] = b"lost";

    /// All of them with their names, in the order of a report.
    pub const NAMES: [(&'static str, Event); 9] = [
        ("success", Event::Success),
        ("failure", Event::Failure),
        ("rejected", Event::Rejected),
        ("acl_denied", Event::AclDenied),
        ("start", Event::Start),
        ("stop", Event::Stop),
        ("heartbeat", Event::Heartbeat),
        ("lost", Event::Lost),
        ("other", Event::Other),
    ];

    /// The event of that name.
    pub fn named(name: &[u8]) -> Event {
        Self::NAMES
            .into_iter()
            .find_map(|(known, event)| (known.as_bytes() == name).then_some(event))
            .unwrap_or(Event::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the tables themselves.
    #[test]
    fn every_name_is_found_and_none_is_longer_than_said() {
        let longest = Member::NAMES.iter().map(|(name, _)| name.len()).max();
        assert_eq!(longest, Some(Member::MAX_NAME_BYTES));
        for (name, member) in Member::NAMES {
            assert_eq!(Member::named(name.as_bytes()), Some(member));
        }
        for (name, event) in Event::NAMES {
            assert_eq!(Event::named(name.as_bytes()), event);
        }
        assert_eq!(Member::named(b"argv"), None);
        assert_eq!(Event::named(b"Success"), Event::Other);
        assert_eq!(Event::named(Event::LOST), Event::Lost);
    }
}
