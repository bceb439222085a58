//! Lanes that are published at one server and read at another.

use super::*;
use crate::service::watch::Over;

#[tokio::test]
async fn update_of_one_server_reaches_viewers_of_another() {
    let cluster = Cluster::start(2).await;
    let term = cluster.claim(1);
    let (home, other) = (cluster.server(1), cluster.server(2));
    home.publish(term, true, 1);
    home.publish(term, false, 2);
    let mut viewer = other.viewer(2).await;
    assert!(!viewer.waits, "its start was there before it was greeted");
    assert_eq!(viewer.read(2).await, [Got::Update, Got::Update]);
    home.publish(term, false, 3);
    assert_eq!(viewer.read(1).await, [Got::Update]);
    assert_eq!(viewer.head(), (term, 3));
    // One stream for all who read there.
    let mut second = other.viewer(3).await;
    assert_eq!(second.read(3).await, [Got::Update, Got::Update, Got::Update]);
    assert_eq!((other.cascade.followed(), home.cascade.followed()), (1, 0));
}

#[tokio::test]
async fn publisher_goes_on_at_another_server() {
    let cluster = Cluster::start(3).await;
    let term = cluster.claim(1);
    for number in 1..=3 {
        cluster.server(1).publish(term, number == 1, number);
    }
    let mut viewers = [cluster.server(1).viewer(2).await, cluster.server(3).viewer(3).await];
    for viewer in &mut viewers {
        assert_eq!(viewer.read(3).await, [Got::Update, Got::Update, Got::Update]);
    }
    cluster.server(1).publish(term, false, 4);
    let next = cluster.claim(2);
    let home = cluster.server(2);
    home.settle().await;
    let known = home.feed().publisher(node(1), Some(session(1)), Channel::Visual);
    assert_eq!(known.accepted, 4, "the tail of the old home is here");
    home.publish(next, false, 5);
    for viewer in &mut viewers {
        assert_eq!(viewer.read(2).await, [Got::Update, Got::Update], "nothing is lost, and no keyframe is needed");
        assert_eq!(viewer.head(), (next, 1));
    }
    let mut late = home.viewer(4).await;
    assert_eq!(late.read(5).await, vec![Got::Update; 5]);
}

#[tokio::test]
async fn tail_of_a_dead_server_is_a_gap() {
    let mut cluster = Cluster::start(3).await;
    let term = cluster.claim(1);
    let home = cluster.server(1);
    home.publish(term, true, 1);
    let mut viewers = [cluster.server(2).viewer(2).await, cluster.server(3).viewer(3).await];
    for viewer in &mut viewers {
        assert_eq!(viewer.read(1).await, [Got::Update]);
    }
    cluster.kill(1).await;
    // Its publisher has acknowledgements up to 3; nobody else has those.
    let next = cluster.claim(2);
    let home = cluster.server(2);
    home.settle().await;
    home.publish(next, true, 4);
    for viewer in &mut viewers {
        let lost = Got::Lost(Some((term, 1)), Some((next, 1)), GapReason::Upstream, Some(2));
        assert_eq!(viewer.read(2).await, [lost, Got::Update]);
    }
}

#[tokio::test]
async fn update_ahead_of_the_log_waits_for_it() {
    let cluster = Cluster::start(2).await;
    let term = cluster.claim(1);
    let (home, other) = (cluster.server(1), cluster.server(2));
    home.publish(term, true, 1);
    let mut viewer = other.viewer(2).await;
    assert_eq!(viewer.read(1).await, [Got::Update]);
    let next = cluster.apply_on(&[1], &Cluster::claim_command(1));
    assert_eq!(home.publish(next, false, 2), (next, 1));
    assert!(matches!(viewer.subscription.step(), Step::Idle(_)));
    assert_eq!(cluster.apply_on(&[2], &Cluster::claim_command(1)), next);
    assert_eq!(viewer.read(1).await, [Got::Update]);
    assert_eq!(viewer.head(), (next, 1));
}

#[tokio::test]
async fn demand_and_keyframe_requests_go_up() {
    let cluster = Cluster::start(2).await;
    let term = cluster.claim(1);
    let (home, other) = (cluster.server(1).feed(), cluster.server(2));
    assert_eq!(home.demand(node(1), visual()), [(Channel::Visual, Demand::default())]);
    let mut viewer = other.viewer(2).await;
    assert!(viewer.waits);
    let demand = |subscribers| [(Channel::Visual, Demand { highest: Interest::High, subscribers })];
    until(&home, || home.demand(node(1), visual()) == demand(1)).await;
    until(&home, || home.keyframes_due(node(1), term, visual(), clock::uptime()).0 == [Channel::Visual]).await;
    cluster.server(1).publish(term, true, 1);
    assert_eq!(viewer.read(1).await, [Got::Update]);
    let second = other.viewer(3).await;
    until(&home, || home.demand(node(1), visual()) == demand(2)).await;
    drop((viewer, second));
    until(&home, || home.demand(node(1), visual()) == [(Channel::Visual, Demand::default())]).await;
}

#[tokio::test]
async fn swarm_ends_after_its_last_update() {
    let cluster = Cluster::start(2).await;
    let term = cluster.claim(1);
    cluster.server(1).publish(term, true, 1);
    let mut viewer = cluster.server(2).viewer(2).await;
    assert_eq!(viewer.read(1).await, [Got::Update]);
    cluster.apply(&SharedCommand::End(by(1)).into());
    let over = soon(async {
        loop {
            match viewer.subscription.step() {
                Step::Item(deliveries) => panic!("{deliveries:?}"),
                Step::Idle(_) if viewer.subscription.park() => viewer.woken.0.notified().await,
                Step::Idle(_) => tokio::task::yield_now().await,
                Step::Over(over) => return over,
            }
        }
    });
    assert_eq!(over.await, Over::SwarmEnded);
}
