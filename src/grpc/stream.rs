//! Server streams: one driver for all of them.
//!
//! A stream is pulled by HTTP/2: nothing runs, and nothing piles up, while the
//! client does not read. Each pull looks for what is new, else waits for a change,
//! the heartbeat, or the end, whichever comes first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use prost_types::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::{Request, Status};

use super::Edge;
use super::authentication::{Authentication, RevocableToken};
use super::client_limits::CallLimits;
use super::convert;
use super::status::{End, away_from_log, draining, refused};
use super::timeout::Deadline;
use crate::budget::Reservation;
use crate::clock::Clock;
use crate::cluster::PartitionGoodbyes;
use crate::identity::Identity;
use crate::pb::swarm::v1 as pb;
use crate::service::attachment::Attachment;
use crate::service::watch::{Over, Step};
use crate::shutdown::{Shutdown, StreamGuard};
use crate::transport::ConnectionShared;
use starling_core::event::LeaveReason;
use starling_core::id::{NodeId, SessionId, SwarmId};

/// What a server-streaming method answers with.
pub(super) type Messages<M> = BoxStream<'static, Result<M, Status>>;

/// Something that makes messages for one stream.
pub(super) trait Source: Send + 'static {
    /// The message of the stream.
    type Message: Send;

    /// Notified when there may be something new.
    fn changed(&self) -> Arc<Notify>;

    /// What is new.
    fn step(&mut self) -> Step<Vec<Self::Message>>;

    /// Bytes that it may be the last to hold: others who watch the same share them, while they have come as far.
    fn held(&self) -> usize {
        0
    }

    /// A sign of life, given `now`; the state is current up to `revision`.
    fn heartbeat(&self, revision: u64, now: Timestamp) -> Self::Message;

    /// The last message.
    fn goodbye(&self, goodbye: pb::Goodbye) -> Self::Message;
}

/// What a lifetime has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LifetimeEvent {
    /// A sign of life is due.
    Beat,
    /// The stream must end.
    End(End),
}

/// Who opens a stream.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Over which connection.
    connection: Option<Arc<ConnectionShared>>,
    /// Who it is.
    identity: Option<Arc<Identity>>,
    /// What it counts for.
    limits: CallLimits,
}

/// Who sent a request.
pub(super) fn caller<T>(request: &Request<T>) -> Caller {
    let (connection, identity) = (request.extensions().get().cloned(), request.extensions().get().cloned());
    Caller { connection, identity, limits: CallLimits::of(request) }
}

/// How long a stream may live, and what keeps what alive.
#[derive(Debug)]
pub(super) struct StreamLifetime {
    attachment: Option<Attachment>,
    /// Until it has said that it is too old.
    connection: Option<Arc<ConnectionShared>>,
    clock: Clock,
    shutdown: Shutdown,
    /// Of a cluster: when this pod does not follow the log of the swarm any more.
    goodbyes: Option<Box<PartitionGoodbyes>>,
    /// The drain was seen.
    leaves: bool,
    spread: Duration,
    /// When the stream ends if nothing ends it before, and why.
    end: Option<(Instant, End)>,
    /// When the identity does that opened it. Apart, for it may be renewed.
    expires: Option<Instant>,
    /// The token of that identity, looked at with each sign of life.
    token: Option<RevocableToken>,
    heartbeat: Duration,
    next_heartbeat: Instant,
    _guard: StreamGuard,
    /// The stream counts for its client until it ends.
    _limits: CallLimits,
}

impl Edge {
    /// The lifetime of a stream about a swarm, or about all of them, that belongs to nobody.
    pub(super) fn observer(&self, caller: Caller, of: Option<SwarmId>) -> Result<StreamLifetime, Status> {
        self.lifetime_of(caller, of, None)
    }

