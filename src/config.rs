//! The configuration: typed, checked as a whole, put together from four layers.
//!
//! Each layer overrides the one before, key by key: the compiled-in `config/default.toml`, a TOML or YAML file, the
//! environment (`STARLING__SECTION__KEY`), flags. `default.toml` is also the documentation of every key. What is wrong
//! with a configuration is reported all at once, one [`ConfigFault`] for each faulty key.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod check;
mod cluster;
mod fault;
mod limits;
mod load;
mod proxies;
mod redaction;
mod reference;
#[cfg(test)]
mod tests;
mod text_forms;

pub use cluster::{Activation, ClusterConfig};
pub use fault::{ConfigError, ConfigFault};
pub use limits::LimitsConfig;
pub use reference::Reference;
use text_forms::{address_or_off, duration_text, optional_address_text};

/// Everything that can be set. Its sections are handed to the parts that they concern.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The listener and its HTTP/2 connections.
    pub server: ServerConfig,
    /// The pages for whoever runs the server.
    pub admin: AdminConfig,
    /// How callers are told apart.
    pub identity: IdentityConfig,
    /// TLS of the listeners.
    pub tls: TlsConfig,
    /// The goodbye at shutdown.
    pub drain: DrainConfig,
    /// Long-lived streams.
    pub streams: StreamsConfig,
    /// The in-memory store.
    pub store: StoreConfig,
    /// How long finished swarms stay.
    pub retention: RetentionConfig,
    /// The ring of recent updates of a swarm.
    pub feed: FeedConfig,
    /// What one message, one identity and one address may be.
    pub limits: LimitsConfig,
    /// What all connections may hold.
    pub memory: MemoryConfig,
    /// Several servers on one log.
    pub cluster: ClusterConfig,
    /// What is logged, and how.
    pub log: LogConfig,
}

/// The listener and its HTTP/2 connections.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Where health alone is served too.
    #[serde(with = "optional_address_text")]
    pub health_listen: Option<SocketAddr>,
    /// Connections that may be open at the same time.
    pub max_connections: usize,
    /// How many of those from one address may carry calls; zero for any number.
    pub max_connections_per_address: usize,
    /// Age, +-10 %, at which a connection is told to go; zero for never.
    #[serde(with = "duration_text")]
    pub max_connection_age: Duration,
    /// Time between telling a connection to go and closing it.
    #[serde(with = "duration_text")]
    pub max_connection_age_grace: Duration,
    /// Open streams per connection.
    pub max_concurrent_streams: u32,
    /// Time between HTTP/2 pings.
    #[serde(with = "duration_text")]
    pub http2_keepalive_interval: Duration,
    /// Time that the answer to a ping may take.
    #[serde(with = "duration_text")]
    pub http2_keepalive_timeout: Duration,
    /// Streams that the server may reset on one connection because of its client's errors.
    pub max_local_error_reset_streams: usize,
    /// Largest header list of one request.
    pub max_header_list_bytes: u32,
    /// Whether connections begin with a preamble of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// Whose word about the addresses of clients is taken, divided by commas.
    pub trusted_proxies: String,
    /// The header in which they name them; empty for none.
    pub client_address_header: String,
    /// Whether server reflection answers.
    pub reflection: bool,
    /// Whether browsers are served by gRPC-Web.
    pub grpc_web: bool,
}

/// Whether connections begin with a preamble of the PROXY protocol.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// All of them do, of version 2.
    V2,
}

/// The pages for whoever runs the server.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// Where they are.
    #[serde(with = "address_or_off")]
    pub listen: Option<SocketAddr>,
    /// Whether they are served over TLS.
    pub tls: bool,
    /// Whether their readers show a certificate.
    pub client_auth: AdminClientAuth,
    /// Names in a certificate that make its owner a reader, divided by commas.
    pub reader_sans: String,
}

/// Whether readers of the pages show a certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminClientAuth {
    /// They are not asked.
    None,
    /// They must.
    Required,
}

impl AdminConfig {
    /// The names of readers.
    pub fn reader_sans(&self) -> impl Iterator<Item = &str> {
        listed(&self.reader_sans)
    }
}

/// The entries of a list, which are divided by commas.
fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|_| !list.is_empty())
}

/// How callers are told apart.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfig {
    /// By what.
    pub mode: IdentityMode,
    /// `iss` of every token.
    pub issuer: String,
    /// In `aud` of every token.
    pub audience: String,
    /// A JSON Web Key Set; empty for none.
    pub jwks_file: PathBuf,
    /// A directory of public keys; empty for none.
    pub keys_dir: PathBuf,
    /// A secret for HS256; empty for none.
    pub hs256_secret_file: PathBuf,
    /// Time between looks at these files.
    #[serde(with = "duration_text")]
    pub reload_interval: Duration,
    /// How far the clocks of issuers may be from the server's.
    #[serde(with = "duration_text")]
    pub leeway: Duration,
    /// Longest time from a token's `iat` to its `exp`.
    #[serde(with = "duration_text")]
    pub max_token_age: Duration,
    /// Whether mode off may serve on an address that others reach too.
    pub insecure: bool,
}

/// By what callers are told apart.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentityMode {
    /// They are not.
    Off,
    /// By JSON Web Tokens.
    Jwt,
}

/// TLS of the listener, and of that of the pages for whoever runs the server; that of health has none.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's certificate and its intermediate authorities, in PEM; empty for no TLS.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
    /// The authorities of clients, in PEM.
    pub client_ca_file: PathBuf,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Names in a certificate that make its owner an administrator, divided by commas.
    pub admin_sans: String,
    /// Time between looks at the files.
    #[serde(with = "duration_text")]
    pub reload_interval: Duration,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They may, and it must be valid then.
    Optional,
    /// They must.
    Required,
}

