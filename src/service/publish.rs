//! Publishing: on a stream that claims its channels, or one update at a time.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use super::attachment::Attachment;
use super::cascade::{ForwardError, ForwardedUpdate};
use super::chat::{Written, write_chat};
pub use super::error::PublishError;
use super::signature::SignatureVerifier;
use super::{Service, ServiceError, draw_session, is_due, member};
use crate::clock;
use crate::cluster::{CommandLog, LogFault};
use crate::feed::{self, Accepted, Demand, Draft, Feed, Limits, Micros, PublisherState, SkipReport};
use crate::store::entry::Entry;
use crate::store::snapshot::{Outcome, Projection};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::By;
use starling_core::event::Gate;
use starling_core::id::{Epoch, NO_HOME, NodeId, SINGLE_POD, SessionId, SwarmId, SwarmKind};
use starling_core::key::BroadcasterKey;
use starling_core::{Rejection, Rules, SharedCommand, Swarm};

/// The lease of a session that publishing makes, in milliseconds.
const LEASE_MS: u32 = 30_000;

/// How often one update is tried again when its right to publish passes on meanwhile.
const TRIES: usize = 8;

/// What became of an update that was sent.
#[expect(missing_debug_implementations, reason = "an answer that is awaited has none")]
pub enum Sent {
    /// It was taken.
    Accepted(Accepted),
    /// It is on its way through the log of a cluster, and whether it is taken says this.
    InLog(BoxFuture<'static, Result<Accepted, PublishError>>),
}

/// The right to publish, while it lasts.
#[derive(Debug)]
pub struct PublishHandle {
    log: CommandLog,
    id: SwarmId,
    feed: Arc<Feed>,
    source: NodeId,
    /// The session that it publishes for; `None` = whichever the node has.
    session: Option<SessionId>,
    epoch: Epoch,
    /// Where updates are signed.
    verifier: Option<SignatureVerifier>,
    term: u64,
    claimed: ChannelSet,
    /// Channels that nobody has claimed since.
    channels: Vec<Channel>,
    /// What was told last of who wants what.
    demand: Vec<(Channel, Demand)>,
    subscribers_version: Option<u64>,
}

impl Service {
    /// Claims channels for a node, and keeps its session alive; the broadcaster gets
    /// one if it has none. The CHAT of a livestream is not claimed: members write to
    /// it, and keep their session alive if they name it.
    ///
    /// # Errors
    ///
    /// The claim's refusal: no such swarm, ended, no member, or no right to publish on one of the channels.
    pub async fn publish(
        &self,
        id: SwarmId,
        by: By,
        channels: ChannelSet,
        layers: u32,
    ) -> Result<(PublishHandle, Attachment), ServiceError> {
        let (node, now) = (by.node, self.log.now(id));
        let shared = |channel: Channel| id.kind == SwarmKind::Livestream && channel == Channel::Chat;
        let exclusive: ChannelSet = channels.iter().filter(|channel| !shared(*channel)).collect();
        let (epoch, term, attachment) = if exclusive.is_empty() && !self.needs_session(id, node)? {
            let epoch = self.read(id, |swarm| member(swarm, node, by.session, now).map(|_| swarm.epoch()))??;
            let attachment = match by.session {
                Some(session) => self.attach(id, node, session).await?,
                None => self.follow(id, node).ok_or_else(|| self.absence(id, node))?,
            };
            (epoch, 0, attachment)
        } else {
            let claim =
                SharedCommand::Claim { by, channels, session: draw_session(), ttl_ms: LEASE_MS, pod: SINGLE_POD };
            let Outcome { epoch, revision: term, session, .. } = self.submit(id, claim, Projection::NOTHING).await?;
            let session = session.ok_or(Rejection::NotAMember(node))?;
            (epoch, term, self.attach(id, node, session).await?)
        };
        // Of this incarnation: another may have taken its place by now.
        let look = |entry: &Entry| {
            let swarm = entry.swarm();
            let key = swarm.broadcaster_key().filter(|_| swarm.broadcaster() == Some(node));
            (swarm.epoch() == epoch).then(|| (entry.feed(), key))
        };
        let (feed, key) = self.log.store().read(id, look).flatten().ok_or(Rejection::NoSuchSwarm)?;
        self.settle_seals(id, epoch, &feed, node, exclusive).await;
        let session = attachment.session();
        let signs = key.zip(session);
        let verifier = signs.and_then(|(key, session)| SignatureVerifier::new(id, epoch, node, session, key));
        feed.declare(node, term, exclusive, layers);
        let handle = PublishHandle {
            log: self.log.clone(),
            id,
            feed,
            source: node,
            session,
            epoch,
            verifier,
            term,
            claimed: channels,
            channels: channels.iter().collect(),
            demand: Vec::new(),
            subscribers_version: None,
        };
        Ok((handle, attachment))
    }

