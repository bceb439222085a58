//! The servers of the demo: each on threads of its own, so that one can be killed without the others.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::interval;
use tonic::Code;

use crate::app::App;
use crate::cli::demo::ids::LIVESTREAM;
use crate::cli::demo::log_place::LogPlace;
use crate::cli::demo::progress::soon;
use crate::cli::error::{CliError, told};
use crate::clock::Clock;
use crate::cluster::SharedLogs;
use crate::config::{Config, Overrides};
use crate::shutdown::Shutdown;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;

/// How often a server is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Bytes of the log of a partition, where NATS is started for the demo.
const LOG_BYTES: u64 = 64 << 20;

/// The servers of the demo.
pub(super) struct DemoCluster {
    logs: Logs,
    pods: Vec<Option<DemoPod>>,
    urls: Vec<String>,
}

enum Logs {
    Memory(SharedLogs),
    Nats(Box<NatsPlace>),
}

struct NatsPlace {
    url: String,
    name: String,
    /// The secret of the servers, and what NATS keeps if it was started for the demo.
    directory: TempDir,
    /// Ends with the demo.
    _server: Option<Child>,
}

/// One server.
struct DemoPod {
    runtime: Runtime,
    shutdown: Shutdown,
    ended: oneshot::Receiver<()>,
}

impl DemoCluster {
    /// So many servers that are ready.
    pub(super) async fn start(pods: usize, place: LogPlace) -> Result<Self, CliError> {
        let logs = match place {
            LogPlace::Memory => Logs::Memory(SharedLogs::new(Clock::system().wall())),
            LogPlace::Nats(url) => Logs::Nats(Box::new(NatsPlace::new(url, TempDir::new()?, None)?)),
            LogPlace::OwnNats => Logs::Nats(Box::new(start_nats().await?)),
        };
        let mut cluster = Self { logs, pods: Vec::new(), urls: Vec::new() };
        for _ in 0..pods {
            cluster.begin().await?;
        }
        for url in &cluster.urls {
            ready(url).await?;
        }
        Ok(cluster)
    }

    /// One more server, which is ready.
    pub(super) async fn add(&mut self) -> Result<(), CliError> {
        self.begin().await?;
        ready(self.urls.last().map_or("", String::as_str)).await
    }

    async fn begin(&mut self) -> Result<(), CliError> {
        let overrides = Overrides { listen: Some(([127, 0, 0, 1], 0).into()), ..Overrides::default() };
        let mut config = Config::load(None, HashMap::new(), overrides)?;
        config.drain.spread = Duration::ZERO;
        config.admin.listen = None;
        config.cluster.peer_listen = Some(([127, 0, 0, 1], 0).into());
        let logs = match &self.logs {
            Logs::Memory(logs) => Some(logs.for_pod()),
            Logs::Nats(place) => {
                place.configure(&mut config);
                None
            }
        };
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (bound, app) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let shutdown = Shutdown::new();
        let until = shutdown.clone();
        runtime.spawn(async move {
            let app = App::bind(config).await.and_then(|app| match logs {
                Some(logs) => app.with_logs(logs),
                None => Ok(app),
            });
            match app {
                Ok(app) => {
                    drop(bound.send(Ok(app.address())));
                    Box::pin(app.run(until)).await;
                    // Nobody waits for a server that was killed.
                    let _ = end.send(());
                }
                Err(error) => drop(bound.send(Err(error))),
            }
        });
        self.urls.push(format!("http://{}", app.await??));
        self.pods.push(Some(DemoPod { runtime, shutdown, ended }));
        Ok(())
    }

    /// The addresses of all servers, beginning with this one.
    pub(super) fn urls(&self, first: usize) -> String {
        let (before, from) = self.urls.split_at(first);
        from.iter().chain(before).cloned().collect::<Vec<_>>().join(",")
    }

    /// Kills a server: its threads stop where they are, and its connections break.
    pub(super) fn kill(&mut self, pod: usize) {
        if let Some(pod) = self.pods[pod].take() {
            pod.runtime.shutdown_background();
        }
    }

