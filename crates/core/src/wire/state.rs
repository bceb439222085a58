//! The bytes of a swarm's whole state, as snapshots keep them.
//!
//! Whoever reads them goes on as the swarm would have that they were made of: every later command has the same outcome
//! and the same events. As with commands, every replica and every later version reads what this one writes, and a state
//! has exactly one form: [`StateDecoder`] refuses every other.
//!
//! ```text
//! state    = version head section*
//! version  = 1                    one byte, see [`StateVersion`]
//! head     = kind base rules lengths
//! sections = bans, moderators, mutes, last members, free slots, members, relay tree, authors
//! ```
//!
//! Numbers, ids, strings, options and lists are those of commands ([`wire`](super)). A section is a list whose length is
//! in the head. Nodes of sorted sections are written as their distance from the one before, slots and what grows from
//! one member to the next as a distance with a sign in its lowest bit.
//!
//! A member takes about 25 bytes, of which its ids are 16; a swarm may have 10^6 of them. So both ways go in pieces:
//! [`StateEncoder`] gives some bytes at a time, and what holds the swarm may let go of its lock in between, if nobody
//! changes the swarm; [`StateDecoder`] takes them however they are cut. An entry, of which a piece holds whole ones, has
//! 16 MiB at most.
//!
//! # What is derived
//!
//! These are not written, and made anew of what is: the index of members by node, the timetable of deadlines, the place
//! of each viewer in the tree, the number of relays and the fan-out of the tree, when bans and overrides end first,
//! members by interest and by role, and what it all takes in memory. [`Swarm::check`] compares each of them with what it
//! is derived from, and the simulation calls it all the time. What is told of a swarm, its log of events, updates, and
//! who watches are not the core's: the store has them.

use std::hash::Hasher;

use crate::bans::Bans;
use crate::hash::FixedHasher;
use crate::id::{Epoch, NodeId};
use crate::swarm::{Rules, Swarm};

use member::Before;
use section::Section;

mod chat;
mod decoder;
mod error;
mod head;
mod member;
mod order;
mod running;
mod section;
#[cfg(test)]
mod tests;
mod version;

pub use decoder::{StateDecoder, decode};
pub use error::StateError;
pub use running::{RunningDigest, running_digest};
pub use version::StateVersion;

/// What passing a free slot costs of a piece's bytes, though it writes none.
const FREE_SLOT: usize = 4;
/// Bytes of a piece where nobody waits.
const LARGE: usize = 1 << 16;

/// The swarm is another one than at the piece before: what was written of it is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the swarm was changed while its state was written")]
pub struct SwarmChanged;

/// Writes the state of one swarm, piece by piece.
#[derive(Debug)]
pub struct StateEncoder {
    version: StateVersion,
    section: Section,
    /// Entries of the section that are passed; of the members', slots.
    at: usize,
    /// The node, the slot, or the message, of the last entry; 0 before the first one.
    last: u64,
    before: Before,
    /// Of which state the pieces are.
    of: Option<(Epoch, u64, u64)>,
}

impl StateEncoder {
    /// One that has written nothing yet.
    pub const fn new(version: StateVersion) -> Self {
        Self { version, section: Section::Head, at: 0, last: 0, before: Before::first(0), of: None }
    }

    /// The next piece; `None` when all was written. It ends with the first entry by which it has `budget` bytes, or has
    /// cost as much by passing free slots: it may be empty. O(budget), and what is there once is in the first one:
    /// metadata, 256 requests, and the 4 KB of an estimate.
    ///
    /// # Errors
    ///
    /// [`SwarmChanged`] when epoch, revision or time of the swarm are not those of the first piece. Whoever changes it
    /// in between at the same time, and invisibly, is not found out.
    pub fn next(&mut self, swarm: &Swarm, budget: usize) -> Result<Option<Vec<u8>>, SwarmChanged> {
        let now = (swarm.epoch(), swarm.revision(), swarm.now());
        if *self.of.get_or_insert(now) != now {
            return Err(SwarmChanged);
        }
        if self.section == Section::End {
            return Ok(None);
        }
        let mut piece = Piece { bytes: Vec::with_capacity(budget.min(LARGE) + LARGE / 64), passed: 0, budget };
        while self.section != Section::End && !piece.is_full() {
            if self.fill(swarm, &mut piece) {
                self.begin(self.section.next(), swarm);
            }
        }
        Ok(Some(piece.bytes))
    }

    const fn begin(&mut self, section: Section, swarm: &Swarm) {
        self.section = section;
        (self.at, self.last, self.before) = (0, 0, Before::first(swarm.created_at()));
    }

