//! Another server becomes the primary, under sentinels or in a cluster; and the sentinels themselves die. What a primary
//! had not passed on when it was replaced is lost with it, and counted by itself.

use std::time::Instant;

use testkit::Fault;

use crate::stage::{Run, Stage};

/// The primary dies: in turns with what it has not passed on, and after it has passed everything on. Where copies are asked
/// for, it is seen to it that there is something that it has not passed on.
pub(crate) fn killed(stage: &mut Stage) -> Run<()> {
    for round in 0..stage.rounds() {
        let has_passed_on = round % 2 == 1;
        let former = stage.steady(|stage| {
            let mut cut_off = Vec::new();
            if has_passed_on {
                stage.pass_on()?;
            } else if stage.has_copies() {
                cut_off = stage.cut_replicas_off()?;
            }
            let begin = Instant::now();
            stage.struck(1);
            stage.kill_server()?;
            stage.join_replicas(&cut_off)?;
            stage.follow(begin, |_, _| {})
        })?;
        stage.wait_all()?;
        if !has_passed_on {
            stage.put_aside(former)?;
        }
        stage.member(former).start();
        stage.settle();
    }
    Ok(())
}

/// The reply to a commit is lost, and its primary dies when the replicas have the records: what became of them can be
/// learned only from the new primary.
pub(crate) fn killed_after_commit(stage: &mut Stage) -> Run<()> {
    stage.steady(|stage| {
        // The action must not look the commit up before the end.
        stage.proxy().set(Fault::Refuse);
        stage.proxy().once(Fault::CutAfterExec);
        stage.wait("the commit", |stage| {
            stage.proxy().waiting() == 0 && stage.connection_id().is_none()
        })?;
        stage.wait_replicated();
        let begin = Instant::now();
        stage.struck(1);
        stage.kill_server()?;
        stage.follow(begin, |_, _| {})
    })?;
    stage.wait_all()
}

/// The primary stands still until another has taken over, and goes on then.
pub(crate) fn paused(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            let cut_off = if stage.has_copies() { stage.cut_replicas_off()? } else { Vec::new() };
            let begin = Instant::now();
            stage.struck(1);
            stage.pause_server()?;
            stage.join_replicas(&cut_off)?;
            let former = stage.follow(begin, |_, _| {})?;
            // Before it goes on: what it finds in its sockets and runs then was not confirmed.
            stage.put_aside(former)?;
            stage.member(former).cont();
            Ok(())
        })?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// By hand; the former primary takes writes until it is told.
pub(crate) fn ordered(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            let begin = Instant::now();
            stage.struck(1);
            let former = stage
                .follow(begin, |stage, old| stage.group().order_failover(stage.member(old), &[]))?;
            stage.put_running_aside(former)
        })?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// By hand; the former primary passes everything on first.
pub(crate) fn coordinated(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            let begin = Instant::now();
            stage.struck(1);
            stage.follow(begin, |stage, old| {
                stage.group().order_failover(stage.member(old), &["COORDINATED"]);
            })
        })?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// One of three sentinels dies, and the action has to ask them.
pub(crate) fn sentinel_killed(stage: &mut Stage) -> Run<()> {
    let places = 0..stage.group().sentinels().len();
    for (_, place) in (0..stage.rounds()).zip(places.cycle()) {
        stage.steady(|stage| {
            let before = stage.connection_id();
            stage.group().sentinels()[place].kill();
            stage.struck(1);
            stage.rsyslogd().hup();
            stage.wait("a new connection", |stage| {
                stage.connection_id().is_some_and(|id| Some(id) != before)
            })?;
            stage.recover(|_| Ok(()))
        })?;
        stage.group().sentinels()[place].start();
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// No sentinel is left: a connection that stands is used on, and a new one has to wait for them.
pub(crate) fn sentinels_killed(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            let before = stage.calls();
            stage.group().sentinels().iter().for_each(testkit::Server::kill);
            let known = stage.length();
            stage.wait("entries without sentinels", |stage| stage.length() > known)?;
            stage.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])?;
            stage.hold_until_suspended(&before)?;
            stage.recover(|stage| {
                stage.group().sentinels().iter().for_each(testkit::Server::start);
                Ok(())
            })
        })?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// A replica asks its primary to hand its slots over.
pub(crate) fn handed_over(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            let begin = Instant::now();
            stage.struck(1);
            stage.follow(begin, |stage, _| stage.order_handover(&[]))
        })?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// A replica takes the slots with the votes of the other primaries alone.
pub(crate) fn forced(stage: &mut Stage) -> Run<()> {
    seized(stage, "FORCE")
}

/// A replica takes the slots, and asks nobody.
pub(crate) fn taken(stage: &mut Stage) -> Run<()> {
    seized(stage, "TAKEOVER")
}

/// The replica that takes over lacks what its living primary and the other replica have; and the primary takes writes until
/// it is told.
fn seized(stage: &mut Stage, how: &str) -> Run<()> {
    for _ in 0..stage.rounds() {
        let heir = stage.replicas()[0];
        stage.steady(|stage| {
            stage.leave_behind(heir)?;
            let begin = Instant::now();
            stage.struck(1);
            stage.follow(begin, |stage, _| stage.order_handover(&[how]))
        })?;
        stage.join_replicas(&[heir])?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// One of two replicas is parted from its primary, and the other one is enough; then both are, until the action is
/// suspended.
pub(crate) fn replicas_parted(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            let replicas = stage.replicas();
            stage.part_replica(replicas[0])?;
            stage.wait_confirmed()?;
            let before = stage.calls();
            stage.part_replica(replicas[1])?;
            stage.hold_until_suspended(&before)?;
            stage.recover(|stage| stage.join_replicas(&replicas[..1]))?;
            stage.join_replicas(&replicas[1..])
        })?;
        stage.wait_all()?;
        stage.settle();
    }
    Ok(())
}

/// The stream's slot moves to another node, with all that is in it.
pub(crate) fn moved(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.steady(|stage| {
            stage.struck(1);
            stage.recover(Stage::move_slot)
        })?;
    }
    Ok(())
}
