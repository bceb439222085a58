//! The ranges of the keys, and the rules between them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use humantime::format_duration;
use tracing_subscriber::EnvFilter;

use super::fault::Faults;
use super::{
    AdminClientAuth, AdminConfig, ClientAuth, ClusterConfig, Config, DrainConfig, FeedConfig, IdentityConfig,
    IdentityMode, LimitsConfig, LogConfig, MemoryConfig, RetentionConfig, ServerConfig, StoreConfig, StreamsConfig,
    TlsConfig,
};

impl Config {
    /// Adds what is out of its range or against a rule. The destructuring makes a new key ask for its range.
    pub(super) fn check(&self, faults: &mut Faults) {
        let Self { server, admin, identity, tls, drain, streams, store, retention, feed, limits, memory, cluster, log } =
            self;
        server.check(faults);
        identity.check(faults);
        // First: who could not be asked for certificates needs no authority that vouches for them.
        admin.check(tls, faults);
        tls.check(admin, faults);
        let keys = ["server.listen", "identity.mode", "identity.insecure"];
        faults.rule(&keys, !self.is_open_to_all() || identity.insecure, || {
            format!(
                "{} is reached by others than this machine, and identity.mode is \"off\", so that everybody could do \
                 everything: set identity.mode to \"jwt\", or allow it by --insecure or identity.insecure",
                server.listen
            )
        });
        drain.check(faults);
        streams.check(faults);
        store.check(faults);
        retention.check(faults);
        feed.check(faults);
        limits.check(feed, faults);
        memory.check(limits, store, faults);
        cluster.check(store, faults);
        log.check(faults);
    }
}

impl Config {
    /// What is allowed and perhaps not meant, in words: to be told at start.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let ServerConfig { max_connection_age, max_connection_age_grace, .. } = self.server;
        let max_age = self.streams.max_age;
        let mut remarks = Vec::new();
        if !max_connection_age.is_zero() {
            let most = max_connection_age.saturating_add(max_connection_age_grace);
            if max_age.is_zero() || max_age > most {
                let (most, max_age) = (format_duration(most), format_duration(max_age));
                remarks.push(format!(
                    "no stream reaches streams.max_age ({max_age}): its connection ends after \
                     server.max_connection_age and its grace, {most}"
                ));
            }
        }
        if self.identity.mode == IdentityMode::Off && self.identity.has_keys() {
            remarks.push("keys of tokens are named, and identity.mode is \"off\": no token is looked at".to_owned());
        }
        if self.server.has_idle_proxies() {
            let ways = "server.proxy_protocol is \"off\" and server.client_address_header empty";
            remarks.push(format!("server.trusted_proxies is given, and {ways}: nothing is taken from them"));
        }
        remarks
    }
}

impl IdentityConfig {
    fn check(&self, faults: &mut Faults) {
        let Self {
            mode,
            issuer,
            audience,
            jwks_file: _,
            keys_dir: _,
            hs256_secret_file: _,
            reload_interval,
            leeway,
            max_token_age,
            insecure: _,
        } = self;
        faults.duration("identity.reload_interval", *reload_interval, SECOND..=HOUR);
        faults.duration("identity.leeway", *leeway, Duration::ZERO..=5 * MINUTE);
        faults.duration("identity.max_token_age", *max_token_age, MINUTE..=365 * DAY);
        if *mode == IdentityMode::Off {
            return;
        }
        for (key, value, claim) in [("identity.issuer", issuer, "iss"), ("identity.audience", audience, "aud")] {
            faults.rule(&[key, "identity.mode"], !value.is_empty(), || {
                format!("is empty; in mode \"jwt\" it says what every token has in {claim}")
            });
        }
        faults.rule(&["identity.mode"], self.has_keys(), || {
            "\"jwt\" needs keys: set jwks_file, keys_dir or hs256_secret_file".to_owned()
        });
    }

    fn has_keys(&self) -> bool {
        [&self.jwks_file, &self.keys_dir, &self.hs256_secret_file].iter().any(|file| !file.as_os_str().is_empty())
    }
}

