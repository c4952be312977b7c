//! Records that can never be stored, among thousands that can.

use crate::scenario::good;
use crate::stage::{Run, Stage};

/// With batches of 256 and flushes of 100, a prime number in between puts bad records into every position of both.
const EVERY: u64 = 61;
/// The user, and so the key, of one record in a hundred.
const BAD_USER: u64 = 7;

pub(crate) fn is_bad(number: u64) -> bool {
    number % EVERY == EVERY / 2
}

pub(crate) fn is_for_bad_key(number: u64) -> bool {
    number % 100 == BAD_USER
}

/// Every 61st record ends before its last bracket.
pub(crate) fn broken_json(number: u64) -> String {
    let mut text = good(number);
    if is_bad(number) {
        text.pop();
    }
    text
}

/// Every 61st record is twice as long as what the action takes.
pub(crate) fn too_long(number: u64) -> String {
    if is_bad(number) { testkit::record_of(number, 2048) } else { good(number) }
}

/// Nothing else is wrong: whoever suspends loses.
pub(crate) fn flow(stage: &mut Stage) -> Run<()> {
    stage.flow(|_| Ok(()))?;
    settle_without_suspension(stage)
}

/// One of a hundred keys holds a text.
pub(crate) fn wrong_type(stage: &mut Stage) -> Run<()> {
    let key = format!("audit:app{BAD_USER}");
    stage.command_where(&key, &["SET", &key, "a text"])?;
    flow(stage)
}

/// One of a hundred keys is forbidden; rules name what is allowed.
pub(crate) fn forbidden(stage: &mut Stage) -> Run<()> {
    stage.command_all(&[
        "ACL",
        "SETUSER",
        "default",
        "resetkeys",
        "%R~*",
        "~omvalkeyaudit*",
        "~audit:app[0-689]*",
        &format!("~audit:app{BAD_USER}?"),
    ])?;
    flow(stage)
}

fn settle_without_suspension(stage: &mut Stage) -> Run<()> {
    stage.wait_all()?;
    let calls = stage.calls();
    stage.struck(stage.bad_records());
    if calls.suspended() > 0 || calls.resumes() > 0 {
        stage.fail(format!("suspended {} times by records", calls.suspended()));
    }
    if calls.records() > stage.sent() {
        stage.fail(format!("{} records handed over of {}", calls.records(), stage.sent()));
    }
    Ok(())
}
