//! A publisher that survives cuts.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, FutureExt, select};
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use starling_signing::{SignedUpdate, SigningKey, SwarmTag};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::backoff::Retry;
use super::client::Client;
use super::error::Error;
use super::link::{Link, State};
use super::swarm_ref::{Join, SwarmRef};
use super::window::{SendError, Window};
use crate::pb::group::v1 as group;
use crate::pb::livestream::v1 as livestream;
use crate::pb::livestream::v1::publish_updates_response::Event;
use crate::pb::swarm::v1::{
    ChannelAck, Demand, GrantedChannel, PublishOpened, PublishRejected, RenewToken, Skips, UpdateChannel, UpdateDraft,
};

/// What to publish on, and how.
#[derive(Clone, Debug)]
pub struct PublishOptions {
    /// The livestream or group.
    pub swarm: SwarmRef,
    /// The publisher; never 0.
    pub node_id: u64,
    /// Its session, kept attached by the stream; 0 = that of the node, or, for a broadcaster
    /// without one, a new one.
    pub session_id: u64,
    /// The channels to claim, at least one.
    pub channels: Vec<UpdateChannel>,
    /// Temporal layers of VISUAL and SCREEN, 1..8; 0 = 1, nothing to drop.
    pub temporal_layers: u32,
    /// The most updates that are kept until they are acknowledged, to be sent again after a
    /// cut; at least 1, default 64.
    pub window: usize,
    /// How to join again when the lease has expired; `None` = that is an error.
    pub join: Option<Join>,
    /// The secret key of a broadcaster whose livestream has the public one: updates are signed by it, those that are
    /// sent again for another session anew. CHAT is not signed.
    pub signing_key: Option<Arc<SigningKey>>,
    /// How to come back after a cut.
    pub retry: Retry,
}

impl PublishOptions {
    /// These channels, without temporal layers.
    pub fn new(swarm: SwarmRef, node_id: u64, channels: Vec<UpdateChannel>) -> Self {
        let retry = Retry::default();
        Self {
            swarm,
            node_id,
            session_id: 0,
            channels,
            temporal_layers: 0,
            window: 64,
            join: None,
            signing_key: None,
            retry,
        }
    }
}

impl PublishOptions {
    /// A draft as it is sent on a stream that was opened so.
    fn signed(&self, draft: &UpdateDraft, opened: &PublishOpened) -> UpdateDraft {
        let mut draft = draft.clone();
        if let (Some(key), SwarmRef::Livestream(swarm)) = (&self.signing_key, self.swarm)
            && draft.channel() != UpdateChannel::Chat
        {
            let signature = key.sign(&SignedUpdate {
                kind: SwarmTag::Livestream,
                swarm,
                epoch: opened.epoch,
                session: opened.session_id,
                source: self.node_id,
                channel: u32::try_from(draft.channel).unwrap_or_default(),
                track: draft.track,
                publisher_sequence: draft.publisher_sequence,
                publish_time: draft.publish_time.map(|time| (time.seconds, time.nanos)),
                urgent: draft.urgent,
                keyframe: draft.keyframe,
                temporal_layer: draft.temporal_layer,
                payload: &draft.payload,
            });
            draft.signature = signature.to_vec().into();
        }
        draft
    }
}

/// What a [`Publisher`] tells.
#[derive(Debug)]
pub enum PublishEvent {
    /// Everything up to a number was accepted on a channel. What turns out to be accepted when
    /// a cut is over is told by [`PublishEvent::Resumed`] instead.
    Accepted(ChannelAck),
    /// An update was not accepted, and is not sent again; the stream lives on.
    Rejected(PublishRejected),
    /// Another stream took a channel over. With the last one, [`Error::StaleTerm`] follows.
    Revoked(UpdateChannel),
    /// A keyframe is wanted, on VISUAL or SCREEN.
    KeyframeRequest(UpdateChannel),
    /// What subscribers want changed.
    Demand(Demand),
    /// Subscribers skip updates: they get less than is sent.
    Skips(Skips),
    /// The stream was cut. What was not acknowledged is kept: a [`PublishEvent::Resumed`] or an
    /// error follows.
    Cut(Error),
    /// The stream is open again, and what the server did not have was sent again. Subscribers
    /// notice nothing, unless a [`PublishEvent::KeyframeRequest`] follows: on that channel they
    /// take up the new term at its first keyframe.
    Resumed(PublishOpened),
}

