//! The healthy pair: a publisher at 30 updates a second with its subscriber, and calls each 100 ms, in a thread of
//! their own. They must not notice an attack.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use serde::Serialize;
use starling_client::Client;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::livestream::v1::{self as pb};
use starling_client::pb::swarm::v1::delivery::Item;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, UpdateChannel, UpdateDraft};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::error::AbuseError;

/// The broadcaster, and its one viewer.
const BROADCASTER: u64 = 1;
const VIEWER: u64 = 2;
/// Between two updates.
const UPDATE_INTERVAL: Duration = Duration::from_millis(33);
/// Between two calls of a kind.
const CALL_INTERVAL: Duration = Duration::from_millis(100);
/// Until a stream that was cut is opened again.
const REOPEN: Duration = Duration::from_millis(100);
/// A call without an answer for so long has been refused.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest latency that is told apart from longer ones, in microseconds.
const LONGEST: u64 = 60_000_000;
/// Errors that are kept in words.
const WORDS: usize = 4;

/// Latencies in microseconds, and what went wrong.
#[derive(Clone, Debug)]
struct Counts {
    deliveries: Histogram<u64>,
    old: Histogram<u64>,
    new: Histogram<u64>,
    gaps: u64,
    refusals: u64,
    cuts: u64,
    errors: Vec<String>,
}

/// Quantiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// What the healthy pair saw for a while.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HealthyReport {
    /// From when an update was due until it was read.
    pub(crate) deliveries: Latency,
    /// From when a call was due until it was answered, on a connection that stays open.
    pub(crate) old_connection: Latency,
    /// The same on a connection of its own each time.
    pub(crate) new_connection: Latency,
    /// Updates that were left out for lag.
    pub(crate) gaps: u64,
    /// Calls without their answer.
    pub(crate) refusals: u64,
    /// Streams that ended.
    pub(crate) cuts: u64,
    /// The first errors in words.
    pub(crate) errors: Vec<String>,
}

/// What the tasks of the pair share.
#[derive(Clone, Debug)]
struct Shared {
    counts: Arc<Mutex<Counts>>,
    started: Instant,
    url: Arc<str>,
    livestream: u64,
    /// The sessions of broadcaster and viewer.
    sessions: [u64; 2],
    stop: CancellationToken,
}

/// The pair at work, until dropped.
#[derive(Debug)]
pub(crate) struct HealthyPair {
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl HealthyPair {
    /// Puts a livestream on air and begins; returns when the first update has come.
    pub(crate) async fn start(address: SocketAddr) -> Result<Self, AbuseError> {
        let url: Arc<str> = format!("http://{address}").into();
        let shared = Shared {
            counts: Arc::new(Mutex::new(Counts::new())),
            started: Instant::now(),
            url,
            livestream: Client::random_node(),
            sessions: [0; 2],
            stop: CancellationToken::new(),
        };
        let (began, begins) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut own = shared.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let live = own.go_live().await;
                let works = live.is_ok();
                if began.send(live).is_ok() && works {
                    own.work().await;
                }
            });
        });
        let pair = Self { shared, thread: Some(thread) };
        begins.await??;
        let delivered = async {
            while pair.shared.lock().deliveries.is_empty() {
                sleep(UPDATE_INTERVAL).await;
            }
        };
        timeout(PATIENCE, delivered).await?;
        Ok(pair)
    }

    /// What it has seen since the last call.
    pub(crate) fn take(&self) -> HealthyReport {
        std::mem::replace(&mut *self.shared.lock(), Counts::new()).report()
    }
}

impl Drop for HealthyPair {
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

    async fn go_live(&mut self) -> Result<(), AbuseError> {
        let mut livestreams = Client::connect(&self.url).await?.livestreams;
        let (livestream_id, node_id) = (self.livestream, BROADCASTER);
        livestreams
            .create_livestream(pb::CreateLivestreamRequest { livestream_id, node_id, ..Default::default() })
            .await?;
        livestreams
            .start_livestream(pb::StartLivestreamRequest { livestream_id, node_id, ..Default::default() })
            .await?;
        for (node_id, session) in [BROADCASTER, VIEWER].into_iter().zip(&mut self.sessions) {
            // What comes at once, rather than with what follows.
            let (channel, interest) = (UpdateChannel::Data.into(), Interest::High.into());
            let interests = vec![ChannelInterest { channel, interest, ..Default::default() }];
            let join = pb::JoinLivestreamRequest { livestream_id, node_id, interests, ..Default::default() };
            *session = livestreams.join_livestream(join).await?.into_inner().session_id;
        }
        Ok(())
    }

