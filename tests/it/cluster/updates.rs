//! Updates that one server takes, and subscribers of another.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{self as shared, delivery::Item};
use starling_client::{Client, SwarmRef};

use crate::cluster::fixture::Pods;
use crate::edge::updates::{Publisher, Subscriber, delta, keyframe, opening, publish_one};
use crate::edge::world::{answered, go_live, join_livestream, pause, resume};

/// The broadcaster of livestreams that the tests make.
const BROADCASTER: u64 = 1;

/// The next thing that is no sign of life.
async fn next(subscriber: &mut Subscriber) -> Item {
    loop {
        match subscriber.item().await {
            Item::Heartbeat(_) => {}
            item => return item,
        }
    }
}

async fn viewer(client: &Client, livestream_id: u64, node_id: u64) -> Subscriber {
    join_livestream(client, livestream_id, node_id).await;
    Subscriber::open(client, livestream_id, node_id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_delivers_what_one_takes() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    for livestream_id in 1..=12 {
        let client = |at: u64| &clients[usize::try_from((livestream_id + at) % 3).unwrap()];
        go_live(client(0), livestream_id).await;
        let mut publisher = Publisher::open(client(0), livestream_id, BROADCASTER).await;
        let mut early = viewer(client(1), livestream_id, 2).await;
        publisher.run(1, "KPP").await;
        let term = publisher.term();
        let three = [(term, 1), (term, 2), (term, 3)];
        assert_eq!(early.places(3).await, three);
        let mut late = [viewer(client(2), livestream_id, 3).await, viewer(client(0), livestream_id, 4).await];
        for late in &mut late {
            assert_eq!(late.subscribed.waiting_for_keyframe, []);
            assert_eq!(late.places(3).await, three);
        }
        publisher.run(4, "PK").await;
        for subscriber in late.iter_mut().chain([&mut early]) {
            assert_eq!(subscriber.places(2).await, [(term, 4), (term, 5)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publisher_moves_without_a_loss() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let mut publisher = Publisher::open(&clients[0], 7, BROADCASTER).await;
    let mut viewers = Vec::new();
    for (client, node_id) in clients.iter().zip(2..) {
        viewers.push(viewer(client, 7, node_id).await);
    }
    publisher.run(1, "KPP").await;
    let (before, session_id) = (publisher.term(), publisher.opened.session_id);
    let mut next = Publisher::open_with(&clients[1], pb::PublishOpen { session_id, ..opening(7, BROADCASTER) }).await;
    let granted = &next.opened.channels[0];
    assert_eq!((granted.last_publisher_sequence, granted.keyframe_wanted), (3, false));
    next.run(4, "PP").await;
    let term = next.term();
    for viewer in &mut viewers {
        assert_eq!(viewer.places(5).await, [(before, 1), (before, 2), (before, 3), (term, 1), (term, 2)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_server_leaves_an_announced_gap() {
    let mut pods = Pods::start(3).await;
    let clients = pods.clients().await;
    go_live(&clients[1], 7).await;
    let mut publisher = Publisher::open(&clients[0], 7, BROADCASTER).await;
    let mut viewer = viewer(&clients[2], 7, 2).await;
    publisher.run(1, "KP").await;
    let (before, session_id) = (publisher.term(), publisher.opened.session_id);
    assert_eq!(viewer.places(2).await, [(before, 1), (before, 2)]);
    pods.servers.remove(0).kill().await;
    // What the publisher would have had acknowledged meanwhile: 3 and 4.
    let open = pb::PublishOpen { session_id, ..opening(7, BROADCASTER) };
    let mut again = Publisher::open_with(&clients[1], open).await;
    assert!(again.opened.channels[0].keyframe_wanted);
    again.run(5, "K").await;
    let Item::Gap(gap) = next(&mut viewer).await else { panic!("a gap comes first") };
    assert_eq!((gap.reason(), gap.count), (shared::GapReason::Upstream, Some(2)));
    assert_eq!(viewer.places(1).await, [(again.term(), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn single_update_reaches_the_home_of_its_lane() {
    let pods = Pods::start(2).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let mut publisher = Publisher::open(&clients[0], 7, BROADCASTER).await;
    publisher.run(1, "K").await;
    let swarm = SwarmRef::Livestream(7);
    let receipt = publish_one(&clients[1], swarm, BROADCASTER, 0, delta(2)).await.unwrap();
    let position = receipt.position.unwrap();
    assert_eq!((position.term, position.sequence), (publisher.term(), 2));
    // Nobody publishes on this one: the server that is asked is its home.
    let data = |update| shared::UpdateDraft { channel: shared::UpdateChannel::Data.into(), ..update };
    let first = publish_one(&clients[1], swarm, BROADCASTER, 0, data(keyframe(1))).await.unwrap();
    let second = publish_one(&clients[0], swarm, BROADCASTER, 0, data(keyframe(2))).await.unwrap();
    let place = |receipt: shared::PublishReceipt| receipt.position.map(|at| (at.term, at.sequence)).unwrap();
    let ((term, one), next) = (place(first), place(second));
    assert_eq!((one, next), (1, (term, 2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_on_one_server_stops_all() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let mut publisher = Publisher::open(&clients[0], 7, BROADCASTER).await;
    let mut viewer = viewer(&clients[1], 7, 2).await;
    publisher.run(1, "KP").await;
    assert_eq!(viewer.places(2).await.len(), 2);
    answered(clients[2].clone().livestreams.pause_livestream(pause(7)).await);
    answered(clients[1].clone().livestreams.resume_livestream(resume(7)).await);
    // When the home answers, it has applied both.
    join_livestream(&clients[0], 7, 3).await;
    publisher.run(3, "PP").await;
    assert_eq!(viewer.places(2).await, [(publisher.term(), 3), (publisher.term(), 4)]);
}
