//! Signals to the real program: a goodbye for everybody, and an end in time.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use starling_client::Client;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, livestream_service_client::LivestreamServiceClient};
use starling_client::pb::swarm::v1::{Goodbye, GoodbyeReason, UpdateDraft, delivery::Item};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code::Unavailable;
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::edge::updates::{Publisher, Subscriber, keyframe};
use crate::edge::world::{answered, go_live, join_livestream};
use crate::harness::{Fault, retry_delay, soon};
use crate::process::{Serving, shell, text};

const CONNECTIONS: u64 = 10;
/// On each connection, of each kind.
const STREAMS: u64 = 5;

/// What a stream said last, and what ended it.
type Ending = (Option<Goodbye>, Status);

/// Reads a stream that has begun until it breaks off; `goodbye` finds one in a message.
async fn read_goodbye<M>(mut stream: Streaming<M>, goodbye: impl Fn(M) -> Option<Goodbye>) -> Ending {
    let mut last = None;
    loop {
        match soon(stream.message()).await {
            Ok(Some(message)) => last = goodbye(message),
            Ok(None) => panic!("a stream that is drained ends with an error"),
            Err(status) => return (last, status),
        }
    }
}

/// Opens streams of four kinds on one connection and has them read, each from its first message on.
async fn open_streams(client: &Client, first: u64, endings: &mut JoinSet<Ending>) {
    let mut livestreams = client.livestreams.clone();
    for node_id in first..first + STREAMS {
        let session_id = join_livestream(client, 7, node_id).await;

        let request = pb::WatchTargetsRequest {
            livestream_id: 7,
            of_node_id: node_id,
            session_id,
            node_id,
            ..Default::default()
        };
        let mut targets = answered(livestreams.watch_targets(request).await);
        soon(targets.message()).await.unwrap().expect("a snapshot");
        endings.spawn(read_goodbye(targets, |message| match message.event {
            Some(pb::watch_targets_response::Event::Goodbye(goodbye)) => Some(goodbye),
            _ => None,
        }));

        let request = pb::WatchLivestreamRequest { livestream_id: 7, node_id, session_id, ..Default::default() };
        let mut events = answered(livestreams.watch_livestream(request).await);
        soon(events.message()).await.unwrap().expect("a reset");
        endings.spawn(read_goodbye(events, |message| match message.event {
            Some(pb::watch_livestream_response::Event::Goodbye(goodbye)) => Some(goodbye),
            _ => None,
        }));

        let mut census = answered(livestreams.watch_livestreams(pb::WatchLivestreamsRequest::default()).await);
        soon(census.message()).await.unwrap().expect("a reset");
        endings.spawn(read_goodbye(census, |message| match message.event {
            Some(pb::watch_livestreams_response::Event::Goodbye(goodbye)) => Some(goodbye),
            _ => None,
        }));

        let request = pb::SubscribeUpdatesRequest { livestream_id: 7, node_id, session_id, ..Default::default() };
        let mut updates = answered(livestreams.subscribe_updates(request).await);
        soon(updates.message()).await.unwrap().expect("subscribed");
        endings.spawn(read_goodbye(updates, |message| match message.deliveries.last()?.item.clone() {
            Some(Item::Goodbye(goodbye)) => Some(goodbye),
            _ => None,
        }));
    }
}

fn assert_is_draining((goodbye, status): &Ending) {
    let goodbye = goodbye.as_ref().unwrap_or_else(|| panic!("a goodbye comes before {status:?}"));
    assert_eq!(goodbye.reason(), GoodbyeReason::Draining);
    assert_eq!(Fault::of(status), Fault::new(Unavailable, "DRAINING"));
    let told = Duration::try_from(goodbye.retry_after.expect("when to come back")).unwrap();
    assert_eq!(retry_delay(status), Some(told));
}

/// A subscriber that never reads, for which there is more to read than windows hold.
async fn never_reads(server: &Serving, publisher: &mut Publisher) -> Streaming<pb::SubscribeUpdatesResponse> {
    let narrow = Endpoint::from_shared(server.url()).unwrap().initial_stream_window_size(65_535);
    let mut narrow = LivestreamServiceClient::new(narrow.connect().await.unwrap());
    let request = pb::SubscribeUpdatesRequest { livestream_id: 7, node_id: 1_000, ..Default::default() };
    join_livestream(&server.client().await, 7, 1_000).await;
    let stalled = answered(narrow.subscribe_updates(request).await);
    for number in 1..=4 {
        let payload = Bytes::from(vec![7; 1 << 20]);
        publisher.send(UpdateDraft { payload, ..keyframe(number) }).await;
        publisher.acked_through(number).await;
    }
    stalled
}