impl ServerConfig {
    fn check(&self, faults: &mut Faults) {
        let Self {
            listen: _,
            health_listen: _,
            max_connections,
            max_connections_per_address,
            max_connection_age,
            max_connection_age_grace,
            max_concurrent_streams,
            http2_keepalive_interval,
            http2_keepalive_timeout,
            max_local_error_reset_streams,
            max_header_list_bytes,
            proxy_protocol: _,
            trusted_proxies: _,
            client_address_header: _,
            reflection: _,
            grpc_web: _,
        } = *self;
        self.check_proxies(faults);
        faults.number("server.max_connections", max_connections, 1..=1_000_000);
        faults.number("server.max_connections_per_address", max_connections_per_address, 0..=1_000_000);
        if !max_connection_age.is_zero() {
            faults.duration("server.max_connection_age", max_connection_age, SECOND..=30 * DAY);
        }
        faults.duration("server.max_connection_age_grace", max_connection_age_grace, SECOND..=30 * DAY);
        faults.number("server.max_concurrent_streams", max_concurrent_streams, 1..=65_535);
        faults.duration("server.http2_keepalive_interval", http2_keepalive_interval, SECOND..=HOUR);
        faults.duration("server.http2_keepalive_timeout", http2_keepalive_timeout, SECOND..=5 * MINUTE);
        faults.number("server.max_local_error_reset_streams", max_local_error_reset_streams, 1..=65_535);
        faults.number("server.max_header_list_bytes", max_header_list_bytes, 1_024..=1_048_576);
    }
}

impl AdminConfig {
    fn check(&self, of_tls: &TlsConfig, faults: &mut Faults) {
        let Self { listen: _, tls, client_auth, reader_sans } = self;
        faults.rule(&["admin.tls", "tls.cert_file"], !tls || of_tls.is_on(), || {
            "the certificate is that of tls.cert_file and tls.key_file, which are not given".to_owned()
        });
        faults.rule(&["admin.client_auth", "admin.tls"], *client_auth == AdminClientAuth::None || *tls, || {
            "certificates are shown over TLS only: admin.tls is false".to_owned()
        });
        faults.rule(&["admin.reader_sans"], self.reader_sans().all(is_name), || {
            format!("{reader_sans:?} is not a list of names, divided by commas, of which none is that of a node")
        });
    }
}

/// Whether a name may stand for somebody who is no node.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with("starling://node/")
}

impl TlsConfig {
    fn check(&self, admin: &AdminConfig, faults: &mut Faults) {
        let Self { cert_file, key_file, client_ca_file, client_auth, admin_sans, reload_interval } = self;
        let given = |file: &std::path::Path| !file.as_os_str().is_empty();
        faults.rule(&["tls.key_file", "tls.cert_file"], given(cert_file) == given(key_file), || {
            "tls.cert_file and tls.key_file are given together or not at all".to_owned()
        });
        let asks = *client_auth != ClientAuth::None;
        faults.rule(&["tls.client_auth", "tls.cert_file"], !asks || given(cert_file), || {
            "clients show certificates over TLS only: tls.cert_file and tls.key_file are not given".to_owned()
        });
        let asks = asks || admin.client_auth != AdminClientAuth::None;
        let keys = ["tls.client_ca_file", "tls.client_auth", "admin.client_auth"];
        faults.rule(&keys, asks == given(client_ca_file), || {
            let problem = if asks {
                "is not given, and nobody could vouch for the certificates that are asked for"
            } else {
                "is given, and tls.client_auth and admin.client_auth are \"none\": nobody would be asked for a certificate"
            };
            problem.to_owned()
        });
        faults.rule(&["tls.admin_sans"], self.admin_sans().all(is_name), || {
            format!("{admin_sans:?} is not a list of names, divided by commas, of which none is that of a node")
        });
        faults.duration("tls.reload_interval", *reload_interval, SECOND..=HOUR);
    }
}