    /// True for a broadcaster without a session: its first publish stream makes one.
    fn needs_session(&self, id: SwarmId, node: NodeId) -> Result<bool, ServiceError> {
        self.read(id, |swarm| swarm.broadcaster() == Some(node) && swarm.roster().key(node).is_none())
    }

    /// Publishes one update under the node's current term, which it gets if there is
    /// none. With `term` given, under no other. An accepted update is a sign of life of
    /// its session.
    ///
    /// # Errors
    ///
    /// When the node may not publish there, or the feed does not take the update; see [`PublishError`].
    pub async fn publish_one(
        &self,
        id: SwarmId,
        by: &By,
        term: Option<u64>,
        draft: &Draft,
    ) -> Result<Accepted, PublishError> {
        let (accepted, due) = self.publish_once(id, by, term, draft).await?;
        if let Some(session) = due {
            // It may have ended by now; the update was accepted all the same.
            drop(self.submit(id, SharedCommand::Touch(by.node, session), Projection::NOTHING).await);
        }
        Ok(accepted)
    }

    /// Publishes one update. Answers the session too when its lease is to be renewed.
    pub(super) async fn publish_once(
        &self,
        id: SwarmId,
        by: &By,
        term: Option<u64>,
        draft: &Draft,
    ) -> Result<(Accepted, Option<SessionId>), PublishError> {
        let channel = draft.channel;
        let feed = self.log.store().read(id, Entry::feed).ok_or(Rejection::NoSuchSwarm)?;
        if feed.is_shared(channel) {
            return match write_chat(&self.log, id, &feed, by.node, by.session, draft)? {
                Written::Here(accepted, due) => Ok((accepted, due)),
                Written::InLog(answer) => answer.await,
            };
        }
        let channels: ChannelSet = [channel].into_iter().collect();
        let mut draft = draft.clone();
        for _ in 0..TRIES {
            let holder = feed.holder(by.node, channel);
            // In a cluster the home of a term may be gone: then whoever comes gets a new term.
            let held = holder.filter(|(_, home)| self.cascade.is_none() || *home != NO_HOME);
            let now = self.log.now(id);
            let look = |swarm: &Swarm| {
                let due = authority(swarm, by.node, by.session, now)?;
                let signer = signer(swarm, by.node)?.map(|(key, session)| (swarm.epoch(), session, key));
                Ok::<_, Rejection>((swarm.gate(by.node, channel), due, signer, swarm.epoch()))
            };
            let (gate, due, signer, epoch) = self.read(id, look)??;
            if let Some((epoch, session, key)) = signer
                && let Some(verifier) = SignatureVerifier::new(id, epoch, by.node, session, key)
            {
                verifier.verify(&mut draft);
            }
            // What is not signed as it must be gets no right either.
            let (session, key) = signer.map(|(_, session, key)| (session, key)).unzip();
            draft
                .check_proof(key, session)
                .map_err(|refusal| feed::Rejected { publisher_sequence: draft.publisher_sequence, refusal })?;
            if let Some((cascade, home)) = held.and_then(|(_, home)| self.other_home(id, home)) {
                let current = term.or_else(|| held.map(|(held, _)| held)).unwrap_or(0);
                let update = ForwardedUpdate { id, epoch, by: by.clone(), term: current, draft };
                return match cascade.forward(home, update).await {
                    Ok(accepted) => Ok((accepted, due)),
                    Err(ForwardError::Rejected(feed::Rejected { refusal: feed::AppendError::StaleTerm, .. }))
                        if term.is_none() =>
                    {
                        Err(ServiceError::HomeUnreachable.into())
                    }
                    Err(ForwardError::Rejected(rejected)) => Err(rejected.into()),
                    Err(ForwardError::Unreachable) => Err(ServiceError::HomeUnreachable.into()),
                };
            }
            if held.is_none() && term.is_none() {
                // What is refused anyhow gets no right first.
                match gate? {
                    Gate::Open => {}
                    closed => return Err(feed::AppendError::Closed(closed).uncounted().into()),
                }
                let session = draw_session();
                let acquire =
                    SharedCommand::Acquire { by: by.clone(), channels, session, ttl_ms: LEASE_MS, pod: SINGLE_POD };
                self.submit(id, acquire, Projection::NOTHING).await?;
                self.settle_seals(id, epoch, &feed, by.node, channels).await;
                if self.cascade.is_some() {
                    // Another server may have been quicker.
                    continue;
                }
            }
            // A fenced update gets no right that it does not have.
            let current = term.or_else(|| held.map(|(held, _)| held)).or_else(|| feed.term(by.node, channel));
            match feed.publish(by.node, current.unwrap_or(0), draft.clone(), clock::uptime()) {
                Err(feed::Rejected { refusal: feed::AppendError::StaleTerm, .. }) if term.is_none() => {}
                outcome => return Ok((outcome?, due)),
            }
        }
        Err(feed::AppendError::StaleTerm.uncounted().into())
    }