impl TlsConfig {
    /// Whether the listener speaks TLS.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.cert_file.as_os_str().is_empty()
    }

    /// The names of administrators.
    pub fn admin_sans(&self) -> impl Iterator<Item = &str> {
        listed(&self.admin_sans)
    }
}

/// The goodbye at shutdown.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DrainConfig {
    /// Time over which open streams are told goodbye.
    #[serde(with = "duration_text")]
    pub spread: Duration,
    /// Hard deadline, counted from the start of the drain; always longer than `spread`.
    #[serde(with = "duration_text")]
    pub timeout: Duration,
}

/// Long-lived streams.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsConfig {
    /// Time between heartbeats on a watch.
    #[serde(with = "duration_text")]
    pub heartbeat_interval: Duration,
    /// Age, +-10 %, at which a stream is asked to resume elsewhere; zero for never.
    #[serde(with = "duration_text")]
    pub max_age: Duration,
    /// Time that a reader may make no progress.
    #[serde(with = "duration_text")]
    pub stall_timeout: Duration,
    /// Time that a message may take to come.
    #[serde(with = "duration_text")]
    pub receive_timeout: Duration,
}

/// The in-memory store.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Parts with a lock of their own; a power of two.
    pub shards: usize,
    /// Revisions of each swarm that a watch can resume from.
    pub event_log_revisions: usize,
    /// Bytes that these may hold for one swarm.
    pub event_log_bytes: usize,
    /// Swarms that may exist at the same time.
    pub max_swarms: usize,
    /// Longest page of a list.
    pub list_page: usize,
}

/// How long finished swarms stay.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Time for which an ended livestream still answers.
    #[serde(with = "duration_text")]
    pub ended: Duration,
    /// Time for which a group without participants is kept.
    #[serde(with = "duration_text")]
    pub empty_group: Duration,
}

/// The ring of recent updates of a swarm.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// Size of the ring.
    pub ring_bytes: usize,
    /// Largest payload of one update; at most a quarter of the ring.
    pub payload_bytes: usize,
    /// Largest payload of one CHAT update; `payload_bytes` bounds it too.
    pub chat_payload_bytes: usize,
    /// Recent updates of all swarms together; at least one ring.
    pub memory_bytes: usize,
}

/// What all connections may hold together, and what one of them may.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Requests that have not come whole.
    pub receiving_bytes: usize,
    /// The same of one connection.
    pub receiving_connection_bytes: usize,
    /// Answers that are made and not taken.
    pub sending_bytes: usize,
    /// The same of one connection.
    pub sending_connection_bytes: usize,
    /// What streams hold by being open.
    pub streams_bytes: usize,
    /// All swarms, without updates and event logs.
    pub state_bytes: usize,
    /// What of it swarms may take that one address made.
    pub state_address_bytes: usize,
    /// The same of one identity.
    pub state_identity_bytes: usize,
    /// The event logs of all swarms.
    pub event_logs_bytes: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Directives of [`tracing_subscriber::EnvFilter`].
    pub filter: String,
    /// How events are written.
    pub format: LogFormat,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, otherwise JSON.
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object per line.
    Json,
}

/// The settings that have a flag: the last layer.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct Overrides {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Serve on an address that others reach, although identity.mode is off: everybody may do everything.
    #[arg(long)]
    pub insecure: bool,
    /// What to log, such as "info" or "warn,starling=debug".
    #[arg(long, value_name = "DIRECTIVES")]
    pub log: Option<String>,
    /// How to write the log.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

impl Config {
    /// Puts the layers together and checks the result.
    ///
    /// `env` may hold the whole environment ([`environment`]): only `STARLING_` variables count.
    ///
    /// # Errors
    /// Reports every fault of every layer, not just the first one.
    pub fn load(file: Option<&Path>, env: HashMap<String, String>, overrides: Overrides) -> Result<Self, ConfigError> {
        load::load(file, env, overrides)
    }

    /// Whether everybody who reaches the server may do everything, and it listens where others than this machine reach it.
    #[must_use]
    pub fn is_open_to_all(&self) -> bool {
        self.identity.mode == IdentityMode::Off && !self.server.listen.ip().to_canonical().is_loopback()
    }

    /// What is wrong with the names of the variables, for commands that load no configuration: one that begins with
    /// `STARLING_` and that nothing knows was meant to be another.
    ///
    /// # Errors
    /// Names every such variable.
    pub fn check_variables(env: &HashMap<String, String>) -> Result<(), ConfigError> {
        let mut faults = fault::Faults::default();
        for (name, problem) in load::unknown_variables(env) {
            faults.add(&name, problem);
        }
        faults.unless_any((), LogFormat::Human)
    }

    /// The configuration as a TOML file that loads as the same configuration.
    ///
    /// # Panics
    /// When a number is above `i64::MAX`, which no loaded configuration contains.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a loaded configuration came from TOML's own types")
    }

    /// Every key with its variable, default and meaning, in the order of `default.toml`.
    #[must_use]
    pub fn reference() -> Vec<Reference> {
        reference::parse(DEFAULT_TOML)
    }

    /// [`Config::reference`] as a Markdown table.
    #[must_use]
    pub fn reference_table() -> String {
        reference::table(&Self::reference())
    }
}

impl Default for Config {
    fn default() -> Self {
        toml::from_str(DEFAULT_TOML).expect("default.toml is compiled in, and a test loads it")
    }
}

/// The process's environment, as [`Config::load`] wants it.
///
/// Unlike [`std::env::vars`] it survives variables that are not UTF-8: it leaves out those that are not ours, and makes
/// the others readable, so that a fault can name them.
#[must_use]
pub fn environment() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| reference::is_ours(name))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

const DEFAULT_TOML: &str = include_str!("config/default.toml");
