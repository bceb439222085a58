//! The process: bind, run, drain.

mod cluster;
pub mod files;
mod listen;
pub mod memory;
mod pod_condition;
mod settings;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::time::Instant;

use self::cluster::{PodPlan, RunningPod};
use self::listen::{listen, listen_for_admin};
pub use self::settings::{client_limits, edge_settings, http_settings};
use self::settings::{creator_shares, given, service_settings, tls_settings};
use crate::admin::{self, Admin, Readiness};
use crate::clock::Clock;
use crate::cluster::{ClusterLogs, CommandLog, sweeper};
use crate::config::{AdminClientAuth, Config, IdentityMode, ProxyProtocol};
use crate::grpc::authentication::Authentication;
use crate::grpc::health::HealthReporter;
use crate::grpc::{Edge, server};
use crate::identity::{KeyFaults, KeySources, Verifier, VerifierSettings};
use crate::limits::Clients;
use crate::metrics::Sources;
use crate::service::Service;
use crate::shutdown::Shutdown;
use crate::store::{self, Store};
use crate::tls::{ListenerKind, Protocols, Tls};
use crate::transport::{ForwardedHeader, ListenerSettings, Monitor, TrustedProxies};

/// A server that has its address and does not serve yet.
#[derive(Debug)]
pub struct App {
    config: Config,
    listener: TcpListener,
    address: SocketAddr,
    before: ListenerSettings,
    health: Option<(TcpListener, SocketAddr)>,
    tls: Option<Arc<Tls>>,
    verifier: Option<Arc<Verifier>>,
    admin: Option<(TcpListener, SocketAddr)>,
    clock: Clock,
    authentication: Authentication,
    /// Of a cluster.
    pod: Option<PodPlan>,
}

impl App {
    /// Takes the addresses that the configuration names, where port 0 stands for a free one, reads the files of TLS
    /// and the keys of tokens, and reaches the log of the cluster, if it names one.
    ///
    /// # Errors
    ///
    /// When an address cannot be bound, a file is of no use, a proxy is named that cannot be one, or the log cannot be
    /// used. The error names it.
    pub async fn bind(config: Config) -> io::Result<Self> {
        let tls = match tls_settings(&config) {
            Some(settings) => Some(Tls::load(settings).await.map_err(io::Error::other)?),
            None => None,
        };
        let before = listener_settings(&config, tls.as_ref())
            .map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let (listener, address) = listen(config.server.listen)?;
        let health = config.server.health_listen.map(listen).transpose()?;
        let admin = listen_for_admin(&config)?;
        let verifier = verifier(&config).map_err(io::Error::other)?;
        let authentication = match &verifier {
            Some(verifier) => Authentication::by_tokens(Arc::<Verifier>::clone(verifier)),
            None => Authentication::off(),
        };
        let logs = cluster::logs(&config.cluster).await?;
        let pod = logs.map(|logs| cluster::plan(logs, &config.cluster)).transpose()?;
        Ok(Self {
            pod,
            config,
            listener,
            address,
            before,
            health,
            admin,
            tls,
            verifier,
            clock: Clock::system(),
            authentication,
        })
    }

    /// The same with another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The same as a pod of the cluster that has these logs.
    ///
    /// # Errors
    ///
    /// When the address for the other pods cannot be bound.
    pub fn with_logs(self, logs: ClusterLogs) -> io::Result<Self> {
        let pod = Some(cluster::plan(logs, &self.config.cluster)?);
        Ok(Self { pod, ..self })
    }

    /// The same with another way to tell callers apart.
    #[must_use]
    pub fn with_authentication(self, authentication: Authentication) -> Self {
        Self { authentication, ..self }
    }