    /// Asks for a keyframe of a source; `None` = the broadcaster.
    ///
    /// # Errors
    ///
    /// When there is no such swarm, it has ended, or the asking node or the source is no member.
    pub fn request_keyframe(
        &self,
        id: SwarmId,
        by: &By,
        source: Option<NodeId>,
        channel: Channel,
    ) -> Result<(), ServiceError> {
        let now = self.log.now(id);
        let look = |entry: &Entry| {
            let swarm = entry.swarm();
            member(swarm, by.node, by.session, now)?;
            let source = match (swarm.broadcaster(), source) {
                (Some(broadcaster), _) => broadcaster,
                (None, Some(source)) if swarm.roster().key(source).is_some() => source,
                (None, Some(source)) => return Err(Rejection::NoSuchMember(source)),
                // There is no livestream of this id.
                (None, None) => return Err(Rejection::NoSuchSwarm),
            };
            Ok((entry.feed(), source))
        };
        let (feed, source) = self.log.store().read(id, look).ok_or(Rejection::NoSuchSwarm)??;
        feed.request_keyframe(source, channel);
        Ok(())
    }
}

/// A member who may publish; its session when the lease is to be renewed.
fn authority(
    swarm: &Swarm,
    node: NodeId,
    session: Option<SessionId>,
    now: u64,
) -> Result<Option<SessionId>, Rejection> {
    if swarm.is_over() {
        return Err(Rejection::Ended);
    }
    let broadcaster = swarm.broadcaster();
    if broadcaster == Some(node) && swarm.roster().key(node).is_none() {
        // The broadcaster needs no session.
        return Ok(None);
    }
    let member = member(swarm, node, session, now)?;
    match broadcaster {
        Some(broadcaster) if broadcaster != node => Err(Rejection::NotBroadcaster { node }),
        _ => Ok(is_due(member, now).then_some(member.session)),
    }
}

/// The key of a broadcaster who signs, and the session that it signs for.
fn signer(swarm: &Swarm, node: NodeId) -> Result<Option<(BroadcasterKey, SessionId)>, Rejection> {
    let Some(key) = swarm.broadcaster_key() else { return Ok(None) };
    // One that publishing would make is known to nobody who has signed.
    let session = swarm.roster().find(node).ok_or(Rejection::NotAMember(node))?.session;
    Ok(Some((key, session)))
}

/// A log that does not answer refuses a message and ends no stream: video may go on beside.
fn of_message(refusal: PublishError, publisher_sequence: u64) -> PublishError {
    let refusal = match refusal {
        PublishError::Swarm(ServiceError::Log(LogFault::OutcomeUnknown)) => feed::AppendError::OutcomeUnknown,
        PublishError::Swarm(ServiceError::Log(_)) => feed::AppendError::Quota,
        refusal => return refusal,
    };
    feed::Rejected { publisher_sequence, refusal }.into()
}

impl PublishHandle {
    /// The incarnation of the swarm.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The swarm.
    pub const fn id(&self) -> SwarmId {
        self.id
    }

    /// Who publishes.
    pub const fn source(&self) -> NodeId {
        self.source
    }

    /// What subscriptions are limited to now.
    pub fn limits(&self) -> Limits {
        self.feed.limits()
    }

