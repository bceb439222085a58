//! All subscriptions of one feed on this pod, by node.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Waker;

use super::subscriber::{Selection, Subscriber};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::id::NodeId;
use starling_core::interest::{Interest, Interests};

/// The demand for one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The highest interest of any subscription.
    pub highest: Interest,
    /// Subscriptions with an interest above NONE.
    pub subscribers: u64,
}

/// All subscriptions of one feed.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    by_node: Mutex<HashMap<NodeId, Vec<Arc<Subscriber>>>>,
    /// Rises with each change.
    version: AtomicU64,
}

impl Subscribers {
    pub(super) fn add(&self, selection: Selection, interests: Interests, waker: Waker) -> Arc<Subscriber> {
        let node = selection.node;
        let subscriber = Arc::new(Subscriber::new(selection, interests, waker));
        self.by_node.lock().entry(node).or_default().push(Arc::clone(&subscriber));
        self.version.fetch_add(1, Ordering::AcqRel);
        subscriber
    }

    pub(super) fn remove(&self, subscriber: &Arc<Subscriber>) {
        let mut by_node = self.by_node.lock();
        let node = subscriber.selection.node;
        if let Some(own) = by_node.get_mut(&node) {
            own.retain(|other| !Arc::ptr_eq(other, subscriber));
            if own.is_empty() {
                by_node.remove(&node);
            }
        }
        drop(by_node);
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Sets the interests of a node. Returns its subscriptions, which are to be woken.
    pub(super) fn set_interests(&self, node: NodeId, interests: &Interests) -> Vec<Arc<Subscriber>> {
        let by_node = self.by_node.lock();
        let Some(own) = by_node.get(&node) else { return Vec::new() };
        own.iter().for_each(|subscriber| subscriber.set_interests(interests));
        self.version.fetch_add(1, Ordering::AcqRel);
        own.clone()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_node.lock().is_empty()
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The demand for `channels` of a source, in their order. O(subscriptions).
    pub(super) fn demand(&self, source: NodeId, channels: ChannelSet, shared_chat: bool) -> Vec<(Channel, Demand)> {
        let mut found: Vec<_> = channels.iter().map(|channel| (channel, Demand::default())).collect();
        for subscriber in self.by_node.lock().values().flatten() {
            let interests = subscriber.interests.lock();
            for (channel, demand) in &mut found {
                let source = (!shared_chat || *channel != Channel::Chat).then_some(source);
                let level = interests.level(source, *channel);
                if subscriber.selection.contains((source, *channel)) && level > Interest::None {
                    demand.highest = demand.highest.max(level);
                    demand.subscribers += 1;
                }
            }
        }
        found
    }
}