    /// Writes what the piece takes of the section. True when nothing of it is left.
    fn fill(&mut self, swarm: &Swarm, piece: &mut Piece) -> bool {
        let (base, rules) = swarm.parts();
        let livestream = match rules {
            Rules::Livestream(livestream) => Some(livestream),
            Rules::Group(_) => None,
        };
        let (now, roster, at) = (base.now, &base.roster, self.at);
        match self.section {
            Section::Head => {
                piece.bytes.push(self.version as u8);
                head::put_head(swarm, &mut piece.bytes);
                true
            }
            Section::Bans => {
                let bans = self.following().into_iter().flat_map(|from| bans_from(&base.bans, from));
                self.write(bans, piece, |encoder, (node, end), out| {
                    encoder.put_node(node, out);
                    order::put_distance(now, end, out);
                })
            }
            Section::Moderators | Section::Muted => {
                let nodes = livestream.map(|livestream| match self.section {
                    Section::Moderators => &livestream.moderators,
                    _ => &livestream.muted,
                });
                let nodes = nodes.zip(self.following()).into_iter().flat_map(|(nodes, from)| nodes.range(from..));
                self.write(nodes, piece, |encoder, node, out| encoder.put_node(*node, out))
            }
            Section::LastMembers => {
                let members = base.last_members.all().get(at..).unwrap_or_default();
                self.write(members, piece, |encoder, member, out| {
                    encoder.put_node(member.node, out);
                    member::put_last(member, out);
                })
            }
            Section::Free => self.write(roster.free_from(at), piece, |encoder, key, out| {
                encoder.put_slot(key.index() as u64, out);
            }),
            Section::Members => self.write(roster.slots_from(at), piece, |encoder, member, out| {
                if let Some(member) = member {
                    encoder.before.put(member, out);
                }
            }),
            Section::Tree => {
                let keys = livestream.into_iter().flat_map(|livestream| livestream.tree.keys_from(at));
                self.write(keys, piece, |encoder, key, out| encoder.put_slot(key.index() as u64, out))
            }
            Section::Authors => {
                let authors = livestream.and_then(|livestream| livestream.chat.as_ref()).map(|chat| &chat.authors);
                let from = self.last + 1;
                let heard = authors.into_iter().flat_map(|authors| authors.heard_from(from));
                self.write(heard, piece, |encoder, heard, out| {
                    chat::put_author(encoder.last, heard, now, out);
                    encoder.last = heard.0;
                })
            }
            Section::End => true,
        }
    }

    /// Writes entries until the piece is full. True when all of them were.
    fn write<T>(
        &mut self,
        entries: impl IntoIterator<Item = T>,
        piece: &mut Piece,
        put: impl Fn(&mut Self, T, &mut Vec<u8>),
    ) -> bool {
        for entry in entries {
            let before = piece.bytes.len();
            put(self, entry, &mut piece.bytes);
            self.at += 1;
            piece.passed += usize::from(piece.bytes.len() == before) * FREE_SLOT;
            if piece.is_full() {
                return false;
            }
        }
        true
    }

    /// The least node that may come next; `None` when the last one was the largest.
    fn following(&self) -> Option<NodeId> {
        self.last.checked_add(1).and_then(NodeId::new)
    }

    fn put_node(&mut self, node: NodeId, out: &mut Vec<u8>) {
        order::put_ascending(self.last, node, out);
        self.last = node.get();
    }

    fn put_slot(&mut self, slot: u64, out: &mut Vec<u8>) {
        order::put_distance(self.last, slot, out);
        self.last = slot;
    }
}

fn bans_from(bans: &Bans, from: NodeId) -> impl Iterator<Item = (NodeId, u64)> {
    bans.iter_from(Some(from))
}

/// Bytes that are to leave together.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    /// What entries without bytes cost.
    passed: usize,
    budget: usize,
}

impl Piece {
    const fn is_full(&self) -> bool {
        self.bytes.len() + self.passed >= self.budget
    }
}

/// The whole state of a swarm in bytes. O(members).
pub fn encode(swarm: &Swarm, version: StateVersion) -> Vec<u8> {
    let mut bytes = Vec::new();
    pieces(swarm, version, |piece| bytes.extend_from_slice(piece));
    bytes
}

/// A digest of the state's bytes: two states have the same one if, and but for chance only if, they are the same; in
/// every build that writes this version. O(members), and never holds all of the bytes.
pub fn digest(swarm: &Swarm, version: StateVersion) -> u64 {
    let mut hasher = FixedHasher::default();
    pieces(swarm, version, |piece| hasher.write(piece));
    hasher.finish()
}

fn pieces(swarm: &Swarm, version: StateVersion, mut see: impl FnMut(&[u8])) {
    let mut encoder = StateEncoder::new(version);
    while let Some(piece) = encoder.next(swarm, LARGE).expect("it is borrowed all the time") {
        see(&piece);
    }
}
