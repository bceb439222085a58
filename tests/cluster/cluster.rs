//! Three servers over three servers of NATS.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use starling_client::pb::livestream::v1 as pb;
use starling_client::{Client, Error, Retry};
use tempfile::TempDir;
use tonic::{Response, Status};

use crate::nats::{Nats, nats_server};
use crate::network::{Network, Place};
use crate::pod::Pod;
use crate::time::{soon, until};

/// How many servers there are.
pub(crate) const PODS: usize = 3;

/// The name of the cluster.
const NAME: &str = "trial";

/// How clients come back.
pub(crate) const RETRY: Retry =
    Retry { first: Duration::from_millis(100), longest: Duration::from_secs(1), patience: Duration::from_secs(120) };

/// After so long a call counts as lost, and is made again elsewhere.
const ANSWER: Duration = Duration::from_secs(5);

/// The processes, and where their logs are.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) network: Network,
    pub(crate) nats: Nats,
    pub(crate) pods: Vec<Pod>,
    directory: Option<TempDir>,
}

impl Cluster {
    /// All of them, ready; nothing where there is no nats-server.
    pub(crate) async fn start() -> Option<Self> {
        let program = nats_server()?;
        let directory = TempDir::new().unwrap();
        let network = Network::default();
        let nats = Nats::start(&program, directory.path(), &network).await;
        let secret: PathBuf = directory.path().join("secret");
        std::fs::write(&secret, "a secret of more than 32 characters").unwrap();
        let settings = [
            ("CLUSTER__NATS_URLS", nats.urls()),
            ("CLUSTER__NAME", NAME.to_owned()),
            ("CLUSTER__PEER_SECRET_FILE", secret.display().to_string()),
            ("CLUSTER__MAX_LOG_BYTES", (64 << 20).to_string()),
            ("CLUSTER__MAX_STORE_BYTES", (512 << 20).to_string()),
            ("CLUSTER__START_TIMEOUT", "60s".to_owned()),
            ("STREAMS__HEARTBEAT_INTERVAL", "500ms".to_owned()),
            ("DRAIN__SPREAD", "1s".to_owned()),
            ("LOG__FILTER", "info".to_owned()),
        ];
        let mut pods = Vec::new();
        for at in 0..PODS {
            pods.push(Pod::new(at, directory.path(), &network, &settings).await);
        }
        let mut cluster = Self { network, nats, pods, directory: Some(directory) };
        cluster.pods.iter_mut().for_each(Pod::start);
        join_all(cluster.pods.iter_mut().map(Pod::listens)).await;
        cluster.are_ready().await;
        Some(cluster)
    }

    /// Waits until all servers are ready.
    pub(crate) async fn are_ready(&self) {
        join_all(self.pods.iter().map(Pod::is_ready)).await;
    }

    /// Starts a server again.
    pub(crate) async fn restart(&mut self, pod: usize) {
        self.pods[pod].start();
        self.pods[pod].listens().await;
        self.pods[pod].is_ready().await;
    }

    /// The server of NATS that leads a partition.
    pub(crate) async fn leader(&self, partition: u64) -> usize {
        self.nats.leader(&format!("STARLING_{NAME}_{partition}")).await
    }

    /// Nobody of the first hears anybody of the others from now on.
    pub(crate) fn cut(&self, one: Place, others: impl IntoIterator<Item = Place>) {
        others.into_iter().for_each(|other| self.network.cut(one, other));
    }

    pub(crate) fn access(&self) -> Access {
        Access(self.pods.iter().map(Pod::url).collect())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(directory) = self.directory.take()
        {
            eprintln!("the logs of the processes are kept in {}", directory.keep().display());
        }
    }
}

/// How clients reach the servers.
#[derive(Clone, Debug)]
pub(crate) struct Access(Vec<String>);

impl Access {
    /// The servers, one of them first.
    pub(crate) fn urls(&self, first: usize) -> String {
        let (before, from) = self.0.split_at(first);
        from.iter().chain(before).cloned().collect::<Vec<_>>().join(",")
    }

    /// A connection to one server, which goes on at the next when that is gone.
    pub(crate) async fn client(&self, first: usize) -> Client {
        soon("a connection", async {
            let mut tries = tokio::time::interval(Duration::from_millis(100));
            loop {
                if let Ok(client) = Client::connect(&self.urls(first)).await {
                    return client;
                }
                tries.tick().await;
            }
        })
        .await
    }

    /// A connection to each server, which goes nowhere else.
    pub(crate) async fn each(&self) -> Vec<Client> {
        let mut clients = Vec::new();
        for url in &self.0 {
            clients.push(soon("a connection", Client::connect(url)).await.expect("the server accepts"));
        }
        clients
    }
}

/// Makes a call until some server answers it, the first time at the one that the client is connected to.
pub(crate) async fn answered<T, F>(client: &Client, call: impl Fn(Client) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let in_time = |client| {
        let call = call(client);
        async move {
            let late = || Status::unavailable("no answer in time");
            tokio::time::timeout(ANSWER, call).await.unwrap_or_else(|_| Err(late()))
        }
    };
    client.until_answered(RETRY, in_time).await
}

/// Makes a livestream that goes on.
pub(crate) async fn go_live(client: &Client, livestream_id: u64, node_id: u64) {
    let config = pb::LivestreamConfig {
        star_to_tree_threshold: Some(12),
        tree_fanout: Some(3),
        broadcaster_timeout: Some(prost_types::Duration::default()),
        subscriber_bytes_per_second: Some(1_000_000_000),
        max_lag: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    };
    let create = pb::CreateLivestreamRequest { livestream_id, node_id, config: Some(config), ..Default::default() };
    answered(client, |mut client| {
        let create = create.clone();
        async move { client.livestreams.create_livestream(create).await }
    })
    .await
    .unwrap();
    let start = pb::StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
    answered(client, |mut client| {
        let start = start.clone();
        async move { client.livestreams.start_livestream(start).await }
    })
    .await
    .unwrap();
}

/// Waits until every server shows a livestream.
pub(crate) async fn shown(clients: &[Client], livestream_id: u64) {
    until("every server shows the livestream", async || {
        for client in clients {
            let get = pb::GetLivestreamRequest { livestream_id };
            client.clone().livestreams.get_livestream(get).await.map_err(|status| status.to_string())?;
        }
        Ok(())
    })
    .await;
}
