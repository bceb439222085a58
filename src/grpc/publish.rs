//! PublishUpdates as a pair of streams, the same for both services.
//!
//! Acknowledgements are coalesced: what the client has sent is taken until nothing
//! more is ready, and then acknowledged at once. A client that does not read its
//! acknowledgements is not read from. Nor is one whose client publishes more than it may: what it has sent waits, and
//! flow control holds the rest back, so that a publisher that is a little too fast loses nothing.

mod subscribers;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesOrdered, StreamExt};
use prost::Message;
use tokio::time::Instant;
use tonic::{Request, Status, Streaming};

use super::authentication::{Authentication, identity};
use super::client_address::client_address;
use super::client_limits::StreamLimits;
use super::publish_requests::{Inbound, Open, RawOpen};
use super::request_messages::RequestMessages;
use super::rights::check_renewal;
use super::status::{End, draining, reject_reason, unpublished};
use super::stream::{LifetimeEvent, Messages, StreamLifetime, caller};
use super::{Edge, Settings, convert, fields};
use crate::budget::Reservation;
use crate::feed::{Accepted, PublisherState, Rejected};
use crate::limits::{Exceeded, UpdateCharge};
// The same events in both services.
use crate::pb::livestream::v1::publish_updates_response::Event;
use crate::pb::swarm::v1 as shared;
use crate::service::publish::{PublishError, PublishHandle, Sent};
use crate::transport::{ConnectionShared, StreamProgress};
use starling_core::Rejection;
use starling_core::channel::{Channel, PerChannel};
use starling_core::command::By;
use starling_core::id::{SessionId, SwarmKind};

/// The most updates that one acknowledgement covers.
const UPDATES_PER_ACK: usize = 64;

/// What is beyond a limit waits so long at least.
const HELD_AT_LEAST: Duration = Duration::from_millis(1);

/// Messages to CHAT of one stream that may be on their way through the log of a cluster.
const MAX_IN_LOG: usize = 64;

/// One publisher and its stream.
pub(super) struct PublishStream {
    kind: SwarmKind,
    settings: Settings,
    /// Reads the tokens by which the stream is renewed.
    authentication: Authentication,
    inbound: BoxStream<'static, Result<Inbound, Status>>,
    limits: StreamLimits,
    address: Option<IpAddr>,
    connection: Option<Arc<ConnectionShared>>,
    progress: Option<Arc<StreamProgress>>,
    /// A message beyond the limits of its client. None behind it is taken meanwhile.
    held: Option<HeldMessage>,
    handle: PublishHandle,
    lifetime: StreamLifetime,
    layers: u32,
    /// Wait for their acknowledgement, by channel.
    accepted: PerChannel<Option<Accepted>>,
    /// When the demand may be told again.
    demand_at: Instant,
    /// When it may be told again who skips updates.
    skips_at: Instant,
    ready: VecDeque<Event>,
    /// Messages to CHAT that go through the log of a cluster, in order.
    in_log: FuturesOrdered<BoxFuture<'static, Result<Accepted, PublishError>>>,
    /// The client has said all it had to say.
    is_complete: bool,
    ended: Option<Result<(), Status>>,
}

/// A message that waits until its client may send it.
struct HeldMessage {
    message: Inbound,
    charge: UpdateCharge,
    until: Instant,
    _room: Option<Reservation>,
}

