//! What outlives a stop of rsyslogd: records that an older core would drop, and notes about records
//! that a newer core brings back although they are settled. Shared by the workers of an action; knows
//! nothing of servers, and commits nothing itself.
#![forbid(unsafe_code)]

mod file;
mod format;
mod frame;

pub use format::{Content, Foreign, HEADER, decode, encode};
pub use frame::{Doubt, Frame, Held, Letter, Note, Notes, Records, UnixSeconds};

use file::{HoldFile, LOCK_PATIENCE};
use std::collections::{HashMap, VecDeque};
use std::io::Error;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What was found when the file was opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// So many records wait to be committed.
    pub records: usize,
    /// Where a damaged end was put aside.
    pub set_aside: Option<PathBuf>,
}

/// A hold file and what is still to be done with what it holds.
#[derive(Debug)]
pub struct Hold {
    path: PathBuf,
    /// Notes older than this are not used any more.
    notes_ttl_secs: UnixSeconds,
    is_open: AtomicBool,
    /// There is something to commit, to look up or to suppress.
    has_past: AtomicBool,
    state: Mutex<State>,
    /// A worker has let go of what it had taken.
    is_released: Condvar,
}

#[derive(Debug, Default)]
struct State {
    file: Option<HoldFile>,
    records: VecDeque<Arc<Records>>,
    in_doubt: VecDeque<Arc<Notes>>,
    notes: Vec<Unspent>,
    /// A worker is busy with the first of `in_doubt` or `records`.
    is_taken: bool,
}

/// Notes that are known to be about settled records.
#[derive(Debug)]
struct Unspent {
    notes: Arc<Notes>,
    /// The places of what has not had its use yet.
    places: HashMap<u64, Vec<usize>>,
}

impl Unspent {
    fn new(notes: Arc<Notes>, is_of_use: impl Fn(usize) -> bool) -> Self {
        let mut places: HashMap<u64, Vec<usize>> = HashMap::new();
        for (place, note) in notes.notes.iter().enumerate().rev() {
            if is_of_use(place) {
                places.entry(note.fingerprint).or_default().push(place);
            }
        }
        Self { notes, places }
    }

    /// Uses one note up.
    fn spend(&mut self, fingerprint: u64) -> Option<usize> {
        let places = self.places.get_mut(&fingerprint)?;
        let place = places.pop();
        if places.is_empty() {
            self.places.remove(&fingerprint);
        }
        place
    }
}

impl Hold {
    /// A hold file at `path`; touches nothing.
    pub fn new(path: PathBuf, notes_ttl_secs: UnixSeconds) -> Self {
        let (is_open, has_past) = (AtomicBool::new(false), AtomicBool::new(false));
        let (state, is_released) = (Mutex::default(), Condvar::new());
        Self { path, notes_ttl_secs, is_open, has_past, state, is_released }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file and reads it, unless that has been done: then there is nothing to tell.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn open(&self, now: UnixSeconds) -> Result<Option<Opened>, String> {
        self.open_within(LOCK_PATIENCE, now)
    }

    /// The same for whoever asks often: without any patience for another user of the file.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn try_open(&self, now: UnixSeconds) -> Result<Option<Opened>, String> {
        if self.is_open.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.open_within(Duration::ZERO, now)
    }

    fn open_within(&self, patience: Duration, now: UnixSeconds) -> Result<Option<Opened>, String> {
        let mut state = self.state();
        if state.file.is_some() {
            return Ok(None);
        }
        // Not the one that the configuration was read as: privileges are dropped in between.
        let user = rustix::process::geteuid().as_raw();
        let (file, found) = HoldFile::open(&self.path, patience, user).map_err(|why| {
            format!("parameter \"holdfile\": cannot use \"{}\": {why}", self.path.display())
        })?;
        state.file = Some(file);
        self.is_open.store(true, Ordering::Release);
        state.read(found.frames);
        state.expire(now, self.notes_ttl_secs);
        self.tidy(&mut state);
        let records = state.records.iter().map(|frame| frame.records.len()).sum();
        Ok(Some(Opened { records, set_aside: found.set_aside }))
    }