impl ClusterConfig {
    fn check(&self, store: &StoreConfig, faults: &mut Faults) {
        let Self {
            nats_urls: _,
            nats_credentials_file,
            nats_nkey_file,
            nats_tls: _,
            nats_tls_first: _,
            nats_tls_ca_file: _,
            nats_tls_cert_file,
            nats_tls_key_file,
            name,
            replicas,
            max_log_bytes,
            max_store_bytes,
            start_timeout,
            peer_listen: _,
            peer_address: _,
            peer_seeds: _,
            peer_secret_file: _,
            max_staleness,
            activate: _,
        } = self;
        let given = |file: &std::path::Path| !file.as_os_str().is_empty();
        let missing = self.missing();
        faults.rule(&["cluster.nats_urls"], !self.is_on() || missing.is_empty(), || {
            format!("is given, so that this is one of several servers, and they need {}", missing.join(", "))
        });
        let keys = ["cluster.nats_nkey_file", "cluster.nats_credentials_file"];
        faults.rule(&keys, !given(nats_credentials_file) || !given(nats_nkey_file), || {
            "credentials and an nkey are given, and NATS knows a server by one of them".to_owned()
        });
        let keys = ["cluster.nats_tls_key_file", "cluster.nats_tls_cert_file"];
        faults.rule(&keys, given(nats_tls_cert_file) == given(nats_tls_key_file), || {
            "cluster.nats_tls_cert_file and cluster.nats_tls_key_file are given together or not at all".to_owned()
        });
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        faults.rule(&["cluster.name"], name.len() <= 32 && name.bytes().all(is_plain), || {
            format!("{name:?} is not 1 to 32 letters, digits, - and _")
        });
        faults.number("cluster.replicas", *replicas, 1..=5);
        faults.number("cluster.max_log_bytes", *max_log_bytes, 16 << 20..=1 << 50);
        faults.number("cluster.max_store_bytes", *max_store_bytes, 64 << 20..=1 << 50);
        faults.duration("cluster.start_timeout", *start_timeout, SECOND..=10 * MINUTE);
        faults.duration("cluster.max_staleness", *max_staleness, 20 * SECOND..=10 * MINUTE);
        faults.rule(&["store.shards", "cluster.nats_urls"], !self.is_on() || store.shards == CLUSTER_SHARDS, || {
            format!("{} is not {CLUSTER_SHARDS}, which all servers of a cluster have", store.shards)
        });
    }
}

impl DrainConfig {
    fn check(&self, faults: &mut Faults) {
        let Self { spread, timeout } = *self;
        faults.duration("drain.spread", spread, Duration::ZERO..=10 * MINUTE);
        faults.duration("drain.timeout", timeout, SECOND..=HOUR);
        faults.rule(&["drain.timeout", "drain.spread"], timeout > spread, || {
            let (timeout, spread) = (format_duration(timeout), format_duration(spread));
            format!("{timeout} is not longer than drain.spread, {spread}")
        });
    }
}

impl StreamsConfig {
    fn check(&self, faults: &mut Faults) {
        let Self { heartbeat_interval, max_age, stall_timeout, receive_timeout } = *self;
        let shortest = Duration::from_millis(100);
        faults.duration("streams.heartbeat_interval", heartbeat_interval, shortest..=10 * MINUTE);
        if !max_age.is_zero() {
            faults.duration("streams.max_age", max_age, SECOND..=30 * DAY);
        }
        faults.duration("streams.stall_timeout", stall_timeout, SECOND..=10 * MINUTE);
        faults.duration("streams.receive_timeout", receive_timeout, SECOND..=10 * MINUTE);
    }
}

impl StoreConfig {
    fn check(&self, faults: &mut Faults) {
        let Self { shards, event_log_revisions, event_log_bytes, max_swarms, list_page } = *self;
        faults.number("store.shards", shards, 1..=4_096);
        faults.rule(&["store.shards"], shards.is_power_of_two(), || format!("{shards} is not a power of two"));
        faults.number("store.event_log_revisions", event_log_revisions, 16..=1_048_576);
        faults.number("store.event_log_bytes", event_log_bytes, 16 * KIB..=1_024 * MIB);
        faults.rule(&["store.max_swarms"], max_swarms >= 1, || format!("{max_swarms} is not 1 or more"));
        faults.number("store.list_page", list_page, 1..=1_000);
    }
}

