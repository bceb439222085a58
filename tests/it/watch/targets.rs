//! WatchTargets of a livestream.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{Interest, TargetRemovalReason, Topology, UpdateChannel};
use tonic::Streaming;

use crate::harness::Server;
use crate::watch::fixture::{LivestreamFixture, NEVER, ROOT, livestream, narrow, next, shape};
use crate::watch::fold::{TargetFold, Targets};
use starling_testkit::Rng;

/// A watch and what it has told.
struct Watcher {
    node: Option<u64>,
    stream: Streaming<pb::WatchTargetsResponse>,
    fold: TargetFold,
}

impl Watcher {
    async fn of(livestream: &LivestreamFixture, node: Option<u64>) -> Self {
        let mut stream = livestream.watch_targets(node).await;
        let fold = TargetFold::begin(next(&mut stream).await);
        Self { node, stream, fold }
    }

    /// Reads until the fold is what GetTargets says, which it must be at the very
    /// revision that GetTargets names, if the list changed at all.
    async fn catch_up(&mut self, livestream: &LivestreamFixture) {
        let answer = livestream.targets(self.node).await;
        let now = Targets::from(answer.targets.unwrap());
        if self.fold.now == now {
            return;
        }
        while self.fold.revision < answer.revision {
            assert_eq!(self.fold.take(next(&mut self.stream).await), None);
        }
        assert_eq!((self.fold.epoch, self.fold.revision), (answer.epoch, answer.revision));
        assert_eq!(self.fold.now, now, "node {:?} at revision {}", self.node, answer.revision);
    }
}

#[tokio::test]
async fn first_message_is_the_current_list_of_targets() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all(10..15).await;
    for node in [None, Some(ROOT), Some(12)] {
        let watcher = Watcher::of(&livestream, node).await;
        let answer = livestream.targets(node).await;
        assert_eq!((watcher.fold.epoch, watcher.fold.revision), (answer.epoch, answer.revision));
        assert_eq!(watcher.fold.now, answer.targets.unwrap().into());
    }
}

/// One change at a time, between star and tree and back, so that every delta is
/// compared: nothing may be missing from it, and none may fail to come.
#[tokio::test]
async fn deltas_fold_to_get_targets_at_equal_revisions() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(10, 2)).await;
    let mut random = Rng::new(1);
    livestream.join(ROOT).await;
    let (stay, all): (Vec<u64>, Vec<u64>) = ((10..18).collect(), (10..40).collect());
    livestream.join_all(stay.iter().copied()).await;
    let mut watchers = vec![Watcher::of(&livestream, None).await];
    for node in &stay {
        watchers.push(Watcher::of(&livestream, Some(*node)).await);
    }
    let mut present: Vec<u64> = stay.clone();
    let mut broadcaster = ROOT;
    for step in 0..600 {
        let node = random.pick(&all);
        let inside = present.contains(&node);
        // Grows and shrinks by turns, and so crosses the threshold both ways.
        let grows = step % 100 < 50;
        match random.below(10) {
            0 if node != broadcaster && inside => {
                let to = node;
                livestream.transfer(broadcaster, to).await;
                present.retain(|viewer| *viewer != to);
                present.push(broadcaster);
                broadcaster = to;
            }
            1 | 2 if inside => {
                let interest = random.pick(&[Interest::None, Interest::Low, Interest::Medium, Interest::Critical]);
                livestream.want(node, random.pick(&[UpdateChannel::Visual, UpdateChannel::Chat]), interest).await;
            }
            3 | 4 if inside => {
                let can_relay = Some(random.below(2) == 0);
                livestream.join_as(pb::JoinLivestreamRequest { can_relay, ..livestream.join_request(node) }).await;
            }
            5 if inside => {
                let endpoint = Some(random.bits().to_be_bytes().to_vec().into());
                livestream.join_as(pb::JoinLivestreamRequest { endpoint, ..livestream.join_request(node) }).await;
            }
            _ if grows && !inside && node != broadcaster => {
                let can_relay = Some(random.below(3) > 0);
                livestream.join_as(pb::JoinLivestreamRequest { can_relay, ..livestream.join_request(node) }).await;
                present.push(node);
            }
            _ if !grows && inside && !stay.contains(&node) => {
                livestream.leave(node).await;
                present.retain(|viewer| *viewer != node);
            }
            _ => continue,
        }
        for watcher in &mut watchers {
            watcher.catch_up(&livestream).await;
        }
    }
    let deltas: usize = watchers.iter().map(|watcher| watcher.fold.deltas).sum();
    assert!(deltas > 400, "only {deltas} deltas were compared");
}

