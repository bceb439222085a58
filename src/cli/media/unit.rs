//! What every track is cut into.

use std::time::Duration;

use bytes::Bytes;
use starling_client::pb::swarm::v1::UpdateChannel;

/// One update to be.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Unit {
    pub(in crate::cli) channel: UpdateChannel,
    pub(in crate::cli) data: Bytes,
    pub(in crate::cli) keyframe: bool,
    /// When it is due, on the clock of all tracks; nothing when the video has no pace.
    pub(in crate::cli) at: Duration,
}
