//! A bounded queue of frames between the server's main thread and the writer thread: one producer, one
//! consumer, no locks, no allocation after the start. What a frame says is not known here.
//!
//! The memory is an array of atomic words, so the queue needs no unsafe code; a frame costs one plain
//! store per eight bytes, and is written where it will be read. It begins with a word that holds how many follow. Positions
//! count words from the start of time and only grow; the place in memory is the position modulo the size.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a word.
pub(crate) const WORD: usize = size_of::<u64>();

/// Keeps what one thread writes away from what the other one writes.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned(AtomicU64);

#[derive(Debug)]
struct Ring {
    words: Box<[AtomicU64]>,
    /// Written by the producer: everything before it is there to read.
    head: Aligned,
    /// Written by the consumer: everything before it may be overwritten.
    tail: Aligned,
}

impl Ring {
    fn place(&self, position: u64) -> usize {
        // The number of words is a power of two.
        usize::try_from(position).unwrap_or(0) & (self.words.len() - 1)
    }

    fn capacity(&self) -> u64 {
        self.words.len() as u64
    }
}

/// Makes a ring of at least so many bytes.
pub(crate) fn ring(bytes: usize) -> (Producer, Consumer) {
    let words = bytes.div_ceil(WORD).next_power_of_two();
    let ring = Arc::new(Ring {
        words: (0..words).map(|_| AtomicU64::new(0)).collect(),
        head: Aligned(AtomicU64::new(0)),
        tail: Aligned(AtomicU64::new(0)),
    });
    (Producer { ring: Arc::clone(&ring), head: 0, tail: 0 }, Consumer { ring })
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct Producer {
    ring: Arc<Ring>,
    head: u64,
    /// The tail as it was seen last: looking again costs a cache miss.
    tail: u64,
}

impl Producer {
    /// Begins a frame. Nobody sees it before its [`end`](Frame::end).
    pub(crate) fn begin(&mut self) -> Frame<'_> {
        let (at, limit) = (self.head + 1, self.tail + self.ring.capacity());
        Frame { producer: self, at, limit, is_full: false }
    }

    fn free_words(&mut self) -> u64 {
        self.tail = self.ring.tail.0.load(Ordering::Acquire);
        self.ring.capacity() - (self.head - self.tail)
    }

    /// Bytes in use and bytes in all.
    pub(crate) fn usage(&mut self) -> (u64, u64) {
        let capacity = self.ring.capacity();
        ((capacity - self.free_words()) * WORD as u64, capacity * WORD as u64)
    }

    /// The memory's first bytes, handed over or not.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> Vec<u8> {
        let words = self.ring.words.iter().take(4096);
        words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect()
    }
}

/// A frame in the making.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    producer: &'a mut Producer,
    /// Where the next word goes.
    at: u64,
    /// Where the oldest frame that is not released stands, one turn on.
    limit: u64,
    is_full: bool,
}

