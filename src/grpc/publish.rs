//! PublishUpdates as a pair of streams.
//!
//! Acknowledgements are coalesced: what the client has sent is taken until nothing
//! more is ready, and then acknowledged at once. A client that does not read its
//! acknowledgements is not read from.

use std::collections::VecDeque;

use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use tonic::{Status, Streaming};

use super::status::{End, draining, refused, reject_reason, unimplemented};
use super::stream::{Lifetime, Messages};
use super::{Edge, convert, fields};
use crate::cluster::clock;
use crate::feed::{Accepted, Draft, Timestamp};
use crate::pb::livestream::v1 as pb;
use crate::pb::swarm::v1 as shared;
use crate::service::Service;
use crate::service::publish::Publication;
use crate::swarm::command::By;
use crate::swarm::id::{SessionId, SwarmId, SwarmKind};
use crate::swarm::interest::{Channel, ChannelSet};
use crate::swarm::propagation::Priority;
use shared::publish_event::Event;

const KIND: SwarmKind = SwarmKind::Livestream;

/// What google.protobuf.Timestamp can hold, in seconds since the Unix epoch.
const YEARS_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// The most updates that one acknowledgement covers.
const UPDATES_PER_ACK: usize = 64;

/// A livestream's publisher.
pub(super) struct LivestreamPublish {
    service: Service,
    id: SwarmId,
    inbound: Streaming<pb::PublishUpdatesRequest>,
    publication: Publication,
    lifetime: Lifetime,
    layers: u32,
    payload_bytes: usize,
    /// The last number of each channel, given by the publisher or counted for it.
    numbers: [u64; 5],
    /// Waits for its acknowledgement.
    accepted: Option<Accepted>,
    ready: VecDeque<Event>,
    ended: Option<Result<(), Status>>,
}

impl LivestreamPublish {
    /// Reads the opening message and claims what it names.
    pub(super) async fn open(edge: &Edge, mut inbound: Streaming<pb::PublishUpdatesRequest>) -> Result<Self, Status> {
        use pb::publish_updates_request::Message;
        let first = tokio::select! {
            first = inbound.message() => first?,
            () = edge.shutdown.draining() => return Err(draining()),
        };
        let Some(Message::Open(open)) = first.and_then(|request| request.message) else {
            return fields::invalid("open", "must be the first message").map_err(Into::into);
        };
        let pb::PublishOpen { livestream_id, node_id, session_id, channels, temporal_layers } = open;
        let id = fields::swarm_id(KIND, livestream_id).map_err(|invalid| invalid.below("open"))?;
        let node = fields::node("open.node_id", node_id)?;
        if channels.is_empty() {
            return fields::invalid("open.channels", "must not be empty").map_err(Into::into);
        }
        let channels = fields::channels("open.channels", &channels)?;
        let layers = fields::within("open.temporal_layers", temporal_layers.max(1), 1, 8)?;
        if channels != ChannelSet::from_iter([Channel::Visual]) {
            return Err(unimplemented("publishing on other channels than VISUAL"));
        }
        let by = By { node, session: SessionId::new(session_id), request: None };
        let (publication, presence) = edge.service.publish(id, by, channels).await.map_err(refused(KIND))?;
        let session_id = presence.session().map_or(0, SessionId::get);
        let lifetime = edge.lifetime_of(Some(presence))?.ageless();
        let mut numbers = [0; 5];
        for (channel, last) in publication.channels() {
            numbers[channel.index()] = last;
        }
        let granted = publication.channels().map(|(channel, last)| shared::GrantedChannel {
            channel: shared::Channel::from(channel).into(),
            term: publication.term(),
            last_publisher_sequence: last,
        });
        let opened =
            shared::PublishOpened { epoch: publication.epoch().get(), channels: granted.collect(), session_id };
        Ok(Self {
            service: edge.service.clone(),
            id,
            inbound,
            publication,
            lifetime,
            layers,
            payload_bytes: edge.settings.payload_bytes,
            numbers,
            accepted: None,
            ready: VecDeque::from([Event::Opened(opened)]),
            ended: None,
        })
    }

