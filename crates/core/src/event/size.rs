//! What events and members hold beside themselves in memory, and on the wire.

use super::{Event, GroupEvent, LivestreamEvent, SharedEvent};
use crate::interest::InterestUpdate;
use crate::member::MemberView;

/// The most bytes that one override takes on the wire: source, channel, level, and when it falls away.
const OVERRIDE_ON_WIRE: usize = 40;

/// The most bytes that what is always there of a member, or of an event, takes on the wire.
const REST_ON_WIRE: usize = 128;

impl Event {
    /// Bytes that it holds on the heap. O(1).
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Shared(event) => event.heap_bytes(),
            Self::Livestream(event) => event.heap_bytes(),
            Self::Group(event) => event.heap_bytes(),
        }
    }
}

impl SharedEvent {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Joined { member, .. } | Self::MemberUpdated { member, .. } => boxed(member),
            Self::InterestChanged { updates, .. } => updates.capacity() * size_of::<InterestUpdate>(),
            Self::Left { .. } | Self::BanChanged { .. } | Self::AuthorityGranted { .. } => 0,
        }
    }
}

impl LivestreamEvent {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Updated { metadata, config } => metadata.len() + size_of_val(&**config),
            Self::Transferred { viewer, key, .. } => {
                let key = key.as_ref().map_or(0, |key| size_of_val(&**key));
                viewer.as_ref().map_or(0, |(_, viewer)| boxed(viewer)) + key
            }
            Self::StateChanged { .. }
            | Self::BroadcasterJoined { .. }
            | Self::BroadcasterLost { .. }
            | Self::ModeratorChanged { .. }
            | Self::MuteChanged { .. }
            | Self::TopologySwitched { .. }
            | Self::PlacementChanged { .. } => 0,
        }
    }
}

impl GroupEvent {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Updated { metadata, config } => metadata.len() + size_of_val(&**config),
            Self::Ended { .. }
            | Self::OwnerChanged { .. }
            | Self::MediaChanged { .. }
            | Self::ShareStarted { .. }
            | Self::ShareStopped { .. } => 0,
        }
    }
}

impl MemberView {
    /// Bytes that it holds on the heap. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.interests.heap_bytes() + self.endpoint.len() + self.metadata.len()
    }

    /// What [`Self::wire_bytes`] is at the least.
    pub(crate) const LEAST_WIRE_BYTES: usize = REST_ON_WIRE;

    /// The most bytes that it takes on the wire. O(1).
    pub fn wire_bytes(&self) -> usize {
        let overrides = self.interests.overrides().len() * OVERRIDE_ON_WIRE;
        REST_ON_WIRE + overrides + self.endpoint.len() + self.metadata.len()
    }
}

fn boxed(member: &MemberView) -> usize {
    size_of_val(member) + member.heap_bytes()
}
