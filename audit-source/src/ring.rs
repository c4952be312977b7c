//! A bounded queue of records between the server's main thread and the writer thread: one producer, one
//! consumer, no locks, no allocation after the start.
//!
//! The memory is an array of atomic words, so the queue needs no unsafe code; a record costs one plain
//! store per eight bytes. A frame is a word with the record's length, then the record, padded. Positions
//! count words from the start of time and only grow; the place in memory is the position modulo the size.
#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const WORD: usize = size_of::<u64>();

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

/// How many words a record takes.
fn frame_words(length: usize) -> u64 {
    1 + length.div_ceil(WORD) as u64
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
    /// Puts a record in; false, and nothing changed, when there is no room.
    pub(crate) fn push(&mut self, record: &[u8]) -> bool {
        let needed = frame_words(record.len());
        if self.ring.capacity() - (self.head - self.tail) < needed && self.free_words() < needed {
            return false;
        }
        let ring = &*self.ring;
        if let Some(word) = ring.words.get(ring.place(self.head)) {
            word.store(record.len() as u64, Ordering::Relaxed);
        }
        let start = ring.place(self.head + 1);
        let behind = ring.words.get(start..).unwrap_or_default();
        let (first, second) = record.split_at(record.len().min(behind.len() * WORD));
        fill(behind, first);
        fill(&ring.words, second);
        self.head += needed;
        ring.head.0.store(self.head, Ordering::Release);
        true
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
}

fn fill(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for (word, chunk) in words.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*chunk), Ordering::Relaxed);
    }
    if rest.is_empty() {
        return;
    }
    let mut last = [0; WORD];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    if let Some(word) = words.get(whole.len()) {
        word.store(u64::from_ne_bytes(last), Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU64], places: &mut [[u8; WORD]]) {
    for (word, place) in words.iter().zip(places) {
        *place = word.load(Ordering::Relaxed).to_ne_bytes();
    }
}

/// The reading end. Records stay in the ring until they are released, and can be read again.
#[derive(Debug)]
pub(crate) struct Consumer {
    ring: Arc<Ring>,
}

impl Consumer {
    /// Appends the record at `position` and gives the position of the next one; `None` when there is none
    /// yet.
    pub(crate) fn read(&self, position: u64, out: &mut Vec<u8>) -> Option<u64> {
        let ring = &*self.ring;
        if position >= ring.head.0.load(Ordering::Acquire) {
            return None;
        }
        let length = ring.words.get(ring.place(position))?.load(Ordering::Relaxed);
        let length = usize::try_from(length).ok()?;
        let words = frame_words(length) - 1;
        let behind = ring.words.get(ring.place(position + 1)..)?;
        let count = usize::try_from(words).ok()?;
        let begin = out.len();
        out.resize(begin + count * WORD, 0);
        let (places, _) = out.get_mut(begin..)?.as_chunks_mut::<WORD>();
        let (first, second) = places.split_at_mut(count.min(behind.len()));
        load(behind, first);
        load(&ring.words, second);
        out.truncate(begin + length);
        Some(position + 1 + words)
    }

    /// Gives everything before `position` back to the producer.
    pub(crate) fn release(&self, position: u64) {
        self.ring.tail.0.store(position, Ordering::Release);
    }

    /// The first record that was not released.
    pub(crate) fn tail(&self) -> u64 {
        self.ring.tail.0.load(Ordering::Relaxed)
    }

    /// Whether a record is there at `position`.
    pub(crate) fn has(&self, position: u64) -> bool {
        position < self.ring.head.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

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
            assert!(sent.iter().all(|record| producer.push(record)));
            assert_eq!(read_all(&consumer, &mut position), sent);
            consumer.release(position);
        }
    }

    // Oracle: what was in the ring before the refusal is still there, and room comes back by release only.
    #[test]
    fn a_full_ring_refuses_and_keeps_what_it_has() {
        let (mut producer, consumer) = ring(256);
        let fits = (0..).take_while(|_| producer.push(&[1; 24])).count();
        assert_eq!(fits, 256 / 32);
        assert_eq!(producer.usage(), (256, 256));
        let mut position = 0;
        assert_eq!(read_all(&consumer, &mut position), vec![vec![1; 24]; fits]);
        assert!(!producer.push(b""));
        consumer.release(4);
        assert!(producer.push(&[2; 24]));
        assert!(!producer.push(b""));
        let mut again = 4;
        assert_eq!(read_all(&consumer, &mut again).len(), fits);
        assert_eq!(consumer.tail(), 4);
    }

    // Oracle: numbers in order without a gap, on two threads, with a ring that is nearly always full.
    #[test]
    fn two_threads_lose_and_change_nothing() {
        const COUNT: u64 = if cfg!(miri) { 2000 } else { 400_000 };
        let (mut producer, consumer) = ring(4096);
        let writer = thread::spawn(move || {
            for number in 0..COUNT {
                let record = record(number);
                while !producer.push(&record) {
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
                    assert_eq!(out, record(expected));
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
