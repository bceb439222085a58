//! Where NATS is, who this pod is there, and what the streams of its cluster are like.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ServerAddr;

use super::start_error::StartError;

/// The longest name of a cluster in bytes.
const MAX_CLUSTER_BYTES: usize = 32;

/// The most partitions of a cluster.
const MAX_PARTITIONS: u32 = 64;

/// Where NATS is, who this pod is there, and what the streams of its cluster are like.
#[derive(Clone)]
pub struct JetStreamSettings {
    /// Servers, as `nats://HOST:PORT`, `tls://HOST:PORT` or `nats://USER:PASSWORD@HOST:PORT`; user and password count for
    /// all of them. One that answers is enough: it names the others.
    pub urls: Vec<String>,
    /// A file of credentials (a JWT and its key), as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// TLS, also where no server asks for it.
    pub tls: Option<JetStreamTls>,
    /// The name of the cluster: of letters, digits, `-` and `_`, 32 at most. Pods with one name share everything.
    pub cluster: String,
    /// The number of partitions, 1 to 64. Fixed when the cluster is made.
    pub partitions: u32,
    /// The number of shards, of which each partition has as many as every other. Fixed when the cluster is made.
    pub shards: u32,
    /// On how many servers each stream is, 1 to 5.
    pub replicas: usize,
    /// The size at which the log of a partition is full, in bytes.
    pub max_log_bytes: u64,
    /// The size at which the object store is full, in bytes.
    pub max_store_bytes: u64,
    /// How long one server is waited for when a connection is made.
    pub connect_timeout: Duration,
    /// How long the answer to a publish, a fetch or a question is waited for.
    pub answer_timeout: Duration,
    /// How long a snapshot may take to be stored or loaded.
    pub object_timeout: Duration,
    /// How long the start waits for JetStream, which has no leader for some seconds after one was lost.
    pub start_timeout: Duration,
}

/// TLS to NATS.
#[derive(Clone, Debug, Default)]
pub struct JetStreamTls {
    /// A file with the certificates of authorities; those of the system when there is none.
    pub authorities: Option<PathBuf>,
    /// The files of a certificate and its key, by which the server knows this pod.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether the server expects TLS before it says anything (`handshake_first`).
    pub first: bool,
}

impl JetStreamSettings {
    /// What the design says, for the cluster of a name.
    pub fn new(urls: Vec<String>, cluster: String) -> Self {
        Self {
            urls,
            credentials: None,
            nkey: None,
            tls: None,
            cluster,
            partitions: 8,
            shards: 64,
            replicas: 3,
            max_log_bytes: 4 << 30,
            max_store_bytes: 16 << 30,
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(2),
            object_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
        }
    }

    /// Whether they make sense.
    pub(super) fn check(&self) -> Result<(), StartError> {
        let refuse = |what: &'static str| Err(StartError::Settings { what });
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.urls.is_empty() {
            return refuse("there is no URL of NATS");
        }
        if self.credentials.is_some() && self.nkey.is_some() {
            return refuse("there are credentials and an nkey: a pod can be one only");
        }
        let length = self.cluster.len();
        if length == 0 || length > MAX_CLUSTER_BYTES || !self.cluster.bytes().all(is_plain) {
            return refuse("a cluster's name has 1 to 32 letters, digits, - and _");
        }
        if !(1..=MAX_PARTITIONS).contains(&self.partitions) {
            return refuse("there are 1 to 64 partitions");
        }
        if self.shards == 0 || !self.shards.is_multiple_of(self.partitions) {
            return refuse("the number of shards is a multiple of that of partitions");
        }
        if !(1..=5).contains(&self.replicas) {
            return refuse("there are 1 to 5 replicas");
        }
        Ok(())
    }
}

/// Without what URLs say of users and passwords.
impl fmt::Debug for JetStreamSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamSettings")
            .field("urls", &self.servers())
            .field("cluster", &self.cluster)
            .field("partitions", &self.partitions)
            .field("shards", &self.shards)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

impl JetStreamSettings {
    /// Who this pod is by its URLs: of the first that names a user with a password.
    pub(super) fn user_and_password(&self) -> Option<(String, String)> {
        let named = |url: &String| {
            let server: ServerAddr = url.parse().ok()?;
            Some((server.username()?.to_owned(), server.password()?.to_owned()))
        };
        self.urls.iter().find_map(named)
    }

    /// The URLs as they may be told: without users and passwords.
    pub(super) fn servers(&self) -> String {
        let plain = |url: &String| match (url.split_once("://"), url.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            (_, None) => url.clone(),
        };
        self.urls.iter().map(plain).collect::<Vec<_>>().join(", ")
    }
}