impl Frame<'_> {
    /// Appends a word.
    pub(crate) fn word(&mut self, word: u64) {
        if self.has_room(1) {
            let ring = &*self.producer.ring;
            if let Some(place) = ring.words.get(ring.place(self.at)) {
                place.store(word, Ordering::Relaxed);
            }
            self.at += 1;
        }
    }

    /// Appends words.
    pub(crate) fn words(&mut self, words: &[u64]) {
        if self.has_room(words.len()) {
            match self.places(words.len()) {
                Some(places) => places
                    .iter()
                    .zip(words)
                    .for_each(|(place, word)| place.store(*word, Ordering::Relaxed)),
                None => self.wrap(words.iter().copied()),
            }
            self.at += words.len() as u64;
        }
    }

    /// Appends bytes, and zeros up to the next word.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let count = bytes.len().div_ceil(WORD);
        if self.has_room(count) {
            match self.places(count) {
                Some(places) => store(places, bytes),
                None => self.wrap(bytes.chunks(WORD).map(word)),
            }
            self.at += count as u64;
        }
    }

    /// So many places from here on; `None` when the end of the memory comes first.
    fn places(&self, count: usize) -> Option<&[AtomicU64]> {
        let ring = &*self.producer.ring;
        let start = ring.place(self.at);
        ring.words.get(start..start + count)
    }

    /// Stores what goes on at the beginning of the memory.
    #[cold]
    fn wrap(&self, words: impl Iterator<Item = u64>) {
        let ring = &*self.producer.ring;
        for (position, word) in (self.at..).zip(words) {
            if let Some(place) = ring.words.get(ring.place(position)) {
                place.store(word, Ordering::Relaxed);
            }
        }
    }

    fn has_room(&mut self, words: usize) -> bool {
        self.at + words as u64 <= self.limit || self.has_room_now(words as u64)
    }

    /// Looks again what the consumer has released.
    #[cold]
    fn has_room_now(&mut self, words: u64) -> bool {
        self.producer.free_words();
        self.limit = self.producer.tail + self.producer.ring.capacity();
        let has_room = self.at + words <= self.limit;
        self.is_full |= !has_room;
        has_room
    }

    /// Hands the frame over; false, and nothing is there, when there was no room for all of it.
    pub(crate) fn end(mut self) -> bool {
        if self.is_full || !self.has_room(0) {
            return false;
        }
        let Producer { ring, head, .. } = self.producer;
        if let Some(place) = ring.words.get(ring.place(*head)) {
            place.store(self.at - *head - 1, Ordering::Relaxed);
        }
        *head = self.at;
        ring.head.0.store(self.at, Ordering::Release);
        true
    }
}

