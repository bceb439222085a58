//! A subscription that survives cuts.

use std::collections::VecDeque;
use std::fmt;

use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use tonic::Status;

use super::backoff::Retry;
use super::client::Client;
use super::error::{Error, end_of_swarm};
use super::link::{Link, State};
use super::progress::Progress;
use super::swarm_ref::{Join, SwarmRef};
use super::verifier::{Forgery, Judgement, Trust, Verifier};
use crate::pb::group::v1 as group;
use crate::pb::livestream::v1 as livestream;
use crate::pb::swarm::v1::{
    Delivery, LastPositions, StartFrom, SubscriptionPosition, UpdateChannel, UpdatePosition, delivery::Item,
};

/// What to subscribe to, and how.
#[derive(Clone, Debug)]
pub struct SubscribeOptions {
    /// The livestream or group.
    pub swarm: SwarmRef,
    /// The subscriber, a member; never 0.
    pub node_id: u64,
    /// Its session, kept attached by the stream; 0 = not given, which keeps nobody alive.
    pub session_id: u64,
    /// The channels wanted; none = every channel.
    pub channels: Vec<UpdateChannel>,
    /// Groups: the participants wanted; none = every one.
    pub sources: Vec<u64>,
    /// Where to start without `resume_from`; UNSPECIFIED = at the newest keyframe.
    pub start_from: StartFrom,
    /// Where an earlier subscription stopped; see [`Subscriber::progress`].
    pub resume_from: Option<SubscriptionPosition>,
    /// By which keys the updates of a livestream are verified; by default those that the server shows for it.
    pub trust: Trust,
    /// How to join again when the lease has expired; `None` = that is an error.
    pub join: Option<Join>,
    /// How to come back after a cut.
    pub retry: Retry,
}

impl SubscribeOptions {
    /// Every channel, from the newest keyframe on.
    pub fn new(swarm: SwarmRef, node_id: u64, session_id: u64) -> Self {
        Self {
            swarm,
            node_id,
            session_id,
            channels: Vec::new(),
            sources: Vec::new(),
            start_from: StartFrom::Unspecified,
            resume_from: None,
            trust: Trust::Server,
            join: None,
            retry: Retry::default(),
        }
    }
}

/// What a [`Subscriber`] tells.
#[derive(Debug)]
pub enum SubscriptionEvent {
    /// What the server sent, in order; never a goodbye. Updates of a signed livestream are verified: each was
    /// published so by its broadcaster, and none comes twice or after a later one.
    Item(Item),
    /// The stream was cut. Nothing is lost yet: a [`SubscriptionEvent::Resumed`] or an error
    /// follows.
    Cut(Error),
    /// The stream is open again, where it stopped: what was lost meanwhile is told by gaps.
    Resumed {
        /// The session of now.
        session_id: u64,
        /// The lease had expired and the node has joined again.
        rejoined: bool,
    },
}

type Deliveries = BoxStream<'static, Result<Vec<Delivery>, Status>>;

/// A subscription that is resumed after each cut.
pub struct Subscriber {
    subscription: SubscribeOptions,
    progress: Progress,
    link: Link<Deliveries>,
    /// What came and was not handed out.
    ready: VecDeque<Delivery>,
    verifier: Verifier,
    /// The server is asked for a key, without which the first of `ready` cannot be verified.
    asking: Option<BoxFuture<'static, Result<livestream::Livestream, Error>>>,
}

impl Subscriber {
    /// Subscribes, once: cuts are survived from here on, a refusal is not.
    ///
    /// # Errors
    ///
    /// The server's refusal as [`Error::Status`], or the failure of the connection.
    pub async fn open(client: Client, subscription: SubscribeOptions) -> Result<Self, Error> {
        let progress = subscription.resume_from.clone().map(Progress::from).unwrap_or_default();
        let mut verifier = Verifier::new(subscription.swarm, subscription.trust.clone());
        let (wanted, resume_from) = (subscription.clone(), progress.resume_point());
        let open = |client, session_id| subscribe(client, wanted, session_id, resume_from);
        let (session_id, join) = (subscription.session_id, subscription.join.clone());
        let subscribed = Link::open(client.clone(), session_id, join, subscription.retry, open);
        let mut livestreams = client.livestreams.clone();
        // At the same time: the key costs no round trip of its own.
        let asked = async {
            let Some(livestream_id) = verifier.asks_about() else { return Ok(None) };
            let found = livestreams
                .get_livestream(livestream::GetLivestreamRequest { livestream_id, ..Default::default() })
                .await?;
            Ok::<_, Status>(found.into_inner().livestream)
        };
        let (link, found) = future::join(subscribed, asked).boxed().await;
        let link = link?;
        if let Some(found) = found? {
            verifier.learn(&found).map_err(|why| Error::Forged { position: None, why })?;
        }
        Ok(Self { subscription, progress, link, ready: VecDeque::new(), verifier, asking: None })
    }

    /// The session of now; another one after the lease has expired.
    pub const fn session_id(&self) -> u64 {
        self.link.session_id()
    }

