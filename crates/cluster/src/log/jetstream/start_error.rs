//! Why a pod cannot use JetStream: each reason by itself, in words for whoever runs it.

use std::path::PathBuf;

use thiserror::Error;

/// Why a pod cannot use JetStream. Nothing was begun that would have to be undone; streams may have been made.
#[derive(Debug, Error)]
pub enum StartError {
    /// The settings contradict themselves.
    #[error("{what}")]
    Settings {
        /// What is wrong.
        what: &'static str,
    },
    /// A file cannot be read, or is not what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No server answers.
    #[error("NATS cannot be reached at {servers}: {reason}")]
    Unreachable {
        /// The servers, without passwords.
        servers: String,
        /// What was tried last, and how it failed.
        reason: String,
    },
    /// TLS cannot be agreed upon.
    #[error("TLS with NATS at {servers}: {reason}")]
    Tls {
        /// The servers, without passwords.
        servers: String,
        /// What is wrong.
        reason: String,
    },
    /// The server knows nobody with these credentials.
    #[error("NATS at {servers} does not accept the credentials")]
    WrongCredentials {
        /// The servers, without passwords.
        servers: String,
    },
    /// The server is too old: it can lose entries that it has acknowledged.
    #[error("nats-server {found} is too old: 2.15 or newer is needed")]
    WrongVersion {
        /// Its version.
        found: String,
    },
    /// Neither the servers nor this account have JetStream.
    #[error("NATS has no JetStream for this account: {reason}")]
    NoJetStream {
        /// What it says.
        reason: String,
    },
    /// There are not as many servers as replicas are wanted, or the stream has fewer.
    #[error("stream {stream} is to have {wanted} replicas: {reason}")]
    TooFewReplicas {
        /// The stream.
        stream: String,
        /// How many are wanted.
        wanted: usize,
        /// What there is.
        reason: String,
    },
    /// This user may not do what has to be done.
    #[error("NATS refuses this user: {refused}")]
    MissingPermission {
        /// What it refused, in its words.
        refused: String,
    },
    /// The stream, or its subject, is not this cluster's.
    #[error("stream {stream} is not of this cluster: {reason}")]
    OtherCluster {
        /// The stream.
        stream: String,
        /// What shows it.
        reason: String,
    },
    /// The cluster was made with another number of partitions.
    #[error("this cluster has {found} partitions and not {wanted}: the number is fixed when a cluster is made")]
    OtherPartitions {
        /// What the streams say.
        found: String,
        /// What the settings say.
        wanted: u32,
    },
    /// The cluster was made with another number of shards.
    #[error("this cluster has {found} shards and not {wanted}: the number is fixed when a cluster is made")]
    OtherShards {
        /// What the streams say.
        found: String,
        /// What the settings say.
        wanted: u32,
    },
    /// The cluster was made by a later version.
    #[error("stream {stream} has format {found}, which this version does not know")]
    OtherFormat {
        /// The stream.
        stream: String,
        /// What it says.
        found: String,
    },
    /// Somebody has changed the stream so that it could lose entries, or hide them.
    #[error("stream {stream} is not as it has to be: {what}")]
    OtherStream {
        /// The stream.
        stream: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The server refuses for a reason that has no name here.
    #[error("JetStream refuses {what}: {reason}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What it says.
        reason: String,
    },
}