/// Waits until the server says that it does not serve.
async fn draining(client: &Client, watch: &mut Streaming<tonic_health::pb::HealthCheckResponse>) {
    while soon(watch.message()).await.unwrap().expect("the watch goes on").status() != ServingStatus::NotServing {}
    let get = pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() };
    let refused = client.clone().livestreams.get_livestream(get).await;
    assert_eq!(crate::harness::fault(refused), Fault::new(Unavailable, "DRAINING"));
}

async fn watch_health(client: &Client) -> Streaming<tonic_health::pb::HealthCheckResponse> {
    answered(HealthClient::new(client.channel.clone()).watch(HealthCheckRequest::default()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_streams_get_goodbyes_before_exit() {
    const TIMEOUT: Duration = Duration::from_secs(25);
    let server = Serving::start(&[("DRAIN__SPREAD", "1s"), ("DRAIN__TIMEOUT", "25s")]).await;
    go_live(&server.client().await, 7).await;
    let mut endings = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let client = server.client().await;
        open_streams(&client, 100 + connection * STREAMS, &mut endings).await;
    }
    assert_eq!(endings.len(), 200);
    let mut publisher = Publisher::open(&server.client().await, 7, 1).await;
    let _never_spoke = TcpStream::connect(server.address).await.unwrap();

    let told = Instant::now();
    server.process.signal("TERM");
    for ending in soon(endings.join_all()).await {
        assert_is_draining(&ending);
    }
    match publisher.event().await {
        Event::Goodbye(goodbye) => assert_is_draining(&(Some(goodbye), publisher.said().await.unwrap_err())),
        other => panic!("a goodbye, not {other:?}"),
    }
    let exit = server.process.output().await.status;
    assert_eq!(exit.code(), Some(0));
    // As soon as all have left; the deadline is for those who do not.
    assert!(told.elapsed() < TIMEOUT, "it took {:?}", told.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_reader_is_cut_at_the_drain_deadline() {
    let server = Serving::start(&[("DRAIN__SPREAD", "100ms"), ("DRAIN__TIMEOUT", "2s")]).await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let mut publisher = Publisher::open(&client, 7, 1).await;
    let _stalled = never_reads(&server, &mut publisher).await;
    let _never_spoke = TcpStream::connect(server.address).await.unwrap();
    let mut endings = JoinSet::new();
    open_streams(&client, 100, &mut endings).await;

    let told = Instant::now();
    server.process.signal("TERM");
    for ending in soon(endings.join_all()).await {
        assert_is_draining(&ending);
    }
    let exit = server.process.output().await.status;
    assert_eq!(exit.code(), Some(0));
    let took = told.elapsed();
    assert!(took < Duration::from_secs(10), "the deadline is 2 s, and it took {took:?}");
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let server = Serving::start(&[("DRAIN__SPREAD", "10m"), ("DRAIN__TIMEOUT", "11m")]).await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let mut publisher = Publisher::open(&client, 7, 1).await;
    let _stalled = never_reads(&server, &mut publisher).await;
    let mut health = watch_health(&client).await;
    server.process.signal("TERM");
    draining(&client, &mut health).await;
    server.process.signal("TERM");
    let output = server.process.output().await;
    assert_eq!(output.status.code(), Some(130));
    let log = text(&output.stderr);
    assert!(log.contains("second signal"), "what is said last is written: {log}");
}

#[tokio::test]
async fn every_termination_signal_drains() {
    for signal in ["INT", "HUP"] {
        let server = Serving::start(&[]).await;
        let client = server.client().await;
        go_live(&client, 7).await;
        join_livestream(&client, 7, 2).await;
        let mut updates = Subscriber::open(&client, 7, 2).await;
        server.process.signal(signal);
        let ended = updates.goodbye(GoodbyeReason::Draining).await;
        assert_eq!(Fault::of(&ended.unwrap_err()), Fault::new(Unavailable, "DRAINING"));
        assert_eq!(server.process.output().await.status.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_hangup_may_be_the_second_signal() {
    let server = Serving::start(&[("DRAIN__SPREAD", "10m"), ("DRAIN__TIMEOUT", "11m")]).await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let _open = Publisher::open(&client, 7, 1).await;
    let mut health = watch_health(&client).await;
    server.process.signal("HUP");
    draining(&client, &mut health).await;
    server.process.signal("HUP");
    assert_eq!(server.process.output().await.status.code(), Some(130));
}

#[tokio::test]
async fn a_hangup_that_is_ignored_stays_ignored() {
    // As nohup does.
    let mut command = shell("trap '' HUP; exec \"$0\" serve --listen 127.0.0.1:0");
    command.stderr(Stdio::piped());
    let server = Serving::spawn(command).await;
    server.process.signal("HUP");
    go_live(&server.client().await, 7).await;
    server.process.signal("TERM");
    let output = server.process.output().await;
    assert_eq!(output.status.code(), Some(0));
    let log = text(&output.stderr);
    assert!(log.contains("SIGTERM") && !log.contains("SIGHUP"), "{log}");
}
