//! The section `cluster`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::text_forms::{duration_text, optional_address_text};

/// Several servers on one log.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// URLs of NATS servers, divided by commas; empty for one process.
    pub nats_urls: String,
    /// NATS credentials.
    pub nats_credentials_file: PathBuf,
    /// The seed of an nkey.
    pub nats_nkey_file: PathBuf,
    /// Whether connections to NATS use TLS.
    pub nats_tls: bool,
    /// Whether TLS comes before anything else.
    pub nats_tls_first: bool,
    /// Authorities for the certificates of NATS.
    pub nats_tls_ca_file: PathBuf,
    /// This server's certificate for NATS.
    pub nats_tls_cert_file: PathBuf,
    /// Its key.
    pub nats_tls_key_file: PathBuf,
    /// Name of the cluster.
    pub name: String,
    /// Copies of each stream.
    pub replicas: usize,
    /// Bytes of the log of one partition.
    pub max_log_bytes: u64,
    /// Bytes of all snapshots.
    pub max_store_bytes: u64,
    /// How long the start waits for JetStream.
    #[serde(with = "duration_text")]
    pub start_timeout: Duration,
    /// The listener for the other servers.
    #[serde(with = "optional_address_text")]
    pub peer_listen: Option<SocketAddr>,
    /// How the others reach it.
    pub peer_address: String,
    /// Names that resolve to the others, divided by commas.
    pub peer_seeds: String,
    /// The secret that all share.
    pub peer_secret_file: PathBuf,
    /// How long a server goes on that reaches nobody.
    #[serde(with = "duration_text")]
    pub max_staleness: Duration,
    /// When a newer level is activated.
    pub activate: Activation,
}

/// When the servers of a cluster go over to a newer form of the log.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// A day after all of them can.
    Auto,
    /// When an operator says so.
    Manual,
}

impl ClusterConfig {
    /// Whether there are several servers.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        !self.nats_urls.is_empty()
    }

    /// The URLs of NATS.
    pub fn nats_urls(&self) -> impl Iterator<Item = &str> {
        list(&self.nats_urls)
    }

    /// The names that resolve to the other servers.
    pub fn peer_seeds(&self) -> impl Iterator<Item = &str> {
        list(&self.peer_seeds)
    }

    /// What several servers need and is not given.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        let mut need = |is_given: bool, key| {
            if !is_given {
                missing.push(key);
            }
        };
        need(!self.name.is_empty(), "cluster.name");
        need(self.peer_listen.is_some(), "cluster.peer_listen");
        let is_wildcard = self.peer_listen.is_some_and(|listen| listen.ip().is_unspecified());
        need(!is_wildcard || !self.peer_address.is_empty(), "cluster.peer_address");
        need(!self.peer_secret_file.as_os_str().is_empty(), "cluster.peer_secret_file");
        missing
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}