    /// The term of a channel; 0 for the CHAT of a livestream.
    pub fn term(&self, channel: Channel) -> u64 {
        if self.feed.is_shared(channel) { 0 } else { self.term }
    }

    /// The channels that are still ours, and what is known of their publisher.
    pub fn channels(&self) -> impl Iterator<Item = (Channel, PublisherState)> {
        self.channels.iter().map(|channel| (*channel, self.publisher(*channel)))
    }

    fn publisher(&self, channel: Channel) -> PublisherState {
        if !self.feed.is_shared(channel) || self.log.cluster().is_none() {
            return self.feed.publisher(self.source, self.session, channel);
        }
        // Several servers have one order of CHAT: its authors are the swarm's.
        let look = |entry: &Entry| match entry.swarm().rules() {
            Rules::Livestream(livestream) => {
                let author = livestream.chat_author(self.source);
                PublisherState::of(author.map(|author| &author.numbers), self.session)
            }
            Rules::Group(_) => PublisherState::default(),
        };
        self.log.store().read(self.id, look).unwrap_or_default()
    }

    /// The channels that are still ours.
    pub fn held(&self) -> ChannelSet {
        self.channels.iter().copied().collect()
    }

    /// True when every channel was lost.
    pub const fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// What was claimed at first.
    pub const fn claimed(&self) -> ChannelSet {
        self.claimed
    }

    /// Notified when a channel may have been lost, a keyframe is wanted, or
    /// somebody wants something else.
    pub fn changed(&self) -> Arc<Notify> {
        self.feed.producers()
    }

    /// True when the swarm has ended.
    pub fn is_over(&self) -> bool {
        self.feed.is_closed()
    }

    /// Channels lost since the last call.
    pub fn revoked(&mut self) -> Vec<Channel> {
        let (feed, source, term) = (&self.feed, self.source, self.term);
        let lost = |channel: &mut Channel| !feed.is_shared(*channel) && feed.term(source, *channel) != Some(term);
        self.channels.extract_if(.., lost).collect()
    }

    /// Publishes one update.
    ///
    /// # Errors
    ///
    /// When the feed does not take the update; the stream may go on. See [`PublishError`].
    pub fn send(&self, mut draft: Draft) -> Result<Sent, PublishError> {
        if self.feed.is_shared(draft.channel) {
            let number = draft.publisher_sequence;
            let written = write_chat(&self.log, self.id, &self.feed, self.source, self.session, &draft);
            return Ok(match written.map_err(|refusal| of_message(refusal, number))? {
                Written::Here(accepted, _) => Sent::Accepted(accepted),
                Written::InLog(answer) => {
                    let told = move |answer: Result<(Accepted, _), _>| match answer {
                        Ok((accepted, _)) => Ok(accepted),
                        Err(refusal) => Err(of_message(refusal, number)),
                    };
                    Sent::InLog(answer.map(told).boxed())
                }
            });
        }
        if let Some(verifier) = &self.verifier {
            verifier.verify(&mut draft);
        }
        Ok(Sent::Accepted(self.feed.publish(self.source, self.term, draft, clock::uptime())?))
    }

    /// The channels on which a keyframe is to be asked for now, and when to look
    /// again, by [`clock::uptime`].
    pub fn keyframes_due(&self) -> (Vec<Channel>, Option<Micros>) {
        self.feed.keyframes_due(self.source, self.term, self.held(), clock::uptime())
    }

    /// True when [`Self::demand`] may have changed.
    pub fn may_want_else(&self) -> bool {
        self.subscribers_version != Some(self.feed.subscribers_version())
    }

    /// True when [`Self::take_skips`] has something to tell.
    pub fn has_skips(&self) -> bool {
        self.feed.has_skips(self.source, self.held())
    }

    /// Who has skipped what since the last call.
    pub fn take_skips(&self) -> Vec<(Channel, SkipReport)> {
        self.feed.take_skips(self.source, self.held())
    }

    /// Who wants what, when that is not what it was.
    pub fn demand(&mut self) -> Option<&[(Channel, Demand)]> {
        self.subscribers_version = Some(self.feed.subscribers_version());
        let now = self.feed.demand(self.source, self.held());
        (self.demand != now).then(|| {
            self.demand = now;
            &self.demand[..]
        })
    }
}
