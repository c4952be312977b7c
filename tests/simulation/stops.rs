//! rsyslogd is stopped and started again: what the workers of its processes share, and the wait for
//! the end of a batch or of the process.

use crate::buffers::Buffers;
use crate::engine::Outcome;
use crate::faults::Fault;
use crate::host::Process;
use crate::line::{Gate, Shared};
use crate::scenario::Quiet;
use omvalkeyaudit::params::{Retries, Settings};
use omvalkeyaudit::worker::{Action, AtStop, Worker};
use std::fs;
use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

/// A hold file of its own, removed on drop. In memory where that is possible: no disk is tested here.
pub(crate) struct HoldPath(PathBuf);

impl HoldPath {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(folder.join(format!("ova-hold-{}-{number}", std::process::id())))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// How much is in it.
    fn bytes(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |metadata| metadata.len())
    }

    /// Whether a flush in doubt is in what was written behind the first so many bytes.
    fn has_doubt_from(&self, before: u64) -> bool {
        let content = fs::read(&self.0).unwrap_or_default();
        let from = usize::try_from(before).expect("small");
        let written = content.get(from..).unwrap_or(&content);
        written.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"doubt "))
    }
}

impl Drop for HoldPath {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// What all processes of one rsyslogd are started with.
pub(crate) struct Start {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) retries: Retries,
    pub(crate) at_stop: AtStop,
    pub(crate) world: Shared,
    pub(crate) hold: Option<HoldPath>,
    pub(crate) processes: u64,
}

impl Start {
    /// The action of a new process.
    pub(crate) fn action(&mut self) -> Arc<Action> {
        self.processes += 1;
        let action = Action::new("simulated".to_owned(), self.settings.clone(), self.retries);
        Arc::new(action.expect("an action").under(self.at_stop))
    }

    /// A worker of this action.
    pub(crate) fn worker(&self, action: Arc<Action>, index: usize) -> Process {
        let gate = Gate { world: Rc::clone(&self.world), worker: index };
        let id = u128::from(self.seed) << 16 | u128::from(self.processes) << 8 | index as u128;
        let marker = format!("marker:{id:032x}").into_bytes();
        self.world.borrow_mut().own_marker(index, marker);
        let worker = Worker::with_servers(Arc::clone(&action), &Quiet, gate, id);
        Process { worker, action }
    }

    /// The buffers of a new process.
    ///
    /// Left out: buffers that move where a core brings its batch back. What was committed of a batch
    /// before its first record in a buffer that is known is not noted, because it may be of the batch
    /// before; it is then written twice.
    pub(crate) fn buffers(&self) -> Buffers {
        match self.at_stop {
            AtStop::Drops => Buffers::new(true),
            AtStop::Requeues => Buffers::staying(),
        }
    }

    /// Notes what a stop of this worker has left; `before` is what was in the file before it.
    pub(crate) fn note_left(&self, before: u64, worker: usize) {
        let after = self.left();
        let world = &mut self.world.borrow_mut();
        // What was sent by then and is not left in doubt, the worker has known.
        if !self.hold.as_ref().is_some_and(|hold| hold.has_doubt_from(before)) {
            let marker = world.markers[worker].clone();
            world.resolved_under(worker, &marker);
        }
        if after > before {
            let is_held = self.at_stop == AtStop::Drops;
            world.strikes.note(if is_held { Fault::Held } else { Fault::Noted });
            if before > 0 {
                world.strikes.note(Fault::HeldAgain);
            }
        }
    }

    /// How much is in the hold file.
    pub(crate) fn left(&self) -> u64 {
        self.hold.as_ref().map_or(0, HoldPath::bytes)
    }
}

/// The end of the batch; nothing where rsyslogd is stopped before.
pub(crate) async fn unless_stopped(
    batch: impl Future<Output = Outcome>,
    world: &Shared,
) -> Option<Outcome> {
    let mut batch = pin!(batch);
    poll_fn(|context| match batch.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if std::mem::take(&mut world.borrow_mut().is_stopping) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