    /// Publishes, subscribes and calls until it is stopped.
    async fn work(&self) {
        let all = Box::pin(async {
            tokio::join!(
                self.reopened(|| self.subscribe()),
                self.reopened(|| self.publish()),
                self.reopened(|| self.call_again()),
                self.call_anew(),
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

    async fn publish(&self) -> Result<(), AbuseError> {
        let mut livestreams = Client::connect(&self.url).await?.livestreams;
        let (send, updates) = mpsc::channel(1);
        let (livestream_id, channels) = (self.livestream, vec![UpdateChannel::Data.into()]);
        let (node_id, session_id) = (BROADCASTER, self.sessions[0]);
        let open = pb::PublishOpen { livestream_id, node_id, session_id, channels, ..Default::default() };
        send.send(pb::PublishUpdatesRequest { message: Some(Publish::Open(open)) }).await?;
        let mut answers = livestreams.publish_updates(ReceiverStream::new(updates)).await?.into_inner();
        let mut due = every(UPDATE_INTERVAL);
        loop {
            tokio::select! {
                answer = answers.message() => {
                    if answer?.is_none() {
                        return Ok(());
                    }
                }
                at = due.tick() => {
                    let payload = self.since_start(at).to_le_bytes().to_vec().into();
                    let update = UpdateDraft { channel: UpdateChannel::Data.into(), payload, ..Default::default() };
                    // Full: the server is behind, and the updates that follow tell by how much.
                    let message = Some(Publish::Update(update));
                    send.send_timeout(pb::PublishUpdatesRequest { message }, PATIENCE).await?;
                }
            }
        }
    }

    async fn subscribe(&self) -> Result<(), AbuseError> {
        let mut livestreams = Client::connect(&self.url).await?.livestreams;
        let (livestream_id, channels) = (self.livestream, vec![UpdateChannel::Data.into()]);
        let (node_id, session_id) = (VIEWER, self.sessions[1]);
        let request =
            pb::SubscribeUpdatesRequest { livestream_id, node_id, session_id, channels, ..Default::default() };
        let mut answers = livestreams.subscribe_updates(request).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            let now = self.since_start(Instant::now());
            let mut counts = self.lock();
            for delivery in answer.deliveries {
                match delivery.item {
                    Some(Item::Update(update)) => {
                        if let Ok(due) = update.payload[..].try_into().map(u64::from_le_bytes) {
                            counts.deliveries.saturating_record(now.saturating_sub(due));
                        }
                    }
                    Some(Item::Gap(_)) => counts.gaps += 1,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Calls on one connection, whatever the last call is doing.
    async fn call_again(&self) -> Result<(), AbuseError> {
        let client = Client::connect(&self.url).await?;
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
    async fn call_anew(&self) {
        let mut calls = FuturesUnordered::new();
        let mut due = every(CALL_INTERVAL);
        loop {
            tokio::select! {
                at = due.tick() => calls.push(async move { self.call(Client::connect(&self.url).await?, at).await }),
                Some(called) = calls.next() => self.called(called, |counts| &mut counts.new),
            }
        }
    }

    async fn call(&self, mut client: Client, due: Instant) -> Result<u64, AbuseError> {
        let request = pb::GetLivestreamRequest { livestream_id: self.livestream };
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

    /// Microseconds since the pair was made.
    fn since_start(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Counts {
    fn new() -> Self {
        let histogram = || Histogram::new_with_max(LONGEST, 3).expect("three digits are allowed");
        Self {
            deliveries: histogram(),
            old: histogram(),
            new: histogram(),
            gaps: 0,
            refusals: 0,
            cuts: 0,
            errors: Vec::new(),
        }
    }

    fn error(&mut self, text: &str) {
        if self.errors.len() < WORDS && !self.errors.iter().any(|error| error == text) {
            self.errors.push(text.to_owned());
        }
    }

    fn report(self) -> HealthyReport {
        HealthyReport {
            deliveries: latency(&self.deliveries),
            old_connection: latency(&self.old),
            new_connection: latency(&self.new),
            gaps: self.gaps,
            refusals: self.refusals,
            cuts: self.cuts,
            errors: self.errors,
        }
    }
}

fn latency(histogram: &Histogram<u64>) -> Latency {
    let milliseconds = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Latency { count: histogram.len(), p50: milliseconds(0.5), p99: milliseconds(0.99) }
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
    fn report_has_quantiles_in_milliseconds() {
        let mut counts = Counts::new();
        (1..=100).for_each(|ms| counts.old.saturating_record(ms * 1_000));
        let report = counts.report();
        assert_eq!(report.old_connection.count, 100);
        assert!((49.0..=51.0).contains(&report.old_connection.p50), "{report:?}");
        assert!((98.0..=100.0).contains(&report.old_connection.p99), "{report:?}");
        assert_eq!(report.new_connection.count, 0);
    }

    #[test]
    fn few_different_errors_are_kept() {
        let mut counts = Counts::new();
        for number in [1, 1, 2, 3, 4, 5] {
            counts.error(&number.to_string());
        }
        assert_eq!(counts.errors, ["1", "2", "3", "4"]);
    }
}