    /// The lifetime of a stream: it keeps the session alive that it names, follows
    /// the node that it names without a session, and else belongs to nobody.
    pub(super) async fn lifetime(
        &self,
        caller: Caller,
        id: SwarmId,
        node: Option<NodeId>,
        session: u64,
    ) -> Result<StreamLifetime, Status> {
        let attachment = match (node, SessionId::new(session)) {
            (Some(node), Some(session)) => {
                Some(self.service.attach(id, node, session).await.map_err(refused(id.kind))?)
            }
            (Some(node), None) => self.follow(id, node).await?,
            (None, _) => None,
        };
        self.lifetime_of(caller, Some(id), attachment)
    }

    /// The lifetime of a stream that only a member may have.
    pub(super) async fn member(
        &self,
        caller: Caller,
        id: SwarmId,
        node: NodeId,
        session: u64,
    ) -> Result<StreamLifetime, Status> {
        let lifetime = self.lifetime(caller, id, Some(node), session).await?;
        if lifetime.attachment.is_none() {
            return Err(refused(id.kind)(self.service.absence(id, node)));
        }
        Ok(lifetime)
    }

    /// The lifetime of a watch of events: a member's, or nobody's. The last events
    /// of a swarm that ended are for everybody.
    pub(super) async fn watch_lifetime(
        &self,
        caller: Caller,
        id: SwarmId,
        node: Option<NodeId>,
        session: u64,
    ) -> Result<StreamLifetime, Status> {
        let over = self.look(id, |service| service.is_over(id)).await?;
        match node {
            Some(node) if !over => self.member(caller, id, node, session).await,
            _ => self.lifetime_of(caller, Some(id), None),
        }
    }

    /// The lifetime of a stream of this caller, about a swarm or about all of them, which keeps this alive.
    pub(super) fn lifetime_of(
        &self,
        caller: Caller,
        of: Option<SwarmId>,
        attachment: Option<Attachment>,
    ) -> Result<StreamLifetime, Status> {
        if self.shutdown.is_draining() {
            return Err(draining());
        }
        let goodbyes = self.service.goodbyes(of);
        if goodbyes.as_ref().is_some_and(PartitionGoodbyes::is_away) {
            return Err(away_from_log());
        }
        let settings = &self.settings;
        let now = Instant::now();
        // +- 10 %, so that streams opened together do not come back together.
        let age = settings.max_age.mul_f64(rand::random_range(0.9..1.1));
        let Caller { connection, identity, limits } = caller;
        let mut lifetime = StreamLifetime {
            attachment,
            connection,
            clock: self.service.clock().clone(),
            shutdown: self.shutdown.clone(),
            goodbyes: goodbyes.map(Box::new),
            leaves: false,
            spread: settings.drain_spread,
            end: (!age.is_zero()).then(|| (now + age, End::Age)),
            expires: None,
            token: None,
            heartbeat: settings.heartbeat,
            next_heartbeat: now + settings.heartbeat,
            _guard: self.shutdown.track(),
            _limits: limits,
        };
        if let Some(identity) = identity {
            lifetime.renew(&identity, &self.authentication);
        }
        Ok(lifetime)
    }
}

impl StreamLifetime {
    /// Ends the stream when an identity does, and not with the one before. The wall clock is asked once: setting it
    /// ends no stream.
    pub(super) fn renew(&mut self, identity: &Identity, authentication: &Authentication) {
        self.token = authentication.revocable(identity);
        let left = identity.expires_at.map(|at| Duration::from_millis(at.saturating_sub(self.clock.wall())));
        // What no clock will reach is never.
        self.expires = left.and_then(|left| Instant::now().checked_add(left));
    }

    /// When the identity ends under which the stream goes on, in milliseconds since the Unix epoch; `None` = never.
    pub(super) fn expires_at(&self) -> Option<u64> {
        let left = self.expires?.saturating_duration_since(Instant::now());
        Some(self.clock.wall().saturating_add(u64::try_from(left.as_millis()).ok()?))
    }

    /// Of a stream whose client waits no longer than this.
    pub(super) fn until(mut self, deadline: Option<Deadline>) -> Self {
        if let Some(Deadline(at)) = deadline {
            self.end_by(at, End::Deadline);
        }
        self
    }

