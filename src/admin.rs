//! The pages for whoever runs the server, on a listener of their own.
//!
//! | path | answer |
//! | --- | --- |
//! | `/livez` | 200 while the process answers at all |
//! | `/readyz` | 200 while calls are taken, else 503; as JSON, with the reasons |
//! | `/metrics` | [`Sources::scrape`], OpenMetrics text |
//! | `/config` | the configuration in force as TOML, without secrets |
//!
//! The last two are for readers, where certificates say who they are.
//!
//! Calls of `grpc.health.v1.Health` are answered there too. Connections, streams, heads of requests and readers that
//! stall are bounded by the engine that serves everybody else ([`transport`]); bodies are not taken,
//! and one scrape is made at a time.

mod pages;
mod readiness;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use tokio::net::TcpListener;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::BoxError;

use crate::grpc::server;
use crate::metrics::Sources;
use crate::shutdown::Shutdown;
use crate::tls::Acceptor;
use crate::transport::{self, ListenerSettings, Monitor, Plan, Protocol};
use pages::Pages;

pub use readiness::{Phase, Readiness, ReadinessReport};

/// Largest list of headers of a request, in bytes: scrapers and probes send a few.
const HEADERS: u32 = 8 * 1024;

/// How long a client may take nothing of a page at most.
const STALL: Duration = Duration::from_secs(10);

/// What the pages show.
#[derive(Debug)]
pub struct Admin {
    /// Whether the server takes calls.
    pub readiness: Readiness,
    /// The configuration in force, without secrets.
    pub config: String,
    /// Where the figures are.
    pub metrics: Sources,
    /// Metrics and configuration are for whoever shows a certificate of a reader or an administrator alone.
    pub readers_only: bool,
}

/// HTTP of any version, and gRPC over it. No request keeps the place of its connection, and none is refused for that.
#[derive(Debug)]
struct AdminProtocol;

impl Protocol for AdminProtocol {
    type Body = Empty<Bytes>;

    fn plan<B>(_: &Request<B>) -> Plan {
        Plan::Serve { inline: false, handover: false, uploads: false, beyond_share: true }
    }

    fn reset() -> BoxError {
        io::Error::from(io::ErrorKind::ConnectionReset).into()
    }
}

/// Serves the pages, over TLS if `tls` is given, until it is dropped. Of `transport` it takes what is not about sizes.
pub async fn serve<H: Health>(
    admin: Admin,
    health: HealthServer<H>,
    transport: transport::Settings,
    connections: Arc<Monitor>,
    listener: TcpListener,
    tls: Option<Acceptor>,
) {
    let transport = transport::Settings {
        max_header_list_bytes: HEADERS,
        stall_timeout: transport.stall_timeout.min(STALL),
        ..server::few_connections(transport)
    };
    let health = server::health_alone::<H, AdminProtocol>(health, HEADERS);
    let service = Pages::new(admin, health);
    // Whoever probes or scrapes comes directly: no proxy is believed here.
    let before = ListenerSettings { tls, ..ListenerSettings::default() };
    transport::serve::<AdminProtocol, _, _>(service, transport, connections, listener, before, Shutdown::new()).await;
}