    /// Where it will serve.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it will serve health alone, if it will.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health.as_ref().map(|(_, address)| *address)
    }

    /// Where it will serve the pages for whoever runs it, if it will.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|(_, address)| *address)
    }

    /// Serves until `shutdown` begins, then drains: health says NOT_SERVING, streams
    /// say goodbye over the spread, connections are told to go, and at the deadline
    /// whatever is left is dropped.
    pub async fn run(self, shutdown: Shutdown) {
        let Self {
            config,
            listener,
            address,
            before,
            health: of_health,
            admin: of_admin,
            tls,
            verifier,
            clock,
            authentication,
            pod,
        } = self;
        let beside = usize::from(of_health.is_some()) + usize::from(of_admin.is_some());
        let connections = config.server.max_connections + beside * server::HEALTH_CONNECTIONS;
        if let Err(enough_for) = files::allow(connections as u64) {
            tracing::warn!(connections, enough_for, "the limit of open files (`ulimit -n`) is too low");
        }
        for remark in config.remarks() {
            tracing::warn!(remark, "the configuration contradicts itself");
        }
        if config.is_open_to_all() {
            tracing::warn!(%address, "identity.mode is off: everybody who reaches this address may do everything");
        }
        let store = Arc::new(Store::new(store::Settings {
            shards: config.store.shards,
            event_log_revisions: config.store.event_log_revisions,
            event_log_bytes: config.store.event_log_bytes,
            event_logs_bytes: config.memory.event_logs_bytes,
            ring_bytes: config.feed.ring_bytes,
            feed_memory_bytes: config.feed.memory_bytes,
            state_bytes: config.memory.state_bytes,
            creators: creator_shares(&config),
        }));
        let (pod, log) = match pod {
            Some(plan) => {
                let (pod, log) = RunningPod::start(plan, &config.cluster, &store, clock);
                (Some(pod), log)
            }
            None => (None, CommandLog::local(Arc::clone(&store), clock)),
        };
        let source = pod.as_ref().map(RunningPod::condition_source);
        let service = Service::new(log.clone(), service_settings(&config));
        let service = match &pod {
            Some(pod) => service.with_cascade(pod.cascade()),
            None => service,
        };
        let (peers, pod) = pod.map(|pod| pod.split(service.clone(), &config.cluster)).unzip();
        let clients = Arc::new(Clients::new(client_limits(&config)));
        let edge = Edge::new(service, edge_settings(&config), authentication, shutdown.clone());
        let edge = edge.limiting(Arc::clone(&clients));

        let (reporter, health) = HealthReporter::new();
        let go_away = Shutdown::new();
        let http = http_settings(&config);
        let (figures, [health_connections, admin_connections]) =
            (server::Figures::new(), <[Arc<Monitor>; 2]>::default());
        let readiness = Readiness::default();
        let mut listeners = vec![("grpc", Arc::clone(&figures.connections))];
        listeners.extend(of_health.as_ref().map(|_| ("health", Arc::clone(&health_connections))));
        listeners.extend(of_admin.as_ref().map(|_| ("admin", Arc::clone(&admin_connections))));
        let pages = Admin {
            readiness: readiness.clone(),
            config: config.to_redacted_toml(),
            metrics: Sources { store, calls: Arc::clone(&figures.calls), listeners, clients },
            readers_only: config.admin.client_auth == AdminClientAuth::Required,
        };
        let pages_tls = tls.as_ref().filter(|_| config.admin.tls).map(|tls| tls.acceptor(ListenerKind::Admin));
        let serve = server::serve(edge, http, health.clone(), figures, listener, before, go_away.clone());
        let beside = async {
            let of_health = async {
                let Some((listener, address)) = of_health else { return };
                tracing::info!(%address, "serving health");
                server::serve_health(health.clone(), http.transport, health_connections, listener).await;
            };
            let of_admin = async {
                let Some((listener, address)) = of_admin else { return };
                tracing::info!(%address, "serving the admin pages");
                admin::serve(pages, health.clone(), http.transport, admin_connections, listener, pages_tls).await;
            };
            let keys = async {
                let Some(verifier) = verifier else { return };
                verifier.keep_current(config.identity.reload_interval).await;
            };
            let reload = async {
                let Some(tls) = &tls else { return };
                tls.run().await;
            };
            let peers = async {
                let Some(peers) = peers else { return };
                peers.await;
            };
            tokio::join!(sweeper::run(log), peers, of_health, of_admin, keys, reload);
        };
        tokio::pin!(serve, beside);

        readiness.set(admin::Phase::Serving);
        if source.is_none() {
            // Before the first connection is taken: without a log nothing is waited for.
            reporter.serving(true);
        }
        let condition = async {
            if let Some(source) = source {
                let tell = |condition| {
                    readiness.set_condition(condition);
                    reporter.serving(readiness.report().ready);
                };
                source.watch(tell).await;
            }
            std::future::pending().await
        };
        tracing::info!(%address, "serving");
        tokio::select! {
            () = &mut serve => unreachable!("the server serves until it is told to stop"),
            () = &mut beside => unreachable!("none of these ever ends"),
            () = condition => unreachable!("it is watched until the server is told to stop"),
            () = shutdown.draining() => {}
        }

        let deadline = Instant::now() + config.drain.timeout;
        reporter.serving(false);
        readiness.set(admin::Phase::Draining);
        tracing::info!(streams = shutdown.open_streams(), "draining");
        let drain = async {
            tokio::select! {
                () = shutdown.idle() => {}
                () = tokio::time::sleep(config.drain.spread) => {}
            }
            // Who watches the health would keep its connection to the end.
            drop(reporter);
            go_away.begin();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = &mut serve => tracing::info!("drained"),
            () = drain => unreachable!("draining waits for the server"),
            () = &mut beside => unreachable!("none of these ever ends"),
            () = tokio::time::sleep_until(deadline) => {
                let streams = shutdown.open_streams();
                tracing::warn!(streams, timeout = ?config.drain.timeout, "dropping what did not drain in time");
            }
        }
        if let Some(pod) = pod {
            // After all streams: what they have said of their sessions comes before. The others may still read what
            // was published here.
            tokio::select! {
                () = pod.stop() => {}
                () = &mut beside => unreachable!("none of these ever ends"),
            }
        }
    }
}

