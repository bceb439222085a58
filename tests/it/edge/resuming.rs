//! The client that comes back after cuts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{self as shared, GoodbyeReason, UpdateChannel, delivery::Item};
use starling_client::{
    Client, Error, Join, PublishEvent, PublishOptions, Publisher, Retry, SendError, SubscribeOptions, Subscriber,
    SubscriptionEvent, SwarmRef, Watch,
};
use tonic::{Code, Status};

use crate::edge::scripted::{SESSION, Script, Scripted, Wire};
use crate::edge::updates;
use crate::edge::world::{go_live, join_livestream};
use crate::harness::{Server, soon};
use crate::process::{Running, run, starling, text};

/// Waits next to nothing.
const RETRY: Retry =
    Retry { first: Duration::from_millis(1), longest: Duration::from_millis(1), patience: Duration::from_secs(30) };

const EPOCH: u64 = 9;

fn at(sequence: u64) -> shared::UpdatePosition {
    shared::UpdatePosition { source_node_id: 1, channel: UpdateChannel::Visual.into(), term: 2, sequence, track: 0 }
}

fn delivery(item: Item) -> shared::Delivery {
    shared::Delivery { item: Some(item) }
}

fn subscribed(sequence: u64) -> shared::Delivery {
    delivery(Item::Subscribed(shared::Subscribed { epoch: EPOCH, positions: vec![at(sequence)], ..Default::default() }))
}

fn update(sequence: u64) -> shared::Delivery {
    delivery(Item::Update(shared::Update { position: Some(at(sequence)), ..Default::default() }))
}

fn gap(before: u64) -> shared::Delivery {
    let point = |sequence| shared::TermSequence { term: 2, sequence };
    delivery(Item::Gap(shared::Gap {
        source_node_id: 1,
        channel: UpdateChannel::Visual.into(),
        before: Some(point(before)),
        // One that this client does not know: a loss all the same.
        reason: 99,
        ..Default::default()
    }))
}

fn goodbye(reason: GoodbyeReason) -> shared::Delivery {
    delivery(Item::Goodbye(shared::Goodbye { reason: reason.into(), retry_after: None }))
}

fn subscription() -> SubscribeOptions {
    let join = pb::JoinLivestreamRequest { livestream_id: 7, node_id: 2, ..Default::default() };
    SubscribeOptions {
        channels: vec![UpdateChannel::Visual],
        join: Some(Join::Livestream(join)),
        retry: RETRY,
        ..SubscribeOptions::new(SwarmRef::Livestream(7), 2, 5)
    }
}

/// What a subscriber tells, in short, up to the end or the error.
async fn told(subscriber: &mut Subscriber) -> (Vec<String>, Result<(), Error>) {
    let mut told = Vec::new();
    loop {
        told.push(match soon(subscriber.next()).await {
            Ok(Some(SubscriptionEvent::Item(Item::Update(update)))) => {
                format!("update {}", update.position.unwrap().sequence)
            }
            Ok(Some(SubscriptionEvent::Item(Item::Subscribed(_)))) => "subscribed".to_owned(),
            Ok(Some(SubscriptionEvent::Item(Item::Gap(_)))) => "gap".to_owned(),
            Ok(Some(SubscriptionEvent::Item(other))) => panic!("{other:?}"),
            Ok(Some(SubscriptionEvent::Cut(_))) => "cut".to_owned(),
            Ok(Some(SubscriptionEvent::Resumed { rejoined: false, .. })) => "resumed".to_owned(),
            Ok(Some(SubscriptionEvent::Resumed { rejoined: true, .. })) => "rejoined".to_owned(),
            Ok(None) => return (told, Ok(())),
            Err(error) => return (told, Err(error)),
        });
    }
}

async fn subscribe(scripts: Vec<Script>) -> (Scripted, Subscriber) {
    let server = Scripted::start(scripts).await;
    let client = Client::connect(&server.url()).await.unwrap();
    let subscriber = Subscriber::open(client, subscription()).await.unwrap();
    (server, subscriber)
}

