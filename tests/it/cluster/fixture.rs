//! Servers of one cluster, whose log is in this process.

use starling::clock::Clock;
use starling::cluster::SharedLogs;
use starling::config::Config;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code;

use crate::harness::{Server, soon};

/// Servers of one cluster.
pub(crate) struct Pods {
    logs: SharedLogs,
    pub(crate) servers: Vec<Server>,
}

impl Pods {
    /// So many servers that are ready.
    pub(crate) async fn start(count: usize) -> Self {
        let logs = SharedLogs::new(Clock::system().wall());
        let mut pods = Self { logs, servers: Vec::new() };
        for _ in 0..count {
            pods.add().await;
        }
        pods
    }

    /// One more server, once it is ready.
    pub(crate) async fn add(&mut self) -> Client {
        self.add_with(|_| ()).await
    }

    /// The same, with a configuration of the test's own.
    pub(crate) async fn add_with(&mut self, configure: impl FnOnce(&mut Config)) -> Client {
        let server = Server::pod(&self.logs, configure).await;
        let client = server.client().await;
        soon(answers(&client)).await;
        self.servers.push(server);
        client
    }

    /// One more server, whose secret is another one, as soon as it listens.
    pub(crate) async fn add_stranger(&self, configure: impl FnOnce(&mut Config)) -> Server {
        Server::pod(&self.logs.with_secret([7; 32]), configure).await
    }

    /// A connection to each server, in order.
    pub(crate) async fn clients(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for server in &self.servers {
            clients.push(server.client().await);
        }
        clients
    }
}

/// Waits until a server knows what is not there, in a livestream of each partition.
async fn answers(client: &Client) {
    let mut changes = tokio::time::interval(std::time::Duration::from_millis(20));
    for livestream_id in 1..=64 {
        loop {
            let get = pb::GetLivestreamRequest { livestream_id, ..Default::default() };
            match client.clone().livestreams.get_livestream(get).await {
                Err(status) if status.code() == Code::Unavailable => drop(changes.tick().await),
                _ => break,
            }
        }
    }
}
