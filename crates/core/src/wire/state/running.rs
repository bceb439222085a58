//! A digest of a state that costs no look at its members.

use std::hash::Hasher;

use super::section::Section;
use super::{Piece, StateEncoder, StateVersion};
use crate::hash::FixedHasher;
use crate::swarm::{Rules, Swarm};

/// Hashes bytes that come in pieces as [`FixedHasher::write`] does all of them at once.
#[derive(Clone, Debug, Default)]
struct PieceHasher {
    hasher: FixedHasher,
    /// Bytes that make no word yet: the lowest `len % 8` of it.
    word: u64,
    len: u64,
}

impl PieceHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.word |= u64::from(*byte) << (8 * (self.len % 8));
            self.len += 1;
            if self.len.is_multiple_of(8) {
                self.hasher.write_u64(std::mem::take(&mut self.word));
            }
        }
    }

    fn finish(mut self) -> FixedHasher {
        if !self.len.is_multiple_of(8) {
            self.hasher.write_u64(self.word);
        }
        self.hasher.write_u64(self.len);
        self.hasher
    }
}

/// Makes the digest of one state, slice by slice: nobody changes the swarm in between.
///
/// Each command has kept what it needs of members and tree. Two states have the same digest if, and but for chance only
/// if, they are the same; in every build that writes this version.
#[derive(Debug)]
pub struct RunningDigest {
    encoder: StateEncoder,
    bytes: PieceHasher,
}

impl RunningDigest {
    /// One that has looked at nothing yet.
    pub fn new(version: StateVersion) -> Self {
        Self { encoder: StateEncoder::new(version), bytes: PieceHasher::default() }
    }

    /// Looks at about `budget` bytes of the state; what is there once is in the first ones, see [`StateEncoder::next`].
    /// The digest, once all is looked at.
    pub fn next(&mut self, swarm: &Swarm, budget: usize) -> Option<u64> {
        let encoder = &mut self.encoder;
        let mut piece = Piece { bytes: Vec::new(), passed: 0, budget };
        // Free slots, members and the tree are in the sums.
        while encoder.section != Section::Free && !piece.is_full() {
            if encoder.fill(swarm, &mut piece) {
                encoder.begin(encoder.section.next(), swarm);
            }
        }
        self.bytes.write(&piece.bytes);
        if encoder.section != Section::Free {
            return None;
        }
        let (base, rules) = swarm.parts();
        let tree = match rules {
            Rules::Livestream(livestream) => livestream.tree.digest(),
            Rules::Group(_) => 0,
        };
        let mut hasher = std::mem::take(&mut self.bytes).finish();
        hasher.write_u64(base.roster.digest());
        hasher.write_u64(tree);
        if let Rules::Livestream(livestream) = rules
            && let Some(chat) = &livestream.chat
        {
            hasher.write_u64(chat.authors.digest());
        }
        Some(hasher.finish())
    }
}

/// The digest of [`RunningDigest`], at once. O(bans + moderators + mutes + last members + 256 requests).
pub fn running_digest(swarm: &Swarm, version: StateVersion) -> u64 {
    let digest = RunningDigest::new(version).next(swarm, usize::MAX);
    digest.expect("all of it is looked at")
}