/// Up to eight bytes, the first one lowest.
pub(crate) fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn store(places: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for (place, chunk) in places.iter().zip(whole) {
        place.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    if rest.is_empty() {
        return;
    }
    // Without a step per byte, where eight are there.
    let last = match bytes.last_chunk::<WORD>() {
        Some(chunk) => u64::from_le_bytes(*chunk) >> ((WORD - rest.len()) * 8),
        None => word(rest),
    };
    if let Some(place) = places.get(whole.len()) {
        place.store(last, Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU64], places: &mut [[u8; WORD]]) {
    for (word, place) in words.iter().zip(places) {
        *place = word.load(Ordering::Relaxed).to_le_bytes();
    }
}

/// The reading end. Frames stay in the ring until they are released, and can be read again.
#[derive(Debug)]
pub(crate) struct Consumer {
    ring: Arc<Ring>,
}

impl Consumer {
    /// Reads the frame at `position` into `out` and gives the position of the next one; `None` when there is
    /// none yet.
    pub(crate) fn read(&self, position: u64, out: &mut Vec<u8>) -> Option<u64> {
        let ring = &*self.ring;
        if position >= ring.head.0.load(Ordering::Acquire) {
            return None;
        }
        let words = ring.words.get(ring.place(position))?.load(Ordering::Relaxed);
        let behind = ring.words.get(ring.place(position + 1)..)?;
        let count = usize::try_from(words).ok()?;
        out.resize(count * WORD, 0);
        let (places, _) = out.as_chunks_mut::<WORD>();
        let (first, second) = places.split_at_mut(count.min(behind.len()));
        load(behind, first);
        load(&ring.words, second);
        Some(position + 1 + words)
    }

    /// Gives everything before `position` back to the producer.
    pub(crate) fn release(&self, position: u64) {
        self.ring.tail.0.store(position, Ordering::Release);
    }

    /// The first frame that was not released.
    pub(crate) fn tail(&self) -> u64 {
        self.ring.tail.0.load(Ordering::Relaxed)
    }

    /// Whether a frame is there at `position`.
    pub(crate) fn has(&self, position: u64) -> bool {
        position < self.ring.head.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn push(producer: &mut Producer, bytes: &[u8]) -> bool {
        let mut frame = producer.begin();
        frame.bytes(bytes);
        frame.end()
    }

    /// The words that a frame of bytes consists of.
    fn padded(bytes: &[u8]) -> Vec<u8> {
        [bytes, &[0; WORD][..bytes.len().next_multiple_of(WORD) - bytes.len()]].concat()
    }

    fn record(number: u64) -> Vec<u8> {
        // Lengths from 0 to 99, so that frames begin and wrap everywhere.
        let length = usize::try_from(number * 7 % 100).unwrap();
        number.to_le_bytes().iter().copied().cycle().take(length).collect()
    }

    fn read_all(consumer: &Consumer, position: &mut u64) -> Vec<Vec<u8>> {
        let mut records = Vec::new();
        loop {
            let mut out = Vec::new();
            let Some(next) = consumer.read(*position, &mut out) else { return records };
            *position = next;
            records.push(out);
        }
    }

    // Oracle: the records themselves, over many turns of a small ring.
    #[test]
    fn records_come_out_as_they_went_in() {
        let (mut producer, consumer) = ring(512);
        let mut position = 0;
        for turn in 0..1000 {
            let sent: Vec<Vec<u8>> = (turn * 3..turn * 3 + 3).map(record).collect();
            assert!(sent.iter().all(|record| push(&mut producer, record)));
            let expected: Vec<Vec<u8>> = sent.iter().map(|record| padded(record)).collect();
            assert_eq!(read_all(&consumer, &mut position), expected);
            consumer.release(position);
        }
    }

    // Oracle: what was in the ring before the refusal is still there, and room comes back by release only.
    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let (mut producer, consumer) = ring(256);
        let fits = (0..).take_while(|_| push(&mut producer, &[1; 24])).count();
        assert_eq!(fits, 256 / 32);
        assert_eq!(producer.usage(), (256, 256));
        let mut position = 0;
        assert_eq!(read_all(&consumer, &mut position), vec![vec![1; 24]; fits]);
        assert!(!push(&mut producer, b""));
        consumer.release(4);
        assert!(push(&mut producer, &[2; 24]));
        assert!(!push(&mut producer, b""));
        let mut again = 4;
        assert_eq!(read_all(&consumer, &mut again).len(), fits);
        assert_eq!(consumer.tail(), 4);
    }

    // Oracle: the parts, put together here; the refused frame's first parts did fit.
    #[test]
    fn a_frame_of_parts_is_there_as_a_whole_or_not_at_all() {
        let (mut producer, consumer) = ring(128);
        let mut position = 0;
        for turn in 0..100_u64 {
            let mut refused = producer.begin();
            refused.words(&[turn; 10]);
            refused.bytes(&[1; 50]);
            refused.word(1);
            assert!(!refused.end() && !consumer.has(position));
            let mut frame = producer.begin();
            frame.word(turn);
            frame.bytes(b"eleven byte");
            frame.words(&[turn + 1, turn + 2]);
            assert!(frame.end());
            let number = |number: u64| number.to_le_bytes();
            let parts =
                [&number(turn)[..], b"eleven byte\0\0\0\0\0", &number(turn + 1), &number(turn + 2)];
            assert_eq!(read_all(&consumer, &mut position), [parts.concat()]);
            consumer.release(position);
        }
    }

    // Oracle: numbers in order without a gap, on two threads, with a ring that is nearly always full.
    #[test]
    fn two_threads_lose_and_change_nothing() {
        const COUNT: u64 = if cfg!(miri) { 2000 } else { 400_000 };
        let (mut producer, consumer) = ring(4096);
        let writer = thread::spawn(move || {
            for number in 0..COUNT {
                let record = record(number);
                while !push(&mut producer, &record) {
                    thread::yield_now();
                }
            }
        });
        let mut position = 0;
        let mut expected = 0;
        while expected < COUNT {
            let mut out = Vec::new();
            match consumer.read(position, &mut out) {
                Some(next) => {
                    assert_eq!(out, padded(&record(expected)));
                    expected += 1;
                    position = next;
                    consumer.release(next);
                }
                None => thread::yield_now(),
            }
        }
        assert!(!consumer.has(position));
        writer.join().unwrap();
    }
}
