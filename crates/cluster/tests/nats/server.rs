//! Servers of NATS: processes on ports that are free, with directories of their own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;
use starling_cluster::{JetStreamCluster, JetStreamSettings};
use starling_testkit::program;
use tempfile::TempDir;
use tokio::time::{interval, timeout};

/// Longer than any election, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing came")
}

/// Waits for what nothing tells of.
pub(crate) async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let mut looks = interval(Duration::from_millis(20));
    soon(async {
        while !condition().await {
            looks.tick().await;
        }
    })
    .await;
}

/// Where nats-server is, unless it is not installed, which is told. A test fails without it where all tools are required.
pub(crate) fn nats_server() -> Option<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&path).map(|place| place.join("nats-server")).find(|place| place.is_file());
    let found = named.or_else(on_path);
    if found.is_none() {
        let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "nats-server is not installed");
        eprintln!("nats-server is not installed: nothing was tried with it");
    }
    found
}

/// One server.
#[derive(Debug)]
pub(crate) struct NatsServer {
    path: PathBuf,
    directory: TempDir,
    /// Its configuration, but for the port of clients.
    config: String,
    /// The port of clients: the same after a restart.
    port: u16,
    child: Option<Child>,
}

impl NatsServer {
    /// A server with JetStream, alone; `more` is added to its configuration. Nothing without the program.
    pub(crate) async fn alone(more: &str) -> Option<Self> {
        Self::plain(&format!("jetstream {{ store_dir: \"STORE\" }}\n{more}")).await
    }

    /// A server with this configuration, in which `STORE` is a directory of its own.
    pub(crate) async fn plain(config: &str) -> Option<Self> {
        let mut server = Self::new(nats_server()?, config);
        server.start();
        server.listens().await;
        Some(server)
    }

    fn new(path: PathBuf, config: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let config = config.replace("STORE", &directory.path().join("store").display().to_string());
        Self { path, directory, config, port: 0, child: None }
    }

    /// Starts it, or starts it again.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let listen = if self.port == 0 { -1 } else { i32::from(self.port) };
        let ports = self.directory.path().display();
        let config = format!("listen: \"127.0.0.1:{listen}\"\nports_file_dir: \"{ports}\"\n{}", self.config);
        let file = self.directory.path().join("nats.conf");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = program(&self.path);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("nats-server starts"));
    }

    /// Waits until it listens.
    pub(crate) async fn listens(&mut self) {
        let directory = self.directory.path().to_owned();
        let child = self.child.as_mut().expect("it was started");
        let file = directory.join(format!("nats-server_{}.ports", child.id()));
        let mut port = None;
        until(async || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", std::fs::read_to_string(directory.join("log")).unwrap_or_default());
            port = port_of(&file);
            port.is_some()
        })
        .await;
        self.port = port.unwrap();
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Deletes what it has stored.
    pub(crate) fn delete_store(&self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::remove_dir_all(self.directory.path().join("store")).unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A directory that lives as long as the server does.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The port of clients, once the file of ports is complete.
fn port_of(file: &Path) -> Option<u16> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let url = ports.pointer("/nats/0")?.as_str()?;
    url.rsplit_once(':')?.1.parse().ok()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Three servers, each of which has each stream.
#[derive(Debug)]
pub(crate) struct NatsCluster {
    pub(crate) servers: Vec<NatsServer>,
}

impl NatsCluster {
    pub(crate) async fn new() -> Option<Self> {
        let path = nats_server()?;
        let ports = [free_port(), free_port(), free_port()];
        let routes = ports.map(|port| format!("\"nats://127.0.0.1:{port}\"")).join(", ");
        let config = |at: usize, port: u16| {
            format!(
                "server_name: n{at}\njetstream {{ store_dir: \"STORE\" }}\n\
                 cluster {{ name: test, listen: \"127.0.0.1:{port}\", routes: [{routes}] }}\n"
            )
        };
        let new = |(at, port)| NatsServer::new(path.clone(), &config(at, port));
        let mut servers: Vec<_> = ports.into_iter().enumerate().map(new).collect();
        servers.iter_mut().for_each(NatsServer::start);
        for server in &mut servers {
            server.listens().await;
        }
        Some(Self { servers })
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// The server that leads the stream of a partition, as soon as there is one.
    pub(crate) async fn leader(&self, settings: &JetStreamSettings, partition: u32) -> usize {
        let client = async_nats::connect(self.urls()).await.unwrap();
        let context = async_nats::jetstream::new(client);
        let stream = format!("STARLING_{}_{partition}", settings.cluster);
        let mut leader = None;
        until(async || {
            let found = context.get_stream(&stream).await.ok();
            leader = found.and_then(|stream| stream.cached_info().cluster.clone()?.leader);
            leader.is_some()
        })
        .await;
        let name = leader.unwrap();
        name.strip_prefix('n').unwrap().parse().unwrap()
    }
}

/// Settings for tests: one partition, and as many replicas as there are servers.
pub(crate) fn settings(urls: Vec<String>) -> JetStreamSettings {
    let replicas = urls.len();
    JetStreamSettings {
        partitions: 1,
        shards: 4,
        replicas,
        max_log_bytes: 64 << 20,
        max_store_bytes: 64 << 20,
        start_timeout: PATIENCE,
        ..JetStreamSettings::new(urls, "a".to_owned())
    }
}

/// A pod's connections to one server alone.
pub(crate) async fn connect(server: &NatsServer) -> JetStreamCluster {
    JetStreamCluster::connect(settings(vec![server.url()])).await.unwrap()
}