/// What is sent on an open stream.
enum Outgoing {
    Update(UpdateDraft),
    Renew(RenewToken),
}

/// A token that is newer than that of the stream, and its generation.
type Newer = BoxFuture<'static, (String, u64)>;

/// An open publish stream.
struct Stream {
    outbox: mpsc::Sender<Outgoing>,
    answers: BoxStream<'static, Result<Option<Event>, Status>>,
    opened: PublishOpened,
}

/// A publish stream that is opened again after each cut.
#[derive(Debug)]
pub struct Publisher {
    publication: PublishOptions,
    link: Link<Stream>,
    window: Window,
    opened: PublishOpened,
    ready: VecDeque<PublishEvent>,
    renewal: Renewal,
}

/// How far an open stream is on its way to the next token.
enum Renewal {
    /// There is none yet.
    Awaited(Newer),
    /// The server was sent the token of this generation.
    Sent(u64),
}

impl fmt::Debug for Renewal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Awaited(_) => "awaited",
            Self::Sent(_) => "sent",
        })
    }
}

/// What an open stream comes to next.
enum Next {
    Answer(Option<Result<Option<Event>, Status>>),
    Newer(String, u64),
}

impl Publisher {
    /// Claims the channels, once: cuts are survived from here on, a refusal is not.
    ///
    /// # Errors
    ///
    /// The server's refusal as [`Error::Status`], or the failure of the connection.
    pub async fn open(client: Client, mut publication: PublishOptions) -> Result<Self, Error> {
        publication.window = publication.window.max(1);
        let (options, session_id) = (publication.clone(), publication.session_id);
        let (join, retry) = (publication.join.clone(), publication.retry);
        let open = |client, session_id| publish(client, options, session_id);
        let mut link = Link::open(client, session_id, join, retry, open).await?;
        let State::Open(stream) = link.state() else { return Err(Error::Closed) };
        let opened = stream.opened.clone();
        link.set_session(opened.session_id);
        let window = Window::new(publication.window, &opened);
        let renewal = Renewal::of(&link);
        let mut publisher = Self { publication, link, window, opened, ready: VecDeque::new(), renewal };
        publisher.ask_for_keyframes();
        Ok(publisher)
    }

    /// What the server said when it opened the stream, the last time: the epoch, and the term
    /// and last accepted number of each channel.
    pub const fn opened(&self) -> &PublishOpened {
        &self.opened
    }

    /// What the stream holds on a channel; `None` when it holds nothing.
    pub fn granted(&self, channel: UpdateChannel) -> Option<GrantedChannel> {
        self.opened.channels.iter().find(|granted| granted.channel() == channel).copied()
    }

    /// The session that the stream keeps attached.
    pub const fn session_id(&self) -> u64 {
        self.link.session_id()
    }

    /// How many updates [`Self::send`] takes now.
    pub fn room(&self) -> usize {
        self.window.room()
    }

    /// How many updates the server has accepted, on all channels together. What it rejected, or
    /// has not answered, is not among them.
    pub fn accepted(&self) -> u64 {
        self.window.total_accepted()
    }

    /// The same, of one channel.
    pub fn accepted_on(&self, channel: UpdateChannel) -> u64 {
        self.window.accepted_on(channel.into())
    }

    /// How many updates were sent and neither accepted nor rejected.
    pub fn unacknowledged(&self) -> usize {
        self.window.len()
    }

    /// Sends an update, during a cut as soon as it is over, and answers with its number. One
    /// without a number gets the next one of its channel; numbers of the caller's own must
    /// rise. Only [`Self::next`] makes room again.
    ///
    /// # Errors
    ///
    /// With the draft: [`SendError::Full`] when [`PublishOptions::window`] updates are not acknowledged.
    pub fn send(&mut self, draft: UpdateDraft) -> Result<u64, SendError> {
        let draft = self.window.push(draft)?;
        if let State::Open(stream) = self.link.state() {
            // The outbox has room for the whole window. A closed one means a cut, which the
            // answers tell; the window keeps the draft until then.
            stream.outbox.try_send(Outgoing::Update(self.publication.signed(draft, &self.opened))).ok();
        }
        Ok(draft.publisher_sequence)
    }