    /// Whether there is nothing to commit, to look up or to suppress.
    pub fn is_idle(&self) -> bool {
        !self.has_past.load(Ordering::Acquire)
    }

    /// Writes frames down. They are for whoever commits next, in this process or in a later one.
    ///
    /// # Errors
    /// A sentence that names the file; nothing is written then.
    pub fn append(&self, frames: Vec<Frame>, now: UnixSeconds) -> Result<(), String> {
        self.open(now)?;
        let mut state = self.state();
        let Some(file) = &mut state.file else { return Ok(()) };
        file.append(&frames)
            .map_err(|error| format!("cannot write to \"{}\": {error}", self.path.display()))?;
        state.read(frames);
        self.tidy(&mut state);
        Ok(())
    }

    /// The oldest that has to be committed or looked up. Held records are left to a worker that is at
    /// them already. What is in doubt has to be known before anybody commits, because what the core
    /// brings back may come to any worker: for another one's look-up it waits so long.
    ///
    /// # Errors
    /// The other worker's look-up takes longer.
    pub fn take(&self, patience: Duration) -> Result<Option<Taken<'_>>, StillInDoubt> {
        let is_looked_up = |state: &mut State| state.is_taken && !state.in_doubt.is_empty();
        let (mut state, waited) = self
            .is_released
            .wait_timeout_while(self.state(), patience, is_looked_up)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(StillInDoubt);
        }
        if state.is_taken {
            return Ok(None);
        }
        let past = match (state.in_doubt.front(), state.records.front()) {
            (Some(notes), _) => Past::Notes(Arc::clone(notes)),
            (None, Some(records)) => Past::Records(Arc::clone(records)),
            (None, None) => return Ok(None),
        };
        state.is_taken = true;
        Ok(Some(Taken { hold: self, past }))
    }

    /// Which of `count` records are settled already, by their places: `fingerprint` makes theirs
    /// under a seed. Each note is good for one of them, and used up for good before this returns.
    ///
    /// A new record with the same bytes as one that the core brings back may take its note. Then the
    /// one that is brought back is written in its stead: nobody can tell them apart, and the store
    /// holds as many copies as it should.
    pub fn suppress(
        &self,
        count: usize,
        fingerprint: impl Fn(usize, u64) -> u64,
        now: UnixSeconds,
    ) -> Vec<usize> {
        let mut state = self.state();
        state.expire(now, self.notes_ttl_secs);
        let State { notes, file, .. } = &mut *state;
        let mut suppressed = Vec::new();
        let mut spent = vec![Vec::new(); notes.len()];
        for record in 0..count {
            let mut all = notes.iter_mut().zip(&mut spent);
            let note = all.find_map(|(unspent, spent)| {
                Some((unspent.spend(fingerprint(record, unspent.notes.seed))?, spent))
            });
            if let Some((place, spent)) = note {
                spent.push(place);
                suppressed.push(record);
            }
        }
        let frames: Vec<Frame> = notes
            .iter()
            .zip(spent)
            .filter(|(_, places)| !places.is_empty())
            .map(|(unspent, places)| Frame::Spent(unspent.notes.id, places))
            .collect();
        let is_written =
            frames.is_empty() || file.as_mut().is_some_and(|file| file.append(&frames).is_ok());
        if !is_written {
            // A note that the disk still has would swallow another record after the next start.
            suppressed.clear();
        }
        self.tidy(&mut state);
        suppressed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the file when nothing in it is of use any more.
    fn tidy(&self, state: &mut State) {
        state.notes.retain(|unspent| !unspent.places.is_empty());
        let has_past =
            !(state.records.is_empty() && state.in_doubt.is_empty() && state.notes.is_empty());
        if !has_past && let Some(file) = &mut state.file {
            // Where this fails, the next start finds what is done, and looks it up.
            drop(file.empty());
        }
        self.has_past.store(has_past, Ordering::Release);
    }
}

