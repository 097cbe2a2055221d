// SPDX-License-Identifier: MIT OR Apache-2.0
//! A ring of bytes that costs nothing while it is empty: storage comes from the worker's pool with the first byte and
//! goes back with the last. No I/O, no time.

/// First in, first out.
#[derive(Debug)]
pub struct Fifo {
    /// Empty while no byte is held. Invariant: `len <= storage.len()`, and `head < storage.len()` unless it is empty.
    storage: Box<[u8]>,
    head: usize,
    len: usize,
    capacity: usize,
}

/// Storage that was given back, for the next who needs some. One per worker.
#[derive(Debug, Default)]
pub struct Pool {
    spare: Vec<Box<[u8]>>,
}

/// Pieces of storage a pool keeps; more are given back to the system.
const SPARE: usize = 16;

impl Pool {
    fn take(&mut self, size: usize) -> Box<[u8]> {
        let fits = self.spare.iter().position(|storage| storage.len() == size);
        // Zeroed by the system, page by page as it is touched: room that is never filled is never paid for.
        fits.map_or_else(|| vec![0; size].into_boxed_slice(), |at| self.spare.swap_remove(at))
    }

    fn give(&mut self, storage: Box<[u8]>) {
        if self.spare.len() < SPARE {
            self.spare.push(storage);
        }
    }
}

impl Fifo {
    /// Holds up to `capacity` bytes.
    pub fn new(capacity: usize) -> Self {
        Self { storage: Box::default(), head: 0, len: 0, capacity }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// The oldest bytes, as far as they lie in one piece; empty only when the fifo is.
    pub fn readable(&self) -> &[u8] {
        let end = (self.head + self.len).min(self.storage.len());
        &self.storage[self.head..end]
    }

    /// Drops the oldest `count` bytes, of those [`Self::readable`] showed.
    pub fn consume(&mut self, count: usize, pool: &mut Pool) {
        debug_assert!(count <= self.readable().len(), "consumed what was not shown");
        self.len -= count;
        self.head += count;
        if self.head == self.storage.len() {
            self.head = 0;
        }
        if self.len == 0 {
            self.head = 0;
            if !self.storage.is_empty() {
                pool.give(std::mem::take(&mut self.storage));
            }
        }
    }

    /// Free room behind the newest byte, as far as it lies in one piece; empty only when the fifo is full. Tell
    /// [`Self::commit`] how much of it was filled, 0 too.
    pub fn writable(&mut self, pool: &mut Pool) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage = pool.take(self.capacity);
        }
        let size = self.storage.len();
        let tail = self.head + self.len;
        if tail < size { &mut self.storage[tail..] } else { &mut self.storage[tail - size..self.head] }
    }

    /// `count` bytes of [`Self::writable`] were filled.
    pub fn commit(&mut self, count: usize, pool: &mut Pool) {
        debug_assert!(count <= self.room(), "filled more than there was room");
        self.len += count;
        if self.len == 0 {
            self.consume(0, pool);
        }
    }

    /// Puts as much of `bytes` behind the newest byte as there is room for, and says how much.
    pub fn push(&mut self, bytes: &[u8], pool: &mut Pool) -> usize {
        let mut pushed = 0;
        // At most two pieces: up to the end of the storage, and from its beginning.
        while pushed < bytes.len() && self.room() > 0 {
            let into = self.writable(pool);
            let count = into.len().min(bytes.len() - pushed);
            into[..count].copy_from_slice(&bytes[pushed..pushed + count]);
            self.commit(count, pool);
            pushed += count;
        }
        pushed
    }

    /// Drops everything.
    pub fn clear(&mut self, pool: &mut Pool) {
        while !self.is_empty() {
            self.consume(self.readable().len(), pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A small generator, so that a failure can be repeated.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % limit
        }
    }

    #[test]
    fn behaves_like_a_queue_for_every_capacity() {
        for capacity in [1, 2, 3, 7, 64, 1000] {
            let (mut fifo, mut pool) = (Fifo::new(capacity), Pool::default());
            let mut model = VecDeque::new();
            let mut random = Random(capacity as u64);
            for step in (0..4000).map(|n: u16| n.to_le_bytes()[0]) {
                match random.below(3) {
                    0 => {
                        let bytes = vec![step; random.below(2 * capacity) + 1];
                        let pushed = fifo.push(&bytes, &mut pool);
                        assert_eq!(pushed, bytes.len().min(capacity - model.len()));
                        model.extend(&bytes[..pushed]);
                    }
                    1 if fifo.room() > 0 => {
                        let into = fifo.writable(&mut pool);
                        assert!(!into.is_empty());
                        let count = random.below(into.len() + 1);
                        into[..count].fill(step);
                        fifo.commit(count, &mut pool);
                        model.extend(std::iter::repeat_n(step, count));
                    }
                    _ => {
                        let shown = fifo.readable();
                        assert_eq!(shown.is_empty(), model.is_empty());
                        assert!(shown.iter().eq(model.iter().take(shown.len())));
                        let count = random.below(shown.len() + 1);
                        fifo.consume(count, &mut pool);
                        model.drain(..count);
                    }
                }
                assert_eq!((fifo.len(), fifo.room()), (model.len(), capacity - model.len()));
                assert_eq!(fifo.storage.is_empty(), fifo.is_empty(), "an empty fifo holds no storage");
            }
        }
    }

    #[test]
    fn storage_goes_back_to_the_pool_and_is_used_again() {
        let (mut fifo, mut pool) = (Fifo::new(100), Pool::default());
        for _ in 0..10 {
            assert_eq!(fifo.push(&[1; 200], &mut pool), 100);
            assert_eq!(pool.spare.len(), 0);
            fifo.clear(&mut pool);
            assert_eq!(pool.spare.len(), 1);
        }
    }

    #[test]
    fn wraps_around() {
        let (mut fifo, mut pool) = (Fifo::new(4), Pool::default());
        fifo.push(b"abcd", &mut pool);
        fifo.consume(3, &mut pool);
        fifo.push(b"efg", &mut pool);
        assert_eq!(fifo.readable(), b"d");
        fifo.consume(1, &mut pool);
        assert_eq!(fifo.readable(), b"efg");
    }
}
