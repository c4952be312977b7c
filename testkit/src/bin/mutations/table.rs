//! The rules of the protocol, and how each is broken.

/// One deliberate break: in `file`, `from` becomes `to`.
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) breaks: &'static str,
    pub(crate) file: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

const LEDGER: &str = "src/transaction/ledger.rs";
const TRANSACTION: &str = "src/transaction/mod.rs";
const FLUSH: &str = "src/worker/flush.rs";
const SETTLE: &str = "src/worker/settle.rs";
const DURABLE: &str = "src/worker/durable.rs";
const WORKER: &str = "src/worker/mod.rs";
const RESUME: &str = "src/worker/resume.rs";
const HOLD: &str = "src/worker/hold.rs";
const LEAVE: &str = "src/worker/leave.rs";
const CLUSTER: &str = "src/worker/cluster/mod.rs";
const COPIES: &str = "src/worker/cluster/copies.rs";
const PARTS: &str = "src/worker/cluster/parts.rs";
const GUARD: &str = "src/worker/cluster/guard.rs";
const COMMANDS: &str = "src/commands/mod.rs";
const REPLIES: &str = "src/commands/replies.rs";
const ENCODE: &str = "src/commands/encode.rs";
const PLAN: &str = "src/commands/plan.rs";

macro_rules! mutations {
    ($($name:literal, $breaks:literal, $file:expr, $from:literal => $to:literal;)*) => {
        pub(crate) const MUTATIONS: &[Mutation] = &[$(
            Mutation { name: $name, breaks: $breaks, file: $file, from: $from, to: $to },
        )*];
    };
}