#[tokio::test]
async fn changed_session_of_a_target_is_an_update() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let first = livestream.join(10).await;
    let mut watcher = Watcher::of(&livestream, None).await;
    assert_eq!(watcher.fold.now.targets[&10].session_id, first.session_id);
    let second = livestream.join(10).await;
    watcher.catch_up(&livestream).await;
    assert_eq!(watcher.fold.now.targets[&10].session_id, second.session_id);
    assert_eq!((watcher.fold.deltas, &watcher.fold.removed[..]), (1, &[][..]));
}

#[tokio::test]
async fn removal_says_whether_target_is_gone_or_reassigned() {
    let (_server, livestream) = livestream(shape(4, 2)).await;
    livestream.join_all(10..14).await;
    let mut watcher = Watcher::of(&livestream, None).await;
    assert_eq!(watcher.fold.now.nodes(), [10, 11, 12, 13]);
    // The fifth viewer makes it a tree, with two targets left to the broadcaster.
    livestream.join(14).await;
    watcher.catch_up(&livestream).await;
    assert_eq!(watcher.fold.now.topology, Topology::Tree);
    let moved: Vec<_> = watcher.fold.removed.drain(..).collect();
    assert_eq!(moved, [(12, TargetRemovalReason::Reassigned), (13, TargetRemovalReason::Reassigned)]);
    livestream.leave(10).await;
    watcher.catch_up(&livestream).await;
    assert_eq!(watcher.fold.removed, [(10, TargetRemovalReason::Gone)]);
}

#[tokio::test]
async fn relay_is_told_its_children_and_their_needs() {
    let (_server, livestream) = livestream(shape(4, 2)).await;
    // A lurker of its own accord never relays, so all of these are active.
    livestream.join_all(10..17).await;
    for node in 10..17 {
        livestream.want(node, UpdateChannel::Visual, Interest::Low).await;
        livestream.want(node, UpdateChannel::Chat, Interest::None).await;
    }
    let root = Watcher::of(&livestream, None).await.fold.now;
    assert_eq!(root.nodes(), [10, 11]);
    let levels = |list: &Targets, node: u64| -> Vec<Interest> {
        let channels = &list.targets[&node].channels;
        let of = |channel| channels.iter().find(|told| told.channel() == channel);
        [UpdateChannel::Visual, UpdateChannel::Audio, UpdateChannel::Screen, UpdateChannel::Chat]
            .map(|channel| of(channel).map_or(Interest::None, |told| told.interest()))
            .to_vec()
    };
    // 10 and 11 have children, who need the media whatever 10 and 11 want themselves.
    let (high, none) = (Interest::High, Interest::None);
    assert_eq!(levels(&root, 10), [high, high, high, none]);
    assert_eq!(levels(&root, 11), [high, high, high, none]);
    let mut relay = Watcher::of(&livestream, Some(10)).await;
    assert_eq!(relay.fold.now.nodes(), [12, 13]);
    let place = relay.fold.now.placement.unwrap();
    assert_eq!((place.parent_node_id, place.depth, place.can_relay), (ROOT, 1, true));
    // 12 feeds 16; 13 feeds nobody and gets what it asked for.
    assert_eq!(livestream.targets(Some(12)).await.targets.map(Targets::from).unwrap().nodes(), [16]);
    assert_eq!(levels(&relay.fold.now, 12), [high, high, high, none]);
    assert_eq!(levels(&relay.fold.now, 13), [Interest::Low, high, high, none]);
    // Without its child 12 is as any other leaf.
    livestream.leave(16).await;
    relay.catch_up(&livestream).await;
    assert_eq!(levels(&relay.fold.now, 12), [Interest::Low, high, high, none]);
}

