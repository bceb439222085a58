//! A partition with its swarms, and the two as a snapshot.

use std::hash::Hasher;

use starling_core::hash::FixedHasher;

use crate::partition::Partition;
use crate::state::{State, Undecodable};
use crate::wire::{Reader, put_bytes, put_word};

/// The format of a snapshot.
const FORMAT: u8 = 1;

/// What the entries of a partition have made: two that are equal behave alike.
#[derive(Debug, Default)]
pub struct World<S> {
    /// The partition's own state.
    pub partition: Partition,
    /// Its swarms.
    pub state: S,
}

impl<S: State> World<S> {
    /// A digest of both.
    pub fn digest(&self) -> u64 {
        let mut hasher = FixedHasher::default();
        hasher.write_u64(self.partition.digest());
        hasher.write_u64(self.state.digest());
        hasher.finish()
    }

    /// The whole as a snapshot, at once.
    pub(crate) fn encode(&self, part_bytes: usize) -> Vec<u8> {
        let mut encoder = WorldEncoder::new(self);
        while encoder.step(&self.state, part_bytes).is_none() {}
        encoder.finish()
    }

    /// The world of a snapshot. Takes bytes from anywhere.
    ///
    /// # Errors
    ///
    /// [`Undecodable`]: a later format, or no snapshot, or one that was damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let [FORMAT, rest @ ..] = bytes else { return Err(Undecodable) };
        let (checksum, rest) = rest.split_at_checked(8).ok_or(Undecodable)?;
        if checksum != checksum_of(rest) {
            return Err(Undecodable);
        }
        let mut reader = Reader::new(rest);
        let partition = reader.bytes("partition").map_err(|_| Undecodable)?;
        let partition = Partition::decode(partition).map_err(|_| Undecodable)?;
        let state = S::decode(&rest[rest.len() - reader.left()..])?;
        Ok(Self { partition, state })
    }
}

fn checksum_of(bytes: &[u8]) -> [u8; 8] {
    let mut hasher = FixedHasher::default();
    hasher.write(bytes);
    hasher.finish().to_le_bytes()
}

/// A snapshot on the way, part by part: the world does not change meanwhile.
#[derive(Debug)]
pub(crate) struct WorldEncoder {
    body: Vec<u8>,
    level: u32,
    next: u64,
}

impl WorldEncoder {
    pub(crate) fn new<S: State>(world: &World<S>) -> Self {
        let mut body = Vec::new();
        put_bytes(&mut body, &world.partition.encode());
        Self { body, level: world.partition.level(), next: 0 }
    }

    /// Encodes the next part; something once there is no other.
    pub(crate) fn step<S: State>(&mut self, state: &S, part_bytes: usize) -> Option<()> {
        match state.encode_part(self.level, self.next, part_bytes, &mut self.body) {
            Some(next) => {
                self.next = next;
                None
            }
            None => Some(()),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 9);
        out.push(FORMAT);
        put_word(&mut out, u64::from_le_bytes(checksum_of(&self.body)));
        out.extend_from_slice(&self.body);
        out
    }
}
