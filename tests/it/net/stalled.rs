//! Readers that do not read are cut; those that are slow are not; nobody else notices.

use std::time::Duration;

use h2::Reason;
use starling::config::Config;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;

use crate::harness::{Server, soon};
use crate::net::fixture::{
    LIVESTREAM, PacedPublisher, Reader, end, go_live, join, join_request, judged, subscribe, until,
};
use crate::net::frames::{WIDE, Wire};
use crate::net::toxic::{Toxic, Way};

/// Later than anybody is.
const PATIENT: Duration = Duration::from_secs(60);
/// The time between two updates.
const INTERVAL: Duration = Duration::from_millis(5);
/// The size of an update; with [`INTERVAL`] 1 MB/s.
const SIZE: usize = 5_000;
/// More than a second of publishing.
const A_WHILE: u64 = 300;

const STALLED: u64 = 10;
/// Sooner than a slow reader.
const SHORT: Duration = Duration::from_millis(200);
const HEALTHY: u64 = 11;
const NEIGHBOUR: u64 = 12;

/// Cuts who does not read, and hardly ever asks who lives.
pub(crate) fn impatient(config: &mut Config) {
    config.streams.stall_timeout = Duration::from_secs(1);
    config.server.http2_keepalive_interval = Duration::from_secs(600);
}

/// Asks who lives, and hardly ever looks who reads.
fn inquisitive(config: &mut Config) {
    config.streams.stall_timeout = Duration::from_secs(600);
    config.server.http2_keepalive_interval = Duration::from_secs(1);
    config.server.http2_keepalive_timeout = Duration::from_secs(1);
}

/// A server on air with somebody who publishes, and somebody who reads.
async fn on_air(configure: fn(&mut Config), max_lag: Duration) -> (Server, Client, PacedPublisher, Reader) {
    let server = Server::with(configure).await;
    let client = server.client().await;
    go_live(&client, max_lag).await;
    let publisher = PacedPublisher::start(server.client().await, SIZE, INTERVAL).await;
    let healthy = Reader::start(server.client().await, HEALTHY).await;
    (server, client, publisher, healthy)
}

/// How many were cut off because they did not read, as the statistics have it.
pub(crate) async fn slow_readers(client: &Client) -> u64 {
    let request = pb::GetStatsRequest { livestream_id: LIVESTREAM, ..Default::default() };
    let response = client.clone().livestreams.get_stats(request).await.unwrap().into_inner();
    response.stats.unwrap().delivery.unwrap().slow_readers
}