    /// How far what [`Self::next`] has told reaches.
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// What comes next; `None` when the swarm has ended and everything was told.
    ///
    /// Safe to drop and call again.
    ///
    /// # Errors
    ///
    /// Final: the node left, was removed or joined elsewhere, the server refused to resume, or
    /// it could not be reached in time. [`Error::Forged`] says that somebody alters what a signed
    /// livestream sends. [`Error::Ended`] says that the swarm ended during a
    /// cut and its last updates are missing.
    pub async fn next(&mut self) -> Result<Option<SubscriptionEvent>, Error> {
        loop {
            self.ask().await?;
            while let Some(delivery) = self.verified()? {
                match delivery.item {
                    Some(Item::Goodbye(goodbye)) => {
                        self.ready.clear();
                        return self.recover(goodbye.into());
                    }
                    Some(item) => {
                        if !matches!(item, Item::Subscribed(_)) {
                            self.link.alive();
                        }
                        self.progress.note(&item);
                        return Ok(Some(SubscriptionEvent::Item(item)));
                    }
                    // Of a newer server.
                    None => {}
                }
            }
            if self.asking.is_some() {
                continue;
            }
            let why = match self.link.state() {
                State::Open(stream) => match stream.next().await {
                    Some(Ok(deliveries)) => {
                        self.ready.extend(deliveries);
                        continue;
                    }
                    Some(Err(status)) => status.into(),
                    None => Error::Closed,
                },
                State::Opening(_) => match self.link.opened().await {
                    Ok(rejoined) => {
                        let session_id = self.session_id();
                        return Ok(Some(SubscriptionEvent::Resumed { session_id, rejoined }));
                    }
                    Err(why) => {
                        tracing::debug!(%why, "could not resume");
                        if self.recover(why)?.is_none() {
                            return Ok(None);
                        }
                        continue;
                    }
                },
                State::Over => return Ok(None),
            };
            return self.recover(why);
        }
    }

    /// Waits for the key that the server is asked for, if it is.
    async fn ask(&mut self) -> Result<(), Error> {
        let Some(asking) = &mut self.asking else { return Ok(()) };
        let found = asking.await;
        self.asking = None;
        let learnt =
            found.and_then(|found| self.verifier.learn(&found).map_err(|why| Error::Forged { position: None, why }));
        if learnt.is_err() {
            *self.link.state() = State::Over;
        }
        learnt
    }

    /// The next delivery, if it is what its broadcaster published.
    fn verified(&mut self) -> Result<Option<Delivery>, Error> {
        let Some(Delivery { item: Some(item) }) = self.ready.front() else { return Ok(self.ready.pop_front()) };
        match self.verifier.judge(item) {
            Ok(Judgement::Genuine) => Ok(self.ready.pop_front()),
            Ok(Judgement::NeedsKey) => {
                self.asking = self.verifier.asks_about().map(|livestream_id| {
                    let (client, retry) = (self.link.client().clone(), self.subscription.retry);
                    look_up(client, livestream_id, retry).boxed()
                });
                Ok(None)
            }
            Err(why) => {
                let position = position(item);
                Err(self.forged(position, why))
            }
        }
    }

    /// Nobody who forges is listened to any longer.
    fn forged(&mut self, position: Option<UpdatePosition>, why: Forgery) -> Error {
        self.ready.clear();
        *self.link.state() = State::Over;
        Error::Forged { position, why }
    }

    fn recover(&mut self, why: Error) -> Result<Option<SubscriptionEvent>, Error> {
        if let Error::Status(status) = &why
            && let Some(LastPositions { epoch, positions }) = end_of_swarm(status)
        {
            *self.link.state() = State::Over;
            let has_all = self.progress.has_reached(epoch, &positions);
            return if has_all { Ok(None) } else { Err(Error::Ended { last: positions }) };
        }
        let (subscription, resume_from) = (self.subscription.clone(), self.progress.resume_point());
        let open = |client, session_id| subscribe(client, subscription, session_id, resume_from);
        Ok(self.link.recover(why, open)?.map(SubscriptionEvent::Cut))
    }
}

/// Asks for a livestream until it is answered.
async fn look_up(client: Client, livestream_id: u64, retry: Retry) -> Result<livestream::Livestream, Error> {
    let call = |mut client: Client| async move {
        client
            .livestreams
            .get_livestream(livestream::GetLivestreamRequest { livestream_id, ..Default::default() })
            .await
    };
    Ok(client.until_answered(retry, call).await?.livestream.unwrap_or_default())
}

const fn position(item: &Item) -> Option<UpdatePosition> {
    match item {
        Item::Update(update) => update.position,
        _ => None,
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subscription, progress, link, ready, verifier, asking: _ } = self;
        f.debug_struct("Subscriber")
            .field("subscription", subscription)
            .field("progress", progress)
            .field("link", link)
            .field("ready", ready)
            .field("verifier", verifier)
            .finish_non_exhaustive()
    }
}

async fn subscribe(
    client: Client,
    subscription: SubscribeOptions,
    session_id: u64,
    resume_from: Option<SubscriptionPosition>,
) -> Result<Deliveries, Error> {
    let Client { mut livestreams, mut groups, .. } = client;
    let channels = subscription.channels.iter().map(|&channel| channel.into()).collect();
    let (node_id, start_from) = (subscription.node_id, subscription.start_from.into());
    Ok(match subscription.swarm {
        SwarmRef::Livestream(livestream_id) => {
            let request = livestream::SubscribeUpdatesRequest {
                livestream_id,
                node_id,
                session_id,
                channels,
                start_from,
                resume_from,
                ..Default::default()
            };
            let answers = livestreams.subscribe_updates(request).await?.into_inner();
            answers.map_ok(|answer| answer.deliveries).boxed()
        }
        SwarmRef::Group(group_id) => {
            let request = group::SubscribeUpdatesRequest {
                group_id,
                node_id,
                session_id,
                channels,
                source_node_ids: subscription.sources,
                start_from,
                resume_from,
                ..Default::default()
            };
            let answers = groups.subscribe_updates(request).await?.into_inner();
            answers.map_ok(|answer| answer.deliveries).boxed()
        }
    })
}