impl State {
    /// Takes frames in, in the file's order.
    fn read(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match frame {
                Frame::Records(records) => {
                    let replaced = |held: &Arc<Records>| Some(held.id) == records.replaces;
                    let at = self.records.iter().position(replaced).unwrap_or(self.records.len());
                    self.records.insert(at, Arc::new(records));
                }
                Frame::Notes(notes) if notes.doubt.is_some() => {
                    self.in_doubt.push_back(Arc::new(notes));
                }
                Frame::Notes(notes) => self.notes.push(Unspent::new(Arc::new(notes), |_| true)),
                Frame::Done(id) => {
                    self.records.retain(|records| records.id != id);
                    self.in_doubt.retain(|notes| notes.id != id);
                    self.notes.retain(|unspent| unspent.notes.id != id);
                }
                Frame::Spent(id, spent) => self.read_spent(id, &spent),
            }
        }
    }

    fn read_spent(&mut self, id: u128, spent: &[usize]) {
        // What has been used was looked up before.
        if let Some(at) = self.in_doubt.iter().position(|notes| notes.id == id)
            && let Some(notes) = self.in_doubt.remove(at)
        {
            self.notes.push(Unspent::new(notes, |_| true));
        }
        for unspent in self.notes.iter_mut().filter(|unspent| unspent.notes.id == id) {
            for places in unspent.places.values_mut() {
                places.retain(|place| !spent.contains(place));
            }
            unspent.places.retain(|_, places| !places.is_empty());
        }
    }

    fn expire(&mut self, now: UnixSeconds, ttl: UnixSeconds) {
        let is_fresh = |notes: &Notes| now.saturating_sub(notes.time) <= ttl;
        self.in_doubt.retain(|notes| is_fresh(notes));
        self.notes.retain(|unspent| is_fresh(&unspent.notes));
    }

    fn write(&mut self, frame: Frame) {
        if let Some(file) = &mut self.file {
            // Where this fails, a later start looks the same up again.
            drop(file.append(&[frame]));
        }
    }
}

/// Another worker has not found out yet what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StillInDoubt;

/// What is left from before.
#[derive(Clone, Debug)]
pub enum Past {
    /// Records to commit.
    Records(Arc<Records>),
    /// Notes whose flush has to be looked up.
    Notes(Arc<Notes>),
}

/// The oldest of what is left from before, in the hands of one worker; it goes back when dropped.
#[derive(Debug)]
pub struct Taken<'h> {
    hold: &'h Hold,
    past: Past,
}

impl Taken<'_> {
    /// What it is.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// The records are committed or in the dead letter.
    pub fn committed(self) {
        let mut state = self.hold.state();
        if let Past::Records(records) = &self.past {
            state.records.retain(|held| held.id != records.id);
            state.write(Frame::Done(records.id));
        }
        self.hold.tidy(&mut state);
    }

    /// Of the records, these are left; they stay in their place.
    ///
    /// # Errors
    /// The file cannot be written to; everything is as before.
    pub fn replaced_by(self, frames: Vec<Frame>) -> Result<(), Error> {
        let mut state = self.hold.state();
        let (Past::Records(records), Some(file)) = (&self.past, &mut state.file) else {
            return Ok(());
        };
        let frames: Vec<Frame> = frames.into_iter().chain([Frame::Done(records.id)]).collect();
        file.append(&frames)?;
        state.read(frames);
        Ok(())
    }

    /// The notes' flush has been looked up; `is_settled` tells by place what it did.
    pub fn looked_up(self, is_settled: impl Fn(usize) -> bool) {
        let mut state = self.hold.state();
        if let Past::Notes(notes) = &self.past {
            state.in_doubt.retain(|noted| noted.id != notes.id);
            let unsettled = (0..notes.notes.len()).filter(|place| !is_settled(*place)).collect();
            state.write(Frame::Spent(notes.id, unsettled));
            state.notes.push(Unspent::new(Arc::clone(notes), is_settled));
        }
        self.hold.tidy(&mut state);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.hold.state().is_taken = false;
        self.hold.is_released.notify_all();
    }
}

#[cfg(test)]
mod tests;