/// The end: the healthy one was never disturbed, and all are told the truth.
async fn verdict(
    client: &Client,
    publisher: PacedPublisher,
    mut healthy: Reader,
    others: Vec<Reader>,
    max_lag: Duration,
) {
    healthy.catch_up_with(&publisher).await;
    // Borrowed once: a writer in between two borrows would wait for the first, and the second for it.
    let seen = *healthy.seen.borrow();
    assert_eq!(seen.cuts, 0, "it reads");
    // A busy machine may be later than a short lag.
    assert!(seen.lagging == 0 || max_lag < PATIENT, "it reads in time: {seen:?}");
    let log = publisher.finish().await;
    end(client).await;
    let mut histories = vec![healthy.history().await];
    for other in others {
        histories.push(other.history().await);
    }
    judged(log, &histories);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_stream_window_loses_only_that_stream() {
    let (server, client, mut publisher, healthy) = on_air(impatient, PATIENT).await;
    let mut wire = Wire::connect(server.address(), 16 * 1024).await;
    let sessions = [join(&client, STALLED).await, join(&client, NEIGHBOUR).await];
    let mut stalled = wire.subscribe(&subscribe(STALLED, sessions[0])).await;
    let mut neighbour = wire.subscribe(&subscribe(NEIGHBOUR, sessions[1])).await;
    let open = server.open_streams();
    let cut = async {
        loop {
            tokio::select! {
                more = neighbour.read() => assert!(more.expect("it reads"), "it goes on"),
                // It looks at what comes without making room for more.
                more = stalled.peek() => match more {
                    Ok(more) => assert!(more.is_some(), "it is not over in order"),
                    Err(error) => break error,
                }
            }
        }
    };
    let error = soon(cut).await;
    assert!(error.is_reset() && error.is_remote(), "{error:?}");
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    until(|| server.open_streams() == open - 1).await;
    assert_eq!(slow_readers(&client).await, 1);
    // The other stream of the connection goes on.
    let before = neighbour.updates();
    while neighbour.updates() < before + A_WHILE {
        assert!(neighbour.read().await.expect("it reads"), "it goes on");
    }
    publisher.wait_for_more(1).await;
    let (history, from) = stalled.cut();
    let stalled = Reader::resume(server.client().await, sessions[0], history, from).await;
    let (history, from) = neighbour.cut();
    let neighbour = Reader::resume(server.client().await, sessions[1], history, from).await;
    verdict(&client, publisher, healthy, vec![stalled, neighbour], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_stops_reading_is_cut() {
    stop_reading(impatient).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_that_answers_no_pings_is_cut() {
    stop_reading(inquisitive).await;
}

async fn stop_reading(configure: fn(&mut Config)) {
    let (server, client, mut publisher, healthy) = on_air(configure, PATIENT).await;
    let session = join(&client, STALLED).await;
    let mut wire = Wire::connect(server.address(), WIDE).await;
    let mut stalled = wire.subscribe(&subscribe(STALLED, session)).await;
    while stalled.updates() < 10 {
        assert!(stalled.read().await.expect("it reads"), "it goes on");
    }
    let open = server.open_streams();
    wire.hold(true);
    until(|| server.open_streams() < open).await;
    publisher.wait_for_more(A_WHILE).await;
    wire.hold(false);
    // What was under way may still come.
    while stalled.read().await.is_ok_and(|more| more) {}
    let (history, from) = stalled.cut();
    drop(wire.ended().await);
    let stalled = Reader::resume(server.client().await, session, history, from).await;
    verdict(&client, publisher, healthy, vec![stalled], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_reading_one_byte_per_second_is_cut() {
    let (server, client, mut publisher, healthy) = on_air(impatient, PATIENT).await;
    let network = Toxic::before(server.address()).await;
    let mut stalled = Reader::start(network.client().await, STALLED).await;
    stalled.wait_until(|seen| seen.updates >= 10).await;
    let open = server.open_streams();
    network.down(Way::drip(1));
    until(|| server.open_streams() < open).await;
    publisher.wait_for_more(A_WHILE).await;
    network.down(Way::default());
    stalled.wait_until(|seen| seen.cuts == 1 && seen.resumes == 1).await;
    stalled.catch_up_with(&publisher).await;
    verdict(&client, publisher, healthy, vec![stalled], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_behind_dead_network_is_cut_and_resumes() {
    let (server, client, mut publisher, healthy) = on_air(inquisitive, PATIENT).await;
    let network = Toxic::before(server.address()).await;
    let mut stalled = Reader::start(network.client().await, STALLED).await;
    stalled.wait_until(|seen| seen.updates >= 10).await;
    let open = server.open_streams();
    network.swallow();
    until(|| server.open_streams() < open).await;
    publisher.wait_for_more(A_WHILE).await;
    // The client does not know yet.
    assert_eq!(stalled.seen.borrow().cuts, 0);
    network.reset();
    stalled.wait_until(|seen| seen.cuts == 1 && seen.resumes == 1).await;
    stalled.catch_up_with(&publisher).await;
    verdict(&client, publisher, healthy, vec![stalled], PATIENT).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_client_stays_connected_and_continues_on_keyframes() {
    let (server, client, mut publisher, healthy) = on_air(impatient, SHORT).await;
    let network = Toxic::before(server.address()).await;
    let mut slow = Reader::start(network.client().await, STALLED).await;
    // A bit less than half of what is published.
    network.down(Way::drip(400_000));
    slow.wait_until(|seen| seen.lagging >= 5).await;
    for _ in 0..5 {
        publisher.wait_for_more(A_WHILE).await;
    }
    let seen = slow.wait_until(|seen| seen.lagging >= 10).await;
    assert_eq!(seen.cuts, 0, "it makes progress");
    network.down(Way::default());
    slow.catch_up_with(&publisher).await;
    // Each gap is followed by a keyframe, or the checker says so.
    verdict(&client, publisher, healthy, vec![slow], SHORT).await;
}

#[tokio::test]
async fn client_with_an_unread_page_is_cut() {
    let server = Server::with(impatient).await;
    let client = server.client().await;
    go_live(&client, PATIENT).await;
    let long = || Some(vec![7; 256].into());
    for node_id in 10..310 {
        let join_request = pb::JoinLivestreamRequest { endpoint: long(), metadata: long(), ..join_request(node_id) };
        client.clone().livestreams.join_livestream(join_request).await.unwrap();
    }
    // Room for the first byte: HTTP/2 takes whatever it is handed then.
    let mut wire = Wire::connect(server.address(), 1).await;
    let list = pb::ListViewersRequest { livestream_id: LIVESTREAM, page_size: 1_000, ..Default::default() };
    let mut page = wire.call("ListViewers", &list).await.unwrap().into_body();
    let error = loop {
        if let Err(error) = soon(page.data()).await.expect("it is not over in order") {
            break error;
        }
    };
    assert_eq!((error.is_remote(), error.reason()), (true, Some(Reason::CANCEL)), "{error:?}");
}
