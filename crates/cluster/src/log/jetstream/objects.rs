//! Snapshots in a bucket of JetStream's object store, which all partitions share.
//!
//! They are as tools for buckets expect them. What is written and read here goes its own way, for two reasons: the
//! client's reads stand on ordered consumers, which stay silent for up to half a minute after some server has died; and
//! each object that it deletes leaves a message behind for ever.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::jetstream::object_store::ObjectInfo;
use async_nats::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::json;
use sha2::{Digest, Sha256};
use starling_replica::output::SnapshotChoice;
use starling_replica::replica::ObjectStoreUnreachable;
use tokio::time::{Instant, timeout};

use super::{Links, log_message, published, streams};
use crate::log::LogUnreachable;

/// The size of a chunk in bytes: servers take 1 MiB, if nothing else is said.
const CHUNK_BYTES: usize = 512 << 10;

/// Chunks on their way at once.
const CHUNKS_IN_FLIGHT: usize = 8;

/// What is read at once, in chunks and in bytes.
const READ_CHUNKS: u64 = 64;
const READ_BYTES: usize = 8 << 20;

/// The largest snapshot that is read, in bytes.
const MAX_OBJECT_BYTES: usize = 8 << 30;

/// How many objects a bucket tells of at once, at most. A partition has two, and one for each Reseed of the last day.
const MAX_OBJECTS: u64 = 1_024;

/// The snapshot of a Reseed is kept for so long beyond the messages of its time, in milliseconds.
const RESEED_KEPT_MS: u64 = 24 * 3_600_000;

/// The snapshots of one partition.
#[derive(Clone, Debug)]
pub(super) struct SnapshotStore {
    links: Arc<Links>,
    partition: u32,
}

/// An object of this partition.
#[derive(Debug)]
struct Found {
    /// Its name in the partition.
    name: String,
    info: ObjectInfo,
    /// When it was stored, by the servers' order and clock.
    sequence: u64,
    stored_at: u64,
}

impl SnapshotStore {
    pub(super) const fn new(links: Arc<Links>, partition: u32) -> Self {
        Self { links, partition }
    }

    fn bucket(&self) -> String {
        streams::bucket(&self.links.settings.cluster)
    }

    fn stream(&self) -> String {
        streams::bucket_stream(&self.links.settings.cluster)
    }