impl PublishStream {
    /// Reads the opening message and claims what it names.
    pub(super) async fn open<M>(
        edge: &Edge,
        kind: SwarmKind,
        mut request: Request<Streaming<M>>,
    ) -> Result<Self, Status>
    where
        M: Message + Default + Into<Inbound> + 'static,
    {
        let (identity, caller) = (identity(&request)?, caller(&request));
        let (limits, address) =
            (StreamLimits::of(&request), client_address(request.extensions(), request.metadata().as_ref()));
        let (connection, progress) = (request.extensions().get().cloned(), request.extensions().get().cloned());
        let messages = RequestMessages::of(&mut request, edge.settings.publish_receive_bytes);
        let mut inbound = messages.map(|message| message.map(Into::into)).boxed();
        let first = tokio::select! {
            first = inbound.next() => first.transpose()?,
            () = edge.shutdown.draining() => return Err(draining()),
        };
        let Some(Inbound::Open(open)) = first else {
            return fields::invalid("open", "must be the first message").map_err(Into::into);
        };
        let Open { id, node, session, channels, layers } = edge.admit_from(&identity, open, RawOpen::parse)?;
        drop(identity);
        let by = By { node, session, request: None };
        let (handle, attachment) = edge.publish(id, by, channels, layers).await?;
        let session_id = attachment.session().map_or(0, SessionId::get);
        let lifetime = edge.lifetime_of(caller, Some(id), Some(attachment))?;
        let granted = handle.channels().map(|(channel, PublisherState { accepted, previous, keyframe_wanted })| {
            let (before, accepted_before) = previous.unzip();
            shared::GrantedChannel {
                channel: shared::UpdateChannel::from(channel).into(),
                term: handle.term(channel),
                last_publisher_sequence: accepted,
                keyframe_wanted,
                previous_session_id: before.map_or(0, SessionId::get),
                previous_publisher_sequence: accepted_before.unwrap_or(0),
                max_payload_bytes: u32::try_from(edge.settings.max_payload(channel)).unwrap_or(u32::MAX),
                track: 0,
            }
        });
        let subscribers = handle.limits();
        let opened = shared::PublishOpened {
            epoch: handle.epoch().get(),
            channels: granted.collect(),
            session_id,
            heartbeat_interval: prost_types::Duration::try_from(lifetime.heartbeat()).ok(),
            subscriber_bytes_per_second: subscribers.bandwidth.unwrap_or(0),
            keyframe_interval: subscribers.keyframe_interval.map(|micros| convert::duration(micros.get() / 1_000)),
        };
        Ok(Self {
            kind,
            settings: edge.settings,
            authentication: edge.authentication.clone(),
            inbound,
            limits,
            address,
            connection,
            progress,
            held: None,
            handle,
            lifetime,
            layers,
            accepted: PerChannel::default(),
            demand_at: Instant::now(),
            skips_at: Instant::now(),
            ready: VecDeque::from([Event::Opened(opened)]),
            in_log: FuturesOrdered::new(),
            is_complete: false,
            ended: None,
        })
    }

