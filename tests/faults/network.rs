//! Faults on the way to the server, which a proxy in between makes.

use std::time::Duration;

use testkit::Fault;

use crate::stage::{Run, Stage};

const SHORT: Duration = Duration::from_millis(50);
pub(crate) const LATE: Duration = Duration::from_millis(20);

pub(crate) fn cut_before_exec(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::CutBeforeExec)
}

pub(crate) fn cut_inside(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::CutInRequest)
}

pub(crate) fn cut_after_exec(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::CutAfterExec)
}

/// The server reads EXEC when the client is already back on a new connection.
pub(crate) fn late_exec(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::LateExec(LATE))
}

pub(crate) fn swallowed_replies(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::DropReplies)
}

pub(crate) fn garbage(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::Garbage)
}

pub(crate) fn half_close(stage: &mut Stage) -> Run<()> {
    once_a_round(stage, Fault::HalfClose)
}

/// Replies come late, five times; and in every fifth round one comes after the deadline.
pub(crate) fn delay(stage: &mut Stage) -> Run<()> {
    for round in 0..stage.rounds() {
        stage.flow(|stage| {
            let delays = if round % 5 == 4 {
                vec![stage.commit_deadline() + Duration::from_millis(300)]
            } else {
                vec![SHORT; 5]
            };
            for &delay in &delays {
                stage.proxy().once(Fault::DelayReplies(delay));
            }
            stage.wait_struck()?;
            stage.recover(|_| Ok(()))
        })?;
    }
    Ok(())
}

/// All connections swallow what they are sent, new ones too, until the action is suspended.
pub(crate) fn black_hole(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.flow(|stage| {
            let before = stage.calls();
            stage.proxy().set(Fault::BlackHole);
            stage.hold_until_suspended(&before)?;
            stage.recover(|stage| {
                stage.proxy().pass();
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// The fault strikes once in the middle of each slice. The connection that it struck stays harmed, a new one is
/// whole.
fn once_a_round(stage: &mut Stage, fault: Fault) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.flow(|stage| strike(stage, fault))?;
    }
    Ok(())
}

fn strike(stage: &mut Stage, fault: Fault) -> Run<()> {
    stage.proxy().once(fault);
    stage.wait_struck()?;
    stage.recover(|_| Ok(()))
}