#[tokio::test]
async fn subscriber_resumes_after_last_update_or_loss() {
    let (mut server, mut subscriber) = subscribe(vec![
        (vec![subscribed(0), update(1), update(2)], Err(Status::unavailable("draining"))),
        (vec![subscribed(2), update(3), gap(50)], Ok(())),
        (vec![subscribed(49), goodbye(GoodbyeReason::StreamAge)], Err(Status::unavailable("age"))),
        (vec![subscribed(49), update(50), goodbye(GoodbyeReason::Ended)], Ok(())),
    ])
    .await;
    let (told, end) = told(&mut subscriber).await;
    let expected = "subscribed, update 1, update 2, cut, resumed, subscribed, update 3, gap, cut, resumed, \
                    subscribed, cut, resumed, subscribed, update 50";
    assert_eq!(told.join(", "), expected);
    end.expect("it ended as it should");
    assert!(soon(subscriber.next()).await.expect("still over").is_none());

    let mut resumed = Vec::new();
    for _ in 0..4 {
        let request = soon(server.asked.recv()).await.unwrap();
        assert_eq!((request.node_id, request.session_id), (2, 5), "the session is kept");
        assert_eq!(request.channels, [i32::from(UpdateChannel::Visual)]);
        resumed.push(request.resume_from.map(|from| (from.epoch, from.positions)));
    }
    let after = |sequence| Some((EPOCH, vec![at(sequence)]));
    assert_eq!(resumed, [None, after(2), after(49), after(49)]);
}

/// What a newer server says that this client does not know.
#[tokio::test]
async fn subscriber_ignores_unknown_messages() {
    let unknown = shared::Delivery::default;
    let unknown_goodbye = |retry_after| delivery(Item::Goodbye(shared::Goodbye { reason: 99, retry_after }));
    let soon_again = Some(prost_types::Duration { seconds: 0, nanos: 1_000_000 });
    let (mut server, mut subscriber) = subscribe(vec![
        (vec![unknown(), subscribed(0), unknown(), update(1), unknown_goodbye(soon_again)], Ok(())),
        (vec![subscribed(1), gap(5), unknown(), update(5), unknown_goodbye(None)], Ok(())),
    ])
    .await;
    let (told, end) = told(&mut subscriber).await;
    assert_eq!(told.join(", "), "subscribed, update 1, cut, resumed, subscribed, gap, update 5");
    assert!(matches!(end, Err(Error::Goodbye { reason: GoodbyeReason::Unspecified, .. })), "{end:?}");
    server.asked.recv().await.unwrap();
    let resumed = server.asked.recv().await.unwrap().resume_from.unwrap();
    assert_eq!(resumed.positions, [at(1)], "it came back because it was told when");
    assert!(server.asked.try_recv().is_err(), "and stays away when it is not");
}

#[tokio::test]
async fn publisher_ignores_unknown_messages() {
    let server = Scripted::start(Vec::new()).await;
    let client = Client::connect(&server.url()).await.unwrap();
    let publication = PublishOptions::new(SwarmRef::Livestream(7), 1, vec![UpdateChannel::Visual]);
    let mut publisher = soon(Publisher::open(client, publication)).await.unwrap();
    publisher.send(updates::keyframe(1)).unwrap();
    let told = soon(publisher.next()).await.unwrap();
    assert!(matches!(&told, Some(PublishEvent::Accepted(ack)) if ack.accepted_through == 1), "{told:?}");
}

#[tokio::test]
async fn subscriber_with_expired_lease_rejoins() {
    let (mut server, mut subscriber) = subscribe(vec![
        (vec![subscribed(0), update(1), goodbye(GoodbyeReason::LeaseExpired)], Err(Status::failed_precondition(""))),
        (vec![subscribed(1), goodbye(GoodbyeReason::Ended)], Ok(())),
    ])
    .await;
    let (told, end) = told(&mut subscriber).await;
    assert_eq!(told.join(", "), "subscribed, update 1, cut, rejoined, subscribed");
    end.expect("it ended as it should");
    assert_eq!(subscriber.session_id(), SESSION);
    let sessions = [server.asked.recv().await.unwrap().session_id, server.asked.recv().await.unwrap().session_id];
    assert_eq!(sessions, [5, SESSION]);
}

