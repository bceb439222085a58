//! SubscribeUpdates as a stream.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Notify;
use tonic::Status;

use super::status::{refused, unimplemented};
use super::stream::{Lifetime, Source};
use super::{Edge, convert, fields};
use crate::feed::{Delivery, Start};
use crate::pb::livestream::v1 as pb;
use crate::pb::swarm::v1 as shared;
use crate::service::subscribe::Subscription;
use crate::service::watch::{Step, Watch};
use crate::swarm::id::SwarmKind;
use crate::swarm::interest::{Channel, ChannelSet};

const KIND: SwarmKind = SwarmKind::Livestream;

/// The updates of a livestream, for one subscriber.
pub(super) struct LivestreamUpdates {
    subscription: Subscription,
    greeted: bool,
}

impl LivestreamUpdates {
    pub(super) async fn open(edge: &Edge, request: pb::SubscribeUpdatesRequest) -> Result<(Self, Lifetime), Status> {
        let pb::SubscribeUpdatesRequest { livestream_id, node_id, session_id, channels, start_from, resume_from } =
            request;
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = fields::node("node_id", node_id)?;
        let wanted = fields::channels("channels", &channels)?;
        let start = match shared::StartFrom::try_from(start_from) {
            Ok(shared::StartFrom::Unspecified | shared::StartFrom::Keyframe) => Start::Keyframe,
            Ok(shared::StartFrom::Live) => Start::Live,
            Err(_) => return fields::invalid("start_from", format!("{start_from} is no start")).map_err(Into::into),
        };
        // No channel stands for every one that there is.
        if !wanted.is_empty() && wanted != ChannelSet::from_iter([Channel::Visual]) {
            return Err(unimplemented("subscribing to other channels than VISUAL"));
        }
        if resume_from.is_some() {
            return Err(unimplemented("resume_from"));
        }
        let subscription = edge.service.subscribe(id, node, start).map_err(refused(KIND))?;
        let lifetime = edge.member(id, node, session_id).await?.ageless();
        Ok((Self { subscription, greeted: false }, lifetime))
    }

    fn subscribed(&self) -> shared::Subscribed {
        let source_node_id = self.subscription.source().get();
        let (interest, filter) = self.subscription.filter();
        let start = self.subscription.start();
        let waiting = shared::SourceChannel { source_node_id, channel: shared::Channel::Visual.into() };
        shared::Subscribed {
            epoch: self.subscription.epoch().get(),
            waiting_for_keyframe: if start.is_none() { vec![waiting] } else { Vec::new() },
            positions: start.into_iter().map(Into::into).collect(),
            filters: vec![convert::filter(source_node_id, Channel::Visual, interest, filter)],
        }
    }
}

fn encoded(item: shared::delivery::Item) -> Bytes {
    shared::Delivery { item: Some(item) }.encode_to_vec().into()
}

fn message(item: shared::delivery::Item) -> pb::SubscribeUpdatesResponse {
    pb::SubscribeUpdatesResponse { deliveries: vec![encoded(item)] }
}

impl Source for LivestreamUpdates {
    type Message = pb::SubscribeUpdatesResponse;

    fn bell(&self) -> Arc<Notify> {
        self.subscription.bell()
    }

    fn step(&mut self) -> Step<Vec<Self::Message>> {
        if !self.greeted {
            self.greeted = true;
            return Step::Item(vec![message(shared::delivery::Item::Subscribed(self.subscribed()))]);
        }
        match self.subscription.step() {
            Step::Idle(revision) => Step::Idle(revision),
            Step::Over(over) => Step::Over(over),
            Step::Item(batch) => {
                let deliveries = batch.deliveries.into_iter().map(|delivery| match delivery {
                    Delivery::Update(bytes) => bytes,
                    Delivery::Gap(gap) => encoded(shared::delivery::Item::Gap(gap.into())),
                });
                Step::Item(vec![pb::SubscribeUpdatesResponse { deliveries: deliveries.collect() }])
            }
        }
    }

    fn heartbeat(&self, revision: u64) -> Self::Message {
        let heads = self.subscription.heads().into_iter().map(Into::into).collect();
        message(shared::delivery::Item::Heartbeat(shared::Heartbeat {
            epoch: self.subscription.epoch().get(),
            revision,
            heads,
            server_time: Some(convert::timestamp(crate::cluster::clock::now())),
        }))
    }

    fn goodbye(&self, goodbye: shared::Goodbye) -> Self::Message {
        message(shared::delivery::Item::Goodbye(goodbye))
    }
}
