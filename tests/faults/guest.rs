//! What the action costs its host while it cannot work: the time of a stop, and processor time.

use std::time::{Duration, Instant};

use testkit::Fault;

use crate::stage::{Run, Stage};

/// What rsyslogd may need for its own end.
const GRACE: Duration = Duration::from_secs(1);
/// Attempts over which the processor time is taken.
const ATTEMPTS: u64 = 5;
const MOST_CPU_PERCENT: f64 = 2.0;

/// rsyslogd is stopped while a call waits for a server that does not answer; it is up again before the server.
pub(crate) fn stopped_in_a_black_hole(stage: &mut Stage) -> Run<()> {
    let limit = stage.commit_deadline() + GRACE;
    let mut slowest = Duration::ZERO;
    for _ in 0..stage.rounds() {
        stage.flow(|stage| {
            stage.proxy().set(Fault::BlackHole);
            stage.struck(1);
            Ok(())
        })?;
        stage.wait("a call to be under way", |stage| stage.calls().is_in_call())?;
        let took = stage.stop_rsyslogd()?;
        slowest = slowest.max(took);
        if took > limit {
            stage.fail(format!("rsyslogd took {took:.1?} to stop"));
        }
        stage.rsyslogd().start();
        stage.recover(|stage| {
            stage.proxy().pass();
            Ok(())
        })?;
        stage.wait_all()?;
    }
    stage.remark(format!("slowest stop {:.1} s", slowest.as_secs_f64()));
    Ok(())
}

/// The server is gone for several attempts; what rsyslogd does meanwhile is counted by the kernel.
pub(crate) fn suspended(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.flow(|stage| {
            let before = stage.calls();
            stage.kill_server()?;
            stage.hold_until_suspended(&before)
        })?;
        let (begin, cpu, attempts) =
            (Instant::now(), stage.rsyslogd().cpu_seconds(), stage.calls().resumes());
        stage.wait("attempts", |stage| stage.calls().resumes() >= attempts + ATTEMPTS)?;
        let used = stage.rsyslogd().cpu_seconds() - cpu;
        let percent = used / begin.elapsed().as_secs_f64() * 100.0;
        stage.remark(format!("CPU {percent:.1} % while suspended"));
        if percent > MOST_CPU_PERCENT {
            stage.fail(format!("{percent:.1} % of a processor while suspended"));
        }
        stage.recover(Stage::start_server)?;
        stage.wait_all()?;
    }
    Ok(())
}
