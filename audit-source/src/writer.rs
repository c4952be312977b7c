//! The writer thread: takes records from the ring and writes them to the target, connects again when the
//! connection breaks, and rests when there is nothing to do. It decides nothing about records.
#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::counters::COUNTERS;
use crate::ffi::system;
use crate::outbox::Outbox;
use crate::outlet::Outlet;
use crate::settings::Target;

/// Between two looks at the ring while records come: long enough to write many at once and to leave the
/// processor to the server, and shorter than it takes to fill the smallest ring.
const SHORT_REST: Duration = Duration::from_millis(2);
/// Between two looks at what the target has taken.
const SETTLE_REST: Duration = Duration::from_millis(5);
/// So many looks in vain, and the thread waits to be woken.
const LOOKS_BEFORE_SLEEP: u32 = 10;
/// The longest sleep. A wake-up that the memory model may lose costs no more than this.
const SLEEP: Duration = Duration::from_millis(200);
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// A line for the server's log.
pub(crate) type Log = fn(&str);

/// What the main thread and the writer share.
#[derive(Debug)]
struct Shared {
    target: Mutex<Target>,
    /// Grows with each change of the target.
    target_version: AtomicU64,
    /// The thread sleeps and wants to be woken by the next record.
    is_asleep: AtomicBool,
    /// Drains asked for, and drains that are over: everything confirmed, or the target out of reach.
    drains_wanted: AtomicU64,
    drains_done: AtomicU64,
    shall_end: AtomicBool,
}

/// The main thread's handle on the writer.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
    handle: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(outbox: Outbox, target: Target, log: Log) -> io::Result<Writer> {
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            target_version: AtomicU64::new(0),
            is_asleep: AtomicBool::new(false),
            drains_wanted: AtomicU64::new(0),
            drains_done: AtomicU64::new(0),
            shall_end: AtomicBool::new(false),
        });
        let work = Work {
            shared: Arc::clone(&shared),
            outbox,
            outlet: None,
            target_version: 0,
            retry_at: Instant::now(),
            back_off: FIRST_BACK_OFF,
            has_connected: false,
            has_complained: false,
            looks: 0,
            log,
        };
        let handle = thread::Builder::new().name("auditsource".into()).spawn(move || work.run())?;
        Ok(Writer { shared, thread: handle.thread().clone(), handle: Some(handle) })
    }

    /// A record was put into the ring.
    pub(crate) fn notice(&self) {
        if self.shared.is_asleep.load(Ordering::Relaxed) {
            self.shared.is_asleep.store(false, Ordering::Relaxed);
            self.thread.unpark();
        }
    }

    /// Another target from now on.
    pub(crate) fn set_target(&self, target: Target) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.shared.target_version.fetch_add(1, Ordering::Release);
        self.thread.unpark();
    }

    /// Asks for everything to be written; [`is_drained`](Self::is_drained) tells when.
    pub(crate) fn drain(&self) {
        self.shared.drains_wanted.fetch_add(1, Ordering::Release);
        self.thread.unpark();
    }

    /// Whether the last drain is over.
    pub(crate) fn is_drained(&self) -> bool {
        self.shared.drains_done.load(Ordering::Acquire)
            == self.shared.drains_wanted.load(Ordering::Relaxed)
    }

    /// Tells the thread to end and waits for it until `deadline`. A thread that hangs in the system, in
    /// looking a name up for instance, is left to itself: the library stays mapped.
    pub(crate) fn end(&mut self, deadline: Instant) {
        self.shared.shall_end.store(true, Ordering::Release);
        self.thread.unpark();
        let Some(handle) = self.handle.take() else { return };
        while !handle.is_finished() && Instant::now() < deadline {
            thread::park_timeout(Duration::from_millis(1));
        }
    }
}

/// What the thread does next.
enum Next {
    Go,
    Rest(Duration),
    /// Until a record comes.
    Sleep,
}

struct Work {
    shared: Arc<Shared>,
    outbox: Outbox,
    outlet: Option<Outlet>,
    target_version: u64,
    retry_at: Instant,
    back_off: Duration,
    has_connected: bool,
    has_complained: bool,
    looks: u32,
    log: Log,
}

