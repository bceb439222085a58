//! The generated code of `proto/`, and its descriptors for reflection.
//!
//! `SubscribeUpdatesResponse.deliveries`, `WatchLivestreamResponse.events` and
//! `WatchGroupResponse.events` are lists of encoded messages here (`build.rs`
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

/// The compiled schema, as a serialised `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