    /// True when the token that opened the stream was revoked.
    pub(super) fn is_revoked(&self) -> bool {
        self.token.as_ref().is_some_and(RevocableToken::is_revoked)
    }

    /// Ends the stream then, if it does not end before.
    fn end_by(&mut self, at: Instant, why: End) {
        if self.end.is_none_or(|(first, _)| at < first) {
            self.end = Some((at, why));
        }
    }

    /// Ends the stream at a time drawn within this span, so that not all come back at once.
    fn end_within(&mut self, spread: Duration, why: End) {
        self.end_by(Instant::now() + spread.mul_f64(rand::random_range(0.0..=1.0)), why);
    }

    /// How the stream ends when the process is about to stop.
    const fn draining(&self) -> End {
        End::Draining { others_serve: self.goodbyes.is_some() }
    }

    /// How often an idle stream gives a sign of life.
    pub(super) const fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// The server's clock.
    pub(super) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the wall clock says.
    pub(super) fn server_time(&self) -> Timestamp {
        convert::timestamp(self.clock.wall())
    }

    /// Resolves when a sign of life is due, or the stream must end. Safe to drop and call again;
    /// a sign that was given must be [noted](Self::beat).
    ///
    /// Every open stream holds this future, so it is small: one timer stands for all times.
    pub(super) async fn sign(&mut self) -> LifetimeEvent {
        loop {
            let attachment = self.attachment.as_ref();
            let session = async {
                let Some(attachment) = attachment else { return std::future::pending().await };
                loop {
                    let changed = attachment.changed().notified_owned();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    match attachment.ended() {
                        // The swarm's own end is told by what is streamed, after all else.
                        None | Some(LeaveReason::Ended) => changed.await,
                        Some(reason) => return reason,
                    }
                }
            };
            let connection = self.connection.as_ref();
            let goodbye = async {
                let Some(connection) = connection else { return std::future::pending().await };
                loop {
                    let orders = connection.requests();
                    tokio::pin!(orders);
                    orders.as_mut().enable();
                    match connection.goodbye_spread() {
                        Some(spread) => return spread,
                        None => orders.await,
                    }
                }
            };
            // In a box, which only streams of a cluster have.
            let away = self.goodbyes.as_mut().map(|goodbyes| goodbyes.ended().boxed());
            let away = async {
                match away {
                    Some(away) => away.await,
                    None => std::future::pending().await,
                }
            };
            let expires = self.expires.map(|at| (at, End::TokenExpired));
            let end = self.end.into_iter().chain(expires).min_by_key(|(at, _)| *at);
            let first = end.map_or(self.next_heartbeat, |(at, _)| at.min(self.next_heartbeat));
            tokio::select! {
                biased;
                reason = session => return LifetimeEvent::End(End::Session(reason)),
                () = away => return LifetimeEvent::End(End::AwayFromLog),
                () = self.shutdown.draining(), if !self.leaves => {
                    self.leaves = true;
                    self.end_within(self.spread, self.draining());
                }
                spread = goodbye => {
                    self.connection = None;
                    self.end_within(spread, End::Age);
                }
                () = tokio::time::sleep_until(first) => return match end.filter(|(at, _)| *at <= first) {
                    // Whoever comes back at once must not find a server that goes.
                    Some((_, End::Age)) if self.shutdown.is_draining() => LifetimeEvent::End(self.draining()),
                    Some((_, end)) => LifetimeEvent::End(end),
                    // Told with the next sign at the latest, so that no stream has to wait for a revocation.
                    None if self.is_revoked() => LifetimeEvent::End(End::TokenRevoked),
                    None => LifetimeEvent::Beat,
                },
            }
        }
    }

