//! Tokens that are refused, by the node that they name: those issued before a time.
//!
//! Not about one swarm, but about every swarm of every pod; its commands are [`ServerCommand`]s, and the same commands
//! make the same table everywhere. What a token is, and when it was issued, is known above.
//!
//! Invariant ([`Revocations::check`]): both sides of the table hold the same, and no more than [`MAX_REVOCATIONS`].
//!
//! [`ServerCommand`]: super::command::ServerCommand

use std::ops::Bound;

use super::command::RevokeTokens;
use super::counted::{Map, Set};
use super::error::Rejection;
use super::hash::WordHasher;
use super::id::NodeId;

/// The most nodes whose tokens are revoked.
pub const MAX_REVOCATIONS: u32 = 100_000;

/// The most that one command forgets, so that it never holds its lock for long.
const FORGOTTEN_AT_ONCE: usize = 1_024;

/// What is refused of one node. Times are in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// Tokens issued before this time.
    pub issued_before: u64,
    /// When none of them can be valid any more.
    pub forget_at: u64,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// What is in force of the node now, or would be if it were of use.
    pub revocation: Revocation,
    /// True when that is something else than before.
    pub changed: bool,
    /// Nodes of which nothing is known any more.
    pub forgotten: Vec<NodeId>,
}

/// Whose tokens are revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Revocations {
    nodes: Map<NodeId, Revocation>,
    due: Set<(u64, NodeId)>,
    /// Of each node and what is known of it, added up.
    digest: u64,
}

impl Revocations {
    /// Revokes tokens of a node at `at`; what is in force of it never falls back. Forgets a part of what is over.
    ///
    /// # Errors
    ///
    /// [`Rejection::Quota`] when the tokens of as many nodes are revoked as may be; then nothing is changed.
    pub fn revoke(&mut self, command: RevokeTokens, at: u64) -> Result<Revoked, Rejection> {
        let RevokeTokens { node, issued_before, forget_at } = command;
        let over = self.due.iter().take_while(|(when, _)| *when <= at).take(FORGOTTEN_AT_ONCE);
        let forgotten: Vec<NodeId> = over.map(|(_, node)| *node).collect();
        let known = self.nodes.get(&node).copied().filter(|known| known.forget_at > at);
        let revocation = Revocation {
            issued_before: known.map_or(issued_before, |known| known.issued_before.max(issued_before)),
            forget_at: known.map_or(forget_at, |known| known.forget_at.max(forget_at)),
        };
        let is_of_use = revocation.forget_at > at;
        let left = self.nodes.len() - forgotten.len();
        if is_of_use && !self.nodes.contains_key(&node) && left >= MAX_REVOCATIONS as usize {
            return Err(Rejection::Quota { what: "revocations", max: MAX_REVOCATIONS });
        }
        forgotten.iter().for_each(|node| self.forget(*node));
        let changed = is_of_use && known != Some(revocation);
        if changed {
            self.forget(node);
            self.restore(node, revocation);
        }
        Ok(Revoked { revocation, changed, forgotten })
    }

    /// Adds what another table knew of a node of which this one knows nothing.
    pub(super) fn restore(&mut self, node: NodeId, revocation: Revocation) {
        self.nodes.insert(node, revocation);
        self.due.insert((revocation.forget_at, node));
        self.digest = self.digest.wrapping_add(digest_of(node, revocation));
    }

    fn forget(&mut self, node: NodeId) {
        if let Some(revocation) = self.nodes.remove(&node) {
            self.due.remove(&(revocation.forget_at, node));
            self.digest = self.digest.wrapping_sub(digest_of(node, revocation));
        }
    }

    /// A digest of all of it, the same in every build. O(1).
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// What is known of a node. O(log n).
    pub fn get(&self, node: NodeId) -> Option<Revocation> {
        self.nodes.get(&node).copied()
    }

    /// The nodes in their order, from this one on, and what is known of each.
    pub fn iter_from(&self, from: Option<NodeId>) -> impl Iterator<Item = (NodeId, Revocation)> {
        let from = from.map_or(Bound::Unbounded, Bound::Included);
        self.nodes.range((from, Bound::Unbounded)).map(|(node, revocation)| (*node, *revocation))
    }