    async fn next(&mut self) -> Option<Result<Event, Status>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if let Some(status) = &mut self.ended {
                return std::mem::replace(status, Ok(())).err().map(Err);
            }
            self.listen().await;
        }
    }

    /// Waits for the client, for a loss, or for the end, and notes what to answer.
    async fn listen(&mut self) {
        let bell = self.publication.bell().notified_owned();
        tokio::pin!(bell);
        bell.as_mut().enable();
        if self.publication.is_over() {
            return self.end(End::SwarmEnded);
        }
        self.tell_losses();
        if !self.ready.is_empty() || self.ended.is_some() {
            return;
        }
        let due = self.lifetime.next_heartbeat();
        tokio::select! {
            biased;
            end = self.lifetime.over() => self.end(end),
            () = bell => {}
            message = self.inbound.message() => self.take_all(message),
            () = tokio::time::sleep_until(due) => {
                self.lifetime.beat();
                let server_time = Some(convert::timestamp(clock::now()));
                let epoch = self.publication.epoch().get();
                self.ready.push_back(Event::Heartbeat(shared::Heartbeat { epoch, server_time, ..Default::default() }));
            }
        }
    }

    /// Takes a message and what is ready behind it, then acknowledges.
    fn take_all(&mut self, first: Result<Option<pb::PublishUpdatesRequest>, Status>) {
        let mut message = first;
        for _ in 0..UPDATES_PER_ACK {
            match message {
                Ok(Some(request)) => self.take(request),
                // The client has said all it had to say.
                Ok(None) => self.ended = Some(Ok(())),
                Err(status) => self.ended = Some(Err(status)),
            }
            if self.ended.is_some() {
                break;
            }
            match self.inbound.message().now_or_never() {
                Some(next) => message = next,
                None => break,
            }
        }
        self.acknowledge();
    }

    fn take(&mut self, request: pb::PublishUpdatesRequest) {
        use pb::publish_updates_request::Message;
        let parsed = match request.message {
            Some(Message::Update(update)) => self.draft(update),
            Some(Message::Open(_)) => fields::invalid("open", "must be the first message only").map_err(Into::into),
            None => fields::invalid("message", "must be given").map_err(Into::into),
        };
        let mut draft = match parsed {
            Ok(draft) => draft,
            Err(status) => {
                self.acknowledge();
                self.ended = Some(Err(status));
                return;
            }
        };
        let last = &mut self.numbers[draft.channel.index()];
        if draft.publisher_sequence == 0 {
            draft.publisher_sequence = last.saturating_add(1);
        }
        *last = draft.publisher_sequence.max(*last);
        let (channel, number) = (draft.channel, draft.publisher_sequence);
        match self.publication.send(draft) {
            Ok(accepted) => self.accepted = Some(accepted),
            Err(refusal) => match reject_reason(refusal, self.service.is_paused(self.id)) {
                Some(reason) => {
                    self.acknowledge();
                    self.ready.push_back(Event::Rejected(shared::PublishRejected {
                        channel: shared::Channel::from(channel).into(),
                        publisher_sequence: number,
                        reason: reason.into(),
                    }));
                }
                None if self.publication.is_over() => {
                    self.acknowledge();
                    self.end(End::SwarmEnded);
                }
                None => {
                    self.acknowledge();
                    self.tell_losses();
                }
            },
        }
    }

    fn draft(&self, update: shared::UpdateDraft) -> Result<Draft, Status> {
        let shared::UpdateDraft { channel, payload, keyframe, priority, temporal_layer, publisher_sequence, timestamp } =
            update;
        let channel = fields::channel("update.channel", channel)?;
        if !self.publication.claimed().contains(channel) {
            return fields::invalid("update.channel", "was not claimed by this stream").map_err(Into::into);
        }
        if payload.len() > self.payload_bytes {
            let problem = format!("must be at most {} bytes, not {}", self.payload_bytes, payload.len());
            return fields::invalid("update.payload", problem).map_err(Into::into);
        }
        let priority = match shared::Priority::try_from(priority) {
            Ok(shared::Priority::Unspecified) => None,
            Ok(shared::Priority::Background) => Some(Priority::Background),
            Ok(shared::Priority::Normal) => Some(Priority::Normal),
            Ok(shared::Priority::High) => Some(Priority::High),
            Ok(shared::Priority::Urgent) => Some(Priority::Urgent),
            Err(_) => {
                return fields::invalid("update.priority", format!("{priority} is no priority")).map_err(Into::into);
            }
        };
        let layer = fields::within("update.temporal_layer", temporal_layer, 0, self.layers - 1)?;
        if let Some(t) = &timestamp
            && (!(0..1_000_000_000).contains(&t.nanos) || !YEARS_1_TO_9999.contains(&t.seconds))
        {
            return fields::invalid("update.timestamp", "is no point in time").map_err(Into::into);
        }
        let accepted_at = convert::timestamp(clock::now());
        Ok(Draft {
            channel,
            payload,
            keyframe,
            priority,
            temporal_layer: layer,
            publisher_sequence,
            timestamp: timestamp.map(|t| Timestamp { seconds: t.seconds, nanos: t.nanos }),
            accepted_at: Timestamp { seconds: accepted_at.seconds, nanos: accepted_at.nanos },
        })
    }

    fn acknowledge(&mut self) {
        let Some(Accepted { position, publisher_sequence, .. }) = self.accepted.take() else { return };
        let ack = shared::ChannelAck { accepted_through: publisher_sequence, position: Some(position.into()) };
        self.ready.push_back(Event::Ack(shared::PublishAck { channels: vec![ack] }));
    }

    /// Tells which channels somebody else has claimed; without one left, ends.
    fn tell_losses(&mut self) {
        let lost = self.publication.revoked();
        if lost.is_empty() {
            return;
        }
        // A session takes its rights along when it ends, and that is the news.
        if let Some(reason) = self.lifetime.session_ended() {
            return self.end(End::Session(reason));
        }
        self.ready.extend(
            lost.into_iter().map(|channel| {
                Event::Revoked(shared::PublishRevoked { channel: shared::Channel::from(channel).into() })
            }),
        );
        if self.publication.channels().next().is_none() {
            self.end(End::StaleTerm);
        }
    }

    fn end(&mut self, end: End) {
        let (goodbye, status) = end.farewell();
        self.ready.push_back(Event::Goodbye(goodbye));
        self.ended = Some(status);
    }
}

/// Answers a publisher until it or its right to publish is gone.
pub(super) fn run(publish: LivestreamPublish) -> Messages<pb::PublishUpdatesResponse> {
    stream::unfold(publish, |mut publish| async move {
        let item = publish.next().await?;
        let response =
            item.map(|event| pb::PublishUpdatesResponse { event: Some(shared::PublishEvent { event: Some(event) }) });
        Some((response, publish))
    })
    .boxed()
}