    /// What comes next; `None` when the swarm has ended.
    ///
    /// Safe to drop and call again.
    ///
    /// # Errors
    ///
    /// Final: every channel was lost ([`Error::StaleTerm`]), the node left, was removed or joined
    /// elsewhere, the server refused, or it could not be reached in time.
    pub async fn next(&mut self) -> Result<Option<PublishEvent>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            let why = match self.link.state() {
                State::Open(stream) => match stream.next(&mut self.renewal).await {
                    Next::Newer(token, generation) => {
                        // There is room for one: a closed outbox means a cut, after which the new one is shown.
                        stream.outbox.try_send(Outgoing::Renew(RenewToken { token })).ok();
                        self.renewal = Renewal::Sent(generation);
                        continue;
                    }
                    Next::Answer(Some(Ok(Some(Event::Goodbye(goodbye))))) => goodbye.into(),
                    Next::Answer(Some(Ok(event))) => {
                        self.link.alive();
                        self.hear(event);
                        continue;
                    }
                    Next::Answer(Some(Err(status))) => status.into(),
                    Next::Answer(None) => Error::Closed,
                },
                State::Opening(_) => match self.link.opened().await {
                    Ok(_) => {
                        self.resume()?;
                        continue;
                    }
                    Err(why) => {
                        tracing::debug!(%why, "could not publish again");
                        if self.recover(why)?.is_none() {
                            return Ok(None);
                        }
                        continue;
                    }
                },
                State::Over => return Ok(None),
            };
            return Ok(self.recover(why)?.map(PublishEvent::Cut));
        }
    }

    /// Waits until everything is answered, and ends the stream. Answers with what was told
    /// meanwhile: the last [`PublishEvent::Skips`] come as the stream ends.
    ///
    /// # Errors
    ///
    /// As [`Self::next`]; [`Error::Closed`] when the swarm ends before everything is answered.
    pub async fn close(mut self) -> Result<Vec<PublishEvent>, Error> {
        let mut told = Vec::new();
        while self.unacknowledged() > 0 {
            match self.next().await? {
                Some(event) => told.push(event),
                None => return Err(Error::Closed),
            }
        }
        if let State::Open(Stream { outbox, mut answers, .. }) = std::mem::replace(self.link.state(), State::Over) {
            drop(outbox);
            // Everything is accepted: how the stream ends does not matter.
            while let Some(Ok(event)) = answers.next().await {
                self.hear(event);
            }
        }
        told.extend(self.ready);
        Ok(told)
    }

    fn hear(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Ack(ack)) => {
                for ack in ack.channels {
                    let channel = ack.position.map_or(0, |position| position.channel);
                    self.window.accepted(channel, ack.accepted_through);
                    self.ready.push_back(PublishEvent::Accepted(ack));
                }
            }
            Some(Event::Rejected(rejected)) => {
                self.window.rejected(rejected.channel, rejected.publisher_sequence);
                self.ready.push_back(PublishEvent::Rejected(rejected));
            }
            Some(Event::Revoked(revoked)) => {
                let channel = revoked.channel();
                self.window.revoked(revoked.channel);
                // Coming back must not take it back.
                self.publication.channels.retain(|own| *own != channel);
                self.ready.push_back(PublishEvent::Revoked(channel));
            }
            Some(Event::KeyframeRequest(request)) => {
                self.ready.push_back(PublishEvent::KeyframeRequest(request.channel()));
            }
            Some(Event::Demand(demand)) => self.ready.push_back(PublishEvent::Demand(demand)),
            Some(Event::Skips(skips)) => self.ready.push_back(PublishEvent::Skips(skips)),
            Some(Event::Renewed(_)) => {
                if let Renewal::Sent(generation) = self.renewal {
                    self.link.renewed(generation);
                    self.renewal = Renewal::of(&self.link);
                }
            }
            // Goodbye is handled before; None is of a newer server.
            Some(Event::Opened(_) | Event::Heartbeat(_) | Event::Goodbye(_)) | None => {}
        }
    }

    /// Sends again what the server does not have.
    fn resume(&mut self) -> Result<(), Error> {
        let State::Open(stream) = self.link.state() else { return Ok(()) };
        if !self.window.reopened(&stream.opened) {
            *self.link.state() = State::Over;
            return Err(Error::StaleTerm);
        }
        for draft in self.window.drafts() {
            // For the session of now: what was signed for the one before is not valid any more.
            stream.outbox.try_send(Outgoing::Update(self.publication.signed(draft, &stream.opened))).ok();
        }
        self.opened = stream.opened.clone();
        self.link.set_session(self.opened.session_id);
        self.renewal = Renewal::of(&self.link);
        self.ready.push_back(PublishEvent::Resumed(self.opened.clone()));
        self.ask_for_keyframes();
        Ok(())
    }

    fn ask_for_keyframes(&mut self) {
        let wanted = self.opened.channels.iter().filter(|granted| granted.keyframe_wanted);
        self.ready.extend(wanted.map(|granted| PublishEvent::KeyframeRequest(granted.channel())));
    }

    fn recover(&mut self, why: Error) -> Result<Option<Error>, Error> {
        let publication = self.publication.clone();
        if publication.channels.is_empty() {
            *self.link.state() = State::Over;
            return Err(Error::StaleTerm);
        }
        self.link.recover(why, |client, session_id| publish(client, publication, session_id))
    }
}