mutations! {
    "forget-the-ledger", "a replayed record is not recognised", TRANSACTION,
    "if let Some((position, standing)) = self.ledger.find(address, fingerprint) {"
    => "if let Some((position, standing)) = self.ledger.find(address, fingerprint).filter(|_| false) {";

    "ignore-the-fingerprint", "any text in a known buffer is taken for a replay", LEDGER,
    "(entry.fingerprint == fingerprint).then_some(" => "Some(";

    "replay-of-a-settled-record-is-fresh", "committed records are written again when replayed", TRANSACTION,
    "Standing::Settled => Admission::Settled," => "Standing::Settled => Admission::Fresh,";

    "dropped-record-counts-as-kept", "a record that was dropped and comes again is not written", TRANSACTION,
    "Standing::Dropped => Admission::Fresh," => "Standing::Dropped => Admission::Kept,";

    "forget-too-much", "a reused buffer makes the ledger forget everything", LEDGER,
    "let over = self.entry(position).map_or(0, |entry| entry.transaction);" => "let over = u64::MAX;";

    "forget-too-little", "a reused buffer leaves what is older in the ledger", LEDGER,
    "while self.slots.front().is_some_and(is_over) {" => "while false && self.slots.front().is_some_and(is_over) {";

    "no-replay-after-suspended", "endTransaction's SUSPENDED does not lead to a replay", TRANSACTION,
    "self.is_replaying = true;" => "self.is_replaying = false;";

    "left-overs-prolong-the-replay", "the replay goes on while an older batch is in the ledger", TRANSACTION,
    "self.ledger.is_empty_from(self.replay_start.unwrap_or(0))" => "self.ledger.is_empty_from(0)";

    "given-up-records-stay", "what the core gave up is written when it has moved on", TRANSACTION,
    "self.ledger.clear();\n        self.drop_kept();\n        self.is_replaying = false;"
    => "self.ledger.clear();\n        self.is_replaying = false;";

    "impatient", "a batch is taken for given up one tryResume too early", TRANSACTION,
    "if failed <= patience {" => "if failed < patience {";

    "too-patient", "a batch is never taken for given up", TRANSACTION,
    "if failed <= patience {" => "if failed <= u64::MAX {";

    "newest-first", "kept records change their order", TRANSACTION,
    "self.kept.push(Kept { position, bytes, part, flush: 0, payload });"
    => "self.kept.insert(0, Kept { position, bytes, part, flush: 0, payload });";

    "stay-in-doubt", "a flush that did not take place stays in doubt", TRANSACTION,
    "pub fn not_committed(&mut self, flush: u64) {\n        self.doubts.remove(flush);"
    => "pub fn not_committed(&mut self, flush: u64) {";

    "never-in-doubt", "a flush whose reply was lost counts as not sent", FLUSH,
    "self.transaction.doubt(InDoubt { part, flush }, records);"
    => "self.transaction.doubt(InDoubt { part, flush }, 0);";

    "settle-before-the-reply", "records count as committed when they are sent", FLUSH,
    "self.transaction.doubt(InDoubt { part, flush }, records);"
    => "self.transaction.committed(0, &vec![crate::transaction::Fate::Settled; records]);";

    "ignore-the-marker", "a flush in doubt is always written again", SETTLE,
    "if held != marker.value(flush).as_bytes() {" => "if !held.is_empty() {";

    "believe-any-marker", "a flush in doubt always counts as committed", SETTLE,
    "if held != marker.value(flush).as_bytes() {" => "if held.is_empty() {";

    "flushes-without-number", "the marker of an earlier flush is taken for this one's", FLUSH,
    "self.flush += 1;" => "self.flush = 1;";

    "no-look-at-the-types", "a command that cannot have succeeded counts as committed", SETTLE,
    "Some(_) => Fate::Unsettled," => "Some(_) => Fate::Settled,";

    "abort-counts-as-committed", "EXECABORT settles the records", SETTLE,
    "self.transaction.not_committed(flush);\n                // EXECABORT"
    => "self.transaction.committed(flush, &vec![Fate::Settled; records]);\n                // EXECABORT";

    "unprotected-counts-as-aborted", "what was executed although MULTI was refused is written again", SETTLE,
    "self.sort_out(flush, records, refusals, Some(error))"
    => "self.transaction.not_committed(flush);\n                self.blame(refusals, Some(error))";

    "go-on-after-a-broken-reply", "the connection is kept after replies that do not add up", FLUSH,
    "Err(error) if error.drops_connection => {\n                    self.disconnect();" => "Err(error) if error.drops_connection => {";

    "reconnect-for-ever", "a flush reconnects more than once", FLUSH,
    "if has_reconnected || error.cause == Cause::Timeout || self.must_write_down() {"
    => "if error.cause == Cause::Timeout || self.must_write_down() {";

    "flush-without-a-guard", "a connection whose guard was refused is flushed on at a stop", FLUSH,
    "let flushed = if is_in_doubt || self.is_unguarded {" => "let flushed = if is_in_doubt {";

    "held-dead-letters-leave-at-once", "a held record that failed leaves under the marker of its flush", FLUSH,
    "while !self.transaction.kept().is_empty() && !self.must_write_down() {"
    => "while !self.transaction.kept().is_empty() {";

    "watch-nothing", "a late EXEC of a broken connection is not fenced off", COMMANDS,
    "let mut command = redis::cmd(\"WATCH\");\n        command.arg(&self.key);" => "let mut command = redis::cmd(\"WATCH\");\n        command.arg(\"nothing\");";

    "touch-nothing", "a new connection does not break the old one's guard", COMMANDS,
    "redis::cmd(\"EXPIRE\").arg(&self.key)" => "redis::cmd(\"EXPIRE\").arg(\"nothing\")";

    "nil-counts-as-committed", "an EXEC that the guard stopped settles the records", REPLIES,
    "Value::Nil if refusals.is_empty() && marker.is_none() => FlushResult::GuardBroken,"
    => "Value::Nil if refusals.is_empty() && marker.is_none() => FlushResult::Executed { refusals },";

    "ignore-failures-in-exec", "a command that failed inside EXEC counts as written", REPLIES,
    "Value::Okay => FlushResult::Executed { refusals }," => "Value::Okay => FlushResult::Executed { refusals: Refusals::default() },";

    "ignore-the-last-reply", "a flush counts although WATCH was refused", REPLIES,
    "Some(refusal) => Err(Error { drops_connection: true, ..Error::refused(\"WATCH\", &refusal) })," => "Some(_) => Ok(result),";

    "acknowledge-without-copies", "records are settled although there are too few copies", DURABLE,
    "let Some(shortfall) = read_copies(durability, &mut session.replies(deadline))? else {"
    => "let Some(shortfall) = read_copies(durability, &mut session.replies(deadline))?.filter(|_| false) else {";

    "write-again-instead-of-waiting", "a flush with too few copies is written again", DURABLE,
    "        copies?;\n" => "        copies.inspect_err(|_| self.transaction.not_committed(flush))?;\n";

    "wait-without-looking", "what was answered is never looked up again", DURABLE,
    "if self.answers.contains_key(&flush) && held == marker.value(flush).as_bytes() {" => "if self.answers.contains_key(&flush) {";

    "look-without-waiting", "a flush that is found again counts without its copies", DURABLE,
    "if self.needs_copies() {" => "if self.needs_copies() && outcome.is_none() {";

    "forget-the-answer", "which records have failed is forgotten while copies are missing", DURABLE,
    "if self.answers.contains_key(&flush) && held" => "if false && held";

    "ask-without-writing", "the question follows no write of its connection", COMMANDS,
    "redis::cmd(\"EXPIRE\").arg(&self.key).arg(self.ttl_secs).write_packed_command(wire);"
    => "redis::cmd(\"GET\").arg(&self.key).write_packed_command(wire);";

    "hold-what-failed-as-in-doubt", "at a stop, a record that is known to have failed is held as perhaps written", LEAVE,
    "partition(|(nth, _)| unwritten.contains(nth))" => "partition(|(nth, _)| false && unwritten.contains(nth))";

    "resume-without-settling", "tryResume says OK and leaves the kept records", RESUME,
    "self.abandon(abandoned);\n            }\n            self.flush_all(deadline)" => "self.abandon(abandoned);\n            }\n            Ok(())";

    "commit-without-flush", "endTransaction says OK and has sent nothing", WORKER,
    "|| (!matches!(self.link, Link::Lost) && self.try_flush(self.deadline())));" => "|| !matches!(self.link, Link::Lost));";

    "partial-commit-without-flush", "doAction says OK and has sent nothing", WORKER,
    "let is_done = may && self.try_flush(deadline);" => "let is_done = may;";

    "poisoned-connection-stays", "after a panic the connection is used on", RESUME,
    "self.disconnect();\n        self.must_rest = true;" => "self.must_rest = true;";

    "poison-is-forgotten", "after a panic in doAction endTransaction says OK", WORKER,
    "let is_settled = !is_poisoned\n" => "let is_settled = (!is_poisoned || true)\n";

    "sent-ahead-is-remembered", "a new connection does not get what the old one had", WORKER,
    "self.link = Link::Down;\n        self.sent = None;" => "self.link = Link::Down;";

    "skip-the-hold-file", "what is not committed at a stop is not held", LEAVE,
    "AtStop::Drops => self.hold()," => "AtStop::Drops => {}";

    "note-nothing", "what is committed of a batch that comes back is not noted", LEAVE,
    "AtStop::Requeues => self.note()," => "AtStop::Requeues => {}";

    "acknowledged-records-are-not-noted", "what a replay was told to be settled is not noted", TRANSACTION,
    "self.acknowledged.extend(self.ledger.forget(position));" => "self.ledger.forget(position);";

    "forget-the-doubt-of-held-records", "a held flush in doubt is not looked up", LEAVE,
    "push(Some(self.doubt(doubt)), &records);" => "push(None, &records);";

    "forget-the-doubt-of-notes", "a noted flush in doubt always counts as committed", LEAVE,
    "(Some(self.doubt(doubt)), records.iter().map(note).collect())"
    => "(Some(self.doubt(doubt)).filter(|_| false), records.iter().map(note).collect())";

    "held-again-and-again", "whether a held flush was committed already is not looked up", HOLD,
    "if self.flush > 0 {" => "if false {";

    "misleading-marker", "what the server refused of a held flush is not written down", DURABLE,
    "self.is_marker_misleading |= result.is_beyond_look_up(self.action.settings.store.mode);" => "";

    "forget-what-the-type-told", "what the look-up of a held flush found out is not written down", DURABLE,
    "mode != Mode::Stream && fates.contains(&Fate::Unsettled);" => "false;";

    "write-again-what-was-consumed", "a list that is not there counts as never written", ENCODE,
    "matches!(kind, \"list\" | \"none\")" => "matches!(kind, \"list\")";

    "blame-the-first", "a refused push is blamed on the first of its records", PLAN,
    "refusals.records.extend(places.iter().map(" => "refusals.records.extend(places.iter().take(1).map(";

    "order-of-keys", "refusals are matched to records in the order of the commands", REPLIES,
    "    refusals.records.sort_by_key(|(place, _)| *place);\n    Ok(())\n}\n\n/// Reads so many" => "    Ok(())\n}\n\n/// Reads so many";

    "hold-what-is-given-up", "a batch that the core has given up for certain is saved at a stop", TRANSACTION,
    "if self.retries == Retries::Finite(0) { self.resumed() } else { 0 }" => "0";

    "redirected-counts-as-committed", "a part that was sent to the wrong node is settled", PARTS,
    "self.transaction.not_committed(*flush);" => "self.transaction.committed(*flush, &vec![crate::transaction::Fate::Settled; plan.commands()]);";

    "parts-are-written-again", "a part whose reply was lost is always sent again", CLUSTER,
    "self.find_out(flush, marker, &held, |worker, keys| {"
    => "self.find_out(flush, marker, &held[..0], |worker, keys| {";

    "taken-lists-are-pushed-again", "a list that somebody has taken was never there", "src/commands/encode.rs",
    "matches!(kind, \"list\" | \"none\")" => "kind == \"list\"";

    "acknowledge-from-anywhere", "a record is stored in another slot than its entry", "src/commands/origin.rs",
    "if record == entry { Ok(()) }" => "if record < crate::params::SLOTS { Ok(()) }";

    "dead-letters-in-one-place", "a dead letter is in another slot than its entry", "src/commands/origin.rs",
    "Some(slot) if slot != slot_of(fixed) =>" => "Some(slot) if slot == crate::params::SLOTS =>";

    "redirected-acknowledgements", "an entry that is on its way is taken for one that cannot be acknowledged",
    "src/commands/replies.rs",
    "refusals.records.iter().chain(&refusals.asides).map" => "refusals.records.iter().map";

    "each-channel-its-slot", "messages to several channels leave by several nodes", "src/worker/settle.rs",
    "Mode::Publish if !record.is_dead_letter() => self.part_of_messages()," => "";

    "parts-without-a-guard", "the first part on a connection to a node is not guarded", GUARD,
    "line.session.send(&[&marker.watch().get_packed_command()], deadline)?;"
    => "line.session.send(&[&asking()], deadline)?;";

    "acknowledge-parts-without-copies", "a part is settled when its node has answered", COPIES,
    "        if self.needs_copies() {\n" => "        if false && self.needs_copies() {\n";

    "believe-any-answer-about-copies", "parts are settled although their node has too few copies", COPIES,
    "            match heard {\n" => "            match heard.or_else(|trouble| if trouble.error.drops_connection { Err(trouble) } else { Ok(()) }) {\n";

    "look-up-parts-without-waiting", "a part that is found again counts without its copies", CLUSTER,
    "self.took_place(Claim { slot, flush, node, line, outcome, begin: None }, claims)"
    => "self.settle_claim(&Claim { slot, flush, node, line, outcome, begin: None }).map(|()| claims.truncate(claims.len()))";
}
