//! A server in this process, on a free port, and what its errors say.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use starling::app::App;
use starling::clock::Clock;
use starling::cluster::SharedLogs;
use starling::config::Config;
use starling::grpc::authentication::Authentication;
use starling::shutdown::Shutdown;
use starling_client::Client;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What no wait of a test exceeds, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A server that serves until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    health_address: Option<SocketAddr>,
    admin_address: Option<SocketAddr>,
    shutdown: Shutdown,
    running: JoinSet<()>,
}

impl Server {
    /// Serves with the default configuration, but drains in no time and gives no signs of life.
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// Serves with a configuration of the test's own.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::over(Clock::system(), configure).await
    }

    /// The same over a clock of the test's own.
    pub(crate) async fn over(clock: Clock, configure: impl FnOnce(&mut Config)) -> Self {
        Self::asking(None, clock, configure).await
    }

    /// The same, with callers told apart by other means than the configuration says.
    pub(crate) async fn asking(
        authentication: Option<Authentication>,
        clock: Clock,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        let pod = |app: App| match authentication {
            Some(authentication) => app.with_authentication(authentication),
            None => app,
        };
        Self::of(configure, |app| pod(app.with_clock(clock))).await
    }

    /// A server of a cluster whose logs are in this process, ready or not.
    pub(crate) async fn pod(logs: &SharedLogs, configure: impl FnOnce(&mut Config)) -> Self {
        Self::pod_asking(None, logs, configure).await
    }

    /// The same, with callers told apart by other means than the configuration says.
    pub(crate) async fn pod_asking(
        authentication: Option<Authentication>,
        logs: &SharedLogs,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        Self::of(configure, |app| {
            let app = app.with_logs(logs.for_pod()).expect("a free port can be bound");
            match authentication {
                Some(authentication) => app.with_authentication(authentication),
                None => app,
            }
        })
        .await
    }

    async fn of(configure: impl FnOnce(&mut Config), make: impl FnOnce(App) -> App) -> Self {
        let mut config = Config::default();
        config.server.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.admin.listen = None;
        config.drain.spread = Duration::from_millis(100);
        config.drain.timeout = Duration::from_secs(5);
        config.streams.heartbeat_interval = Duration::from_secs(600);
        configure(&mut config);
        let app = make(App::bind(config).await.expect("a free port can be bound"));
        let (address, health_address, admin_address) = (app.address(), app.health_address(), app.admin_address());
        let shutdown = Shutdown::new();
        let mut running = JoinSet::new();
        running.spawn(app.run(shutdown.clone()));
        Self { address, health_address, admin_address, shutdown, running }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it answers for its health alone; the configuration asks for it.
    pub(crate) fn health_address(&self) -> SocketAddr {
        self.health_address.expect("it listens there")
    }

    /// Where its admin pages are; the configuration asks for them.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin_address.expect("it listens there")
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.url()).await.expect("the server accepts")
    }

    /// Ends it as the kernel would, in the middle of whatever it does.
    pub(crate) async fn kill(mut self) {
        self.running.shutdown().await;
    }

    /// Begins the drain and does not wait for it.
    pub(crate) fn drain(&self) {
        self.shutdown.begin();
    }

    /// Streams that the server counts as open.
    pub(crate) fn open_streams(&self) -> usize {
        self.shutdown.open_streams()
    }

    /// Counts the streams also when the server is gone.
    pub(crate) fn streams(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Drains and waits until the server has returned.
    pub(crate) async fn shutdown(mut self) {
        self.shutdown.begin();
        soon(self.running.join_next()).await.expect("it was running").expect("it does not panic");
    }
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing came")
}

/// A status as a client tells it from others: code, stable reason, field at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    /// Of the ErrorInfo; empty when there is none, as in errors of tonic's own.
    pub(crate) reason: String,
    /// Of the first violation in BadRequest.
    pub(crate) field: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: Code, reason: &str) -> Self {
        Self { code, reason: reason.to_owned(), field: None }
    }

    /// INVALID_ARGUMENT on a field.
    pub(crate) fn field(name: &str) -> Self {
        Self { code: Code::InvalidArgument, reason: "INVALID_FIELD".to_owned(), field: Some(name.to_owned()) }
    }

    pub(crate) fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        if let Some(info) = info {
            assert_eq!(info.domain, "starling", "{status:?}");
        }
        Self {
            code: status.code(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            field: details.bad_request().and_then(|bad| bad.field_violations.first()).map(|found| found.field.clone()),
        }
    }
}

/// The fault that a call was refused with.
#[track_caller]
pub(crate) fn fault<T: Debug>(answer: Result<T, Status>) -> Fault {
    Fault::of(&answer.expect_err("the call is refused"))
}

/// An entry of the ErrorInfo's metadata.
pub(crate) fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_error_details().error_info()?.metadata.get(key).cloned()
}

/// How long the server asks to wait before a retry.
pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info()?.retry_delay
}