    /// Signs of life as they are due, then the end.
    pub(super) fn signs(self) -> BoxStream<'static, LifetimeEvent> {
        let signs = stream::unfold(Some(self), |lifetime| async {
            let mut lifetime = lifetime?;
            let sign = lifetime.sign().await;
            lifetime.beat();
            let goes_on = matches!(sign, LifetimeEvent::Beat);
            Some((sign, goes_on.then_some(lifetime)))
        });
        signs.boxed()
    }

    /// True when a sign of life is due.
    fn is_due(&self) -> bool {
        self.next_heartbeat <= Instant::now()
    }

    /// Why the session that the stream is tied to ended, if it has.
    pub(super) fn session_ended(&self) -> Option<LeaveReason> {
        self.attachment.as_ref().and_then(Attachment::ended)
    }

    /// Notes that one was given.
    pub(super) fn beat(&mut self) {
        self.next_heartbeat = Instant::now() + self.heartbeat;
    }
}

struct Running<S: Source> {
    source: S,
    lifetime: StreamLifetime,
    ready: VecDeque<S::Message>,
    /// Set when only the goodbye_and_status remains: the status to end with.
    ended: Option<Result<(), Status>>,
    connection: Option<Arc<ConnectionShared>>,
    /// Room for what the source holds, and how much that is.
    held: Option<(usize, Reservation)>,
}

/// Streams what `source` makes until its `lifetime` is over.
pub(super) fn run<S: Source>(source: S, lifetime: StreamLifetime) -> Messages<S::Message> {
    let connection = lifetime.connection.clone();
    let running = Running { source, lifetime, ready: VecDeque::new(), ended: None, connection, held: None };
    stream::unfold(running, |mut running| async move {
        let item = running.next().await?;
        Some((item, running))
    })
    .boxed()
}

impl<S: Source> Running<S> {
    async fn next(&mut self) -> Option<Result<S::Message, Status>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            if let Some(status) = &mut self.ended {
                // After an error nothing is pulled any more; after OK this is the end.
                return std::mem::replace(status, Ok(())).err().map(Err);
            }
            // Asked for before the look, so that what changes after it is heard.
            let changed = self.source.changed().notified_owned();
            tokio::pin!(changed);
            changed.as_mut().enable();
            // Before the look: what it brings is told, or stays where it is.
            if let Some(LifetimeEvent::End(end)) = self.lifetime.sign().now_or_never() {
                self.end(end);
                continue;
            }
            match self.source.step() {
                Step::Item(messages) => {
                    self.ready.extend(messages);
                    self.count_held();
                    continue;
                }
                // The sign of life follows a look, so that it names the revision of now.
                Step::Idle(revision) if self.lifetime.is_due() => {
                    self.lifetime.beat();
                    self.ready.push_back(self.source.heartbeat(revision, self.lifetime.server_time()));
                    continue;
                }
                Step::Idle(_) => {}
                Step::Over(Over::SwarmEnded) => {
                    self.end(End::SwarmEnded);
                    continue;
                }
                Step::Over(Over::NodeLeft) => {
                    // The stream's own session says why.
                    let reason = self.lifetime.session_ended().unwrap_or(LeaveReason::Left);
                    self.end(End::Session(reason));
                    continue;
                }
            }
            tokio::select! {
                biased;
                // What is due is given after the next look.
                sign = self.lifetime.sign() => if let LifetimeEvent::End(end) = sign { self.end(end) },
                () = changed => {}
            }
        }
    }

    /// Counts what the source holds as what the stream holds by being open. A connection for which there is no room
    /// is being cut.
    fn count_held(&mut self) {
        let (bytes, counted) = (self.source.held(), self.held.as_ref().map_or(0, |(bytes, _)| *bytes));
        if bytes > counted || bytes < counted / 2 {
            self.held = None;
            let reserve = |connection: &Arc<ConnectionShared>| connection.accounts().streams().reserve(bytes).ok();
            self.held = self.connection.as_ref().and_then(reserve).map(|held| (bytes, held));
        }
    }

    fn end(&mut self, end: End) {
        let (goodbye, status) = end.goodbye_and_status();
        self.ready.extend(goodbye.map(|goodbye| self.source.goodbye(goodbye)));
        self.ended = Some(status);
    }
}
