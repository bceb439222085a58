//! Hashes that are the same in every process, on every pod and in every version.
//!
//! They decide which shard a swarm lives in, estimate unique members and
//! compare the states of two replicas. They are not a defence against chosen
//! keys: hash maps keep the standard library's seeded hasher.

use std::hash::{Hash, Hasher};

/// The splitmix64 finaliser: a bijection on 64 bits in which every input bit
/// flips about half of the output bits (Steele, Lea and Flood, "Fast
/// Splittable Pseudorandom Number Generators", OOPSLA 2014).
pub const fn splitmix64(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A [`Hasher`] with a fixed seed, for digests of swarm state.
#[derive(Clone, Debug, Default)]
pub struct FixedHasher(u64);

impl FixedHasher {
    /// The digest of one value. Equal states give equal digests in every process
    /// of one build.
    pub fn digest(value: &impl Hash) -> u64 {
        let mut hasher = Self::default();
        value.hash(&mut hasher);
        hasher.finish()
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
        self.write_u64(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = splitmix64(self.0.rotate_left(5) ^ word);
    }

    fn finish(&self) -> u64 {
        splitmix64(self.0)
    }
}

/// Folds words into one, fast: a multiplication for each (the mixing of wyhash by Wang Yi). The same everywhere and in
/// every version, for what is summed up command by command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WordHasher(u64);

impl WordHasher {
    /// Two odd numbers with as many ones as zeros: wyhash's.
    const SECRETS: [u64; 2] = [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db];

    pub(crate) const fn new(seed: u64) -> Self {
        Self(fold(seed ^ Self::SECRETS[0], Self::SECRETS[1]))
    }

    pub(crate) const fn word(&mut self, word: u64) {
        self.0 = fold(self.0 ^ Self::SECRETS[0], word ^ Self::SECRETS[1]);
    }

    /// The bytes, and how many they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    pub(crate) const fn finish(self) -> u64 {
        splitmix64(self.0)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the halves of a product")]
const fn fold(a: u64, b: u64) -> u64 {
    let product = (a as u128) * (b as u128);
    (product >> 64) as u64 ^ product as u64
}
