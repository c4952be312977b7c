//! What is on its way to the target: which records are in the batch being written, and which of the written
//! ones the target has taken. Knows the ring, not the socket.
#![forbid(unsafe_code)]

use std::collections::VecDeque;

use crate::record::Renderer;
use crate::ring::Consumer;

/// One write is about this long: a little less than the reader takes at once.
const BATCH_BYTES: usize = 112 * 1024;

/// Where a record ends: in the stream of this connection, and in the ring.
#[derive(Debug)]
struct End {
    byte: u64,
    position: u64,
}

/// The writer's side of the ring.
#[derive(Debug)]
pub(crate) struct Outbox {
    consumer: Consumer,
    renderer: Renderer,
    /// Room for what is read from the ring.
    frame: Vec<u8>,
    /// The next record to put into a batch.
    cursor: u64,
    batch: Vec<u8>,
    /// How much of the batch is written.
    offset: usize,
    /// Bytes written on this connection, and bytes put into batches for it.
    written: u64,
    taken: u64,
    /// The records that are not confirmed, oldest first.
    ends: VecDeque<End>,
}

impl Outbox {
    pub(crate) fn new(consumer: Consumer, renderer: Renderer) -> Self {
        let cursor = consumer.tail();
        Outbox {
            consumer,
            renderer,
            frame: Vec::new(),
            cursor,
            batch: Vec::with_capacity(2 * BATCH_BYTES),
            offset: 0,
            written: 0,
            taken: 0,
            ends: VecDeque::new(),
        }
    }

    /// What to write next; empty when there is nothing.
    pub(crate) fn pending(&mut self) -> &[u8] {
        if self.offset == self.batch.len() {
            self.batch.clear();
            self.offset = 0;
            while self.batch.len() < BATCH_BYTES {
                let Some(next) = self.consumer.read(self.cursor, &mut self.frame) else { break };
                let before = self.batch.len();
                self.renderer.render(&self.frame, &mut self.batch);
                self.taken += (self.batch.len() - before) as u64;
                self.ends.push_back(End { byte: self.taken, position: next });
                self.cursor = next;
            }
        }
        self.batch.get(self.offset..).unwrap_or_default()
    }

    /// So many bytes of [`pending`](Self::pending) were written. Gives the number of records that are
    /// complete with them.
    pub(crate) fn wrote(&mut self, bytes: usize) -> u64 {
        let before = self.complete();
        self.offset += bytes;
        self.written += bytes as u64;
        self.complete() - before
    }

    fn complete(&self) -> u64 {
        self.ends.partition_point(|end| end.byte <= self.written) as u64
    }

    /// The target has not taken so many of the bytes written, at most: all records before them are done
    /// with. Gives their number.
    pub(crate) fn settle(&mut self, unread: u64) -> u64 {
        let confirmed = self.written.saturating_sub(unread);
        let count = self.ends.partition_point(|end| end.byte <= confirmed);
        if let Some(last) = self.ends.drain(..count).next_back() {
            self.consumer.release(last.position);
        }
        count as u64
    }

    /// The connection is gone: what was not confirmed will be written again, beginning with a whole record.
    /// Gives the number of records that were complete in the old stream.
    pub(crate) fn rewind(&mut self) -> u64 {
        let again = self.complete();
        self.cursor = self.consumer.tail();
        self.batch.clear();
        self.ends.clear();
        (self.offset, self.written, self.taken) = (0, 0, 0);
        again
    }

    /// Whether every record that the ring has is confirmed.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty() && !self.consumer.has(self.cursor)
    }

    /// Whether something is written and not confirmed.
    pub(crate) fn has_unconfirmed(&self) -> bool {
        !self.ends.is_empty()
    }

    /// Whether something is there to write.
    pub(crate) fn has_pending(&self) -> bool {
        self.offset < self.batch.len() || self.consumer.has(self.cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::put_text;
    use crate::ring::{Producer, ring};

    fn with_head(head: &[u8], records: &[&str]) -> (Producer, Outbox) {
        let (mut producer, consumer) = ring(4096);
        for record in records {
            let mut frame = producer.begin();
            put_text(&mut frame, record.as_bytes());
            assert!(frame.end());
        }
        (producer, Outbox::new(consumer, Renderer::new(head.to_vec())))
    }

    fn filled(records: &[&str]) -> (Producer, Outbox) {
        with_head(b"", records)
    }

    // Oracle: the bytes of the three records, in order.
    #[test]
    fn a_record_that_was_cut_by_a_broken_connection_is_written_again_whole() {
        let (_producer, mut outbox) = filled(&["first\n", "second\n", "third\n"]);
        assert_eq!(outbox.pending(), b"first\nsecond\nthird\n");
        assert_eq!(outbox.wrote(9), 1);
        assert_eq!(outbox.settle(0), 1);
        assert_eq!(outbox.rewind(), 0);
        assert_eq!(outbox.pending(), b"second\nthird\n");
    }

    // Oracle: the heads are bytes like others, also when the connection breaks inside of one.
    #[test]
    fn each_record_has_its_head() {
        let (_producer, mut outbox) = with_head(b"head ", &["1\n", "2\n"]);
        assert_eq!(outbox.pending(), b"head 1\nhead 2\n");
        assert_eq!(outbox.wrote(9), 1);
        assert_eq!(outbox.settle(2), 1);
        assert_eq!(outbox.rewind(), 0);
        assert_eq!(outbox.pending(), b"head 2\n");
        assert_eq!(outbox.wrote(7), 1);
        assert_eq!(outbox.pending(), b"");
    }

    // Oracle: of 18 bytes the target has not taken the last 7, one more than the last record.
    #[test]
    fn what_the_target_has_not_taken_is_written_again() {
        let (_producer, mut outbox) = filled(&["first\n", "second\n", "third\n"]);
        let length = outbox.pending().len();
        assert_eq!(outbox.wrote(length), 3);
        assert_eq!(outbox.settle(7), 1);
        assert!(outbox.has_unconfirmed() && !outbox.has_pending());
        assert_eq!(outbox.rewind(), 2);
        assert_eq!(outbox.pending(), b"second\nthird\n");
        assert!(!outbox.is_empty());
    }

    // Oracle: the ring has its room back only after the confirmation.
    #[test]
    fn the_ring_is_free_again_when_the_target_has_taken_everything() {
        let (mut producer, mut outbox) = filled(&["first\n", "second\n"]);
        let length = outbox.pending().len();
        outbox.wrote(length);
        assert!(producer.usage().0 > 0);
        assert_eq!(outbox.settle(0), 2);
        assert_eq!(producer.usage().0, 0);
        assert!(outbox.is_empty());
    }

    // Oracle: a bound that counts more than was ever written confirms nothing.
    #[test]
    fn an_unread_figure_above_what_was_written_confirms_nothing() {
        let (_producer, mut outbox) = filled(&["first\n"]);
        let length = outbox.pending().len();
        outbox.wrote(length);
        assert_eq!(outbox.settle(4352), 0);
        assert!(outbox.has_unconfirmed());
    }
}
