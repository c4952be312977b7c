//! What a worker does about what earlier ones have left: commits held records, looks flushes in doubt
//! up, and recognises records that the core brings back although they are settled.
//! docs/architecture.md says why.
#![forbid(unsafe_code)]

use super::batch::Encoded;
use super::{AtStop, Link, Record, Severity, Worker};
use crate::commands::Marker;
use crate::error::{Cause, Error};
use crate::hold::{
    Doubt, Held, Hold, Notes, Opened, Past, Records, StillInDoubt, Taken, UnixSeconds,
};
use crate::params::{Key, Retries};
use crate::record::Texts;
use crate::server::{Connect, Deadline};
use crate::stats::Counter;
use crate::transaction::{Address, Fate, Fingerprint, InDoubt, Kept, Limits, Part, Transaction};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What was held is at most one flush already.
const NO_LIMITS: Limits = Limits { records: usize::MAX, bytes: usize::MAX };

/// The end of the year 9999: the last that can be written as a date.
const LAST_SECOND: UnixSeconds = 253_402_300_799;

impl<C: Connect> Worker<'_, C> {
    /// Opens the hold file. The first worker of the action says what it found, and what is wrong: it
    /// runs as the user that rsyslogd drops its privileges to.
    pub(super) fn open_hold(&self) {
        let is_silent = self.action.is_hold_reported.swap(true, Ordering::Relaxed);
        let (severity, text) = match (&self.action.hold, self.action.at_stop) {
            (None, AtStop::Requeues) => return,
            (None, AtStop::Drops) => (
                Severity::Warning,
                "holdfile is not set, so this rsyslogd loses the batch at hand when it is stopped \
                 while the server is away; give the action a holdfile"
                    .to_owned(),
            ),
            (Some(hold), _) => match hold.open(now()) {
                Ok(None) => return,
                Ok(Some(opened)) => {
                    self.report_opened(hold, &opened);
                    return;
                }
                Err(why) => (Severity::Error, self.unusable(&why)),
            },
        };
        if !is_silent {
            self.report.line(severity, &text);
        }
    }

    fn unusable(&self, why: &str) -> String {
        let follows = match self.action.at_stop {
            AtStop::Drops => "what is not committed when rsyslogd stops will be lost",
            AtStop::Requeues => "what is at hand when rsyslogd stops may be written twice",
        };
        format!(
            "{why}; {follows}: name a file in a folder that its user can write to, one for each action"
        )
    }

    fn report_opened(&self, hold: &Hold, opened: &Opened) {
        let path = hold.path().display();
        if let Some(aside) = &opened.set_aside {
            let text = format!(
                "hold file \"{path}\" is damaged; its sound part is used, the rest is kept in \"{}\"",
                aside.display()
            );
            self.report.line(Severity::Error, &text);
        }
        if opened.records > 0 {
            self.action.stats.add_len(Counter::Held, opened.records);
            let text =
                format!("held records come first, count: {}, file: \"{path}\"", opened.records);
            self.report.line(Severity::Info, &text);
        }
    }

    pub(super) fn fingerprint_of(&self, seed: u64, kept: &Kept<Record>) -> u64 {
        self.fingerprint(seed, &self.batch.texts(&kept.payload))
    }

    /// True when there is nothing from before to care for.
    pub(super) fn has_no_past(&self) -> bool {
        self.is_for_past || self.action.hold.as_ref().is_none_or(Hold::is_idle)
    }

    /// Commits held records and looks up what was in doubt when it was left, before anything of this
    /// worker's own.
    pub(super) fn settle_past(&mut self, deadline: Deadline) -> Result<(), Error> {
        let action = Arc::clone(&self.action);
        let hold = action.hold.as_ref().filter(|_| !self.is_for_past);
        if let Some(hold) = hold
            && let Ok(Some(opened)) = hold.try_open(now())
        {
            // What was in its way when the first worker told of it is over.
            self.report_opened(hold, &opened);
        }
        if self.has_no_past() {
            return Ok(());
        }
        let (mut count, mut since) = (0, None);
        while let Some(taken) = take_past(hold, deadline)? {
            match taken.past().clone() {
                Past::Records(records) => {
                    count += self.commit_held(taken, &records, deadline)?;
                    since.get_or_insert(records.time);
                }
                Past::Notes(notes) => {
                    let unsettled = self.look_up_notes(&notes, deadline)?;
                    taken.looked_up(|place| !unsettled.contains(&place));
                }
            }
        }
        if let Some(since) = since {
            let since = UNIX_EPOCH + Duration::from_secs(since.min(LAST_SECOND));
            let since = humantime::format_rfc3339_seconds(since);
            let text = format!("held records committed, count: {count}, held since: {since}");
            self.report.line(Severity::Info, &text);
        }
        Ok(())
    }

    /// Commits one held flush, and returns how many records that settled. Its marker is named after its
    /// id, so that whoever comes after a crash finds out whether this has been done; and it is of the
    /// kind that every worker's flushes have, so that an EXEC that is still on its way, of whatever
    /// process, does nothing any more.
    ///
    /// What the marker does not tell, which records the server has refused, is written down: those that
    /// are left get an id, and with that a marker, of their own.
    fn commit_held(
        &mut self,
        taken: Taken<'_>,
        held: &Records,
        deadline: Deadline,
    ) -> Result<usize, Error> {
        let mut past = self.for_past(held.id);
        for (place, held) in held.records.iter().enumerate() {
            past.take_held(place, held);
        }
        let result = past.commit_once(held.doubt.as_ref(), deadline);
        let (all, left) = (held.records.len(), past.unsettled());
        if left == 0 {
            taken.committed();
        } else if (left < all || result.is_ok() || past.is_marker_misleading)
            && let Err(error) = taken.replaced_by(past.held_frames(Some(held.id)))
        {
            let what = format!("cannot write to the hold file: {error}");
            return Err(Error { cause: Cause::Busy, what, drops_connection: false });
        }
        result.map(|()| all - left)
    }

    fn commit_once(&mut self, doubt: Option<&Doubt>, deadline: Deadline) -> Result<(), Error> {
        if let Some(doubt) = doubt {
            self.look_up_doubt(doubt, deadline)?;
        }
        if self.unsettled() > 0 {
            self.take_over(deadline)?;
        }
        self.flush_all(deadline)
    }

    /// The places of the notes whose records turn out not to be settled.
    fn look_up_notes(&mut self, notes: &Notes, deadline: Deadline) -> Result<Vec<usize>, Error> {
        let Some(doubt) = &notes.doubt else { return Ok(Vec::new()) };
        let mut past = self.for_past(notes.id);
        for (place, note) in notes.notes.iter().enumerate() {
            past.take_shard(&note.key);
            let letter = note.is_letter.then(Box::default);
            let texts = Texts { record: &place.to_be_bytes(), key: &note.key, ..Texts::default() };
            let encoded = Encoded { letter, ..Encoded::default() };
            let payload = past.batch.push(&texts, &[], encoded, None);
            let part = past.part_of_record(&payload);
            past.transaction.keep(Address(place), Fingerprint(0), part, 0, payload);
        }
        past.look_up_doubt(doubt, deadline)?;
        let places = past.transaction.kept().iter().map(|kept| past.batch.record(&kept.payload));
        Ok(places.filter_map(|place| Some(usize::from_be_bytes(place.try_into().ok()?))).collect())
    }

    /// Whether more is known of held records than a later look-up of their markers would find out. That is
    /// written down before anything else is done about them.
    pub(super) fn must_write_down(&self) -> bool {
        self.is_for_past && self.is_marker_misleading
    }

    /// A worker under an earlier one's id, on a connection of its own. It is dropped when it is done, or
    /// fails; then the next one finds out again how far it came.
    fn for_past(&self, id: u128) -> Self {
        let (action, servers) = (Arc::clone(&self.action), Arc::clone(&self.servers));
        let mut past = Self::bare(action, self.report.log(), servers, id);
        past.transaction = Transaction::new(NO_LIMITS, Retries::Forever);
        past.is_for_past = true;
        past
    }

    fn take_held(&mut self, place: usize, held: &Held) {
        let texts = held.texts();
        self.take_shard(texts.key);
        let encoded = self.encode(&texts, held.letter.as_ref());
        let payload = self.batch.push(&texts, &self.command, encoded, self.numbering.as_ref());
        // Nothing is ever replayed to this worker: any address will do.
        let (part, bytes) = (self.part_of_record(&payload), self.command.len());
        self.transaction.keep(Address(place), Fingerprint(0), part, bytes, payload);
    }

    /// What was held keeps to the shard that it was meant for, all of it to the same one.
    fn take_shard(&mut self, noted: &[u8]) {
        if let (Key::Fixed(_), Ok(key)) = (&self.action.settings.store.key, str::from_utf8(noted))
            && !key.is_empty()
        {
            key.clone_into(&mut self.key);
        }
    }

    /// Everything kept was in this flush: settles what it did.
    fn look_up_doubt(&mut self, doubt: &Doubt, deadline: Deadline) -> Result<(), Error> {
        let Doubt { marker: key, worker, flush } = doubt.clone();
        let marker = Marker { key, worker, ttl_secs: self.marker.ttl_secs };
        if self.nodes.is_some() {
            return self.look_up_left(&marker, flush, deadline);
        }
        let own = std::mem::replace(&mut self.marker, marker);
        self.transaction.doubt_all(InDoubt { part: Part::WHOLE, flush });
        let looked_up = self.connect(deadline);
        self.disconnect();
        self.marker = own;
        looked_up
    }

    /// Connects, and settles what a process before this one has committed under the same marker.
    fn take_over(&mut self, deadline: Deadline) -> Result<(), Error> {
        if self.nodes.is_some() {
            return self.take_over_parts(deadline);
        }
        let (session, found) = self.servers.connect(&self.marker, deadline)?;
        self.link = Link::Up(session);
        self.flush = self.marker.number(&found);
        if self.flush > 0 {
            // Every flush under this marker was all of these records, or what was left of them.
            let flush = self.flush;
            self.transaction.doubt_all(InDoubt { part: Part::WHOLE, flush });
        }
        self.join(&found, deadline)
    }

    /// Settles what is noted as settled; true when that was anything. Not while part of a flush is on
    /// its way.
    pub(super) fn suppress_noted(&mut self) -> bool {
        if self.has_no_past() || self.sent.is_some() {
            return false;
        }
        let Some(hold) = &self.action.hold else { return false };
        let kept = self.transaction.kept();
        let suppressed = hold.suppress(
            kept.len(),
            |place, seed| kept.get(place).map_or(0, |kept| self.fingerprint_of(seed, kept)),
            now(),
        );
        if suppressed.is_empty() {
            return false;
        }
        let mut fates = vec![Fate::Unsettled; kept.len()];
        for place in suppressed {
            self.tally.suppressed();
            if let Some(fate) = fates.get_mut(place) {
                *fate = Fate::Settled;
            }
        }
        self.count_numbers(None, &fates);
        self.transaction.found_out(&fates);
        self.rewrite(&[]);
        true
    }
}

/// The oldest of what is left from before.
fn take_past(hold: Option<&Hold>, deadline: Deadline) -> Result<Option<Taken<'_>>, Error> {
    let Some(hold) = hold else { return Ok(None) };
    hold.take(deadline.remaining().unwrap_or_default()).map_err(|StillInDoubt| Error {
        cause: Cause::Timeout,
        what: "another worker is still looking up a commit from before the start".to_owned(),
        drops_connection: false,
    })
}

pub(super) fn now() -> UnixSeconds {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
