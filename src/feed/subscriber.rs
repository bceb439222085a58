//! One subscription as the feed knows it.

use std::sync::Arc;
use std::task::Waker;

use super::position::LaneId;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use starling_core::channel::{ChannelSet, PerChannel};
use starling_core::id::NodeId;
use starling_core::interest::{Interest, Interests};

/// The interest of a subscription in each channel, by the index of the channel.
///
/// Subscriptions of one class are held back for the same delivery windows, get the same
/// kinds of updates and are woken together.
pub(super) type DeliveryClass = PerChannel<Interest>;

/// The lanes that one subscription asked for.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The node that subscribes.
    pub node: NodeId,
    /// The channels; nothing of others is delivered.
    pub channels: ChannelSet,
    /// The sources, in order; `None` = all but the subscriber itself.
    pub sources: Option<Vec<NodeId>>,
}

impl Selection {
    /// One by which a node asks for these channels, of these sources or, without any, of all but itself.
    pub fn new(node: NodeId, channels: ChannelSet, mut sources: Vec<NodeId>) -> Self {
        sources.sort_unstable();
        sources.dedup();
        Self { node, channels, sources: (!sources.is_empty()).then_some(sources) }
    }

    /// True when a lane was asked for. O(log sources).
    pub fn contains(&self, (source, channel): LaneId) -> bool {
        let source = match (source, &self.sources) {
            (None, _) => true,
            (Some(source), None) => source != self.node,
            (Some(source), Some(sources)) => sources.binary_search(&source).is_ok(),
        };
        source && self.channels.contains(channel)
    }
}

/// Where a subscription is parked in the [`WakeSchedule`](super::schedule::WakeSchedule).
///
/// Written under the lock of the schedule alone. `parked` is atomic so that a subscription
/// that was woken, which is the usual case, learns without the lock that it need not be
/// taken out.
#[derive(Debug, Default)]
pub(super) struct ParkState {
    pub(super) parked: AtomicBool,
    /// Index of the class among the classes of the schedule.
    pub(super) class: AtomicU64,
    /// Index within the class.
    pub(super) slot: AtomicU64,
}

impl ParkState {
    /// True until the wake task has taken the subscription out.
    pub(super) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire)
    }
}

/// What a node wants, made ready for those who read.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) interests: Interests,
    /// By channel, the highest interest in any source.
    highest: DeliveryClass,
}

impl Wanted {
    /// O(overrides).
    pub(super) fn new(interests: Interests) -> Self {
        let mut highest = interests.levels();
        for interest in interests.overrides() {
            let level = &mut highest[interest.channel];
            *level = (*level).max(interest.level);
        }
        Self { interests, highest }
    }
}

/// The interests of one node, which all its subscriptions share.
#[derive(Debug)]
pub(super) struct NodeInterests {
    wanted: Mutex<Arc<Wanted>>,
    version: AtomicU64,
}

impl NodeInterests {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted: Mutex::new(Arc::new(wanted)), version: AtomicU64::new(0) }
    }

    pub(super) fn wanted(&self) -> Arc<Wanted> {
        Arc::clone(&self.wanted.lock())
    }

    pub(super) fn set(&self, wanted: Wanted) {
        *self.wanted.lock() = Arc::new(wanted);
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

/// One subscription as the feed knows it.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) selection: Selection,
    pub(super) park: ParkState,
    interests: Arc<NodeInterests>,
    waker: Waker,
    /// Index among the subscriptions of its node; written and read under their lock alone.
    place: AtomicU64,
}

impl Subscriber {
    pub(super) fn new(selection: Selection, interests: Arc<NodeInterests>, waker: Waker) -> Self {
        Self { selection, park: ParkState::default(), interests, waker, place: AtomicU64::new(0) }
    }

    /// Its index among the subscriptions of its node.
    #[expect(clippy::cast_possible_truncation, reason = "it holds an index")]
    pub(super) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed) as usize
    }

    /// Notes its index among the subscriptions of its node.
    pub(super) fn put_at(&self, place: usize) {
        self.place.store(place as u64, Ordering::Relaxed);
    }

    /// Makes the subscription read.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// By channel, the highest interest in any source.
    pub(super) fn class(&self) -> DeliveryClass {
        let wanted = self.wanted();
        DeliveryClass::from_fn(|channel| match self.selection.channels.contains(channel) {
            true => wanted.highest[channel],
            false => Interest::None,
        })
    }

    /// Changes whenever the interests do.
    pub(super) fn version(&self) -> u64 {
        self.interests.version.load(Ordering::Acquire)
    }

    /// What its node wants.
    pub(super) fn wanted(&self) -> Arc<Wanted> {
        self.interests.wanted()
    }
}

/// A subscription that is to be woken, outside of every lock.
#[derive(Debug)]
pub struct ParkedSubscriber(pub(super) Arc<Subscriber>);

impl ParkedSubscriber {
    /// Makes the subscription read.
    pub fn wake(&self) {
        self.0.wake();
    }
}
