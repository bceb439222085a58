//! Signatures of updates, verified before the feed is asked: outside of every lock.

use crate::feed::{Draft, Verified};
use starling_core::channel::Channel;
use starling_core::id::{Epoch, NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::key::BroadcasterKey;
use starling_signing::{PublicKey, SignedUpdate, SwarmTag};

/// What the updates of one session of a broadcaster are verified by.
#[derive(Clone, Debug)]
pub(super) struct SignatureVerifier {
    id: SwarmId,
    epoch: Epoch,
    source: NodeId,
    verified: Verified,
    key: PublicKey,
}

impl SignatureVerifier {
    /// `None` when these bytes are no key, which was checked when they came: then nothing verifies.
    pub(super) fn new(
        id: SwarmId,
        epoch: Epoch,
        source: NodeId,
        session: SessionId,
        key: BroadcasterKey,
    ) -> Option<Self> {
        let parsed = PublicKey::new(key.bytes()).ok()?;
        Some(Self { id, epoch, source, verified: Verified { session, key }, key: parsed })
    }

    /// Notes in an update whether its signature is right. One is verified in 50 us, and a payload
    /// hashed in a millisecond for each MiB.
    pub(super) fn verify(&self, draft: &mut Draft) {
        let Some(proof) = draft.proof.as_deref_mut() else { return };
        let update = SignedUpdate {
            kind: match self.id.kind {
                SwarmKind::Livestream => SwarmTag::Livestream,
                SwarmKind::Group => SwarmTag::Group,
            },
            swarm: self.id.get(),
            epoch: self.epoch.get(),
            session: self.verified.session.get(),
            source: self.source.get(),
            channel: channel_number(draft.channel),
            track: 0,
            publisher_sequence: draft.publisher_sequence,
            publish_time: draft.publish_time.map(|time| (time.seconds, time.nanos)),
            urgent: draft.urgent,
            keyframe: draft.keyframe,
            temporal_layer: draft.temporal_layer,
            payload: &draft.payload,
        };
        proof.verified = self.key.verify(&update, &proof.signature).is_ok().then_some(self.verified);
    }
}

/// The number of a channel in the schema.
const fn channel_number(channel: Channel) -> u32 {
    match channel {
        Channel::Visual => 1,
        Channel::Audio => 2,
        Channel::Screen => 3,
        Channel::Chat => 4,
        Channel::Data => 5,
    }
}
