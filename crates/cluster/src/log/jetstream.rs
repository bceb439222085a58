//! The log of a partition as a stream of NATS JetStream.
//!
//! Thin: one call here is one question there. Messages are followed by RePublish, over core NATS, and fetched by their
//! sequence, which any replica of the stream answers; neither needs JetStream's API, whose own leader may be missing.
//! Only the extent is asked of the stream's leader: of what is *not* there a replica that was cut off knows nothing.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::jetstream::Error as Refusal;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Config, Info};
use async_nats::{HeaderMap, Message, Subscriber, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::json;
use starling_replica::LogMessage;
use starling_replica::output::SnapshotChoice;
use starling_replica::replica::{ObjectStoreUnreachable, PublishFault};
use tokio::time::Instant;

use super::{FETCH_BYTES, FetchedMessages, LogUnreachable, PartitionLog};

mod link;
mod objects;
mod settings;
mod start;
mod start_error;
mod streams;

pub use settings::{JetStreamSettings, JetStreamTls};
pub use start_error::StartError;

use link::Link;
use objects::SnapshotStore;
use streams::LogNames;

/// How many messages are fetched at once.
const FETCH_MESSAGES: u64 = 256;

/// Codes of JetStream's errors (`server/jetstream_errors_generated.go` of nats-server).
mod code {
    pub(super) const CLUSTER_INCOMPLETE: u64 = 10_004;
    pub(super) const NO_SUITABLE_PEERS: u64 = 10_005;
    pub(super) const CLUSTER_NOT_AVAILABLE: u64 = 10_008;
    pub(super) const INSUFFICIENT_RESOURCES: u64 = 10_023;
    pub(super) const MEMORY_EXCEEDED: u64 = 10_028;
    pub(super) const JETSTREAM_NOT_ENABLED_FOR_ACCOUNT: u64 = 10_039;
    pub(super) const STORAGE_EXCEEDED: u64 = 10_047;
    pub(super) const MESSAGE_TOO_LARGE: u64 = 10_054;
    pub(super) const STREAM_NAME_IN_USE: u64 = 10_058;
    pub(super) const STREAM_NOT_FOUND: u64 = 10_059;
    pub(super) const SUBJECT_OVERLAPS: u64 = 10_065;
    pub(super) const WRONG_LAST_SEQUENCE: u64 = 10_071;
    pub(super) const REPLICAS_NOT_SUPPORTED: u64 = 10_074;
    pub(super) const JETSTREAM_NOT_ENABLED: u64 = 10_076;
    pub(super) const STORE_FAILED: u64 = 10_077;
    pub(super) const STREAM_OFFLINE: u64 = 10_118;
    pub(super) const WRONG_LAST_SEQUENCE_UNNAMED: u64 = 10_164;
}

/// The connections of a pod to JetStream, with the streams of its cluster checked or made.
#[derive(Clone, Debug)]
pub struct JetStreamCluster {
    links: Arc<Links>,
}

/// Two connections, so that neither a snapshot nor a long catching up delays what is published and followed.
#[derive(Debug)]
struct Links {
    /// What is published and followed.
    live: Link,
    /// What is fetched, asked, stored and loaded.
    bulk: Link,
    settings: JetStreamSettings,
}

impl JetStreamCluster {
    /// Connects, and checks the streams of the cluster or makes them. Either all is well, or nothing is begun.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn connect(settings: JetStreamSettings) -> Result<Self, StartError> {
        // Once in the life of a pod, and too large for the futures that wait for it.
        let links = Box::pin(start::connect(settings)).await?;
        Ok(Self { links: Arc::new(links) })
    }

    /// The log of a partition, from 0 on.
    ///
    /// # Panics
    ///
    /// When there is no such partition.
    pub fn log(&self, partition: u32) -> JetStreamLog {
        let settings = &self.links.settings;
        assert!(partition < settings.partitions, "there is no partition {partition}");
        let names = LogNames::new(&settings.cluster, partition);
        let store = SnapshotStore::new(Arc::clone(&self.links), partition);
        JetStreamLog { links: Arc::clone(&self.links), names: Arc::new(names), store }
    }
}

/// The log of a partition as a stream of NATS JetStream.
#[derive(Clone, Debug)]
pub struct JetStreamLog {
    links: Arc<Links>,
    names: Arc<LogNames>,
    store: SnapshotStore,
}