/// Who looks at tokens; `None` where identities are off.
///
/// # Errors
///
/// When a file of keys is of no use.
pub fn verifier(config: &Config) -> Result<Option<Arc<Verifier>>, KeyFaults> {
    let of = &config.identity;
    if of.mode == IdentityMode::Off {
        return Ok(None);
    }
    let settings = VerifierSettings {
        issuer: of.issuer.clone(),
        audience: of.audience.clone(),
        leeway: of.leeway,
        max_age: of.max_token_age,
    };
    let sources = KeySources {
        jwks_file: given(&of.jwks_file),
        keys_dir: given(&of.keys_dir),
        hs256_secret_file: given(&of.hs256_secret_file),
    };
    Verifier::load(settings, sources).map(|verifier| Some(Arc::new(verifier)))
}

/// What connections of calls say before HTTP. Browsers without HTTP/2 are served where they are served at all.
///
/// # Errors
///
/// When the proxies of the configuration cannot be such, in words.
fn listener_settings(config: &Config, tls: Option<&Arc<Tls>>) -> Result<ListenerSettings, String> {
    let of = &config.server;
    let proxies: TrustedProxies = of.trusted_proxies()?.into_iter().collect();
    let protocols = if of.grpc_web { Protocols::Http2AndHttp1 } else { Protocols::Http2 };
    Ok(ListenerSettings {
        tls: tls.map(|tls| tls.acceptor(ListenerKind::Calls(protocols))),
        proxy_protocol: (of.proxy_protocol == ProxyProtocol::V2).then(|| proxies.clone()),
        forwarded: of.client_address_header()?.map(|name| Arc::new(ForwardedHeader { name, proxies })),
    })
}