    async fn next(&mut self) -> Option<Result<Event, Status>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            // Who has said all hears of all.
            if self.is_complete
                && let Some(answer) = self.in_log.next().await
            {
                self.answer_chat(answer);
                continue;
            }
            if let Some(status) = &mut self.ended {
                return std::mem::replace(status, Ok(())).err().map(Err);
            }
            self.listen().await;
        }
    }

    /// Waits for the client, for a loss, for a change of what is wanted, or for the end, and notes what to
    /// answer.
    async fn listen(&mut self) {
        let changed = self.handle.changed().notified_owned();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if self.handle.is_over() {
            return self.end(End::SwarmEnded);
        }
        if self.lifetime.is_revoked() {
            return self.end(End::TokenRevoked);
        }
        self.tell_losses();
        let wanted = self.tell_of_subscribers();
        if !self.ready.is_empty() || self.ended.is_some() {
            return;
        }
        let held_until = self.held.as_ref().map(|held| held.until);
        tokio::select! {
            biased;
            sign = self.lifetime.sign() => match sign {
                LifetimeEvent::End(end) => self.end(end),
                LifetimeEvent::Beat => self.give_sign(),
            },
            () = changed => {}
            Some(answer) = self.in_log.next() => self.answer_chat(answer),
            // What waits for the log is bounded: its author waits, too.
            message = self.inbound.next(), if held_until.is_none() && self.in_log.len() < MAX_IN_LOG => {
                self.take_all(message);
            }
            () = wait_until(held_until), if held_until.is_some() => self.take_held(),
            () = wait_until(wanted) => {}
        }
    }

    fn give_sign(&mut self) {
        self.lifetime.beat();
        let server_time = Some(self.lifetime.server_time());
        let epoch = self.handle.epoch().get();
        self.ready.push_back(Event::Heartbeat(shared::FeedHeartbeat { epoch, server_time, ..Default::default() }));
    }

    /// Takes what was held back, if it may be taken now, and what is ready behind it.
    fn take_held(&mut self) {
        let Some(HeldMessage { message, charge, _room: room, .. }) = self.held.take() else { return };
        if self.take_or_hold(message, charge, room) {
            self.progress.iter().for_each(|progress| progress.pause(false));
        }
        self.acknowledge();
    }

    /// Takes a message, unless it is beyond the limits of its client. True when none is held back.
    fn take_or_hold(&mut self, message: Inbound, mut charge: UpdateCharge, room: Option<Reservation>) -> bool {
        let counted = match &message {
            Inbound::Update(_) => self.limits.publish(&mut charge),
            Inbound::Renew(_) => self.limits.renew(),
            Inbound::Open(_) | Inbound::Nothing => Ok(()),
        };
        let Err(exceeded) = counted else {
            self.take(message);
            return true;
        };
        let reserve = |connection: &Arc<ConnectionShared>| connection.accounts().receiving().reserve(charge.bytes());
        let Ok(room) = room.map(Ok).or_else(|| self.connection.as_ref().map(reserve)).transpose() else {
            self.reject(message, exceeded);
            return true;
        };
        self.progress.iter().for_each(|progress| progress.pause(true));
        // A moment at least, so that no rate makes it ask again and again.
        let wait = exceeded.wait.unwrap_or_default().max(HELD_AT_LEAST);
        self.held = Some(HeldMessage { message, charge, until: Instant::now() + wait, _room: room });
        false
    }

    /// Refuses a message for which there is no room to wait.
    fn reject(&mut self, message: Inbound, exceeded: Exceeded) {
        // In order: what was taken before is acknowledged before.
        self.acknowledge();
        match message {
            Inbound::Update(update) => self.ready.push_back(Event::Rejected(shared::PublishRejected {
                channel: update.channel,
                publisher_sequence: update.publisher_sequence,
                reason: shared::RejectReason::RateLimited.into(),
                track: 0,
            })),
            _ => self.ended = Some(Err(exceeded.into())),
        }
    }

    /// Takes a message and what is ready behind it, then acknowledges.
    fn take_all(&mut self, first: Option<Result<Inbound, Status>>) {
        let mut message = first;
        for taken in 1.. {
            // It takes long to check, as updates go: others have their turn.
            let renews = matches!(message, Some(Ok(Inbound::Renew(_))));
            match message {
                Some(Ok(request)) => {
                    let charge = UpdateCharge::of(request.payload_bytes());
                    if !self.take_or_hold(request, charge, None) {
                        break;
                    }
                }
                // The client has said all it had to say, and hears the last report whatever the pause.
                None => {
                    self.skips_at = Instant::now();
                    self.tell_skips();
                    self.is_complete = true;
                    self.ended = Some(Ok(()));
                }
                Some(Err(status)) => self.ended = Some(Err(status)),
            }
            // Before the next one is asked for: what is asked for must be taken.
            let is_full = self.in_log.len() >= MAX_IN_LOG;
            if self.ended.is_some() || renews || is_full || taken == UPDATES_PER_ACK {
                break;
            }
            match self.inbound.next().now_or_never() {
                Some(next) => message = next,
                None => break,
            }
        }
        self.acknowledge();
    }

    fn take(&mut self, request: Inbound) {
        let parsed = match request {
            Inbound::Update(update) => fields::draft(update, &self.settings, self.layers, self.lifetime.clock().wall()),
            Inbound::Renew(renewal) => return self.renew(&renewal),
            Inbound::Open(_) => fields::invalid("open", "must be the first message only"),
            Inbound::Nothing => fields::invalid("message", "must be given"),
        };
        let parsed = parsed.and_then(|draft| match self.handle.claimed().contains(draft.channel) {
            true => Ok(draft),
            false => fields::invalid("update.channel", "was not claimed by this stream"),
        });
        let draft = match parsed {
            Ok(draft) => draft,
            Err(invalid) => {
                self.acknowledge();
                self.ended = Some(Err(invalid.into()));
                return;
            }
        };
        let channel = draft.channel;
        match self.handle.send(draft) {
            Ok(Sent::Accepted(accepted)) => self.accepted[channel] = Some(accepted),
            Ok(Sent::InLog(answer)) => self.in_log.push_back(answer),
            Err(refusal) => {
                // In order: what was taken before is acknowledged before.
                self.acknowledge();
                self.refuse(channel, refusal);
            }
        }
    }

    /// Notes what became of a message that went through the log of a cluster.
    fn answer_chat(&mut self, answer: Result<Accepted, PublishError>) {
        match answer {
            Ok(accepted) => {
                self.accepted[Channel::Chat] = Some(accepted);
                self.acknowledge();
            }
            Err(refusal) => self.refuse(Channel::Chat, refusal),
        }
    }

    /// Goes on under another token, or ends.
    fn renew(&mut self, shared::RenewToken { token }: &shared::RenewToken) {
        // In order: what was taken before is acknowledged before.
        self.acknowledge();
        let renewed = fields::token("renew.token", token).map_err(Status::from).and_then(|()| {
            let renewed = self.authentication.renewed(token, self.address, self.lifetime.clock().wall())?;
            let Some(identity) = renewed else { return Ok(self.lifetime.expires_at()) };
            check_renewal(&identity, self.handle.source(), self.handle.id(), self.handle.held())?;
            self.lifetime.renew(&identity, &self.authentication);
            Ok(identity.expires_at)
        });
        match renewed {
            Ok(expires_at) => {
                let expire_time = expires_at.map(convert::timestamp);
                self.ready.push_back(Event::Renewed(shared::TokenRenewed { expire_time }));
            }
            Err(refused) => self.ended = Some(Err(refused)),
        }
    }

    fn refuse(&mut self, channel: Channel, refusal: PublishError) {
        match refusal {
            PublishError::Feed(Rejected { publisher_sequence, refusal }) => match reject_reason(refusal) {
                Some(reason) => self.ready.push_back(Event::Rejected(shared::PublishRejected {
                    channel: shared::UpdateChannel::from(channel).into(),
                    publisher_sequence,
                    reason: reason.into(),
                    track: 0,
                })),
                None if self.handle.is_over() => self.end(End::SwarmEnded),
                None => self.tell_losses(),
            },
            PublishError::Swarm(_) if self.handle.is_over() => self.end(End::SwarmEnded),
            // Whose session is over learns how that came by its attachment.
            PublishError::Swarm(super::ServiceError::Rejected(
                Rejection::NotAMember(_) | Rejection::SessionReplaced { .. } | Rejection::Ended,
            )) if self.lifetime.session_ended().is_some() => {}
            PublishError::Swarm(_) => self.ended = Some(Err(unpublished(self.kind)(refusal))),
        }
    }

    /// Acknowledges what was taken on each channel.
    fn acknowledge(&mut self) {
        let accepted = Channel::ALL.into_iter().filter_map(|channel| self.accepted[channel].take());
        let channels: Vec<_> = accepted
            .map(|Accepted { position, publisher_sequence, .. }| shared::ChannelAck {
                accepted_through: publisher_sequence,
                position: Some(position.into()),
            })
            .collect();
        if !channels.is_empty() {
            self.ready.push_back(Event::Ack(shared::PublishAck { channels }));
        }
    }

    /// Tells which channels somebody else has claimed; without one left, ends.
    fn tell_losses(&mut self) {
        let lost = self.handle.revoked();
        if lost.is_empty() {
            return;
        }
        // A session takes its rights along when it ends, and that is what is told.
        if let Some(reason) = self.lifetime.session_ended() {
            return self.end(End::Session(reason));
        }
        self.ready.extend(lost.into_iter().map(|channel| {
            Event::Revoked(shared::PublishRevoked { channel: shared::UpdateChannel::from(channel).into(), track: 0 })
        }));
        if self.handle.is_empty() {
            self.end(End::StaleTerm);
        }
    }

    fn end(&mut self, end: End) {
        let (goodbye, status) = end.goodbye_and_status();
        self.ready.extend(goodbye.map(Event::Goodbye));
        self.ended = Some(status);
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Answers a publisher until it or its right to publish is gone.
pub(super) fn run<R: Send + 'static>(
    publishing: PublishStream,
    response: impl Fn(Event) -> R + Send + Copy + 'static,
) -> Messages<R> {
    stream::unfold(publishing, move |mut publishing| async move {
        let item = publishing.next().await?;
        Some((item.map(response), publishing))
    })
    .boxed()
}
