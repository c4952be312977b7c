//! The core's buffers: one per place in a batch, reused by the next batch, moved by `realloc`.

use crate::random::Random;

struct Buffer {
    address: usize,
    capacity: usize,
}

/// Where the records of a batch are.
pub(crate) struct Buffers {
    buffers: Vec<Buffer>,
    /// What was given back, and may be used again.
    free: Vec<usize>,
    next: usize,
    /// Whether a buffer may move to where another one was.
    may_reuse: bool,
    may_move: bool,
    /// How many moved, and how many of those went where another one was.
    pub(crate) moved: u64,
    pub(crate) reused: u64,
}

impl Buffers {
    pub(crate) fn new(may_reuse: bool) -> Self {
        let (buffers, free, next) = (Vec::new(), Vec::new(), 0x1000);
        Self { buffers, free, next, may_reuse, may_move: true, moved: 0, reused: 0 }
    }

    /// Buffers that are large enough for every text.
    pub(crate) fn staying() -> Self {
        Self { may_move: false, ..Self::new(false) }
    }

    /// The address of the record at `place` of the next batch.
    pub(crate) fn hold(&mut self, place: usize, bytes: usize, random: &mut Random) -> usize {
        if place == self.buffers.len() {
            let address = self.allocate(random);
            self.buffers.push(Buffer { address, capacity: bytes });
        } else if self.may_move && (bytes > self.buffers[place].capacity || random.is(5)) {
            let old = self.buffers[place].address;
            // The old buffer is given back only after its bytes were copied.
            let address = self.allocate(random);
            self.free.push(old);
            self.moved += 1;
            self.buffers[place] = Buffer { address, capacity: bytes };
        }
        self.buffers[place].address
    }

    fn allocate(&mut self, random: &mut Random) -> usize {
        if self.may_reuse && !self.free.is_empty() && random.is(60) {
            self.reused += 1;
            return self.free.swap_remove(random.below(self.free.len()));
        }
        self.next += 0x40;
        self.next
    }
}
