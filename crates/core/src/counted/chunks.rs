//! Lists that never move what they hold, or little of it.

use std::hash::{Hash, Hasher};
use std::ops::{Index, IndexMut};

use super::List;
use crate::steps::count;

/// Entries of one chunk.
const CHUNK: usize = 1_024;

/// A list in chunks. A vector moves all of its entries when it grows; this one moves those of its first chunk, and else
/// the places of its chunks: at 10^6 entries of 150 bytes, 24 KB and not 150 MB.
#[derive(Clone, Debug)]
pub struct Chunks<T> {
    /// All but the last one are full; the last one is not empty.
    chunks: List<Vec<T>>,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Chunks<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self { chunks: List::new() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        let chunks = self.chunks.unvisited();
        chunks.last().map_or(0, |last| (chunks.len() - 1) * CHUNK + last.len())
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it takes outside itself. O(1).
    pub fn bytes(&self) -> usize {
        let chunks = self.chunks.unvisited();
        let entries = match chunks {
            [] => 0,
            [only] => only.capacity(),
            [.., _] => chunks.len() * CHUNK,
        };
        entries * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }

    /// The entry at a place.
    pub fn get(&self, at: usize) -> Option<&T> {
        count(1);
        self.chunks.unvisited().get(at / CHUNK)?.get(at % CHUNK)
    }

    /// Adds an entry at the end.
    pub fn push(&mut self, entry: T) {
        let len = self.len();
        if len.is_multiple_of(CHUNK) {
            // The first chunk grows as a vector does: most swarms are small.
            self.chunks.push(if len == 0 { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        let last = self.chunks.len() - 1;
        let last = &mut self.chunks[last];
        count(if last.len() == last.capacity() { last.len() } else { 0 });
        last.push(entry);
    }

    /// Adds so many entries that there are `len`.
    pub fn fill_to(&mut self, len: usize, entry: T)
    where
        T: Clone,
    {
        // As `push` grows the first chunk, so that the last one is whole or has its room.
        while self.len() < len && (self.chunks.len() < 2 || !self.len().is_multiple_of(CHUNK)) {
            self.push(entry.clone());
        }
        while self.len() < len {
            let more = CHUNK.min(len - self.len());
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.resize(more, entry.clone());
            count(more * size_of::<T>() / 64);
            self.chunks.push(chunk);
        }
    }

    /// Takes the last entry.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.chunks.len().checked_sub(1)?;
        let entry = self.chunks[last].pop();
        if self.chunks[last].is_empty() {
            self.chunks.pop();
        }
        entry
    }

    /// Its entries from a place on, a step each.
    pub fn iter_from(&self, from: usize) -> impl Iterator<Item = &T> {
        let chunks = self.chunks.unvisited().get(from / CHUNK..).unwrap_or_default();
        let (first, rest) = chunks.split_first().map_or((&[][..], chunks), |(first, rest)| (&first[..], rest));
        let first = first.get(from % CHUNK..).unwrap_or_default();
        first.iter().chain(rest.iter().flatten()).inspect(|_| count(1))
    }

    /// Its entries, a step each.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.iter_from(0)
    }
}

impl<T> Index<usize> for Chunks<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        count(1);
        &self.chunks.unvisited()[at / CHUNK][at % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunks<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl<T: Hash> Hash for Chunks<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_usize(self.len());
        self.iter().for_each(|entry| entry.hash(state));
    }
}

#[cfg(debug_assertions)]
impl<T> Drop for Chunks<T> {
    fn drop(&mut self) {
        count(if std::mem::needs_drop::<T>() { self.len() } else { self.chunks.len() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_a_list() {
        let mut chunks = Chunks::new();
        let mut list = Vec::new();
        for number in 0..3 * CHUNK + 7 {
            chunks.push(number);
            list.push(number);
            assert_eq!((chunks.len(), chunks[number]), (list.len(), number));
        }
        chunks.fill_to(5 * CHUNK + 9, 4);
        list.resize(5 * CHUNK + 9, 4);
        chunks[CHUNK] = 0;
        list[CHUNK] = 0;
        for from in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7, 4 * CHUNK, 9 * CHUNK] {
            let rest = list.get(from..).unwrap_or_default();
            assert!(chunks.iter_from(from).eq(rest), "from {from}");
            assert_eq!(chunks.get(from), list.get(from));
        }
        while let Some(last) = list.pop() {
            assert_eq!(chunks.pop(), Some(last));
            assert_eq!(chunks.len(), list.len());
        }
        assert_eq!((chunks.pop(), chunks.is_empty(), chunks.iter().count()), (None, true, 0));
    }
}
