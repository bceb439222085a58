//! A connection to NATS: kept up by itself, with questions whose answers end, come too late or never.
//!
//! Answers come by one subscription, and whoever waits no more is forgotten. The client's own requests keep a place for
//! each answer that never comes, and there are many of these while the log has no leader.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ConnectError, ConnectOptions, Event, HeaderMap, Message, ServerError, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::log::LogUnreachable;

/// A connection that was cut without a word is noticed after three of these.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The longest delay between two attempts to connect.
const MAX_RECONNECT_DELAY_MS: u64 = 2_000;

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Nobody is there to give one.
    NobodyThere,
    /// None came in time, or it could not be asked.
    Silence,
}

impl From<Unanswered> for LogUnreachable {
    fn from(_: Unanswered) -> Self {
        Self
    }
}

/// A connection, and who waits for answers on it.
#[derive(Debug)]
pub(super) struct Link {
    client: Client,
    inbox: String,
    waiting: Arc<Waiting>,
    asked: AtomicU64,
    connected: watch::Receiver<()>,
    refused: watch::Receiver<String>,
    /// Ends with the link.
    _answering: JoinSet<()>,
}

/// Who waits for answers, by the last part of the subject that they come to.
type Waiting = Mutex<HashMap<u64, mpsc::Sender<Message>>>;

impl Link {
    /// Connects. `capacity` is how many messages wait for each reader at most.
    pub(super) async fn connect(
        urls: Vec<String>,
        options: ConnectOptions,
        capacity: usize,
    ) -> Result<Self, ConnectError> {
        let (connecting, connected) = watch::channel(());
        let (refusing, refused) = watch::channel(String::new());
        let (connecting, refusing) = (Arc::new(connecting), Arc::new(refusing));
        let tell = move |event| {
            let (connecting, refusing) = (Arc::clone(&connecting), Arc::clone(&refusing));
            async move {
                match event {
                    Event::Connected => drop(connecting.send(())),
                    Event::ServerError(ServerError::Other(text)) if text.to_lowercase().contains("permissions") => {
                        tracing::error!("NATS refuses: {text}");
                        drop(refusing.send(text));
                    }
                    other => tracing::warn!("NATS: {other}"),
                }
            }
        };
        let options = options
            .event_callback(tell)
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_delay)
            .subscription_capacity(capacity);
        let client = options.connect(urls).await?;
        let inbox = client.new_inbox();
        let waiting = Arc::new(Waiting::default());
        let failed = |error| ConnectError::with_source(async_nats::ConnectErrorKind::Io, error);
        let mut answers = client.subscribe(format!("{inbox}.*")).await.map_err(failed)?;
        let mut answering = JoinSet::new();
        let waiters = Arc::clone(&waiting);
        answering.spawn(async move {
            while let Some(message) = answers.next().await {
                let asked = message.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
                let waiter = asked.and_then(|number: u64| waiters.lock().get(&number).cloned());
                // One that reads too slowly finds that an answer is missing.
                if let Some(waiter) = waiter {
                    drop(waiter.try_send(message));
                }
            }
        });
        let asked = AtomicU64::new(0);
        Ok(Self { client, inbox, waiting, asked, connected, refused, _answering: answering })
    }

    /// The client, for what it does better.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Resolves once the server has refused something, in its words.
    pub(super) async fn refusal(&self) -> String {
        let mut refused = self.refused.clone();
        let text = refused.wait_for(|text| !text.is_empty()).await.ok().map(|text| text.clone());
        match text {
            Some(text) => text,
            None => std::future::pending().await,
        }
    }

    /// Waits for the connection. What is sent without one goes out when there is one again, however late.
    async fn connected(&self, until: Instant) -> Result<(), Unanswered> {
        let mut connected = self.connected.clone();
        loop {
            connected.mark_unchanged();
            if self.client.connection_state() == State::Connected {
                return Ok(());
            }
            let Ok(Ok(())) = timeout_at(until, connected.changed()).await else { return Err(Unanswered::Silence) };
        }
    }

    /// Asks, and waits for the answers until a time; `most` is how many there are at most.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        most: usize,
        until: Instant,
    ) -> Result<Answers<'_>, Unanswered> {
        self.connected(until).await?;
        let (sender, receiver) = mpsc::channel(most);
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(number, sender);
        let answers = Answers { link: self, number, receiver, until };
        let mut reply = self.inbox.clone();
        // Writing to a string never fails.
        let _ = write!(reply, ".{number}");
        let sent = if headers.is_empty() {
            timeout_at(until, self.client.publish_with_reply(subject, reply, payload)).await
        } else {
            timeout_at(until, self.client.publish_with_reply_and_headers(subject, reply, headers, payload)).await
        };
        match sent {
            Ok(Ok(())) => Ok(answers),
            Ok(Err(error)) => {
                tracing::error!("NATS: nothing was sent: {error}");
                Err(Unanswered::Silence)
            }
            Err(_) => Err(Unanswered::Silence),
        }
    }

    /// The same where there is one answer.
    pub(super) async fn ask_once(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        until: Instant,
    ) -> Result<Message, Unanswered> {
        self.ask(subject, headers, payload, 1, until).await?.next().await
    }
}

/// Answers to one question as they come.
#[derive(Debug)]
pub(super) struct Answers<'a> {
    link: &'a Link,
    number: u64,
    receiver: mpsc::Receiver<Message>,
    until: Instant,
}

impl Answers<'_> {
    /// The next answer.
    pub(super) async fn next(&mut self) -> Result<Message, Unanswered> {
        let received = timeout_at(self.until, self.receiver.recv()).await;
        let message = received.ok().flatten().ok_or(Unanswered::Silence)?;
        if message.status == Some(StatusCode::NO_RESPONDERS) { Err(Unanswered::NobodyThere) } else { Ok(message) }
    }
}

impl Drop for Answers<'_> {
    fn drop(&mut self) {
        self.link.waiting.lock().remove(&self.number);
    }
}

/// Pods that lose their server together do not come to the next one together.
fn reconnect_delay(attempt: usize) -> Duration {
    let longest = 50_u64.saturating_mul(1 << attempt.min(10)).min(MAX_RECONNECT_DELAY_MS);
    let shortest = if attempt <= 1 { 0 } else { longest / 2 };
    Duration::from_millis(rand::random_range(shortest..=longest))
}
