//! rsyslogd itself is told, stopped and killed, and has several workers.

use testkit::Fault;

use crate::network::LATE;
use crate::stage::{Run, Stage};

/// The workers connect anew, and read the password file if there is one.
pub(crate) fn hup(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.flow(|stage| {
            stage.struck(1);
            stage.recover(|stage| {
                stage.rsyslogd().hup();
                Ok(())
            })
        })?;
    }
    Ok(())
}

/// Each fault strikes whichever worker comes first.
pub(crate) fn workers(stage: &mut Stage) -> Run<()> {
    let faults = [
        Fault::CutBeforeExec,
        Fault::CutAfterExec,
        Fault::CutInRequest,
        Fault::HalfClose,
        Fault::LateExec(LATE),
    ];
    for (_, fault) in (0..stage.rounds()).zip(faults.into_iter().cycle()) {
        stage.flow(|stage| stage.strike_anywhere(fault))?;
    }
    Ok(())
}

/// The server dies, or stands still, in the flow; rsyslogd is stopped while the action is suspended, and started
/// before the server is back. All records were in rsyslog's queue before the stop.
pub(crate) fn stopped(stage: &mut Stage) -> Run<()> {
    for round in 0..stage.rounds() {
        let is_dead = round % 2 == 0;
        stage.flow(|stage| {
            let before = stage.calls();
            if is_dead {
                stage.kill_server()?
            } else {
                stage.pause_server()?
            }
            stage.hold_until_suspended(&before)
        })?;
        stage.stop_rsyslogd()?;
        stage.rsyslogd().start();
        stage.recover(if is_dead { Stage::start_server } else { Stage::continue_server })?;
        stage.wait_all()?;
    }
    Ok(())
}

/// All records of a slice are on disk, in the queue that checkpoints each, and the server stands still. Then
/// rsyslogd is killed: in turns inside the transaction that nobody answers, and while the queue drains.
pub(crate) fn killed(stage: &mut Stage) -> Run<()> {
    for round in 0..stage.rounds() {
        let before = stage.length();
        stage.pause_server()?;
        stage.flow(|_| Ok(()))?;
        if round % 2 == 0 {
            stage.wait("a call to be under way", |stage| stage.calls().is_in_call())?;
            stage.rsyslogd().kill();
            stage.continue_server()?;
        } else {
            stage.continue_server()?;
            stage.wait("the queue to drain", |stage| stage.length() > before)?;
            stage.rsyslogd().kill();
        }
        stage.struck(1);
        stage.recover(|stage| {
            stage.rsyslogd().start();
            Ok(())
        })?;
        stage.wait_all()?;
    }
    Ok(())
}