/// What JetStream says to a purge.
#[derive(Debug, Deserialize)]
struct Purged {
    success: bool,
}

impl Links {
    fn until(&self) -> Instant {
        Instant::now() + self.settings.answer_timeout
    }

    /// Asks JetStream's API; the answer may be that it refuses.
    async fn api<T: for<'a> Deserialize<'a>>(
        &self,
        call: &str,
        stream: &str,
        payload: Vec<u8>,
    ) -> Result<Result<T, Refusal>, LogUnreachable> {
        let subject = format!("$JS.API.STREAM.{call}.{stream}");
        let message = self.bulk.ask_once(subject, HeaderMap::new(), payload.into(), self.until()).await?;
        match serde_json::from_slice(&message.payload) {
            Ok(Response::Ok(answer)) => Ok(Ok(answer)),
            Ok(Response::Err { error }) => Ok(Err(error)),
            Err(error) => {
                tracing::warn!("the answer to {call} of {stream} cannot be read: {error}");
                Err(LogUnreachable)
            }
        }
    }

    /// Makes a stream that was lost with the disks of its servers: all else is up to those who held what was in it. One
    /// that is there stays as it is.
    async fn remake(&self, stream: &Config) -> Result<(), LogUnreachable> {
        let config = serde_json::to_vec(stream).unwrap_or_default();
        match self.api::<Info>("CREATE", &stream.name, config).await? {
            Ok(_) => Ok(()),
            Err(error) if error.error_code().0 == code::STREAM_NAME_IN_USE => Ok(()),
            Err(error) => {
                tracing::warn!("stream {} cannot be made again: {error}", stream.name);
                Err(LogUnreachable)
            }
        }
    }

    /// Deletes messages; the request says which.
    async fn purge(&self, stream: &str, request: serde_json::Value) -> Result<(), LogUnreachable> {
        match self.api("PURGE", stream, request.to_string().into()).await? {
            Ok(Purged { success: true }) => Ok(()),
            Ok(Purged { success: false }) => Err(LogUnreachable),
            Err(error) => {
                tracing::warn!("stream {stream} cannot be purged: {error}");
                Err(LogUnreachable)
            }
        }
    }

    /// Gets messages directly: any replica of the stream answers, and may be late. Answers none where there is none.
    async fn get(
        &self,
        stream: &str,
        request: serde_json::Value,
        most: u64,
    ) -> Result<Vec<StreamMessage>, LogUnreachable> {
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = Bytes::from(request.to_string());
        let capacity = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
        let mut answers = self.bulk.ask(subject, HeaderMap::new(), payload, capacity, self.until()).await?;
        let mut messages = Vec::new();
        loop {
            let answer = match answers.next().await {
                Ok(answer) => answer,
                // What came is right without what did not.
                Err(_) if !messages.is_empty() => return Ok(messages),
                Err(unanswered) => return Err(unanswered.into()),
            };
            match answer.status.map(|status| status.as_u16()) {
                None => messages.push(StreamMessage::try_from(answer).map_err(|_| LogUnreachable)?),
                // The end of the batch; there is nothing.
                Some(204 | 404) => return Ok(messages),
                Some(status) => {
                    tracing::warn!("JetStream refuses to get messages of {stream}: {status}");
                    return Err(LogUnreachable);
                }
            }
        }
    }
}

fn published(answer: &Message) -> Result<u64, PublishFault> {
    match serde_json::from_slice::<Response<PublishAck>>(&answer.payload) {
        Ok(Response::Ok(ack)) => Ok(ack.sequence),
        Ok(Response::Err { error }) => Err(match error.error_code().0 {
            code::WRONG_LAST_SEQUENCE | code::WRONG_LAST_SEQUENCE_UNNAMED => PublishFault::OtherLast,
            code::STORE_FAILED | code::STORAGE_EXCEEDED | code::MEMORY_EXCEEDED | code::INSUFFICIENT_RESOURCES => {
                PublishFault::Full
            }
            code::MESSAGE_TOO_LARGE => {
                tracing::error!("a batch is larger than what the log takes: {error}");
                PublishFault::Unreachable
            }
            _ => {
                tracing::warn!("the log refuses a batch: {error}");
                PublishFault::Unreachable
            }
        }),
        Err(error) => {
            tracing::warn!("the answer to a publish cannot be read: {error}");
            Err(PublishFault::Unreachable)
        }
    }
}

