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

/// What is said on a publish stream is the same in both services.
macro_rules! same_event {
    ($($Event:ident)*) => {
        impl From<livestream::v1::publish_updates_response::Event> for group::v1::publish_updates_response::Event {
            fn from(event: livestream::v1::publish_updates_response::Event) -> Self {
                match event {
                    $(livestream::v1::publish_updates_response::Event::$Event(said) => Self::$Event(said),)*
                }
            }
        }

        impl From<group::v1::publish_updates_response::Event> for livestream::v1::publish_updates_response::Event {
            fn from(event: group::v1::publish_updates_response::Event) -> Self {
                match event {
                    $(group::v1::publish_updates_response::Event::$Event(said) => Self::$Event(said),)*
                }
            }
        }
    };
}

same_event!(Opened Ack Rejected Revoked KeyframeRequest Demand Heartbeat Goodbye Skips);

/// The compiled schema, as a serialised `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("descriptors");