    /// The name in the bucket of what has a name in the partition.
    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.partition)
    }

    fn meta_subject(&self, object: &str) -> String {
        format!("$O.{}.M.{}", self.bucket(), URL_SAFE.encode(object))
    }

    fn chunk_subject(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.bucket())
    }

    pub(super) async fn load(
        &self,
        choice: &SnapshotChoice,
    ) -> Result<Option<(String, Vec<u8>)>, ObjectStoreUnreachable> {
        let load = async {
            let mut found = self.list().await?;
            found.sort_by_key(|found| std::cmp::Reverse(found.sequence));
            let chosen = match choice {
                SnapshotChoice::Newest(skipped) => {
                    let mut to_start = found.into_iter().filter(|one| SnapshotChoice::sequence_of(&one.name).is_some());
                    to_start.nth(*skipped)
                }
                SnapshotChoice::Named(name) => found.into_iter().find(|one| one.name == *name),
            };
            match (chosen, choice) {
                (Some(found), _) => Ok(Some((found.name, self.read(&found.info).await?))),
                // Whoever answered may not have it yet. It is asked for because somebody has stored it.
                (None, SnapshotChoice::Named(name)) if self.leader_has(name).await? => Err(LogUnreachable),
                (None, _) => Ok(None),
            }
        };
        match timeout(self.links.settings.object_timeout, load).await {
            Ok(Ok(loaded)) => Ok(loaded),
            Ok(Err(LogUnreachable)) | Err(_) => {
                self.remake().await;
                Err(ObjectStoreUnreachable)
            }
        }
    }

    /// Makes the bucket again in case that it was lost.
    async fn remake(&self) {
        let remade = self.links.remake(&streams::store_stream(&self.links.settings)).await;
        if remade.is_err() {
            tracing::warn!("the object store cannot be reached");
        }
    }

    /// The objects of this partition.
    async fn list(&self) -> Result<Vec<Found>, LogUnreachable> {
        let request = json!({ "multi_last": [format!("$O.{}.M.>", self.bucket())], "batch": MAX_OBJECTS });
        let messages = self.links.get(&self.stream(), request, MAX_OBJECTS).await?;
        let found = |message| {
            let log_message = log_message(&message);
            let info: ObjectInfo = serde_json::from_slice(&log_message.bytes).ok()?;
            let name = info.name.strip_prefix(&self.object(""))?.to_owned();
            let (sequence, stored_at) = (log_message.sequence, log_message.timestamp);
            (!info.deleted).then_some(Found { name, info, sequence, stored_at })
        };
        Ok(messages.into_iter().filter_map(found).collect())
    }

    /// Whether the stream's leader has an object.
    async fn leader_has(&self, name: &str) -> Result<bool, LogUnreachable> {
        let request = json!({ "last_by_subj": self.meta_subject(&self.object(name)) });
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", self.stream());
        let payload = Bytes::from(request.to_string());
        let answer = self.links.bulk.ask_once(subject, HeaderMap::new(), payload, self.links.until()).await?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).map_err(|_| LogUnreachable)?;
        match (answer.get("message"), answer.pointer("/error/code").and_then(serde_json::Value::as_u64)) {
            (Some(_), _) => Ok(true),
            (None, Some(404)) => Ok(false),
            (None, _) => Err(LogUnreachable),
        }
    }

    /// The bytes of an object; all of them, or nothing.
    async fn read(&self, info: &ObjectInfo) -> Result<Vec<u8>, LogUnreachable> {
        if info.size > MAX_OBJECT_BYTES {
            tracing::error!("object {} has {} bytes, which is more than a snapshot", info.name, info.size);
            return Err(LogUnreachable);
        }
        let mut bytes = Vec::with_capacity(info.size);
        let mut next = 1;
        while bytes.len() < info.size {
            let subject = self.chunk_subject(&info.nuid);
            let request =
                json!({ "seq": next, "next_by_subj": subject, "batch": READ_CHUNKS, "max_bytes": READ_BYTES });
            let chunks = self.links.get(&self.stream(), request, READ_CHUNKS).await?;
            let last = chunks.last().ok_or(LogUnreachable)?;
            next = last.sequence + 1;
            for chunk in &chunks {
                bytes.extend_from_slice(&chunk.payload);
            }
        }
        if bytes.len() == info.size { Ok(bytes) } else { Err(LogUnreachable) }
    }

    pub(super) async fn store(&self, name: &str, bytes: Bytes) -> Result<(), ObjectStoreUnreachable> {
        let nuid = format!("{:032x}", rand::random::<u128>());
        let stored = timeout(self.links.settings.object_timeout, self.write(name, &nuid, bytes)).await;
        if let Ok(Ok(())) = stored {
            return Ok(());
        }
        // Nobody would ever find them.
        let chunks = json!({ "filter": self.chunk_subject(&nuid) });
        if self.links.purge(&self.stream(), chunks).await.is_err() {
            tracing::warn!("chunks of object {name} are left in the object store");
            self.remake().await;
        }
        Err(ObjectStoreUnreachable)
    }

    async fn write(&self, name: &str, nuid: &str, bytes: Bytes) -> Result<(), LogUnreachable> {
        let object = self.object(name);
        let before = self.list().await?.into_iter().find(|found| found.name == name);
        let subject = self.chunk_subject(nuid);
        let size = bytes.len();
        let chunks: Vec<Bytes> =
            (0..size).step_by(CHUNK_BYTES).map(|at| bytes.slice(at..size.min(at + CHUNK_BYTES))).collect();
        let count = chunks.len();
        let mut digest = Sha256::new();
        let has_failed = AtomicBool::new(false);
        let publishes = stream::iter(chunks).take_while(|_| ready(!has_failed.load(Ordering::Relaxed))).map(|chunk| {
            digest.update(&chunk);
            self.publish(subject.clone(), HeaderMap::new(), chunk)
        });
        // In order, each before the next is sent: the server has them in the order in which they were sent. After a failure
        // those under way are waited for: what came after it was deleted would stay for ever.
        let mut published = publishes.buffered(CHUNKS_IN_FLIGHT);
        while let Some(chunk) = published.next().await {
            has_failed.fetch_or(chunk.is_err(), Ordering::Relaxed);
        }
        drop(published);
        if has_failed.into_inner() {
            return Err(LogUnreachable);
        }
        let info = json!({
            "name": object,
            "bucket": self.bucket(),
            "nuid": nuid,
            "size": size,
            "chunks": count,
            "digest": format!("SHA-256={}", URL_SAFE.encode(digest.finalize())),
            "options": { "max_chunk_size": CHUNK_BYTES },
        });
        let mut headers = HeaderMap::new();
        headers.insert(header::NATS_ROLLUP, "sub");
        self.publish(self.meta_subject(&object), headers, info.to_string().into()).await?;
        if let Some(before) = before {
            self.links.purge(&self.stream(), json!({ "filter": self.chunk_subject(&before.info.nuid) })).await?;
        }
        Ok(())
    }

    async fn publish(&self, subject: String, headers: HeaderMap, payload: Bytes) -> Result<(), LogUnreachable> {
        // It waits behind others, not for an answer alone.
        let until = Instant::now() + self.links.settings.object_timeout;
        let answer = self.links.bulk.ask_once(subject, headers, payload, until).await?;
        published(&answer).map(drop).map_err(|_| LogUnreachable)
    }

    /// Deletes the snapshots below a sequence, and those of Reseeds that were long past when the first message that the
    /// log has was written.
    pub(super) async fn purge(&self, below: u64, kept_since: Option<u64>) -> Result<(), ObjectStoreUnreachable> {
        let purge = async {
            for found in self.list().await? {
                let is_past = match SnapshotChoice::sequence_of(&found.name) {
                    Some(sequence) => sequence < below,
                    None => kept_since.is_some_and(|since| found.stored_at + RESEED_KEPT_MS < since),
                };
                if is_past {
                    self.delete(&found).await?;
                }
            }
            Ok(())
        };
        let purged = timeout(self.links.settings.object_timeout, purge).await;
        purged.map_err(|_| ObjectStoreUnreachable)?.map_err(|LogUnreachable| ObjectStoreUnreachable)
    }

    /// Nobody finds it any more, and then it takes no room any more.
    async fn delete(&self, found: &Found) -> Result<(), LogUnreachable> {
        for subject in [self.meta_subject(&found.info.name), self.chunk_subject(&found.info.nuid)] {
            self.links.purge(&self.stream(), json!({ "filter": subject })).await?;
        }
        Ok(())
    }
}
