//! Which tokens are refused, to be asked with each call.
//!
//! The table of the core ([`Revocations`]) is the truth, and changes by commands alone; beside it stands what callers
//! ask: parts, each with a lock of its own that only a revocation takes alone, and for as long as nothing is revoked
//! not even that. Streams ask again with each sign of life, so that none has to wait for a revocation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::sync::Mutex;
use starling_core::Rejection;
use starling_core::command::RevokeTokens;
use starling_core::hash::splitmix64;
use starling_core::id::NodeId;
use starling_core::revocations::{Revocation, Revocations};
use starling_core::wire::revocations::RevocationEncoder;

/// Into how many parts the nodes fall.
const PARTS: usize = 256;

/// Of the nodes of one part: what was issued before this time is refused.
type Part = RwLock<HashMap<NodeId, u64>>;

/// Which tokens are refused.
#[derive(Debug)]
pub struct RevokedTokens {
    table: Mutex<Revocations>,
    parts: Box<[Part]>,
    /// False while nothing is revoked, which is nearly always.
    any: AtomicBool,
}

impl RevokedTokens {
    pub(super) fn new() -> Self {
        let parts = (0..PARTS).map(|_| Part::default()).collect();
        Self { table: Mutex::default(), parts, any: AtomicBool::new(false) }
    }

    /// True when a token of this node that was issued at this time, in milliseconds since the Unix epoch, is refused.
    /// A token that does not say when counts as issued at 0. O(1); to be asked with each call, and now and then for each
    /// open stream.
    pub fn refuses(&self, node: NodeId, issued_at: u64) -> bool {
        // What is revoked before a call comes is seen by it: the answer to the revocation came after the store.
        self.any.load(Ordering::Acquire) && self.part(node).read().get(&node).is_some_and(|before| issued_at < *before)
    }

    /// Carries a command out. For the command log alone.
    pub(crate) fn apply(&self, command: RevokeTokens, at: u64) -> Result<Revocation, Rejection> {
        let mut table = self.table.lock();
        let revoked = table.revoke(command, at)?;
        for node in revoked.forgotten {
            self.part(node).write().remove(&node);
        }
        if revoked.changed {
            self.part(command.node).write().insert(command.node, revoked.revocation.issued_before);
        }
        self.any.store(!table.is_empty(), Ordering::Release);
        Ok(revoked.revocation)
    }

    /// Puts another table in place of this one. O(both), but for no longer than a part takes under each lock.
    pub(crate) fn replace(&self, table: Revocations) {
        let mut parts: Vec<HashMap<NodeId, u64>> = (0..PARTS).map(|_| HashMap::new()).collect();
        for (node, revocation) in table.iter_from(None) {
            parts[place(node)].insert(node, revocation.issued_before);
        }
        let any = !table.is_empty();
        let before = std::mem::replace(&mut *self.table.lock(), table);
        // What is in both is refused throughout.
        self.any.fetch_or(any, Ordering::AcqRel);
        for (part, new) in self.parts.iter().zip(parts) {
            let old = std::mem::replace(&mut *part.write(), new);
            drop(old);
        }
        self.any.store(any, Ordering::Release);
        drop(before);
    }

    /// Takes the table out.
    pub(crate) fn take(&self) -> Revocations {
        std::mem::take(&mut *self.table.lock())
    }

    /// A digest of the table. O(1).
    pub(crate) fn digest(&self) -> u64 {
        self.table.lock().digest()
    }

    /// Adds the next piece of the table's bytes; false once all was written. O(budget).
    pub(crate) fn encode(&self, encoder: &mut RevocationEncoder, budget: usize, out: &mut Vec<u8>) -> bool {
        encoder.next(&self.table.lock(), budget, out)
    }

    /// Up to `limit` revocations that are in force at `now`, in the order of their nodes, from this one on; and where
    /// the next page begins. O(limit) of those that are in force, which nearly all are.
    pub fn list(&self, from: Option<NodeId>, limit: usize, now: u64) -> (Vec<(NodeId, Revocation)>, Option<NodeId>) {
        let table = self.table.lock();
        let mut rest = table.iter_from(from).filter(|(_, revocation)| revocation.forget_at > now);
        let page = rest.by_ref().take(limit).collect();
        (page, rest.next().map(|(node, _)| node))
    }

    fn part(&self, node: NodeId) -> &Part {
        &self.parts[place(node)]
    }
}

/// The part into which a node falls.
fn place(node: NodeId) -> usize {
    usize::try_from(splitmix64(node.get()) % PARTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn revoke(number: u64, issued_before: u64) -> RevokeTokens {
        RevokeTokens { node: node(number), issued_before, forget_at: issued_before + 1_000 }
    }

    #[test]
    fn tokens_issued_before_are_refused_and_others_not() {
        let tokens = RevokedTokens::new();
        assert!(!tokens.refuses(node(1), 0), "nothing is revoked");
        tokens.apply(revoke(1, 500), 500).unwrap();
        assert_eq!([0, 499, 500, 501].map(|at| tokens.refuses(node(1), at)), [true, true, false, false]);
        assert!(!tokens.refuses(node(2), 0), "another node");
        tokens.apply(revoke(1, 400), 501).unwrap();
        assert!(tokens.refuses(node(1), 499), "it does not fall back");
    }

    #[test]
    fn forgotten_revocations_are_asked_for_no_more() {
        let tokens = RevokedTokens::new();
        tokens.apply(revoke(1, 500), 500).unwrap();
        tokens.apply(revoke(2, 600), 600).unwrap();
        let (page, next) = tokens.list(None, 1, 600);
        assert_eq!((page[0].0, page.len(), next), (node(1), 1, Some(node(2))));
        assert_eq!(tokens.list(next, 9, 600).0[0].0, node(2));
        assert_eq!(tokens.list(None, 9, 1_500).0.len(), 1, "what is over is not listed");
        // One that is of no use any more forgets, and is not kept.
        tokens.apply(revoke(3, 100), 1_600).unwrap();
        assert!(!tokens.refuses(node(1), 0) && !tokens.refuses(node(2), 0) && !tokens.any.load(Ordering::Acquire));
        assert!(tokens.parts.iter().all(|part| part.read().is_empty()));
    }
}