    /// The addresses of the servers that live.
    pub(super) fn living(&self) -> impl Iterator<Item = &String> {
        self.urls.iter().zip(&self.pods).filter(|(_, pod)| pod.is_some()).map(|(url, _)| url)
    }

    /// The livestream, as one server has it.
    pub(super) async fn livestream(&self, pod: usize) -> Result<pb::Livestream, CliError> {
        livestream(&self.urls[pod]).await
    }

    /// The livestream, as each server that lives has it.
    pub(super) async fn livestreams(&self) -> Result<Vec<pb::Livestream>, CliError> {
        let mut all = Vec::new();
        for url in self.living() {
            all.push(livestream(url).await?);
        }
        Ok(all)
    }

    /// Stops all servers in order.
    pub(super) async fn stop(mut self) {
        for pod in self.pods.iter_mut().filter_map(Option::take) {
            pod.shutdown.begin();
            drop(soon("a server to stop", pod.ended).await);
            pod.runtime.shutdown_background();
        }
    }
}

async fn livestream(url: &str) -> Result<pb::Livestream, CliError> {
    let mut client = Client::connect(url).await?;
    let get = pb::GetLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() };
    let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?;
    Ok(found.into_inner().livestream.unwrap_or_default())
}

/// Waits until a server knows in each partition what is not there.
async fn ready(url: &str) -> Result<(), CliError> {
    let mut client = Client::connect(url).await?;
    let mut asks = interval(ASK_EVERY);
    let answers = async {
        // Each of 64 ids falls into some partition, and none is left out.
        for livestream_id in 1_001..=1_064 {
            loop {
                let get = pb::GetLivestreamRequest { livestream_id, ..Default::default() };
                match client.livestreams.get_livestream(get).await {
                    Err(status) if status.code() == Code::Unavailable => drop(asks.tick().await),
                    _ => break,
                }
            }
        }
    };
    soon("a server to be ready", answers).await
}

impl NatsPlace {
    fn new(url: String, directory: TempDir, server: Option<Child>) -> Result<Self, CliError> {
        let secret: [u8; 32] = rand::random();
        std::fs::write(directory.path().join("secret"), secret.map(|byte| format!("{byte:02x}")).concat())?;
        // Of its own, so that two demos on one NATS are two clusters.
        let name = format!("demo-{:08x}", rand::random::<u32>());
        Ok(Self { url, name, directory, _server: server })
    }

    fn configure(&self, config: &mut Config) {
        config.cluster.nats_urls.clone_from(&self.url);
        config.cluster.name.clone_from(&self.name);
        config.cluster.replicas = 1;
        (config.cluster.max_log_bytes, config.cluster.max_store_bytes) = (LOG_BYTES, LOG_BYTES * 8);
        config.cluster.peer_secret_file = self.directory.path().join("secret");
    }
}

/// Starts the `nats-server` of the PATH, which ends with the demo.
async fn start_nats() -> Result<NatsPlace, CliError> {
    let directory = TempDir::new()?;
    let ports = directory.path().join("ports");
    std::fs::create_dir(&ports)?;
    let server = Command::new("nats-server")
        .args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--store_dir"])
        .arg(directory.path().join("jetstream"))
        .arg("--ports_file_dir")
        .arg(&ports)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let server = server.map_err(|error| CliError(format!("nats-server cannot be started: {error}")))?;
    let mut looks = interval(ASK_EVERY);
    let url = soon("nats-server to listen", async {
        loop {
            if let Some(url) = told_port(&ports) {
                return url;
            }
            looks.tick().await;
        }
    });
    NatsPlace::new(url.await?, directory, Some(server))
}

/// The URL that nats-server has written into its file of ports.
fn told_port(directory: &Path) -> Option<String> {
    let file = std::fs::read_dir(directory).ok()?.next()?.ok()?.path();
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(ports["nats"][0].as_str()?.to_owned())
}
