//! What a worker does after a failure: proves that it can go on, or says that it has to begin anew.
#![forbid(unsafe_code)]

use super::provoke::{Place, panic_if_asked};
use super::{Link, Severity, Worker};
use crate::error::Verdict;
use crate::server::Connect;

impl<C: Connect> Worker<'_, C> {
    /// The core's `tryResume`: connects, settles what is kept, and only then says yes.
    pub fn try_resume(&mut self) -> Verdict {
        if std::mem::take(&mut self.must_rest) {
            self.transaction.resume_failed();
            return Verdict::Suspended;
        }
        panic_if_asked(Place::TryResume);
        let deadline = self.deadline();
        self.leave_old_primary(deadline);
        let result = match self.link {
            _ if self.nodes.is_some() => {
                self.link = Link::Down;
                self.prove_cluster(deadline)
            }
            Link::Up(_) => self.look_again(deadline).map(drop),
            Link::Down | Link::Lost => self.connect(deadline),
        };
        let result = result.and_then(|()| {
            let abandoned = self.transaction.resumed();
            if abandoned > 0 {
                self.abandon(abandoned);
            }
            self.flush_all(deadline)
        });
        match result {
            Ok(()) => {
                self.report_committed();
                Verdict::Committed
            }
            Err(error) => {
                self.transaction.resume_failed();
                self.fail(&error);
                Verdict::Suspended
            }
        }
    }

    /// A call did not come to its end: nothing on the connection can be trusted, and the records of
    /// the open transaction have to come again. `is_suspended` says that the core was told so by the
    /// very call; otherwise `endTransaction` tells it.
    pub fn poison(&mut self, is_suspended: bool) {
        self.disconnect();
        self.must_rest = true;
        if is_suspended {
            self.transaction.end_suspended();
        } else {
            self.is_poisoned = true;
        }
        self.report.line(
            Severity::Error,
            "internal error, the connection is dropped and the batch comes again; please report this",
        );
    }
}
