//! All subscriptions of one feed on this pod, by node.

use std::ops::Bound;
use std::sync::Arc;
use std::task::Waker;

use super::demand::{Demand, DemandCounts, Taken};
use super::heap::{allocated, in_tree};
use super::memory::Memory;
use super::subscriber::{NodeInterests, Selection, Subscriber, Wanted};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::counted::{List, Map};
use starling_core::id::NodeId;
use starling_core::interest::Interests;

/// The most sources that all subscriptions of one node may name: the largest group, four times over.
pub const MAX_NAMED: u32 = 1_024;

/// All subscriptions of one feed.
#[derive(Debug)]
pub(super) struct Subscribers {
    state: Mutex<State>,
    /// Rises with each change.
    version: AtomicU64,
    memory: Arc<Memory>,
}

#[derive(Debug)]
struct State {
    /// A tree and no hash table: that would move all of them at once when it grows.
    by_node: Map<NodeId, Node>,
    counts: DemandCounts,
    /// Bytes that are booked with the memory.
    booked: usize,
}

/// The subscriptions of one node.
#[derive(Debug)]
struct Node {
    interests: Arc<NodeInterests>,
    taken: Taken,
    /// Each knows its place.
    own: List<Arc<Subscriber>>,
}

/// What one node takes, its subscriptions and the sources that they name apart.
const NODE: usize =
    in_tree(size_of::<(NodeId, Node)>()) + allocated(size_of::<NodeInterests>()) + allocated(size_of::<Wanted>());

impl State {
    /// Bytes of memory that are held. O(1).
    fn bytes(&self) -> usize {
        self.by_node.len() * NODE + self.counts.bytes()
    }

    /// Puts other interests of a node into force.
    fn change(&mut self, node: NodeId, wanted: Wanted) {
        let Some(Node { interests, taken, .. }) = self.by_node.get_mut(&node) else { return };
        self.counts.replace(node, taken, &interests.wanted(), &wanted);
        interests.set(wanted);
    }
}

impl Subscribers {
    /// None yet. With `shared_chat` CHAT has no sources.
    pub(super) fn new(shared_chat: bool, memory: Arc<Memory>) -> Self {
        let state = State { by_node: Map::new(), counts: DemandCounts::new(shared_chat), booked: 0 };
        Self { state: Mutex::new(state), version: AtomicU64::new(0), memory }
    }

    /// Notes that something else is wanted.
    pub(super) fn note_change(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that something has changed, and books what is held now.
    fn changed(&self, state: &mut State) {
        let held = state.bytes();
        self.memory.book(std::mem::replace(&mut state.booked, held), held);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Adds one; `None` when those of its node would name more than [`MAX_NAMED`] sources.
    pub(super) fn add(&self, selection: Selection, interests: Interests, waker: Waker) -> Option<Arc<Subscriber>> {
        let node = selection.node;
        let mut state = self.state.lock();
        let known = state.by_node.get(&node);
        if known.is_some_and(|known| known.taken.sources_with(&selection) > MAX_NAMED as usize) {
            return None;
        }
        // One that ended its session may still be there, with what it wanted then.
        if known.is_some_and(|known| known.interests.wanted().interests != interests) {
            state.change(node, Wanted::new(interests.clone()));
        }
        let State { by_node, counts, .. } = &mut *state;
        let Node { interests, taken, own } = by_node.entry(node).or_insert_with(|| Node {
            interests: Arc::new(NodeInterests::new(Wanted::new(interests))),
            taken: Taken::default(),
            own: List::new(),
        });
        counts.add(node, taken, &selection, &interests.wanted(), 1);
        let subscriber = Arc::new(Subscriber::new(selection, Arc::clone(interests), waker));
        subscriber.put_at(own.len());
        own.push(Arc::clone(&subscriber));
        self.changed(&mut state);
        Some(subscriber)
    }

    pub(super) fn remove(&self, subscriber: &Arc<Subscriber>) {
        let mut state = self.state.lock();
        let State { by_node, counts, .. } = &mut *state;
        let node = subscriber.selection.node;
        if let Some(Node { interests, taken, own }) = by_node.get_mut(&node)
            && own.get(subscriber.place()).is_some_and(|found| Arc::ptr_eq(found, subscriber))
        {
            own.swap_remove(subscriber.place());
            if let Some(moved) = own.get(subscriber.place()) {
                moved.put_at(subscriber.place());
            }
            counts.add(node, taken, &subscriber.selection, &interests.wanted(), -1);
            if own.is_empty() {
                by_node.remove(&node);
            }
        }
        self.changed(&mut state);
    }

    /// Sets the interests of a node. Returns its subscriptions, which are to be woken. They share the
    /// interests: O(overrides + sources named + subscriptions of the node).
    pub(super) fn set_interests(&self, node: NodeId, interests: &Interests) -> Vec<Arc<Subscriber>> {
        let mut state = self.state.lock();
        if !state.by_node.contains_key(&node) {
            return Vec::new();
        }
        state.change(node, Wanted::new(interests.clone()));
        self.changed(&mut state);
        state.by_node.get(&node).map(|node| node.own.iter().cloned().collect()).unwrap_or_default()
    }

    /// The nodes that subscribe, in order, after this one; at most `most`.
    pub(super) fn nodes_after(&self, last: Option<NodeId>, most: usize) -> Vec<NodeId> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.state.lock().by_node.range((after, Bound::Unbounded)).take(most).map(|(node, _)| *node).collect()
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The demand for `channels` of a source, in their order. O(log sources) for each.
    pub(super) fn demand(&self, source: NodeId, channels: ChannelSet) -> Vec<(Channel, Demand)> {
        let state = self.state.lock();
        let own = state.by_node.get(&source).map(|node| (&node.taken, node.interests.wanted()));
        let own = own.as_ref().map(|(taken, wanted)| (*taken, &**wanted));
        channels.iter().map(|channel| (channel, state.counts.of(source, channel, own))).collect()
    }

    /// Bytes of memory that are held.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().booked
    }
}