impl Renewal {
    fn of(link: &Link<Stream>) -> Self {
        Self::Awaited(link.client().token().clone().newer(link.token()).boxed())
    }
}

impl Stream {
    /// Safe to drop and call again.
    async fn next(&mut self, renewal: &mut Renewal) -> Next {
        match renewal {
            Renewal::Sent(_) => Next::Answer(self.answers.next().await),
            // An answer that is there is taken without a look at the token.
            Renewal::Awaited(newer) => match select(self.answers.next(), newer).await {
                Either::Left((answer, _)) => Next::Answer(answer),
                Either::Right(((token, generation), _)) => Next::Newer(token, generation),
            },
        }
    }
}

async fn publish(client: Client, publication: PublishOptions, session_id: u64) -> Result<Stream, Error> {
    let Client { mut livestreams, mut groups, .. } = client;
    let PublishOptions { swarm, node_id, temporal_layers, window, .. } = publication;
    let channels = publication.channels.iter().map(|&channel| channel.into()).collect();
    // Room for the whole window, for what a revoked channel left behind in it, and for a token.
    let (outbox, outgoing) = mpsc::channel(window.saturating_mul(publication.channels.len().max(1)).saturating_add(1));
    let outgoing = ReceiverStream::new(outgoing);
    let mut answers = match swarm {
        SwarmRef::Livestream(livestream_id) => {
            use livestream::publish_updates_request::Message;
            let open = livestream::PublishOpen { livestream_id, node_id, session_id, channels, temporal_layers };
            let outgoing = outgoing.map(|message| match message {
                Outgoing::Update(draft) => Message::Update(draft),
                Outgoing::Renew(renewal) => Message::Renew(renewal),
            });
            let messages = stream::iter([Message::Open(open)]).chain(outgoing);
            let requests = messages.map(|message| livestream::PublishUpdatesRequest { message: Some(message) });
            let answers = livestreams.publish_updates(requests).await?.into_inner();
            answers.map_ok(|answer| answer.event).boxed()
        }
        SwarmRef::Group(group_id) => {
            use group::publish_updates_request::Message;
            let open = group::PublishOpen { group_id, node_id, session_id, channels, temporal_layers };
            let outgoing = outgoing.map(|message| match message {
                Outgoing::Update(draft) => Message::Update(draft),
                Outgoing::Renew(renewal) => Message::Renew(renewal),
            });
            let messages = stream::iter([Message::Open(open)]).chain(outgoing);
            let requests = messages.map(|message| group::PublishUpdatesRequest { message: Some(message) });
            let answers = groups.publish_updates(requests).await?.into_inner();
            answers.map_ok(|answer| answer.event.map(Into::into)).boxed()
        }
    };
    loop {
        return match answers.next().await {
            Some(Ok(Some(Event::Opened(opened)))) => Ok(Stream { outbox, answers, opened }),
            Some(Ok(Some(Event::Goodbye(goodbye)))) => Err(goodbye.into()),
            // Of a newer server.
            Some(Ok(None)) => continue,
            Some(Err(status)) => Err(status.into()),
            Some(Ok(Some(_))) | None => Err(Error::Closed),
        };
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("opened", &self.opened).finish_non_exhaustive()
    }
}
