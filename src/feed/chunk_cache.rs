//! Records that several subscribers get together, joined once.
//!
//! Records are fields of a repeated field, so that joined behind one gRPC prefix
//! they are one message. Subscribers of one delivery class are woken together and want the
//! same records: the first of them makes the chunk, the others share it. Chunks
//! never cross the segments of the ring, so that readers who are behind soon read
//! in step too.

use std::collections::VecDeque;

use bytes::Bytes;

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

impl ChunkCache {
    /// These updates as one gRPC message. Nothing is copied when it is one, or when
    /// somebody has asked for the same ones before.
    pub(super) fn join(&self, updates: &[Encoded]) -> Bytes {
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
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back(Chunk { numbers: numbers().collect(), bytes: bytes.clone() });
        bytes
    }

    /// Forgets all but the newest `kept`.
    pub(super) fn trim(&self, kept: usize) {
        let mut recent = self.recent.lock();
        let old = recent.len().saturating_sub(kept);
        recent.drain(..old);
    }
}
