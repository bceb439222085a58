//! Who writes to the CHAT of a livestream: the numbers and the quota of each author.

use std::ops::Bound;

use super::heap::{allocated, in_tree};
use crate::clock::Micros;
use starling_core::chat::{self, Judgement};
use starling_core::counted::{Map, Queue};
use starling_core::id::{NodeId, SessionId};
use starling_core::numbers::Numbers;

/// So many authors that are no members any more are remembered, so that one who joins
/// again finds its numbers and its quota as they were.
const DEPARTED: usize = 4_096;

/// Departures that are looked at with each message: one more than a member that writes can add.
const FORGOTTEN_AT_ONCE: usize = 2;

/// One author.
#[derive(Debug)]
pub(super) struct Author {
    known: chat::Author,
    /// Which departure it was with which it has left; `None` = it is a member.
    departed: Option<u64>,
}

impl Author {
    /// What became of the numbers that it gave.
    pub(super) const fn numbers(&self) -> &Numbers {
        &self.known.numbers
    }

    /// The number of a message (`given`, unless that is 0), and what it is.
    pub(super) fn judge(&mut self, given: u64, muted: bool, now: Micros) -> (u64, Judgement) {
        self.known.judge(given, muted, now.get())
    }

    /// Takes a message off the quota.
    pub(super) fn pay(&mut self) {
        self.known.quota.take(1);
    }
}

/// Bytes of memory of the ranges that numbers have.
pub(super) const fn range_bytes(numbers: &Numbers) -> usize {
    allocated(numbers.range_bytes())
}

/// All authors of one feed: the members that have written, and some that have left.
#[derive(Debug, Default)]
pub(super) struct Authors {
    /// A tree and no hash table: that would move all of them at once when it grows.
    by_node: Map<NodeId, Box<Author>>,
    /// Who has left, in that order. Whoever has come back, and left again, is in it twice.
    departures: Queue<(NodeId, u64)>,
    /// Number of the departure to come.
    next_departure: u64,
    /// Bytes of the ranges of all numbers.
    ranges: usize,
}

/// What one author takes, its ranges apart.
pub(super) const AUTHOR: usize = allocated(size_of::<Author>()) + in_tree(size_of::<(NodeId, Box<Author>)>());

impl Authors {
    /// An author that is a member with this session, made if need be. O(log authors).
    pub(super) fn author(&mut self, node: NodeId, session: SessionId, now: Micros) -> &mut Author {
        self.forget(now);
        let author = self
            .by_node
            .entry(node)
            .or_insert_with(|| Box::new(Author { known: chat::Author::new(now.get()), departed: None }));
        author.departed = None;
        self.ranges -= range_bytes(&author.known.numbers);
        author.known.numbers.begin(session);
        self.ranges += range_bytes(&author.known.numbers);
        author
    }

    /// What is known of an author.
    pub(super) fn get(&self, node: NodeId) -> Option<&Author> {
        self.by_node.get(&node).map(Box::as_ref)
    }

    /// Notes what became of the number of a message.
    pub(super) fn note(&mut self, node: NodeId, number: u64, accepted: bool) {
        let Some(author) = self.by_node.get_mut(&node) else { return };
        let numbers = &mut author.known.numbers;
        self.ranges -= range_bytes(numbers);
        if accepted {
            numbers.accept(number)
        } else {
            numbers.reject(number)
        }
        self.ranges += range_bytes(numbers);
    }

    /// How many are remembered that are no members any more.
    #[cfg(test)]
    pub(super) fn departed(&self) -> usize {
        self.by_node.values().filter(|author| author.departed.is_some()).count()
    }

    /// Authors in the order of their nodes, after this one; at most `most`.
    pub(super) fn nodes_after(&self, last: Option<NodeId>, most: usize) -> Vec<NodeId> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_node.range((after, Bound::Unbounded)).take(most).map(|(node, _)| *node).collect()
    }

    /// Notes that members have left. O(log authors) for each.
    pub(super) fn leave(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(author) = self.by_node.get_mut(node)
                && author.departed.is_none()
            {
                author.departed = Some(self.next_departure);
                self.departures.push_back((*node, self.next_departure));
                self.next_departure += 1;
            }
        }
    }

    /// Forgets those that left first and whose quota is whole again, when too many are
    /// remembered.
    fn forget(&mut self, now: Micros) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            if self.departures.len() <= DEPARTED {
                return;
            }
            let Some((node, departure)) = self.departures.pop_front() else { return };
            let Some(author) = self.by_node.get_mut(&node).filter(|author| author.departed == Some(departure)) else {
                continue;
            };
            if author.known.quota.is_full(now.get()) {
                self.ranges -= range_bytes(&author.known.numbers);
                self.by_node.remove(&node);
            } else {
                // In two seconds it is; until then, a quota must not come back with a new session.
                self.departures.push_back((node, departure));
            }
        }
    }

    /// Bytes of memory that they take. O(1).
    pub(super) fn bytes(&self) -> usize {
        let departures = self.departures.capacity() * size_of::<(NodeId, u64)>();
        self.by_node.len() * AUTHOR + self.ranges + allocated(departures)
    }
}