impl RetentionConfig {
    fn check(&self, faults: &mut Faults) {
        let Self { ended, empty_group } = *self;
        faults.duration("retention.ended", ended, Duration::ZERO..=DAY);
        faults.duration("retention.empty_group", empty_group, Duration::ZERO..=DAY);
    }
}

impl FeedConfig {
    fn check(&self, faults: &mut Faults) {
        let Self { ring_bytes, payload_bytes, chat_payload_bytes, memory_bytes } = *self;
        faults.number("feed.ring_bytes", ring_bytes, 64 * KIB..=1_024 * MIB);
        faults.number("feed.payload_bytes", payload_bytes, 1..=16 * MIB);
        faults.number("feed.memory_bytes", memory_bytes, 64 * KIB..=1_024 * 1_024 * MIB);
        faults.number("feed.chat_payload_bytes", chat_payload_bytes, 1..=MIB);
        faults.rule(&["feed.memory_bytes", "feed.ring_bytes"], memory_bytes >= ring_bytes, || {
            format!("{memory_bytes} is less than feed.ring_bytes, {ring_bytes}")
        });
        let quarter = ring_bytes / 4;
        faults.rule(&["feed.payload_bytes", "feed.ring_bytes"], payload_bytes <= quarter, || {
            format!("{payload_bytes} is more than a quarter of feed.ring_bytes, {quarter}")
        });
    }
}

impl LimitsConfig {
    fn check(&self, feed: &FeedConfig, faults: &mut Faults) {
        let Self {
            receive_bytes,
            publish_receive_bytes,
            max_id,
            identity_connections,
            identity_streams,
            identity_swarms,
            identity_joins_per_second,
            identity_publishes_per_second,
            identity_published_bytes_per_second,
            identity_renewals_per_second,
            address_streams,
            address_swarms,
            address_joins_per_second,
            address_publishes_per_second,
            address_published_bytes_per_second,
            address_failed_authentications_per_second,
            address_handshakes_per_second,
        } = *self;
        for (key, count) in [
            ("limits.identity_connections", identity_connections),
            ("limits.identity_streams", identity_streams),
            ("limits.identity_swarms", identity_swarms),
            ("limits.address_streams", address_streams),
            ("limits.address_swarms", address_swarms),
        ] {
            faults.number(key, count, 0..=1_000_000);
        }
        for (key, rate) in [
            ("limits.identity_joins_per_second", identity_joins_per_second),
            ("limits.identity_publishes_per_second", identity_publishes_per_second),
            ("limits.identity_renewals_per_second", identity_renewals_per_second),
            ("limits.address_joins_per_second", address_joins_per_second),
            ("limits.address_publishes_per_second", address_publishes_per_second),
            ("limits.address_failed_authentications_per_second", address_failed_authentications_per_second),
            ("limits.address_handshakes_per_second", address_handshakes_per_second),
        ] {
            faults.number(key, rate, 0..=1_000_000);
        }
        for (key, rate) in [
            ("limits.identity_published_bytes_per_second", identity_published_bytes_per_second),
            ("limits.address_published_bytes_per_second", address_published_bytes_per_second),
        ] {
            faults.number(key, rate, 0..=10_000_000_000);
        }
        faults.number("limits.receive_bytes", receive_bytes, KIB..=16 * MIB);
        faults.number("limits.publish_receive_bytes", publish_receive_bytes, 1..=32 * MIB);
        faults.number("limits.max_id", max_id, LARGEST_EXACT_DOUBLE..=u64::MAX);
        let least = feed.payload_bytes.saturating_add(PUBLISH_OVERHEAD_BYTES);
        faults.rule(&["limits.publish_receive_bytes", "feed.payload_bytes"], publish_receive_bytes >= least, || {
            format!("{publish_receive_bytes} is less than feed.payload_bytes + {PUBLISH_OVERHEAD_BYTES}, {least}")
        });
    }
}