#[tokio::test]
async fn subscriber_stays_away_after_a_final_goodbye() {
    for reason in [GoodbyeReason::Replaced, GoodbyeReason::Removed, GoodbyeReason::Left] {
        let (mut server, mut subscriber) = subscribe(vec![(vec![subscribed(0), goodbye(reason)], Ok(()))]).await;
        let (told, end) = told(&mut subscriber).await;
        assert_eq!(told, ["subscribed"]);
        assert!(matches!(end, Err(Error::Goodbye { reason: told, .. }) if told == reason), "{end:?}");
        assert!(soon(subscriber.next()).await.expect("over").is_none());
        server.asked.recv().await.unwrap();
        assert!(server.asked.try_recv().is_err(), "it did not come back");
    }
    let (_server, mut subscriber) = subscribe(vec![(vec![subscribed(0)], Err(Status::aborted("")))]).await;
    let (_, end) = told(&mut subscriber).await;
    assert!(matches!(end, Err(Error::Status(status)) if status.code() == Code::Aborted));
}

#[tokio::test]
async fn subscriber_reports_a_refused_resume() {
    let (_server, mut subscriber) = subscribe(vec![(vec![subscribed(0)], Ok(()))]).await;
    let (told, end) = told(&mut subscriber).await;
    assert_eq!(told, ["subscribed", "cut"]);
    assert!(matches!(end, Err(Error::Status(status)) if status.code() == Code::NotFound));
}

#[tokio::test]
async fn subscriber_gives_up_after_its_patience() {
    let server = Scripted::start(vec![(vec![subscribed(0)], Err(Status::unavailable("")))]).await;
    let client = Client::connect(&server.url()).await.unwrap();
    let retry = Retry { patience: Duration::from_millis(20), ..RETRY };
    let mut subscriber = Subscriber::open(client, SubscribeOptions { retry, ..subscription() }).await.unwrap();
    drop(server);
    let (_, end) = told(&mut subscriber).await;
    assert!(matches!(end, Err(Error::GaveUp { .. })), "{end:?}");
}

/// A publisher of node 1 over a wire, and a viewer that has a wire of its own.
async fn on_air(server: &Server) -> (Wire, Publisher, updates::Subscriber) {
    let direct = server.client().await;
    go_live(&direct, 7).await;
    join_livestream(&direct, 7, 2).await;
    let viewer = updates::Subscriber::open(&direct, 7, 2).await;
    let wire = Wire::to(server.address()).await;
    let client = Client::connect(&wire.url()).await.unwrap();
    let publication = PublishOptions {
        window: 4,
        retry: RETRY,
        ..PublishOptions::new(SwarmRef::Livestream(7), 1, vec![UpdateChannel::Visual])
    };
    (wire, Publisher::open(client, publication).await.unwrap(), viewer)
}

