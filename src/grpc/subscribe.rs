//! What SubscribeUpdates asks for, in both services.

use std::sync::Arc;

use futures_util::StreamExt;
use prost::Message;
use tonic::{Request, Response};

use super::body::{Deliveries, UPDATES_WAKE, Updates};
use super::call_counts::CallRecord;
use super::rights::Guarded;
use super::status::refused;
use super::stream::Messages;
use super::timeout::Deadline;
use super::{Answer, Edge, fields, settled, stream};
use crate::pb::{group, livestream};
use crate::service::settled::SeenRevision;
use crate::service::{Service, subscribe};
use crate::transport::{AcceptsHandover, Handover, StreamProgress, WakeSet};
use starling_core::Rejection;
use starling_core::id::{SessionId, SwarmId, SwarmKind};

/// What a request asks for, parsed.
pub(super) struct Subscribe {
    id: SwarmId,
    request: subscribe::Request,
    seen: Option<SeenRevision>,
}

impl TryFrom<livestream::v1::SubscribeUpdatesRequest> for Subscribe {
    type Error = fields::InvalidField;

    fn try_from(request: livestream::v1::SubscribeUpdatesRequest) -> fields::Parsed<Self> {
        let livestream::v1::SubscribeUpdatesRequest {
            livestream_id,
            node_id,
            session_id,
            channels,
            start_from,
            resume_from,
            at_least,
        } = request;
        Ok(Self {
            id: fields::swarm_id(SwarmKind::Livestream, livestream_id)?,
            request: subscribe::Request {
                node: fields::node("node_id", node_id)?,
                session: SessionId::new(session_id),
                channels: fields::channels("channels", &channels)?,
                sources: Vec::new(),
                start: fields::start(start_from)?,
                resume: fields::resume(resume_from)?,
            },
            seen: settled::seen(at_least)?,
        })
    }
}

impl TryFrom<group::v1::SubscribeUpdatesRequest> for Subscribe {
    type Error = fields::InvalidField;

    fn try_from(request: group::v1::SubscribeUpdatesRequest) -> fields::Parsed<Self> {
        let group::v1::SubscribeUpdatesRequest {
            group_id,
            node_id,
            session_id,
            channels,
            source_node_ids,
            start_from,
            resume_from,
            at_least,
        } = request;
        Ok(Self {
            id: fields::swarm_id(SwarmKind::Group, group_id)?,
            request: subscribe::Request {
                node: fields::node("node_id", node_id)?,
                session: SessionId::new(session_id),
                channels: fields::channels("channels", &channels)?,
                sources: fields::sources(&source_node_ids)?,
                start: fields::start(start_from)?,
                resume: fields::resume(resume_from)?,
            },
            seen: settled::seen(at_least)?,
        })
    }
}

/// Opens a subscription. Where the request admits it, the body is handed over, and the generated
/// code sees a stream of nothing, whose box takes no memory.
pub(super) async fn open<A, R>(edge: &Edge, asked: Request<A>) -> Answer<Messages<R>>
where
    R: Message + Default + 'static,
    A: Guarded,
    Subscribe: TryFrom<A, Error = fields::InvalidField>,
{
    let (progress, caller) = (asked.extensions().get::<Arc<StreamProgress>>().cloned(), stream::caller(&asked));
    let handover = asked.extensions().get::<AcceptsHandover>().is_some();
    let deadline = asked.extensions().get::<Deadline>().copied();
    let record = asked.extensions().get::<Arc<CallRecord>>().cloned();
    let Subscribe { id, request, seen } = edge.admit(asked, A::try_into)?;
    let (node, session) = (request.node, request.session.map_or(0, SessionId::get));
    // Its swarm may end between the two steps; then there is one more, as for all who come
    // after the end.
    for last in [false, true] {
        let wakes = WakeSet::new();
        let enter = |service: &Service| service.enter(id, request.clone(), wakes.waker(UPDATES_WAKE));
        let (subscription, greeting) = edge.look_since(id, seen, enter).await?.begin().await;
        let lifetime = if subscription.is_after_end() {
            edge.observer(caller.clone(), Some(id))?
        } else {
            match edge.member(caller.clone(), id, node, session).await {
                Err(_) if !last && edge.service.is_over(id).unwrap_or(false) => continue,
                lifetime => lifetime?,
            }
        };
        let lifetime = lifetime.until(deadline);
        let updates = Updates::new(subscription, greeting, lifetime, wakes, progress, record);
        if !handover {
            return Ok(Response::new(Deliveries::new(updates).boxed()));
        }
        let mut response = Response::new(futures_util::stream::empty().boxed());
        response.extensions_mut().insert(Handover::new(updates));
        return Ok(response);
    }
    Err(refused(id.kind)(Rejection::Ended.into()))
}
