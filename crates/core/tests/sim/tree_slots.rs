//! A second opinion on the array of the relay tree: the steps of the design, taken
//! literally, with searches instead of an index.

use starling_core::NodeId;
use starling_core::member::Role;

/// Relays in slots `0..relays`, leaf-only viewers behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeSlots {
    array: Vec<NodeId>,
    relays: usize,
}

impl TreeSlots {
    /// Who is where.
    pub(crate) fn array(&self) -> &[NodeId] {
        &self.array
    }

    /// Join leaf-only: push. Join relay: push, swap with `a[R]`, R += 1.
    pub(crate) fn join(&mut self, node: NodeId, role: Role) {
        self.array.push(node);
        if let Role::Viewer { can_relay: true, .. } = role {
            let last = self.array.len() - 1;
            self.array.swap(last, self.relays);
            self.relays += 1;
        }
    }

    /// Leave leaf-only k: swap_remove(k). Leave relay k: `a[k] = a[R-1]`; the last
    /// element fills R-1, unless it is R-1 itself; R -= 1.
    pub(crate) fn leave(&mut self, node: NodeId) {
        let slot = self.array.iter().position(|taken| *taken == node).expect("who leaves has a slot");
        if slot >= self.relays {
            self.array.swap_remove(slot);
            return;
        }
        self.array[slot] = self.array[self.relays - 1];
        self.array.swap_remove(self.relays - 1);
        self.relays -= 1;
    }
}
