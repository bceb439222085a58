//! Healthy clients: a publisher with its subscribers, each on a connection of its own, and calls each 100 ms, in a thread
//! of their own. They must not notice an attack.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::livestream::v1::{self as pb};
use starling_client::pb::swarm::v1::delivery::Item;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, UpdateChannel, UpdateDraft};
use starling_client::{BearerToken, Client, ConnectOptions};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::credentials::{Credentials, HEALTHY_LIVESTREAM as LIVESTREAM};
use crate::error::AbuseError;
use crate::healthy_report::{Counts, HealthyReport};

/// The broadcaster, and the first of its viewers.
const BROADCASTER: u64 = 1;
const FIRST_VIEWER: u64 = 2;
/// Between two updates of a pair, and where there are many subscribers.
const PAIR_INTERVAL: Duration = Duration::from_millis(33);
const MANY_INTERVAL: Duration = Duration::from_millis(100);
/// Between two calls of a kind.
const CALL_INTERVAL: Duration = Duration::from_millis(100);
/// Until a stream that was cut is opened again.
const REOPEN: Duration = Duration::from_millis(100);
/// A call without an answer for so long has been refused.
const PATIENCE: Duration = Duration::from_secs(30);
/// Clients that connect at the same time: they are as many as a machine of two cores can greet.
const CONNECTING: usize = 8;

/// Who the healthy clients are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Audience<'a> {
    pub(crate) subscribers: u64,
    /// What they show where the server has TLS and asks for tokens.
    pub(crate) credentials: Option<&'a Credentials>,
}

/// A node, its token, and its session.
#[derive(Clone, Debug)]
struct Member {
    node: u64,
    token: BearerToken,
    session: u64,
    /// Set with the first update that it gets.
    reached: OnceLock<()>,
}

impl Member {
    fn new(node: u64, token: Option<String>) -> Result<Self, AbuseError> {
        let token = token.map_or_else(|| Ok(BearerToken::none()), |token| BearerToken::new(&token))?;
        Ok(Self { node, token, session: 0, reached: OnceLock::new() })
    }
}

/// What the tasks of the clients share.
#[derive(Debug)]
struct Shared {
    counts: Mutex<Counts>,
    started: Instant,
    url: String,
    options: Arc<ConnectOptions>,
    connecting: Semaphore,
    update_interval: Duration,
    /// The number of the next update.
    next: AtomicU64,
    /// Subscribers that have got an update.
    reached: AtomicU64,
    stop: CancellationToken,
}

/// The clients at work, until dropped.
#[derive(Debug)]
pub(crate) struct HealthyClients {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl HealthyClients {
    /// Puts a livestream on air and begins; returns when an update has come to every subscriber.
    pub(crate) async fn start(address: SocketAddr, audience: Audience<'_>) -> Result<Self, AbuseError> {
        let Audience { subscribers, credentials } = audience;
        let scheme = if credentials.is_some() { "https" } else { "http" };
        let shared = Arc::new(Shared {
            counts: Mutex::new(Counts::new()),
            started: Instant::now(),
            url: format!("{scheme}://{address}"),
            options: credentials.map_or_else(Arc::default, Credentials::options),
            connecting: Semaphore::new(CONNECTING),
            update_interval: if subscribers == 1 { PAIR_INTERVAL } else { MANY_INTERVAL },
            next: AtomicU64::new(0),
            reached: AtomicU64::new(0),
            stop: CancellationToken::new(),
        });
        let broadcaster = Member::new(BROADCASTER, credentials.map(|made| made.broadcaster(BROADCASTER)).transpose()?)?;
        let viewers = (FIRST_VIEWER..FIRST_VIEWER + subscribers)
            .map(|node| Member::new(node, credentials.map(|made| made.viewer(node, &[])).transpose()?));
        let viewers = viewers.collect::<Result<Vec<_>, _>>()?;
        let (began, begins) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let (live, members) = match own.go_live(broadcaster, viewers).await {
                    Ok(members) => (Ok(()), Some(members)),
                    Err(error) => (Err(error), None),
                };
                let begins = began.send(live).is_ok();
                if let Some((broadcaster, viewers)) = members.filter(|_| begins) {
                    own.work(&broadcaster, &viewers).await;
                }
            });
        });
        let clients = Self { shared, thread: Some(thread) };
        begins.await??;
        let reached = async {
            while clients.shared.reached.load(Ordering::Relaxed) < subscribers {
                sleep(PAIR_INTERVAL).await;
            }
        };
        timeout(PATIENCE, reached).await?;
        Ok(clients)
    }

    /// What they have seen since the last call.
    pub(crate) fn take(&self) -> HealthyReport {
        std::mem::replace(&mut *self.shared.lock(), Counts::new()).report()
    }
}

