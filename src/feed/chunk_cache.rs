//! Records that several subscribers get together, joined once.
//!
//! Records are fields of a repeated field, so that joined behind one gRPC prefix
//! they are one message. Subscribers of one delivery class are woken together and want the
//! same records: the first of them makes the chunk, the others share it. Chunks
//! never cross the segments of the ring, so that readers who are behind soon read
//! in step too.

use std::collections::VecDeque;

use bytes::Bytes;

use super::heap::allocated;
use super::memory::Memory;
use super::wire::{Encoded, frame};
use crate::sync::Mutex;

/// Chunks that are kept: subscribers of one class may be so many chunks apart.
const KEPT: usize = 16;

/// The newest chunks of one feed.
#[derive(Debug, Default)]
pub(super) struct ChunkCache {
    recent: Mutex<VecDeque<Chunk>>,
}

#[derive(Debug)]
struct Chunk {
    numbers: Box<[u64]>,
    bytes: Bytes,
}

impl Chunk {
    fn cost(&self) -> usize {
        allocated(self.bytes.len()) + allocated(size_of_val(&*self.numbers)) + size_of::<Self>()
    }
}

impl ChunkCache {
    /// These updates as one gRPC message. Nothing is copied when it is one, or when
    /// somebody has asked for the same ones before. It is shared while `memory`, which books it, has
    /// room.
    pub(super) fn join(&self, updates: &[Encoded], memory: &Memory) -> Bytes {
        if let [one] = updates {
            return one.message().clone();
        }
        let numbers = || updates.iter().map(Encoded::number);
        let mut recent = self.recent.lock();
        let known = recent.iter().rev().find(|chunk| chunk.numbers.iter().copied().eq(numbers()));
        if let Some(chunk) = known {
            return chunk.bytes.clone();
        }
        let bytes = frame(updates.iter().map(Encoded::item));
        let chunk = Chunk { numbers: numbers().collect(), bytes: bytes.clone() };
        let (before, cost) = (cost(&recent), chunk.cost());
        if recent.len() == KEPT {
            recent.pop_front();
        }
        if memory.has_room_for(cost) {
            recent.push_back(chunk);
        }
        memory.book(before, self::cost(&recent));
        bytes
    }

    /// Forgets all but the newest `kept`.
    pub(super) fn trim(&self, kept: usize, memory: &Memory) {
        let mut recent = self.recent.lock();
        let old = recent.len().saturating_sub(kept);
        if old == 0 {
            return;
        }
        let before = cost(&recent);
        recent.drain(..old);
        memory.book(before, cost(&recent));
    }

    /// Bytes of memory that are held.
    pub(super) fn bytes(&self) -> usize {
        cost(&self.recent.lock())
    }
}

/// Bytes of memory that chunks hold. O(chunks), sixteen at most.
fn cost(chunks: &VecDeque<Chunk>) -> usize {
    chunks.iter().map(Chunk::cost).sum()
}
