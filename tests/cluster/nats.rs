//! Three servers of NATS, as processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use starling_testkit::program;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::network::{Gate, Network, Place};
use crate::time::until;

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

/// One server. Its gates have the addresses that everybody knows.
#[derive(Debug)]
pub(crate) struct NatsNode {
    at: usize,
    program: PathBuf,
    directory: PathBuf,
    network: Network,
    clients: Gate,
    routes: Gate,
    config: String,
    child: Option<Child>,
    starts: usize,
}

impl NatsNode {
    fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        std::fs::create_dir_all(&self.directory).unwrap();
        let file = self.directory.join("nats.conf");
        std::fs::write(&file, &self.config).unwrap();
        self.starts += 1;
        let log = std::fs::File::create(self.directory.join(format!("log-{}", self.starts))).unwrap();
        let mut command = program(&self.program);
        let child = command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(log).spawn().expect("nats-server starts");
        self.network.has(child.id(), Place::Nats(self.at));
        self.child = Some(child);
    }

    async fn listens(&mut self) {
        let file = self.directory.join(format!("nats-server_{}.ports", self.child.as_ref().unwrap().id()));
        until("nats-server listens", async || {
            let ports = ports(&file).ok_or("no ports")?;
            self.clients.leads_to(ports.get("nats").copied());
            self.routes.leads_to(ports.get("cluster").copied());
            Ok(())
        })
        .await;
    }

    /// `kill -9`.
    fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        self.network.lost(child.id());
        self.clients.leads_to(None);
        self.routes.leads_to(None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

impl Drop for NatsNode {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The addresses of a file of ports, once it is complete.
fn ports(file: &Path) -> Option<BTreeMap<String, SocketAddr>> {
    let ports: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    let address = |urls: &Value| urls.pointer("/0")?.as_str()?.rsplit_once("//")?.1.parse().ok();
    ports.as_object()?.iter().map(|(kind, urls)| Some((kind.clone(), address(urls)?))).collect()
}

/// Three servers, each of which has each stream.
#[derive(Debug)]
pub(crate) struct Nats {
    nodes: Vec<NatsNode>,
}

impl Nats {
    pub(crate) async fn start(program: &Path, directory: &Path, network: &Network) -> Self {
        let mut gates = Vec::new();
        for at in 0..3 {
            gates.push((Gate::new(network, Place::Nats(at)).await, Gate::new(network, Place::Nats(at)).await));
        }
        let routes: Vec<_> = gates.iter().map(|(_, routes)| format!("\"nats://{}\"", routes.address)).collect();
        let node = |(at, (clients, routes_gate)): (usize, (Gate, Gate))| {
            let directory = directory.join(format!("nats-{at}"));
            let others: Vec<_> = (0..3).filter(|other| *other != at).map(|other| routes[other].clone()).collect();
            let (others, place) = (others.join(", "), directory.display());
            let (to_clients, to_routes) = (clients.address, routes_gate.address);
            let config = format!(
                "listen: \"127.0.0.1:-1\"\nclient_advertise: \"{to_clients}\"\nports_file_dir: \"{place}\"\n\
                 server_name: n{at}\njetstream {{ store_dir: \"{place}/store\" }}\n\
                 cluster {{ name: trial, listen: \"127.0.0.1:-1\", advertise: \"{to_routes}\", routes: [{others}] }}\n"
            );
            let (program, network) = (program.to_owned(), network.clone());
            NatsNode { at, program, directory, network, clients, routes: routes_gate, config, child: None, starts: 0 }
        };
        let mut nats = Self { nodes: gates.into_iter().enumerate().map(node).collect() };
        nats.start_all().await;
        nats
    }

    async fn start_all(&mut self) {
        self.nodes.iter_mut().for_each(NatsNode::start);
        for node in &mut self.nodes {
            node.listens().await;
        }
    }

    pub(crate) fn urls(&self) -> String {
        self.nodes.iter().map(|node| format!("nats://{}", node.clients.address)).collect::<Vec<_>>().join(",")
    }

    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at].kill();
    }

    pub(crate) async fn restart(&mut self, at: usize) {
        self.nodes[at].start();
        self.nodes[at].listens().await;
    }

    pub(crate) fn kill_all(&mut self) {
        self.nodes.iter_mut().for_each(NatsNode::kill);
    }

    pub(crate) async fn restart_all(&mut self) {
        self.start_all().await;
    }

    /// Deletes what they have stored.
    pub(crate) fn lose_disks(&self) {
        for node in &self.nodes {
            assert!(node.child.is_none(), "it runs");
            std::fs::remove_dir_all(node.directory.join("store")).unwrap();
        }
    }

    /// The server that leads a stream, as soon as there is one.
    pub(crate) async fn leader(&self, stream: &str) -> usize {
        let mut leader = None;
        until("a stream has a leader", async || {
            for node in &self.nodes {
                leader = leader_by(node.clients.address, stream).await;
                if leader.is_some() {
                    return Ok(());
                }
            }
            Err("nobody knows one".to_owned())
        })
        .await;
        leader.unwrap()
    }
}

/// The leader of a stream, as one server says.
async fn leader_by(address: SocketAddr, stream: &str) -> Option<usize> {
    let mut connection = BufReader::new(TcpStream::connect(address).await.ok()?);
    let ask = format!("CONNECT {{\"verbose\":false}}\r\nSUB told 1\r\nPUB $JS.API.STREAM.INFO.{stream} told 0\r\n\r\n");
    connection.write_all(ask.as_bytes()).await.ok()?;
    let answer = async {
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            if line.starts_with("MSG told") {
                let length: usize = line.trim_end().rsplit_once(' ')?.1.parse().ok()?;
                let mut body = vec![0; length];
                connection.read_exact(&mut body).await.ok()?;
                let info: Value = serde_json::from_slice(&body).ok()?;
                return info.pointer("/cluster/leader")?.as_str()?.strip_prefix('n')?.parse().ok();
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(2), answer).await.ok()?
}
