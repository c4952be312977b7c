//! Servers that stand still, die, refuse, and come back.

use std::fs;
use std::time::Duration;

use testkit::{Server, free_port};

use crate::stage::{Run, Stage};
use crate::store::PASSWORD;

/// How the log line of an outage begins.
const WAITS: &str = "cannot commit, records wait";
const SHORT_PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn stopped(stage: &mut Stage) -> Run<()> {
    outages(stage, Stage::pause_server, Stage::continue_server)
}

pub(crate) fn killed(stage: &mut Stage) -> Run<()> {
    outages(stage, Stage::kill_server, Stage::start_server)
}

/// No copy is made while the replica stands still: what is written is not confirmed.
pub(crate) fn replica_stopped(stage: &mut Stage) -> Run<()> {
    let replica = |act: fn(&Server)| {
        move |stage: &mut Stage| {
            act(stage.replica());
            Ok(())
        }
    };
    outages(stage, replica(Server::pause), replica(Server::cont))
}

pub(crate) fn out_of_memory(stage: &mut Stage) -> Run<()> {
    outages(
        stage,
        |stage| stage.command(&["CONFIG", "SET", "maxmemory", "1"]),
        |stage| stage.command(&["CONFIG", "SET", "maxmemory", "0"]),
    )
}

/// A replica of nobody keeps its data and refuses writes.
pub(crate) fn read_only(stage: &mut Stage) -> Run<()> {
    let nobody = free_port().to_string();
    outages(
        stage,
        |stage| stage.command(&["REPLICAOF", "127.0.0.1", &nobody]),
        |stage| stage.command(&["REPLICAOF", "NO", "ONE"]),
    )
}

/// A folder stands where the snapshot shall be written, so that saving fails, whoever runs the server; from then
/// on it refuses writes.
pub(crate) fn misconf(stage: &mut Stage) -> Run<()> {
    let obstacle = stage.server().folder().join("dump.rdb");
    let broken = obstacle.join("in the way");
    outages(
        stage,
        |stage| {
            // The snapshot of the round before.
            if obstacle.exists() {
                fs::remove_file(&obstacle)?;
            }
            fs::create_dir_all(&broken)?;
            stage.command(&["BGSAVE"])?;
            stage.wait("the snapshot to fail", |stage| {
                stage.info("persistence", "rdb_last_bgsave_status:err")
            })
        },
        |stage| {
            fs::remove_dir_all(&obstacle)?;
            stage.command(&["BGSAVE"])?;
            stage.wait("the snapshot to succeed", |stage| {
                stage.info("persistence", "rdb_last_bgsave_status:ok")
            })
        },
    )
}

/// The server's password changes under open connections, which are closed; the file follows later.
pub(crate) fn password(stage: &mut Stage) -> Run<()> {
    let round = std::cell::Cell::new(0);
    outages(
        stage,
        |stage| {
            round.set(round.get() + 1);
            let password = format!("secret-{}", round.get());
            stage.command_all(&["CONFIG", "SET", "requirepass", &password])?;
            stage.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
        },
        |stage| stage.write_password(&format!("secret-{}", round.get())),
    )?;
    stage.wait_all()?;
    stage.command_all(&["CONFIG", "SET", "requirepass", PASSWORD])
}

/// The user may not write for a while.
pub(crate) fn revoked(stage: &mut Stage) -> Run<()> {
    outages_told_once(
        stage,
        "NOPERM",
        |stage| stage.command(&["ACL", "SETUSER", "default", "-xadd"]),
        |stage| stage.command(&["ACL", "SETUSER", "default", "+xadd"]),
    )
}

/// The user may not write to the stream itself for a while.
pub(crate) fn forbidden_key(stage: &mut Stage) -> Run<()> {
    outages_told_once(
        stage,
        "NOPERM",
        |stage| stage.command(&["ACL", "SETUSER", "default", "resetkeys", "%R~*", "~audit:*"]),
        |stage| stage.command(&["ACL", "SETUSER", "default", "allkeys"]),
    )
}

/// Somebody puts a text where the stream was.
pub(crate) fn wrong_type(stage: &mut Stage) -> Run<()> {
    outages_told_once(stage, "WRONGTYPE", Stage::put_stream_aside, |stage| {
        stage.command(&["DEL", "audit"])
    })
}

/// All clients but ours are thrown out.
pub(crate) fn clients_killed(stage: &mut Stage) -> Run<()> {
    for _ in 0..stage.rounds() {
        stage.flow(|stage| {
            stage.struck(1);
            stage.recover(|stage| {
                stage.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            })
        })?;
    }
    Ok(())
}

/// Writes are held back, in turns for less than the deadline and until the action is suspended.
pub(crate) fn clients_paused(stage: &mut Stage) -> Run<()> {
    for round in 0..stage.rounds() {
        stage.flow(|stage| {
            let before = stage.calls();
            stage.command(&["CLIENT", "PAUSE", "600000", "WRITE"])?;
            if round % 2 == 0 {
                stage.hold_for(SHORT_PAUSE);
            } else {
                stage.hold_until_suspended(&before)?;
            }
            stage.recover(|stage| stage.command(&["CLIENT", "UNPAUSE"]))
        })?;
    }
    Ok(())
}

/// As [`outages`], each after the one before is over for good; the log names each with one line, however long it lasts.
fn outages_told_once(
    stage: &mut Stage,
    reason: &str,
    begin: impl Fn(&mut Stage) -> Run<()>,
    end: impl Fn(&mut Stage) -> Run<()>,
) -> Run<()> {
    for _ in 0..stage.rounds() {
        outage(stage, &begin, &end)?;
        // An attempt that meets the next outage halfway through would make one of the two.
        stage.wait_all()?;
    }
    // What else stood in the way meanwhile, a call that took too long for instance, is told by itself.
    let log = stage.log();
    let is_meant = |line: &&str| line.contains(WAITS) && line.contains(reason);
    let lines = log.lines().filter(is_meant).count() as u64;
    if !stage.is_peer() && lines != stage.rounds() {
        stage.fail(format!("{lines} log lines for {} outages", stage.rounds()));
    }
    Ok(())
}

fn outages(
    stage: &mut Stage,
    begin: impl Fn(&mut Stage) -> Run<()>,
    end: impl Fn(&mut Stage) -> Run<()>,
) -> Run<()> {
    for _ in 0..stage.rounds() {
        outage(stage, &begin, &end)?;
    }
    Ok(())
}

/// The server goes away, stays away until the action is suspended, and comes back.
fn outage(
    stage: &mut Stage,
    begin: impl Fn(&mut Stage) -> Run<()>,
    end: impl Fn(&mut Stage) -> Run<()>,
) -> Run<()> {
    stage.flow(|stage| {
        let before = stage.calls();
        begin(stage)?;
        stage.hold_until_suspended(&before)?;
        stage.recover(end)
    })
}