impl Work {
    fn run(mut self) {
        system::block_signals();
        while !self.shared.shall_end.load(Ordering::Acquire) {
            match self.step() {
                Next::Go => {}
                Next::Rest(time) => thread::park_timeout(time),
                Next::Sleep => {
                    self.shared.is_asleep.store(true, Ordering::SeqCst);
                    if !self.outbox.has_pending() {
                        thread::park_timeout(SLEEP);
                    }
                    self.shared.is_asleep.store(false, Ordering::Relaxed);
                }
            }
        }
        COUNTERS.connected.set(0);
    }

    fn step(&mut self) -> Next {
        let version = self.shared.target_version.load(Ordering::Acquire);
        if version != self.target_version {
            self.target_version = version;
            if self.outlet.take().is_some() {
                self.disconnected();
            }
            (self.retry_at, self.back_off) = (Instant::now(), FIRST_BACK_OFF);
            self.has_complained = false;
        }
        let wanted = self.shared.drains_wanted.load(Ordering::Acquire);
        let is_draining = wanted != self.shared.drains_done.load(Ordering::Relaxed);
        let Some(outlet) = &self.outlet else {
            return self.connect(is_draining.then_some(wanted));
        };
        match pump(outlet, &mut self.outbox) {
            Ok(is_busy) => {
                // Not at once after connecting: a target that accepts and closes is not hammered.
                if is_busy {
                    self.back_off = FIRST_BACK_OFF;
                }
                if is_draining && self.outbox.is_empty() {
                    self.shared.drains_done.store(wanted, Ordering::Release);
                }
                self.rest(is_busy)
            }
            Err(e) => {
                let target = self.target();
                (self.log)(&format!("connection lost, target: \"{target}\": {e}"));
                if outlet.was_read_to_the_end() {
                    COUNTERS.confirmed.add(self.outbox.settle(0));
                }
                self.outlet = None;
                self.disconnected();
                self.retry_at = Instant::now() + self.back_off;
                self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
                Next::Go
            }
        }
    }

    fn rest(&mut self, is_busy: bool) -> Next {
        self.looks = if is_busy { 0 } else { self.looks.saturating_add(1) };
        if is_busy {
            Next::Go
        } else if self.looks < LOOKS_BEFORE_SLEEP {
            Next::Rest(SHORT_REST)
        } else if self.outbox.has_unconfirmed() {
            Next::Rest(SETTLE_REST)
        } else {
            Next::Sleep
        }
    }

    /// Tries to connect when it is time to, or when a drain waits for it.
    fn connect(&mut self, drain: Option<u64>) -> Next {
        let now = Instant::now();
        if drain.is_none() && now < self.retry_at {
            return Next::Rest(self.retry_at - now);
        }
        let target = self.target();
        match Outlet::connect(&target) {
            Ok(outlet) => {
                (self.log)(&format!("connected, target: \"{target}\""));
                if self.has_connected {
                    COUNTERS.reconnects.add(1);
                }
                COUNTERS.connected.set(1);
                self.outlet = Some(outlet);
                self.has_connected = true;
                self.has_complained = false;
                self.looks = 0;
                Next::Go
            }
            Err(e) => {
                if !self.has_complained {
                    self.has_complained = true;
                    (self.log)(&format!(
                        "cannot connect, records wait in the buffer, target: \"{target}\": {e}"
                    ));
                }
                if let Some(wanted) = drain {
                    self.shared.drains_done.store(wanted, Ordering::Release);
                }
                self.retry_at = Instant::now() + self.back_off;
                self.back_off = (self.back_off * 2).min(LONGEST_BACK_OFF);
                Next::Rest(self.retry_at - now)
            }
        }
    }

    fn disconnected(&mut self) {
        COUNTERS.connected.set(0);
        COUNTERS.resent.add(self.outbox.rewind());
    }

    fn target(&self) -> Target {
        self.shared.target.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Looks at what the target has taken, and writes what comes next. Gives whether there was something to write.
/// In this order, because a figure that counts overhead is exact only when it is 0.
fn pump(outlet: &Outlet, outbox: &mut Outbox) -> io::Result<bool> {
    let unread = outlet.unread()?;
    COUNTERS.confirmed.add(outbox.settle(unread));
    let pending = outbox.pending();
    let is_busy = !pending.is_empty();
    if is_busy {
        let written = outlet.write(pending, unread)?;
        COUNTERS.sent.add(outbox.wrote(written));
    }
    Ok(is_busy)
}
