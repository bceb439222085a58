//! Reports among peers, each second.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use rand::RngExt as _;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::WatchStream;
use tonic::{Code, Request, Response, Status, Streaming};

use super::convert::{pod_report, reports};
use super::network::{PeerAnswer, PeerNetwork};
use crate::pb::peer::v1::{ExchangeRequest, ExchangeResponse};

/// How long a peer may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// After so long without a word the connection is made anew.
const SILENCE: Duration = Duration::from_secs(10);

/// The first pause after a failure; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

impl PeerNetwork {
    /// Exchanges reports with all peers. Never returns.
    pub async fn run(&self) {
        let mut directory = self.directory();
        let mut tasks = JoinSet::new();
        let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
        loop {
            let wanted = self.addresses(&directory.borrow_and_update());
            running.retain(|address, task| {
                let stays = wanted.contains(address);
                if !stays {
                    task.abort();
                    self.forget(address);
                }
                stays
            });
            for address in wanted {
                running.entry(address.clone()).or_insert_with(|| tasks.spawn(with_peer(self.clone(), address)));
            }
            tokio::select! {
                changed = directory.changed() => changed.expect("the sender is in self"),
                // Those that were stopped.
                Some(_) = tasks.join_next() => {}
            }
        }
    }
}

/// Exchanges reports with whoever is at an address, again and again.
async fn with_peer(network: PeerNetwork, address: String) {
    let mut pause = PAUSE;
    loop {
        let refused = match once(&network, &address).await {
            Ok(()) => {
                pause = PAUSE;
                None
            }
            Err(error) => (error.code() == Code::Unauthenticated).then_some(PeerAnswer::Refusal),
        };
        network.note_answer(&address, refused);
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Until the peer is silent or gone. An error when it has never answered.
async fn once(network: &PeerNetwork, address: &str) -> Result<(), Status> {
    let unknown = || Status::unavailable("no address");
    let mut client = network.client(address).ok_or_else(unknown)?;
    let told = {
        let network = network.clone();
        WatchStream::new(network.outgoing())
            .map(move |report| ExchangeRequest { incarnation: network.own(), reports: reports(&report) })
    };
    let answer = timeout(ANSWER, client.exchange(told)).await.map_err(|_| Status::deadline_exceeded("no answer"))?;
    let mut inbound = answer?.into_inner();
    let mut answered = false;
    while let Ok(Ok(Some(response))) = timeout(SILENCE, inbound.message()).await {
        answered = true;
        network.note_answer(address, Some(PeerAnswer::Incarnation(response.incarnation)));
        // A seed may be the address of this process.
        if response.incarnation != network.own() {
            network.told(pod_report(&response.reports));
        }
    }
    if answered { Ok(()) } else { Err(unknown()) }
}

/// The other side of it.
pub(super) fn answer(
    network: &PeerNetwork,
    request: Request<Streaming<ExchangeRequest>>,
) -> Response<BoxStream<'static, Result<ExchangeResponse, Status>>> {
    let (reader, teller) = (network.clone(), network.clone());
    let told = WatchStream::new(network.outgoing())
        .map(move |report| Some(Ok(ExchangeResponse { incarnation: teller.own(), reports: reports(&report) })));
    let heard = request.into_inner().map(move |message| {
        let message = message.ok()?;
        if message.incarnation != reader.own() {
            reader.told(pod_report(&message.reports));
        }
        Some(Err(Status::ok("")))
    });
    // Both until the caller ends; what is heard needs no answer.
    let both = stream::select(told, heard.chain(stream::once(async { None })));
    let answers = both
        .take_while(|item| std::future::ready(item.is_some()))
        .filter_map(|item| std::future::ready(item.filter(|item: &Result<ExchangeResponse, Status>| item.is_ok())));
    Response::new(answers.boxed())
}
