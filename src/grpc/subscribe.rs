//! SubscribeUpdates as a stream, the same for both services.

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use tokio::sync::Notify;
use tonic::Status;

use super::status::refused;
use super::stream::{Lifetime, Source};
use super::{Edge, convert, fields};
use crate::feed::{Delivery, Greeting};
use crate::pb::{group, livestream, swarm::v1 as shared};
use crate::service::subscribe::{Request, Subscription};
use crate::service::watch::{Step, Watch};
use crate::swarm::id::{NodeId, SessionId, SwarmId, SwarmKind};
use shared::delivery::Item;

/// The response of one of the services: the same field in both.
pub(super) trait Response: Send + 'static {
    fn of(deliveries: Vec<Bytes>) -> Self;
}

impl Response for livestream::v1::SubscribeUpdatesResponse {
    fn of(deliveries: Vec<Bytes>) -> Self {
        Self { deliveries }
    }
}

impl Response for group::v1::SubscribeUpdatesResponse {
    fn of(deliveries: Vec<Bytes>) -> Self {
        Self { deliveries }
    }
}

/// What a request asks for, parsed.
pub(super) struct Subscribe {
    id: SwarmId,
    request: Request,
}

impl TryFrom<livestream::v1::SubscribeUpdatesRequest> for Subscribe {
    type Error = fields::Invalid;

    fn try_from(request: livestream::v1::SubscribeUpdatesRequest) -> fields::Parsed<Self> {
        let livestream::v1::SubscribeUpdatesRequest {
            livestream_id,
            node_id,
            session_id,
            channels,
            start_from,
            resume_from,
        } = request;
        Ok(Self {
            id: fields::swarm_id(SwarmKind::Livestream, livestream_id)?,
            request: Request {
                node: fields::node("node_id", node_id)?,
                session: SessionId::new(session_id),
                channels: fields::channels("channels", &channels)?,
                sources: Vec::new(),
                start: fields::start(start_from)?,
                resume: fields::resume(resume_from)?,
            },
        })
    }
}

impl TryFrom<group::v1::SubscribeUpdatesRequest> for Subscribe {
    type Error = fields::Invalid;

    fn try_from(request: group::v1::SubscribeUpdatesRequest) -> fields::Parsed<Self> {
        let group::v1::SubscribeUpdatesRequest {
            group_id,
            node_id,
            session_id,
            channels,
            source_node_ids,
            start_from,
            resume_from,
        } = request;
        Ok(Self {
            id: fields::swarm_id(SwarmKind::Group, group_id)?,
            request: Request {
                node: fields::node("node_id", node_id)?,
                session: SessionId::new(session_id),
                channels: fields::channels("channels", &channels)?,
                sources: fields::sources(&source_node_ids)?,
                start: fields::start(start_from)?,
                resume: fields::resume(resume_from)?,
            },
        })
    }
}

/// The updates of a swarm, for one subscriber.
pub(super) struct Updates<R> {
    subscription: Subscription,
    greeting: Option<Greeting>,
    response: PhantomData<fn() -> R>,
}

impl<R: Response> Updates<R> {
    pub(super) async fn open(edge: &Edge, subscribe: Subscribe) -> Result<(Self, Lifetime), Status> {
        let Subscribe { id, request } = subscribe;
        let (node, session) = (request.node, request.session.map_or(0, SessionId::get));
        let (subscription, greeting) = edge.service.subscribe(id, request).map_err(refused(id.kind))?;
        let lifetime = edge.member(id, node, session).await?;
        Ok((Self { subscription, greeting: Some(greeting), response: PhantomData }, lifetime))
    }

    fn subscribed(&self, greeting: Greeting) -> shared::Subscribed {
        let Greeting { positions, filters, waiting } = greeting;
        let waiting = waiting.into_iter().map(|(source, channel)| shared::SourceChannel {
            source_node_id: source.map_or(0, NodeId::get),
            channel: shared::Channel::from(channel).into(),
        });
        shared::Subscribed {
            epoch: self.subscription.epoch().get(),
            positions: positions.into_iter().map(Into::into).collect(),
            filters: filters.into_iter().map(Into::into).collect(),
            waiting_for_keyframe: waiting.collect(),
        }
    }
}

fn encoded(item: Item) -> Bytes {
    shared::Delivery { item: Some(item) }.encode_to_vec().into()
}

impl<R: Response> Source for Updates<R> {
    type Message = R;

    fn bell(&self) -> Arc<Notify> {
        self.subscription.bell()
    }

    fn alarm(&self) -> Arc<Notify> {
        self.subscription.alarm()
    }

    fn step(&mut self) -> Step<Vec<R>> {
        if let Some(greeting) = self.greeting.take() {
            return Step::Item(vec![R::of(vec![encoded(Item::Subscribed(self.subscribed(greeting)))])]);
        }
        match self.subscription.step() {
            Step::Idle(revision) => Step::Idle(revision),
            Step::Later(after) => Step::Later(after),
            Step::Over(over) => Step::Over(over),
            Step::Item(batch) => {
                let deliveries = batch.deliveries.into_iter().map(|delivery| match delivery {
                    Delivery::Update(bytes) => bytes,
                    Delivery::Gap(gap) => encoded(Item::Gap(gap.into())),
                    Delivery::Filter(change) => encoded(Item::Filter(change.into())),
                });
                Step::Item(vec![R::of(deliveries.collect())])
            }
        }
    }

    fn heartbeat(&self, revision: u64) -> R {
        let heads = self.subscription.heads().into_iter().map(Into::into).collect();
        R::of(vec![encoded(Item::Heartbeat(shared::Heartbeat {
            epoch: self.subscription.epoch().get(),
            revision,
            heads,
            server_time: Some(convert::timestamp(crate::cluster::clock::now())),
        }))])
    }

    fn goodbye(&self, goodbye: shared::Goodbye) -> R {
        R::of(vec![encoded(Item::Goodbye(goodbye))])
    }
}
