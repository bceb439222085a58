//! What the parts of the process are told, by its configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{AdminClientAuth, ClientAuth, Config, IdentityMode};
use crate::grpc::{self, server};
use crate::limits::{self, UsageLimits};
use crate::service::{self, TokenTimes};
use crate::tls::{self, CertificateRequest, SubjectNames};
use crate::{store, transport};

/// The file that a configuration names; `None` = none.
pub(super) fn given(file: &Path) -> Option<PathBuf> {
    (!file.as_os_str().is_empty()).then(|| file.to_owned())
}

/// What TLS is made of; `None` = there is none.
pub(super) fn tls_settings(config: &Config) -> Option<tls::Settings> {
    let of = &config.tls;
    let calls = match of.client_auth {
        ClientAuth::None => CertificateRequest::None,
        ClientAuth::Optional => CertificateRequest::Optional,
        ClientAuth::Required => CertificateRequest::Required,
    };
    // Probes show none: who reads what is asked page by page.
    let admin = match config.admin.client_auth {
        AdminClientAuth::None => CertificateRequest::None,
        AdminClientAuth::Required => CertificateRequest::Optional,
    };
    let is_asked = [calls, admin].iter().any(|request| *request != CertificateRequest::None);
    let client_ca = is_asked.then(|| tls::ClientCa {
        file: of.client_ca_file.clone(),
        calls,
        admin,
        names: Arc::new(SubjectNames {
            admins: of.admin_sans().map(str::to_owned).collect(),
            readers: config.admin.reader_sans().map(str::to_owned).collect(),
        }),
    });
    of.is_on().then(|| tls::Settings {
        cert_file: of.cert_file.clone(),
        key_file: of.key_file.clone(),
        client_ca,
        reload_interval: of.reload_interval,
    })
}

/// Rounded up: a short time must not become none.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

pub(super) fn service_settings(config: &Config) -> service::Settings {
    service::Settings {
        max_swarms: config.store.max_swarms,
        retention_ms: millis(config.retention.ended),
        empty_group_ms: millis(config.retention.empty_group),
        tokens: (config.identity.mode == IdentityMode::Jwt).then(|| TokenTimes {
            max_age_ms: millis(config.identity.max_token_age),
            leeway_ms: millis(config.identity.leeway),
        }),
    }
}

/// What the swarms of one client may be.
pub(super) const fn creator_shares(config: &Config) -> store::CreatorShares {
    let (limits, memory) = (&config.limits, &config.memory);
    store::CreatorShares {
        address: store::CreatorShare { bytes: memory.state_address_bytes, swarms: limits.address_swarms },
        identity: store::CreatorShare { bytes: memory.state_identity_bytes, swarms: limits.identity_swarms },
    }
}

/// How much one client may do, by a configuration.
pub const fn client_limits(config: &Config) -> limits::Settings {
    let of = &config.limits;
    limits::Settings {
        address: UsageLimits {
            // Those of an address are counted where they are accepted.
            connections: 0,
            streams: of.address_streams,
            joins: of.address_joins_per_second,
            publishes: of.address_publishes_per_second,
            published_bytes: of.address_published_bytes_per_second,
            renewals: 0,
        },
        identity: UsageLimits {
            connections: of.identity_connections,
            streams: of.identity_streams,
            joins: of.identity_joins_per_second,
            publishes: of.identity_publishes_per_second,
            published_bytes: of.identity_published_bytes_per_second,
            renewals: of.identity_renewals_per_second,
        },
        failed_tokens: of.address_failed_authentications_per_second,
        payload_bytes: config.feed.payload_bytes,
    }
}

/// Limits and times of the edge by a configuration.
pub const fn edge_settings(config: &Config) -> grpc::Settings {
    grpc::Settings {
        list_page: config.store.list_page,
        payload_bytes: config.feed.payload_bytes,
        chat_payload_bytes: config.feed.chat_payload_bytes,
        heartbeat: config.streams.heartbeat_interval,
        max_age: config.streams.max_age,
        drain_spread: config.drain.spread,
        receive_bytes: config.limits.receive_bytes,
        publish_receive_bytes: config.limits.publish_receive_bytes,
        max_id: config.limits.max_id,
        told: grpc::Told {
            max_swarms: config.store.max_swarms,
            event_log_revisions: config.store.event_log_revisions,
            retention: config.retention.ended,
            empty_group: config.retention.empty_group,
            grpc_web: config.server.grpc_web,
            reflection: config.server.reflection,
        },
    }
}

/// What is served, and over what, by a configuration.
pub const fn http_settings(config: &Config) -> server::Http {
    server::Http {
        transport: transport::Settings {
            max_connections: config.server.max_connections,
            max_connections_per_address: match config.server.max_connections_per_address {
                0 => usize::MAX,
                share => share,
            },
            handshakes_per_address: config.limits.address_handshakes_per_second,
            max_age: config.server.max_connection_age,
            max_age_grace: config.server.max_connection_age_grace,
            goodbye_spread: config.drain.spread,
            stall_timeout: config.streams.stall_timeout,
            receive_timeout: config.streams.receive_timeout,
            max_concurrent_streams: config.server.max_concurrent_streams,
            keepalive_interval: config.server.http2_keepalive_interval,
            keepalive_timeout: config.server.http2_keepalive_timeout,
            max_local_error_reset_streams: config.server.max_local_error_reset_streams,
            max_header_list_bytes: config.server.max_header_list_bytes,
            memory: transport::MemorySettings {
                receiving: config.memory.receiving_bytes,
                receiving_connection: config.memory.receiving_connection_bytes,
                sending: config.memory.sending_bytes,
                sending_connection: config.memory.sending_connection_bytes,
                streams: config.memory.streams_bytes,
            },
        },
        reflection: config.server.reflection,
        grpc_web: config.server.grpc_web,
    }
}
