//! The generated code of `proto/`, and its descriptors for reflection.
//!
//! `SubscribeUpdatesResponse.deliveries`, `LivestreamEventBatch.events` and
//! `GroupEventBatch.events` are lists of encoded messages here (`build.rs`
//! says why); decode an item as `Delivery`, `LivestreamEvent` or `GroupEvent`.

#![allow(
    missing_docs,
    unnameable_types,
    unreachable_pub,
    unused_qualifications,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    clippy::restriction,
    reason = "generated code"
)]

pub mod codec;

/// Messages and enums that both services share.
pub mod swarm {
    pub mod v1 {
        tonic::include_proto!("starling.swarm.v1");
    }
}

/// LivestreamService.
pub mod livestream {
    pub mod v1 {
        tonic::include_proto!("starling.livestream.v1");
    }
}

/// GroupService.
pub mod group {
    pub mod v1 {
        tonic::include_proto!("starling.group.v1");
    }
}

/// What servers of one cluster tell each other.
pub mod peer {
    pub mod v1 {
        tonic::include_proto!("starling.peer.v1");
    }
}

/// What is said on a publish stream is the same in both services.
impl From<livestream::v1::publish_updates_response::Event> for group::v1::publish_updates_response::Event {
    fn from(event: livestream::v1::publish_updates_response::Event) -> Self {
        use livestream::v1::publish_updates_response::Event as Said;
        match event {
            Said::Opened(said) => Self::Opened(said),
            Said::Ack(said) => Self::Ack(said),
            Said::Rejected(said) => Self::Rejected(said),
            Said::Revoked(said) => Self::Revoked(said),
            Said::KeyframeRequest(said) => Self::KeyframeRequest(said),
            Said::Demand(said) => Self::Demand(said),
            Said::Heartbeat(said) => Self::Heartbeat(said),
            Said::Goodbye(said) => Self::Goodbye(said),
            Said::Skips(said) => Self::Skips(said),
            Said::Renewed(said) => Self::Renewed(said),
        }
    }
}

/// The compiled schema, as a serialised `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