#[tokio::test]
async fn cut_publisher_loses_and_repeats_nothing() {
    const COUNT: u64 = 100;
    let server = Server::start().await;
    let (wire, mut publisher, mut viewer) = on_air(&server).await;
    let (mut sent, mut cuts) = (0, 0);
    while sent < COUNT || publisher.unacknowledged() > 0 {
        while sent < COUNT && publisher.room() > 0 {
            sent += 1;
            let draft = shared::UpdateDraft { publisher_sequence: 0, ..updates::keyframe(sent) };
            assert_eq!(publisher.send(draft).unwrap(), sent);
            // Whatever of it is under way.
            if sent % 10 == 0 {
                wire.cut().await;
            }
        }
        match soon(publisher.next()).await.expect("it survives").expect("it goes on") {
            PublishEvent::Accepted(_) | PublishEvent::Cut(_) => {}
            PublishEvent::KeyframeRequest(_) | PublishEvent::Demand(_) => {}
            PublishEvent::Resumed(_) => cuts += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(publisher.send(updates::keyframe(0)).is_ok());
    soon(publisher.close()).await.expect("it closes");
    assert!(cuts > 0);
    for expected in 1..=COUNT {
        // A gap may tell of the changed term.
        let update = loop {
            match viewer.item().await {
                Item::Update(update) => break update,
                Item::Gap(_) => {}
                other => panic!("an update, not {other:?}"),
            }
        };
        assert_eq!(update.payload, expected.to_be_bytes().as_slice());
    }
}

#[tokio::test]
async fn call_is_retried_until_answered_or_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let tries = AtomicU32::new(0);
    let get = |livestream_id, broken| {
        tries.store(0, Ordering::Relaxed);
        let tries = &tries;
        move |mut client: Client| async move {
            if tries.fetch_add(1, Ordering::Relaxed) < broken {
                return Err(Status::cancelled("the connection is gone"));
            }
            client.livestreams.get_livestream(pb::GetLivestreamRequest { livestream_id, ..Default::default() }).await
        }
    };
    let found = soon(client.until_answered(RETRY, get(7, 3))).await.expect("it is answered in the end");
    assert_eq!(found.livestream.unwrap().livestream_id, 7);
    assert_eq!(tries.load(Ordering::Relaxed), 4);

    let refused = soon(client.until_answered(RETRY, get(8, 1))).await;
    assert!(matches!(refused, Err(Error::Status(status)) if status.code() == Code::NotFound));
    assert_eq!(tries.load(Ordering::Relaxed), 2, "a refusal is final");

    let impatient = Retry { patience: Duration::from_millis(20), ..RETRY };
    let over = soon(client.until_answered(impatient, get(7, u32::MAX))).await;
    assert!(matches!(over, Err(Error::GaveUp { .. })), "{over:?}");
}

#[tokio::test]
async fn a_window_that_is_full_takes_no_more() {
    let server = Server::start().await;
    let (_wire, mut publisher, _viewer) = on_air(&server).await;
    for number in 1..=4 {
        publisher.send(updates::keyframe(number)).unwrap();
    }
    assert_eq!((publisher.room(), publisher.unacknowledged()), (0, 4));
    let refused = publisher.send(updates::keyframe(5));
    assert!(matches!(refused, Err(SendError::Full(draft)) if draft == updates::keyframe(5)));
    while publisher.room() < 4 {
        soon(publisher.next()).await.expect("it goes on");
    }
    assert_eq!(publisher.unacknowledged(), 0);
}

#[tokio::test]
async fn publisher_does_not_reclaim_a_lost_channel() {
    let server = Server::start().await;
    let (wire, mut publisher, _viewer) = on_air(&server).await;
    publisher.send(updates::keyframe(1)).unwrap();
    while publisher.unacknowledged() > 0 {
        soon(publisher.next()).await.expect("it goes on");
    }
    wire.cut().await;
    assert!(matches!(soon(publisher.next()).await, Ok(Some(PublishEvent::Cut(_)))));
    let other = updates::Publisher::open(&server.client().await, 7, 1).await;
    other.send(updates::keyframe(2)).await;
    other.finish().await.expect("it is accepted");
    let over = soon(publisher.next()).await;
    assert!(matches!(over, Err(Error::StaleTerm)), "{over:?}");
}

#[tokio::test]
async fn a_publisher_whose_channel_is_claimed_elsewhere_stops() {
    let server = Server::start().await;
    let (_wire, mut publisher, _viewer) = on_air(&server).await;
    let _other = updates::Publisher::open(&server.client().await, 7, 1).await;
    let lost = loop {
        match soon(publisher.next()).await {
            Ok(Some(PublishEvent::KeyframeRequest(_) | PublishEvent::Demand(_))) => {}
            lost => break lost,
        }
    };
    assert!(matches!(lost, Ok(Some(PublishEvent::Revoked(UpdateChannel::Visual)))), "{lost:?}");
    let over = soon(publisher.next()).await;
    assert!(matches!(over, Err(Error::StaleTerm)), "{over:?}");
}

#[tokio::test]
async fn cut_watch_starts_again_with_a_snapshot() {
    let server = Server::start().await;
    go_live(&server.client().await, 7).await;
    let wire = Wire::to(server.address()).await;
    let client = Client::connect(&wire.url()).await.unwrap();
    let mut watch = Watch::open(client, 0, None, RETRY, |client: Client, _| async move {
        let Client { mut livestreams, .. } = client;
        livestreams.watch_targets(pb::WatchTargetsRequest { livestream_id: 7, ..Default::default() }).await
    })
    .await
    .unwrap();
    for _ in 0..3 {
        let first = soon(watch.next()).await.expect("it goes on").expect("it goes on");
        assert!(matches!(first.event, Some(pb::watch_targets_response::Event::Snapshot(_))), "{first:?}");
        wire.cut().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clip_is_published_over_a_breaking_connection() {
    let server = Server::start().await;
    let wire = Wire::to(server.address()).await;
    let (direct, broken) = (server.url(), wire.url());
    let watch = ["watch", "--server", &direct, "--livestream", "7", "--wait", "--node", "50"];
    let watching = Running::spawn(starling(&watch));
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bigbuckbunny-360p25.h264");
    let publish = ["publish", "--server", &broken, "--livestream", "7", "--node", "1"];
    let publish = [&publish[..], &["--fps", "500", "--wait-viewers", "2", clip]].concat();
    let publishing = Running::spawn(starling(&publish));
    // The second viewer cuts the wire now and then.
    let client = server.client().await;
    crate::edge::clip::exists(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    let mut viewer = updates::Subscriber::open(&client, 7, 2).await;
    let mut seen = 0;
    loop {
        match viewer.item().await {
            Item::Update(_) => {
                seen += 1;
                if seen == 30 || seen == 60 {
                    wire.cut().await;
                }
            }
            // The answer to the publisher may be on its way.
            Item::Goodbye(_) => break wire.cut().await,
            _ => {}
        }
    }
    let published = publishing.output().await;
    let told = text(&published.stderr);
    assert!(published.status.success(), "{told}");
    assert!(told.contains("cut: ") && told.contains("resumed; "), "{told}");
    let watched = watching.output().await;
    assert!(watched.status.success(), "{}", text(&watched.stderr));
    assert!(text(&watched.stderr).contains("place: parent 1, no backup parent, depth 1"));
    // Each time the viewers wait for a keyframe of the new term; the server has every update once.
    let stats = pb::GetStatsRequest { livestream_id: 7, ..Default::default() };
    let stats = crate::edge::world::answered(client.clone().livestreams.get_stats(stats).await).stats.unwrap();
    let delivery = stats.delivery.unwrap();
    assert_eq!((delivery.published, delivery.published_bytes), (132, 471_993));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looped_clip_is_paced_by_acknowledgements() {
    let server = Server::start().await;
    let url = server.url();
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bigbuckbunny-360p25.h264");
    let published =
        run(starling(&["publish", "--server", &url, "--livestream", "7", "--fps", "0", "--loop=3", clip])).await;
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert!(text(&published.stderr).contains("published 396 access units on livestream 7"));
    let refused = run(starling(&["publish", "--server", &url, "--livestream", "7", "--loop", "-"])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--loop needs a file"), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn broadcaster_waiting_for_viewers_has_a_session() {
    let server = Server::start().await;
    let url = server.url();
    let client = server.client().await;
    crate::edge::world::make_livestream(&client, 7, pb::LivestreamConfig::default()).await;
    let watch = pb::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let mut events = crate::edge::world::answered(client.clone().livestreams.watch_livestream(watch).await);
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bigbuckbunny-360p25.h264");
    let publish = ["publish", "--server", &url, "--livestream", "7", "--node", "1", "--fps", "0"];
    let publish = [&publish[..], &["--wait-viewers", "1", clip]].concat();
    let _publishing = Running::spawn(starling(&publish));
    // BroadcasterJoined comes without a viewer.
    loop {
        let message = soon(events.message()).await.unwrap().unwrap();
        if crate::edge::world::livestream(&client, 7).await.broadcaster_present {
            break;
        }
        assert!(!matches!(message.event, Some(pb::watch_livestream_response::Event::Goodbye(_))));
    }
}