impl Drop for HealthyClients {
    fn drop(&mut self) {
        self.shared.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // What it panicked of, it has written already.
            thread.join().ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection of its own, whose calls show the token of `member`.
    async fn connect(&self, member: &Member) -> Result<Client, AbuseError> {
        let client = Client::connect_with(&self.url, Arc::clone(&self.options)).await?;
        Ok(client.with_token(member.token.clone()))
    }

    async fn go_live(&self, broadcaster: Member, viewers: Vec<Member>) -> Result<(Member, Vec<Member>), AbuseError> {
        let client = self.connect(&broadcaster).await?;
        let mut livestreams = client.livestreams.clone();
        let (livestream_id, node_id) = (LIVESTREAM, BROADCASTER);
        livestreams
            .create_livestream(pb::CreateLivestreamRequest { livestream_id, node_id, ..Default::default() })
            .await?;
        livestreams
            .start_livestream(pb::StartLivestreamRequest { livestream_id, node_id, ..Default::default() })
            .await?;
        let mut members = vec![broadcaster];
        members.extend(viewers);
        for member in &mut members {
            // What comes at once, rather than with what follows.
            let (channel, interest) = (UpdateChannel::Data.into(), Interest::High.into());
            let interests = vec![ChannelInterest { channel, interest, ..Default::default() }];
            let join =
                pb::JoinLivestreamRequest { livestream_id, node_id: member.node, interests, ..Default::default() };
            // They join over one connection, each with its own token.
            let mut livestreams = client.clone().with_token(member.token.clone()).livestreams;
            member.session = livestreams.join_livestream(join).await?.into_inner().session_id;
        }
        let viewers = members.split_off(1);
        Ok((members.remove(0), viewers))
    }

    /// Publishes, subscribes and calls until it is stopped.
    async fn work(&self, broadcaster: &Member, viewers: &[Member]) {
        let subscribers = viewers.iter().map(|viewer| self.reopened(|| self.subscribe(viewer)));
        let all = Box::pin(async {
            tokio::join!(
                join_all(subscribers),
                self.reopened(|| self.publish(broadcaster)),
                self.reopened(|| self.call_again(&viewers[0])),
                self.call_anew(&viewers[0]),
            )
        });
        self.stop.run_until_cancelled(all).await;
    }

    /// Opens a stream again and again; each end is a cut.
    async fn reopened<F: Future<Output = Result<(), AbuseError>>>(&self, open: impl Fn() -> F) {
        loop {
            let ended = open().await;
            self.cut(ended);
            sleep(REOPEN).await;
        }
    }

    fn cut(&self, ended: Result<(), AbuseError>) {
        let mut counts = self.lock();
        counts.cuts += 1;
        counts.error(&ended.err().map_or_else(|| "a stream ended".into(), |error| error.to_string()));
    }

    async fn publish(&self, broadcaster: &Member) -> Result<(), AbuseError> {
        let mut livestreams = self.connect(broadcaster).await?.livestreams;
        let (send, updates) = mpsc::channel(1);
        let (livestream_id, channels) = (LIVESTREAM, vec![UpdateChannel::Data.into()]);
        let (node_id, session_id) = (broadcaster.node, broadcaster.session);
        let open = pb::PublishOpen { livestream_id, node_id, session_id, channels, ..Default::default() };
        send.send(pb::PublishUpdatesRequest { message: Some(Publish::Open(open)) }).await?;
        let mut answers = livestreams.publish_updates(ReceiverStream::new(updates)).await?.into_inner();
        let mut due = every(self.update_interval);
        loop {
            tokio::select! {
                answer = answers.message() => {
                    if answer?.is_none() {
                        return Ok(());
                    }
                }
                at = due.tick() => {
                    let number = self.next.fetch_add(1, Ordering::Relaxed);
                    let payload = stamp(self.since_start(at), number).into();
                    let update = UpdateDraft { channel: UpdateChannel::Data.into(), payload, ..Default::default() };
                    // Full: the server is behind, and the updates that follow tell by how much.
                    let message = Some(Publish::Update(update));
                    send.send_timeout(pb::PublishUpdatesRequest { message }, PATIENCE).await?;
                }
            }
        }
    }

    async fn subscribe(&self, viewer: &Member) -> Result<(), AbuseError> {
        let mut livestreams = {
            let _turn = self.connecting.acquire().await?;
            self.connect(viewer).await?.livestreams
        };
        let (livestream_id, channels) = (LIVESTREAM, vec![UpdateChannel::Data.into()]);
        let (node_id, session_id) = (viewer.node, viewer.session);
        let request =
            pb::SubscribeUpdatesRequest { livestream_id, node_id, session_id, channels, ..Default::default() };
        let mut answers = livestreams.subscribe_updates(request).await?.into_inner();
        let mut expected = None;
        while let Some(answer) = answers.message().await? {
            let now = self.since_start(Instant::now());
            let mut counts = self.lock();
            for delivery in answer.deliveries {
                match delivery.item {
                    Some(Item::Update(update)) => {
                        let Some((due, number)) = stamped(&update.payload) else { continue };
                        counts.deliveries.saturating_record(now.saturating_sub(due));
                        counts.lost += number.saturating_sub(expected.unwrap_or(number));
                        expected = Some(number + 1);
                        if viewer.reached.set(()).is_ok() {
                            self.reached.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    Some(Item::Gap(_)) => {
                        counts.gaps += 1;
                        // What it stands for is not counted here.
                        expected = None;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Calls on one connection, whatever the last call is doing.
    async fn call_again(&self, viewer: &Member) -> Result<(), AbuseError> {
        let client = self.connect(viewer).await?;
        let mut calls = FuturesUnordered::new();
        let mut due = every(CALL_INTERVAL);
        loop {
            tokio::select! {
                at = due.tick() => calls.push(self.call(client.clone(), at)),
                Some(called) = calls.next() => self.called(called, |counts| &mut counts.old),
            }
        }
    }

    /// Calls on a new connection each time.
    async fn call_anew(&self, viewer: &Member) {
        let mut calls = FuturesUnordered::new();
        let mut due = every(CALL_INTERVAL);
        loop {
            tokio::select! {
                at = due.tick() => calls.push(async move { self.call(self.connect(viewer).await?, at).await }),
                Some(called) = calls.next() => self.called(called, |counts| &mut counts.new),
            }
        }
    }

    async fn call(&self, mut client: Client, due: Instant) -> Result<u64, AbuseError> {
        let request = pb::GetLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() };
        timeout(PATIENCE, client.livestreams.get_livestream(request)).await??;
        Ok(self.since_start(Instant::now()) - self.since_start(due))
    }

    fn called(&self, called: Result<u64, AbuseError>, histogram: fn(&mut Counts) -> &mut Histogram<u64>) {
        let mut counts = self.lock();
        match called {
            Ok(took) => histogram(&mut counts).saturating_record(took),
            Err(error) => {
                counts.refusals += 1;
                counts.error(&error.to_string());
            }
        }
    }

    /// Microseconds since the clients were made.
    fn since_start(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }
}

/// When an update was due, and its number, as its payload.
fn stamp(due: u64, number: u64) -> Vec<u8> {
    [due.to_le_bytes(), number.to_le_bytes()].concat()
}

fn stamped(payload: &[u8]) -> Option<(u64, u64)> {
    let (due, number) = payload.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*due), u64::from_le_bytes(number.try_into().ok()?)))
}

/// Ticks that keep their times: what is late counts as late.
fn every(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamp_is_read_as_it_was_written() {
        assert_eq!(stamped(&stamp(3, 4)), Some((3, 4)));
        assert_eq!((stamped(&[0; 15]), stamped(&[0; 17])), (None, None));
    }
}
