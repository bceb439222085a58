//! Who writes to the CHAT of a livestream: the numbers and the quota of each author.

use std::collections::HashMap;

use super::numbers::Numbers;
use super::token_bucket::TokenBucket;
use crate::clock::Micros;
use starling_core::id::{NodeId, SessionId};

/// Messages per second that one member may write to the CHAT of a livestream, and how
/// many at once.
pub(super) const QUOTA: (u64, u64) = (5, 10);

/// So many authors that are no members any more are remembered, so that one who joins
/// again finds its numbers and its quota as they were.
const DEPARTED: usize = 4_096;

/// One author.
#[derive(Debug)]
pub(super) struct Author {
    pub(super) numbers: Numbers,
    pub(super) quota: TokenBucket,
    /// It is no member any more.
    departed: bool,
}

/// All authors of one feed: the members that have written, and some that have left.
#[derive(Debug, Default)]
pub(super) struct Authors {
    by_node: HashMap<NodeId, Author>,
    departed: usize,
}

impl Authors {
    /// An author that is a member with this session, made if need be.
    pub(super) fn author(&mut self, node: NodeId, session: SessionId, now: Micros) -> &mut Author {
        if self.departed > 2 * DEPARTED && !self.by_node.contains_key(&node) {
            self.forget(now);
        }
        let author = self.by_node.entry(node).or_insert_with(|| Author {
            numbers: Numbers::default(),
            quota: TokenBucket::full(QUOTA.0, QUOTA.1, now),
            departed: false,
        });
        if std::mem::replace(&mut author.departed, false) {
            self.departed -= 1;
        }
        author.numbers.begin(session);
        author
    }

    /// What is known of an author.
    pub(super) fn get(&self, node: NodeId) -> Option<&Author> {
        self.by_node.get(&node)
    }

    /// How many are remembered that are no members any more.
    #[cfg(test)]
    pub(super) const fn departed(&self) -> usize {
        self.departed
    }

    /// Notes that members have left. O(left)
    pub(super) fn leave(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            if let Some(author) = self.by_node.get_mut(node)
                && !std::mem::replace(&mut author.departed, true)
            {
                self.departed += 1;
            }
        }
    }

    /// Forgets those that left and whose quota is whole again, when too many are
    /// remembered. O(authors), once in 4 096 new ones.
    fn forget(&mut self, now: Micros) {
        let mut surplus = self.departed.saturating_sub(DEPARTED);
        self.by_node.retain(|_, author| {
            let forgotten = surplus > 0 && author.departed && author.quota.is_full(now);
            surplus -= usize::from(forgotten);
            !forgotten
        });
        self.departed = self.by_node.values().filter(|author| author.departed).count();
    }
}
