//! What is kept of an update in place of its payload.

use super::violation::Difference;
use starling_client::pb::swarm::v1::{Update, UpdateDraft};

/// The fingerprint of one update: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Print {
    hash: u64,
    length: u32,
    pub(super) layer: u8,
    /// Temporal layers that the publisher declared; 0 where it is not known.
    layers: u8,
    pub(super) keyframe: bool,
}

impl Print {
    pub(super) fn sent(draft: &UpdateDraft, layers: u8) -> Self {
        Self { layers, ..Self::of(&draft.payload, draft.temporal_layer, draft.keyframe) }
    }

    pub(super) fn got(update: &Update) -> Self {
        Self::of(&update.payload, update.temporal_layer, update.keyframe)
    }

    fn of(payload: &[u8], layer: u32, keyframe: bool) -> Self {
        Self {
            hash: hash(payload),
            length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            layer: u8::try_from(layer).unwrap_or(u8::MAX),
            layers: 0,
            keyframe,
        }
    }

    /// True when no other update depends on it: it lies in the uppermost of several
    /// layers.
    pub(super) const fn is_top_layer(self) -> bool {
        !self.keyframe && self.layers > 1 && self.layer + 1 == self.layers
    }

    /// In what an update differs from what was sent.
    pub(super) fn difference(self, sent: Self) -> Option<Difference> {
        if (self.hash, self.length) != (sent.hash, sent.length) {
            Some(Difference::Payload)
        } else if self.keyframe != sent.keyframe {
            Some(Difference::Keyframe)
        } else if self.layer != sent.layer {
            Some(Difference::Layer)
        } else {
            None
        }
    }
}

/// 64 bits of a payload, a word a step: each step is a bijection of what was before,
/// so that one changed word always shows. O(bytes).
fn hash(payload: &[u8]) -> u64 {
    payload.chunks(8).fold(payload.len() as u64, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (hash.rotate_left(23) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}