/// The log's message in one of a stream.
fn log_message(message: &StreamMessage) -> LogMessage {
    let milliseconds = message.time.unix_timestamp_nanos() / 1_000_000;
    LogMessage {
        sequence: message.sequence,
        timestamp: u64::try_from(milliseconds).unwrap_or_default(),
        bytes: message.payload.to_vec(),
    }
}

impl PartitionLog for JetStreamLog {
    type Messages = JetStreamMessages;

    async fn follow(&self) -> Result<JetStreamMessages, LogUnreachable> {
        let subscriber = self.links.live.client().subscribe(self.names.published.clone()).await;
        Ok(JetStreamMessages { subscriber: subscriber.map_err(|_| LogUnreachable)? })
    }

    async fn publish(&self, bytes: Bytes, expect_last: Option<u64>) -> Result<u64, PublishFault> {
        let mut headers = HeaderMap::new();
        if let Some(last) = expect_last {
            headers.insert(header::NATS_EXPECTED_LAST_SEQUENCE, last.to_string());
        }
        let asked = self.links.live.ask_once(self.names.subject.clone(), headers, bytes, self.links.until()).await;
        published(&asked.map_err(|_| PublishFault::Unreachable)?)
    }

    async fn fetch(&self, from: u64, to: u64) -> Result<FetchedMessages, LogUnreachable> {
        let from = from.max(1);
        let most = to.saturating_sub(from).saturating_add(1).min(FETCH_MESSAGES);
        let request = json!({ "seq": from, "batch": most, "max_bytes": FETCH_BYTES });
        let messages = self.links.get(&self.names.stream, request, most).await?;
        // What lies before the first message that there is was purged.
        let first = messages.first().map_or(from, |message| message.sequence);
        let wanted = messages.iter().filter(|message| message.sequence <= to);
        Ok(FetchedMessages { messages: wanted.map(log_message).collect(), first })
    }

    async fn extent(&self) -> Result<(u64, u64), LogUnreachable> {
        match self.links.api::<Info>("INFO", &self.names.stream, Vec::new()).await? {
            Ok(info) => Ok((info.state.first_sequence.max(1), info.state.last_sequence)),
            Err(error) if error.error_code().0 == code::STREAM_NOT_FOUND => {
                tracing::error!("stream {} is gone: it is made again, empty", self.names.stream);
                self.links.remake(&streams::log_stream(&self.links.settings, &self.names)).await?;
                Err(LogUnreachable)
            }
            Err(error) => {
                tracing::warn!("stream {} does not tell its extent: {error}", self.names.stream);
                Err(LogUnreachable)
            }
        }
    }

    async fn load(&self, choice: SnapshotChoice) -> Result<Option<(String, Vec<u8>)>, ObjectStoreUnreachable> {
        self.store.load(&choice).await
    }

    async fn store(&self, name: String, bytes: Vec<u8>) -> Result<(), ObjectStoreUnreachable> {
        self.store.store(&name, bytes.into()).await
    }

    async fn purge(&self, below: u64) -> Result<(), LogUnreachable> {
        // JetStream takes a purge beyond its end for the wish to go on there, and one below nothing for one of all.
        let (first, last) = self.extent().await?;
        if below > last {
            return Ok(());
        }
        if below > first {
            self.links.purge(&self.names.stream, json!({ "seq": below })).await?;
        }
        let kept_since = self.fetch(below, below).await?.messages.first().map(|message| message.timestamp);
        self.store.purge(below, kept_since).await.map_err(|ObjectStoreUnreachable| LogUnreachable)
    }
}

/// Messages of a [`JetStreamLog`] as they are published once they are written.
///
/// 512 wait at most, of at most 512 KiB each; what comes beyond them is lost to this reader. The subscription goes on by
/// itself on the next connection.
#[derive(Debug)]
pub struct JetStreamMessages {
    subscriber: Subscriber,
}

impl Stream for JetStreamMessages {
    type Item = LogMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LogMessage>> {
        loop {
            match self.subscriber.poll_next_unpin(context) {
                Poll::Ready(Some(message)) => match StreamMessage::try_from(message) {
                    Ok(message) => return Poll::Ready(Some(log_message(&message))),
                    Err(error) => tracing::warn!("a message that is not of the log: {error}"),
                },
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
