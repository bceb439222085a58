//! One server of the cluster, as a process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use starling_testkit::program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::network::{Gate, Network, Place};
use crate::time::{soon, until};

/// What the log has of a server that listens: the text of the line, and which listener it is of.
const LISTENERS: [&str; 3] = ["serving", "serving the admin pages", "serving the other servers"];

/// One server. It may be restarted; its addresses stay.
#[derive(Debug)]
pub(crate) struct Pod {
    at: usize,
    directory: PathBuf,
    network: Network,
    clients: Gate,
    peers: Gate,
    admin: Option<SocketAddr>,
    child: Option<Child>,
    starts: usize,
    settings: Vec<(&'static str, String)>,
}

impl Pod {
    pub(crate) async fn new(
        at: usize,
        directory: &Path,
        network: &Network,
        settings: &[(&'static str, String)],
    ) -> Self {
        let (clients, peers) = (Gate::new(network, Place::Pod(at)).await, Gate::new(network, Place::Pod(at)).await);
        let directory = directory.join(format!("pod-{at}"));
        std::fs::create_dir_all(&directory).unwrap();
        let (network, settings) = (network.clone(), settings.to_vec());
        Self { at, directory, network, clients, peers, admin: None, child: None, starts: 0, settings }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        self.starts += 1;
        let log = std::fs::File::create(self.log_file()).unwrap();
        let mut command = program(env!("CARGO_BIN_EXE_starling"));
        command.args(["--listen", "127.0.0.1:0"]).stdout(log.try_clone().unwrap()).stderr(log);
        command.env("STARLING__ADMIN__LISTEN", "127.0.0.1:0");
        command.env("STARLING__CLUSTER__PEER_LISTEN", "127.0.0.1:0");
        command.env("STARLING__CLUSTER__PEER_ADDRESS", self.peers.address.to_string());
        for (name, value) in &self.settings {
            command.env(format!("STARLING__{name}"), value);
        }
        let child = command.stdin(Stdio::null()).spawn().expect("the program starts");
        self.network.has(child.id(), Place::Pod(self.at));
        self.child = Some(child);
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join(format!("log-{}", self.starts))
    }

    /// Waits until it listens.
    pub(crate) async fn listens(&mut self) {
        let file = self.log_file();
        let mut found = [None; 3];
        until("a server listens", async || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(ended.is_none(), "{log}");
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            for line in lines {
                let said = LISTENERS.iter().position(|text| line["message"] == *text);
                let address = line["address"].as_str().and_then(|address| address.parse().ok());
                if let Some(listener) = said {
                    found[listener] = address;
                }
            }
            if found.contains(&None) { Err(log) } else { Ok(()) }
        })
        .await;
        self.clients.leads_to(found[0]);
        self.admin = found[1];
        self.peers.leads_to(found[2]);
    }

    /// Waits until it is ready, with nothing to remark.
    pub(crate) async fn is_ready(&self) {
        let what = format!("server {} is ready", self.at);
        until(&what, async || {
            let told = self.readiness().await.unwrap_or_default();
            if told.starts_with("HTTP/1.1 200") && !told.contains("remarks") { Ok(()) } else { Err(told) }
        })
        .await;
    }

    /// How often it has begun as another incarnation, since its process was started.
    pub(crate) fn lives(&self) -> usize {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        log.matches("this pod goes on as another incarnation").count()
    }

    /// Waits until it has begun anew, having had so many lives before.
    pub(crate) async fn begins_anew(&self, lives: usize) {
        until("a server begins anew", async || if self.lives() > lives { Ok(()) } else { Err("not yet".to_owned()) })
            .await;
    }

    async fn readiness(&self) -> Option<String> {
        let mut connection = TcpStream::connect(self.admin?).await.ok()?;
        let ask = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        connection.write_all(ask).await.ok()?;
        let mut told = String::new();
        connection.read_to_string(&mut told).await.ok()?;
        Some(told)
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.leave(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub(crate) async fn stop(&mut self) {
        self.signal("TERM");
        let mut child = self.child.take().unwrap();
        let id = child.id();
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
        let ended = soon("the end of a server", ended).await.unwrap();
        assert!(ended.success(), "server {}: {ended}", self.at);
        self.leave(id);
    }

    fn leave(&self, process: u32) {
        self.network.lost(process);
        self.clients.leads_to(None);
        self.peers.leads_to(None);
    }

    /// Sends a signal, such as STOP.
    pub(crate) fn signal(&self, name: &str) {
        let process = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.expect("there is a kill command").success());
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.clients.address)
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.kill();
    }
}
