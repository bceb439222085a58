//! What a subscription leaves out on purpose.

use super::lane::Lane;
use super::print::Print;
use starling_client::pb::swarm::v1::{self as pb, Interest};

/// The declared filter of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Nothing comes.
    Nothing,
    /// Keyframes come.
    Keyframes,
    /// Keyframes come, and the rest up to this temporal layer.
    Layers(u8),
}

impl Filter {
    /// Where none is declared.
    pub(super) const EVERYTHING: Self = Self::Layers(u8::MAX);

    /// As declared. Only VISUAL and SCREEN have keyframes and layers to leave out.
    pub(super) fn declared(lane: Lane, filter: &pb::Filter) -> Self {
        match filter.interest() {
            Interest::None => Self::Nothing,
            _ if !lane.has_runs() => Self::EVERYTHING,
            _ if filter.keyframes_only => Self::Keyframes,
            _ => Self::Layers(u8::try_from(filter.max_temporal_layer).unwrap_or(u8::MAX)),
        }
    }

    pub(super) const fn passes(self, print: Print) -> bool {
        match self {
            Self::Nothing => false,
            Self::Keyframes => print.keyframe,
            Self::Layers(max) => print.keyframe || print.layer <= max,
        }
    }
}
