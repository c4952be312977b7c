//! Which fault comes next, and how often each has struck.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// What can go wrong between a client and its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A new connection is accepted and closed at once.
    Refuse,
    /// From the client's next request on, this connection's requests and replies are swallowed.
    BlackHole,
    /// The connection is cut when EXEC comes, which the server does not get.
    CutBeforeExec,
    /// The server gets EXEC and runs it; then the connection is cut, and the client has not seen a reply.
    CutAfterExec,
    /// The connection is cut towards the client when EXEC comes; the server gets EXEC this much later. It is what a
    /// client meets whose last packets are still under way when it is back already.
    LateExec(Duration),
    /// The connection is cut in the middle of the first command after MULTI.
    CutInRequest,
    /// From the next reply on, this connection's replies are swallowed; the server still gets the requests.
    DropReplies,
    /// Replies come this much later.
    DelayReplies(Duration),
    /// In place of the next piece of a reply comes something that is no RESP.
    Garbage,
    /// With the client's next request, the proxy closes its writing side: the client may write, and reads an end.
    HalfClose,
}

const FAULTS: usize = 10;

impl Fault {
    /// The place of its count; the duration does not matter.
    fn index(self) -> usize {
        match self {
            Fault::Refuse => 0,
            Fault::BlackHole => 1,
            Fault::CutBeforeExec => 2,
            Fault::CutAfterExec => 3,
            Fault::LateExec(_) => 4,
            Fault::CutInRequest => 5,
            Fault::DropReplies => 6,
            Fault::DelayReplies(_) => 7,
            Fault::Garbage => 8,
            Fault::HalfClose => 9,
        }
    }

    fn delay(self) -> Duration {
        match self {
            Fault::LateExec(delay) | Fault::DelayReplies(delay) => delay,
            _ => Duration::ZERO,
        }
    }
}

/// The faults that are ordered and the count of those that struck.
#[derive(Debug, Default)]
pub(super) struct Plan {
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    lasting: Option<Fault>,
    once: VecDeque<Fault>,
    fired: [u64; FAULTS],
}

impl Plan {
    pub(super) fn clear(&self) {
        let mut orders = self.orders();
        orders.lasting = None;
        orders.once.clear();
    }

    pub(super) fn set(&self, fault: Fault) {
        self.orders().lasting = Some(fault);
    }

    pub(super) fn once(&self, fault: Fault) {
        self.orders().once.push_back(fault);
    }

    pub(super) fn fired(&self, fault: Fault) -> u64 {
        self.orders().fired[fault.index()]
    }

    pub(super) fn waiting(&self) -> usize {
        self.orders().once.len()
    }

    /// Whether this fault, which could strike here, is to strike now.
    pub(super) fn take(&self, here: Fault) -> bool {
        self.take_delay(here).is_some()
    }

    /// As [`take`](Self::take), with the delay that was ordered.
    pub(super) fn take_delay(&self, here: Fault) -> Option<Duration> {
        let mut orders = self.orders();
        let is_here = |fault: &Fault| fault.index() == here.index();
        let ordered = if orders.once.front().is_some_and(is_here) {
            orders.once.pop_front()
        } else {
            orders.lasting.filter(is_here)
        }?;
        orders.fired[here.index()] += 1;
        Some(ordered.delay())
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().expect("no panic under the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Plan};
    use std::time::Duration;

    #[test]
    fn faults_wait_for_each_other_and_strike_once() {
        let plan = Plan::default();
        plan.once(Fault::CutBeforeExec);
        plan.once(Fault::Garbage);
        assert!(!plan.take(Fault::Garbage), "the cut comes first");
        assert!(plan.take(Fault::CutBeforeExec));
        assert!(!plan.take(Fault::CutBeforeExec), "once");
        assert!(plan.take(Fault::Garbage));
        assert_eq!(
            (plan.fired(Fault::CutBeforeExec), plan.fired(Fault::Garbage), plan.waiting()),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_lasting_fault_strikes_until_it_is_cleared() {
        let plan = Plan::default();
        let delay = Duration::from_millis(3);
        plan.set(Fault::DelayReplies(delay));
        for _ in 0..2 {
            assert_eq!(plan.take_delay(Fault::DelayReplies(Duration::ZERO)), Some(delay));
        }
        plan.clear();
        assert!(!plan.take(Fault::DelayReplies(Duration::ZERO)));
        assert_eq!(plan.fired(Fault::DelayReplies(Duration::ZERO)), 2);
    }
}