#[tokio::test]
async fn viewer_is_told_when_its_parents_change() {
    let (_server, livestream) = livestream(shape(4, 2)).await;
    livestream.join_all(10..17).await;
    let mut watcher = Watcher::of(&livestream, Some(16)).await;
    let before = watcher.fold.now.placement.unwrap();
    assert_eq!((before.parent_node_id, before.depth), (12, 3));
    livestream.leave(10).await;
    watcher.catch_up(&livestream).await;
    let after = watcher.fold.now.placement.unwrap();
    assert_ne!(before, after, "its parent's parent left");
    let listed = livestream.viewers().await.into_iter().find(|viewer| viewer.node_id == 16).unwrap();
    assert_eq!(listed.placement, Some(after));
}

#[tokio::test]
async fn watch_without_node_follows_the_broadcaster() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join(ROOT).await;
    livestream.join_all(10..14).await;
    let mut follower = Watcher::of(&livestream, None).await;
    let (mut old, mut new) = (Watcher::of(&livestream, Some(ROOT)).await, Watcher::of(&livestream, Some(12)).await);
    assert_eq!(follower.fold.now.nodes(), [10, 11, 12, 13]);
    livestream.transfer(ROOT, 12).await;
    for watcher in [&mut follower, &mut old, &mut new] {
        watcher.catch_up(&livestream).await;
    }
    assert_eq!(follower.fold.now.nodes(), [ROOT, 10, 11, 13]);
    assert_eq!(follower.fold.now, new.fold.now, "12 is the broadcaster now");
    assert!(old.fold.now.nodes().is_empty());
    assert_eq!(old.fold.now.placement.unwrap().parent_node_id, 12);
    livestream.join(14).await;
    follower.catch_up(&livestream).await;
    assert_eq!(follower.fold.now.nodes(), [ROOT, 10, 11, 13, 14]);
}

/// The window takes less than a message: what is under way when the changes begin
/// may be a delta or two, and all the rest is one.
#[tokio::test]
async fn a_slow_watcher_gets_one_merged_delta() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join_all(10..40).await;
    let slow = livestream.through_channel(narrow(&server, 16).await);
    let mut watcher = Watcher::of(&slow, None).await;
    // 10..30 go, 41..50 come, 35 is another session, 50 comes and goes.
    livestream.join(50).await;
    for node in 10..30 {
        livestream.leave(node).await;
    }
    livestream.join_all(41..50).await;
    livestream.leave(50).await;
    livestream.join(35).await;
    let answer = livestream.targets(None).await;
    while watcher.fold.revision < answer.revision {
        assert_eq!(watcher.fold.take(next(&mut watcher.stream).await), None);
    }
    assert_eq!(watcher.fold.now, answer.targets.unwrap().into(), "no removal is lost");
    assert!(watcher.fold.deltas <= 5, "{} deltas for 32 changes", watcher.fold.deltas);
    let gone: Vec<u64> = watcher.fold.removed.iter().map(|(node, _)| *node).collect();
    assert!((10..30).all(|node| gone.contains(&node)), "each removal is told: {gone:?}");
}

#[tokio::test]
async fn heartbeat_names_current_revision_and_overtakes_nothing() {
    let server = Server::with(|config| config.streams.heartbeat_interval = std::time::Duration::from_millis(1)).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join_all(10..20).await;
    let (mut root, mut leaf) = (Watcher::of(&livestream, None).await, Watcher::of(&livestream, Some(15)).await);
    for node in 20..40 {
        let joined = livestream.join(node).await;
        // Of the root's list a delta comes first; the leaf's has not changed, and a
        // heartbeat says so.
        for watcher in [&mut root, &mut leaf] {
            while watcher.fold.revision < joined.revision {
                assert_eq!(watcher.fold.take(next(&mut watcher.stream).await), None);
            }
        }
        assert!(root.fold.now.targets.contains_key(&node), "the heartbeat overtook the delta");
    }
    assert_eq!(leaf.fold.deltas, 0);
}