    /// How many there are, with those that are over and not forgotten yet.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True when nothing is revoked.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Panics when the invariant does not hold. O(n); for tests.
    pub fn check(&self) {
        assert!(self.nodes.len() <= MAX_REVOCATIONS as usize, "revocations are bounded");
        let mut due: Vec<_> = self.nodes.iter().map(|(node, known)| (known.forget_at, *node)).collect();
        due.sort_unstable();
        assert!(self.due.iter().copied().eq(due), "each is forgotten once");
        let digests = self.nodes.iter().map(|(node, known)| digest_of(*node, *known));
        assert_eq!(self.digest, digests.fold(0, u64::wrapping_add), "what is known adds up");
    }
}

const fn digest_of(node: NodeId, revocation: Revocation) -> u64 {
    let mut digest = WordHasher::new(node.get());
    digest.word(revocation.issued_before);
    digest.word(revocation.forget_at);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn revoke(number: u64, issued_before: u64, forget_at: u64) -> RevokeTokens {
        RevokeTokens { node: node(number), issued_before, forget_at }
    }

    #[test]
    fn what_is_revoked_never_falls_back() {
        let mut revocations = Revocations::default();
        let first = revocations.revoke(revoke(1, 100, 1_100), 100).unwrap();
        assert_eq!((first.changed, first.revocation.issued_before), (true, 100));
        let same = revocations.revoke(revoke(1, 50, 1_050), 101).unwrap();
        assert_eq!((same.changed, same.revocation), (false, first.revocation), "an earlier time changes nothing");
        let later = revocations.revoke(revoke(1, 200, 1_200), 200).unwrap();
        let known = Revocation { issued_before: 200, forget_at: 1_200 };
        assert_eq!((later.changed, later.revocation, revocations.get(node(1))), (true, known, Some(known)));
        revocations.check();
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut revocations = Revocations::default();
        (1..=3_000).for_each(|number| drop(revocations.revoke(revoke(number, 10, 1_000), 10)));
        let next = revocations.revoke(revoke(5_000, 20, 2_000), 999).unwrap();
        assert_eq!((next.forgotten, revocations.len()), (Vec::new(), 3_001), "not before");
        for left in [3_001 - 1_024, 3_001 - 2_048, 1] {
            let next = revocations.revoke(revoke(5_000, 20, 2_000), 1_000).unwrap();
            assert_eq!((next.changed, revocations.len()), (false, left), "in portions");
            revocations.check();
        }
        let useless = revocations.revoke(revoke(7, 20, 2_000), 2_000).unwrap();
        assert_eq!((useless.changed, useless.forgotten), (false, vec![node(5_000)]));
        assert!(revocations.is_empty());
    }

    #[test]
    fn what_is_over_counts_no_more() {
        let mut revocations = Revocations::default();
        revocations.revoke(revoke(1, 500, 1_000), 10).unwrap();
        let again = revocations.revoke(revoke(1, 100, 2_000), 1_000).unwrap();
        assert_eq!((again.changed, revocations.get(node(1)).unwrap().issued_before), (true, 100));
        assert_eq!(again.forgotten, [node(1)]);
        revocations.check();
    }

    #[test]
    fn full_table_refuses_and_changes_nothing() {
        let mut revocations = Revocations::default();
        let max = u64::from(MAX_REVOCATIONS);
        (1..=max).for_each(|number| drop(revocations.revoke(revoke(number, 10, 1_000 + number), 10)));
        let before = revocations.clone();
        let full = Err(Rejection::Quota { what: "revocations", max: MAX_REVOCATIONS });
        assert_eq!(revocations.revoke(revoke(max + 1, 10, 2_000), 1_000), full);
        assert_eq!(revocations, before);
        assert!(revocations.revoke(revoke(1, 20, 2_000), 1_000).unwrap().changed, "who is in it may be revoked again");
        assert!(revocations.revoke(revoke(max + 1, 10, 2_000), 1_002).unwrap().changed, "one has made room");
        revocations.check();
    }
}
