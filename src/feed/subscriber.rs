//! One subscription as the feed knows it.

use std::sync::Arc;
use std::task::Waker;

use super::position::LaneId;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use starling_core::channel::{Channel, ChannelSet, PerChannel};
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
    /// The sources; `None` = all but the subscriber itself.
    pub sources: Option<Vec<NodeId>>,
}

impl Selection {
    /// True when a lane was asked for.
    pub fn contains(&self, (source, channel): LaneId) -> bool {
        let source = match (source, &self.sources) {
            (None, _) => true,
            (Some(source), None) => source != self.node,
            (Some(source), Some(sources)) => sources.contains(&source),
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

/// One subscription as the feed knows it.
#[derive(Debug)]
pub(super) struct Subscriber {
    pub(super) selection: Selection,
    pub(super) park: ParkState,
    pub(super) interests: Mutex<Interests>,
    version: AtomicU64,
    waker: Waker,
}

impl Subscriber {
    pub(super) fn new(selection: Selection, interests: Interests, waker: Waker) -> Self {
        let (park, interests, version) = (ParkState::default(), Mutex::new(interests), AtomicU64::new(0));
        Self { selection, park, interests, version, waker }
    }

    /// Makes the subscription read.
    pub(super) fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// By channel, the highest interest in any source that was asked for.
    pub(super) fn class(&self) -> DeliveryClass {
        let interests = self.interests.lock();
        let mut class = interests.levels();
        for interest in interests.overrides() {
            let level = &mut class[interest.channel];
            *level = (*level).max(interest.level);
        }
        for channel in Channel::ALL.into_iter().filter(|channel| !self.selection.channels.contains(*channel)) {
            class[channel] = Interest::None;
        }
        class
    }

    /// Changes whenever the interests do.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    pub(super) fn interests(&self) -> Interests {
        self.interests.lock().clone()
    }

    pub(super) fn set_interests(&self, interests: &Interests) {
        interests.clone_into(&mut self.interests.lock());
        self.version.fetch_add(1, Ordering::AcqRel);
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
