//! The streams of a cluster: what they are called, how they are made, and what must be true of those that are there.

use std::collections::HashMap;

use async_nats::jetstream::stream::{Config, DiscardPolicy, Republish, RetentionPolicy, StorageType};

use super::settings::JetStreamSettings;
use super::start_error::StartError;

/// The format of the streams and of what is in them.
const FORMAT: &str = "1";

const CLUSTER_KEY: &str = "starling.cluster";
const FORMAT_KEY: &str = "starling.format";
const PARTITIONS_KEY: &str = "starling.partitions";
const SHARDS_KEY: &str = "starling.shards";

/// The largest message of a log in bytes: twice what a batch has at most, unless one command is larger.
const MAX_MESSAGE_BYTES: i32 = 512 << 10;

/// What the log of a partition is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogNames {
    /// The stream.
    pub(super) stream: String,
    /// The subject that is written to.
    pub(super) subject: String,
    /// The subject that messages are published to once they are written.
    pub(super) published: String,
}

impl LogNames {
    pub(super) fn new(cluster: &str, partition: u32) -> Self {
        Self {
            stream: format!("STARLING_{cluster}_{partition}"),
            subject: format!("starling.{cluster}.log.{partition}"),
            published: format!("starling.{cluster}.out.{partition}"),
        }
    }
}

/// The bucket of all partitions' snapshots.
pub(super) fn bucket(cluster: &str) -> String {
    format!("STARLING_{cluster}")
}

/// The stream below a bucket.
pub(super) fn bucket_stream(cluster: &str) -> String {
    format!("OBJ_STARLING_{cluster}")
}

/// What is the same in all streams of a cluster.
fn common(settings: &JetStreamSettings, name: String) -> Config {
    let metadata = [
        (CLUSTER_KEY, settings.cluster.clone()),
        (FORMAT_KEY, FORMAT.to_owned()),
        (PARTITIONS_KEY, settings.partitions.to_string()),
        (SHARDS_KEY, settings.shards.to_string()),
    ];
    Config {
        name,
        retention: RetentionPolicy::Limits,
        // A log that is full takes nothing more: no entry makes room for another.
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_messages_per_subject: -1,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        allow_direct: true,
        metadata: HashMap::from(metadata.map(|(key, value)| (key.to_owned(), value))),
        ..Config::default()
    }
}

/// The stream of a partition's log.
pub(super) fn log_stream(settings: &JetStreamSettings, names: &LogNames) -> Config {
    Config {
        subjects: vec![names.subject.clone()],
        max_bytes: i64::try_from(settings.max_log_bytes).unwrap_or(i64::MAX),
        max_message_size: MAX_MESSAGE_BYTES,
        republish: Some(Republish {
            source: names.subject.clone(),
            destination: names.published.clone(),
            headers_only: false,
        }),
        ..common(settings, names.stream.clone())
    }
}

/// The stream of the object store, as tools that read buckets expect it.
pub(super) fn store_stream(settings: &JetStreamSettings) -> Config {
    let bucket = bucket(&settings.cluster);
    Config {
        subjects: vec![format!("$O.{bucket}.C.>"), format!("$O.{bucket}.M.>")],
        max_bytes: i64::try_from(settings.max_store_bytes).unwrap_or(i64::MAX),
        allow_rollup: true,
        ..common(settings, bucket_stream(&settings.cluster))
    }
}

/// Whether a stream that is there is what it should be. Its size is the operator's to change, and so are more replicas.
///
/// # Errors
///
/// What is wrong, what nobody can change first.
pub(super) fn check(found: &Config, wanted: &Config, settings: &JetStreamSettings) -> Result<(), StartError> {
    let stream = || wanted.name.clone();
    let says = |key: &str| found.metadata.get(key).map_or("no", String::as_str);
    let is_said = |key: &str| says(key) == wanted.metadata[key];
    if !is_said(CLUSTER_KEY) {
        let reason = match found.metadata.get(CLUSTER_KEY) {
            Some(other) => format!("it is of cluster {other}"),
            None => "it was not made by Starling".to_owned(),
        };
        return Err(StartError::OtherCluster { stream: stream(), reason });
    }
    if !is_said(FORMAT_KEY) {
        return Err(StartError::OtherFormat { stream: stream(), found: says(FORMAT_KEY).to_owned() });
    }
    if !is_said(PARTITIONS_KEY) {
        let found = says(PARTITIONS_KEY).to_owned();
        return Err(StartError::OtherPartitions { found, wanted: settings.partitions });
    }
    if !is_said(SHARDS_KEY) {
        return Err(StartError::OtherShards { found: says(SHARDS_KEY).to_owned(), wanted: settings.shards });
    }
    if found.num_replicas < settings.replicas {
        let reason = format!("it has {}", found.num_replicas);
        return Err(StartError::TooFewReplicas { stream: stream(), wanted: settings.replicas, reason });
    }
    let has_limit = |limit: i64| limit > 0;
    let faults = [
        (found.subjects != wanted.subjects, "it has other subjects"),
        (found.republish != wanted.republish, "it publishes what is written to another subject, or not at all"),
        (!found.allow_direct, "messages cannot be got directly"),
        (found.storage != StorageType::File, "it is not in files"),
        (found.retention != RetentionPolicy::Limits, "it drops what was read"),
        (found.discard != DiscardPolicy::New, "it drops old messages for new ones"),
        (!found.max_age.is_zero(), "it drops messages by their age"),
        (has_limit(found.max_messages), "it has a limit for the number of messages"),
        (has_limit(found.max_messages_per_subject), "it has a limit for the number of messages"),
        (
            found.max_message_size > 0 && found.max_message_size < wanted.max_message_size,
            "it takes small messages only",
        ),
        (found.allow_rollup != wanted.allow_rollup, "messages may replace others, or may not"),
        (found.no_ack, "it does not acknowledge"),
        (found.sealed, "it is sealed"),
        (found.deny_purge, "it cannot be purged"),
        (found.mirror.is_some() || found.sources.is_some(), "it copies other streams"),
    ];
    match faults.into_iter().find(|(is_wrong, _)| *is_wrong) {
        Some((_, what)) => Err(StartError::OtherStream { stream: stream(), what }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