impl MemoryConfig {
    fn check(&self, limits: &LimitsConfig, store: &StoreConfig, faults: &mut Faults) {
        let Self {
            receiving_bytes,
            receiving_connection_bytes,
            sending_bytes,
            sending_connection_bytes,
            streams_bytes,
            state_bytes,
            state_address_bytes,
            state_identity_bytes,
            event_logs_bytes,
        } = *self;
        let all = [
            ("memory.receiving_bytes", receiving_bytes),
            ("memory.receiving_connection_bytes", receiving_connection_bytes),
            ("memory.sending_bytes", sending_bytes),
            ("memory.sending_connection_bytes", sending_connection_bytes),
            ("memory.streams_bytes", streams_bytes),
            ("memory.state_bytes", state_bytes),
            ("memory.state_address_bytes", state_address_bytes),
            ("memory.state_identity_bytes", state_identity_bytes),
            ("memory.event_logs_bytes", event_logs_bytes),
        ];
        for (key, bytes) in all {
            faults.number(key, bytes, MIB..=1_024 * 1_024 * MIB);
        }
        let keys = ["memory.state_address_bytes", "memory.state_bytes"];
        faults.rule(&keys, state_address_bytes <= state_bytes, || {
            format!("{state_address_bytes} is more than memory.state_bytes, {state_bytes}")
        });
        // Where both are more, one is told: it is the sum that is too small.
        let keys = ["memory.state_identity_bytes", "memory.state_bytes", "memory.state_address_bytes"];
        faults.rule(&keys, state_identity_bytes <= state_bytes, || {
            format!("{state_identity_bytes} is more than memory.state_bytes, {state_bytes}")
        });
        let share = receiving_connection_bytes;
        let keys = ["memory.receiving_connection_bytes", "memory.receiving_bytes"];
        faults.rule(&keys, share <= receiving_bytes, || {
            format!("{share} is more than memory.receiving_bytes, {receiving_bytes}")
        });
        let largest = limits.publish_receive_bytes.max(limits.receive_bytes);
        let keys = ["memory.receiving_connection_bytes", "limits.publish_receive_bytes", "limits.receive_bytes"];
        faults.rule(&keys, share >= largest, || format!("{share} is less than the largest request, {largest}"));
        let one = store.event_log_bytes;
        let keys = ["memory.event_logs_bytes", "store.event_log_bytes"];
        faults.rule(&keys, event_logs_bytes >= one, || {
            format!("{event_logs_bytes} is less than store.event_log_bytes, {one}")
        });
        let share = sending_connection_bytes;
        let keys = ["memory.sending_connection_bytes", "memory.sending_bytes"];
        faults.rule(&keys, share <= sending_bytes, || {
            format!("{share} is more than memory.sending_bytes, {sending_bytes}")
        });
    }
}

impl LogConfig {
    fn check(&self, faults: &mut Faults) {
        let Self { filter, format: _ } = self;
        if let Err(error) = EnvFilter::try_new(filter) {
            faults.rule(&["log.filter"], false, || format!("{filter:?}: {error}"));
        }
    }
}

impl Faults {
    fn number<T: Copy + Display + PartialOrd>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        self.rule(&[key], range.contains(&value), || format!("{value} is not in {} to {}", range.start(), range.end()));
    }

    fn duration(&mut self, key: &str, value: Duration, range: RangeInclusive<Duration>) {
        self.rule(&[key], range.contains(&value), || {
            let [value, start, end] = [value, *range.start(), *range.end()].map(format_duration);
            format!("{value} is not in {start} to {end}")
        });
    }

    /// Adds a fault of the first key if the rule is broken. When another fault concerns one of the keys, the rule says
    /// nothing: what it would judge is not what was meant.
    pub(super) fn rule(&mut self, keys: &[&str], holds: bool, problem: impl FnOnce() -> String) {
        if !holds && !keys.iter().any(|key| self.concern(key)) {
            self.add(keys[0], problem());
        }
    }
}

/// 2^53 - 1, the largest integer that JavaScript's numbers hold exactly. Ids that the server draws are below it, and so
/// must always be allowed.
const LARGEST_EXACT_DOUBLE: u64 = (1 << 53) - 1;
/// Shards of each server of a cluster, as `cluster::partition_state` has them.
const CLUSTER_SHARDS: usize = 64;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;
/// Room for what surrounds the payload in the message of a publish stream.
const PUBLISH_OVERHEAD_BYTES: usize = 1_024;
