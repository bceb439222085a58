//! Thousands of viewers over gRPC, and watchers of all kinds through a churn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::harness::{Server, soon};
use crate::watch::fixture::{ALL, LivestreamFixture, NEVER, narrow, next, shape};
use crate::watch::fold::{RosterFold, TargetFold, Targets};
use starling_testkit::Rng;

const VIEWERS: u64 = 10_000;
/// Joins and leaves together.
const CHURN: u64 = 1_000;
const TARGET_WATCHERS: u64 = 200;
const EVENT_WATCHERS: u64 = 20;
/// Of each watcher of events: 1 000 in all.
const CUTS: u64 = 50;
/// Connections, and how many calls are under way on each.
const CONNECTIONS: u64 = 4;
const AT_ONCE: u64 = 32;

/// Joins viewers `from..to` over several connections, many at once.
pub(crate) async fn fill(server: &Server, livestream: &LivestreamFixture, from: u64, to: u64) -> Duration {
    let begin = Instant::now();
    let lanes = CONNECTIONS * AT_ONCE;
    let mut joins = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let livestream = livestream.through(server.client().await);
        for lane in 0..AT_ONCE {
            let (livestream, first) = (livestream.clone(), from + connection * AT_ONCE + lane);
            joins.spawn(async move {
                for node in (first..to).step_by(usize::try_from(lanes).unwrap()) {
                    livestream.join(node).await;
                }
            });
        }
    }
    while let Some(joined) = joins.join_next().await {
        joined.unwrap();
    }
    begin.elapsed()
}

/// A target of one of `nodes` that is none of them itself: its leave concerns them.
async fn a_child(livestream: &LivestreamFixture, nodes: &[Option<u64>], random: &mut Rng) -> u64 {
    loop {
        let list = livestream.targets(random.pick(nodes)).await.targets.unwrap();
        let children = list.targets.iter().map(|target| target.node_id);
        if let Some(child) = children.filter(|child| !nodes.contains(&Some(*child))).last() {
            return child;
        }
    }
}

/// Target lists by node; the broadcaster's under `None`.
type Lists = BTreeMap<Option<u64>, Targets>;

/// A watcher of a node's targets that is cut once, when the churn comes to `cut`,
/// and reads until its list is what GetTargets says at the end.
async fn follow_targets(
    livestream: LivestreamFixture,
    node: Option<u64>,
    cut: u64,
    mut progress: watch::Receiver<u64>,
    last: watch::Receiver<Option<Arc<Lists>>>,
) -> usize {
    let begin = async || {
        let mut stream = livestream.watch_targets(node).await;
        let fold = TargetFold::begin(next(&mut stream).await);
        (stream, fold)
    };
    let (mut stream, mut fold) = begin().await;
    loop {
        tokio::select! {
            message = stream.message() => {
                assert_eq!(fold.take(message.unwrap().unwrap()), None);
            }
            reached = progress.wait_for(|done| *done >= cut) => {
                reached.unwrap();
                break;
            }
        }
    }
    drop(stream);
    let told = fold.deltas;
    (stream, fold) = begin().await;
    let mut last = last;
    loop {
        let right = last.borrow_and_update().as_ref().is_some_and(|lists| lists[&node] == fold.now);
        if right {
            return told + fold.deltas;
        }
        // No heartbeat comes in time: what is missing must be told by a delta.
        tokio::select! {
            message = stream.message() => assert_eq!(fold.take(message.unwrap().unwrap()), None),
            changed = last.changed() => changed.unwrap(),
        }
    }
}

/// A watcher of events that is cut at random and resumed; it reads up to `last`.
async fn follow_events(
    livestream: LivestreamFixture,
    seed: u64,
    from: (u64, u64),
    mut last: watch::Receiver<Option<u64>>,
) -> RosterFold {
    let mut random = Rng::new(seed);
    let mut fold = RosterFold::at(from.0, from.1);
    for _ in 0..CUTS {
        let mut stream = livestream.watch_from(&ALL, fold.position()).await;
        for _ in 0..random.within(1, CHURN / CUTS - 1) {
            assert_eq!(fold.take(next(&mut stream).await), None);
        }
        // What was sent and not read is lost with the stream.
    }
    let mut stream = livestream.watch_from(&ALL, fold.position()).await;
    loop {
        let ends = *last.borrow_and_update();
        if ends.is_some_and(|ends| fold.revision >= ends) {
            return fold;
        }
        tokio::select! {
            message = stream.message() => assert_eq!(fold.take(message.unwrap().unwrap()), None),
            changed = last.changed() => changed.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_miss_nothing_under_mass_churn() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let took = fill(&server, &livestream, 10, 10 + VIEWERS).await;
    eprintln!("{VIEWERS} joins over gRPC: {took:.1?}");
    let begun = livestream.get().await;
    assert_eq!(begun.viewer_count, VIEWERS);

    // The broadcaster and relays, whose children come and go; they stay themselves.
    let nodes: Vec<Option<u64>> =
        std::iter::once(None).chain((1..TARGET_WATCHERS).map(|index| Some(10 + 9 * index))).collect();
    let (progress, reached) = watch::channel(0);
    let (tell_lists, lists) = watch::channel(None);
    let (tell_last, last) = watch::channel(None);
    let mut random = Rng::new(7);
    let mut targets = JoinSet::new();
    let watching = livestream.through(server.client().await);
    for node in &nodes {
        let cut = random.within(1, CHURN);
        targets.spawn(follow_targets(watching.clone(), *node, cut, reached.clone(), lists.clone()));
    }
    let mut logs = JoinSet::new();
    let position = (begun.epoch, begun.revision);
    for seed in 0..EVENT_WATCHERS {
        let watching = livestream.through(server.client().await);
        logs.spawn(follow_events(watching, seed, position, last.clone()));
    }
    // One that opens its streams and never polls them.
    let stalled = livestream.through_channel(narrow(&server, 16).await);
    let _unread = (stalled.watch().await, stalled.watch_targets(None).await);

    let begin = Instant::now();
    for step in 1..=CHURN {
        if step % 2 == 0 {
            livestream.leave(a_child(&livestream, &nodes, &mut random).await).await;
        } else {
            let can_relay = Some(random.below(4) > 0);
            livestream
                .join_as(pb::JoinLivestreamRequest { can_relay, ..livestream.join_request(100_000 + step) })
                .await;
        }
        progress.send_replace(step);
    }
    let took = begin.elapsed();
    let ended = livestream.get().await;
    tell_last.send_replace(Some(ended.revision));
    let mut exact = BTreeMap::new();
    for node in &nodes {
        let answer = livestream.targets(*node).await;
        assert_eq!(answer.revision, ended.revision);
        exact.insert(*node, Targets::from(answer.targets.unwrap()));
    }
    tell_lists.send_replace(Some(Arc::new(exact)));

    let mut deltas = 0;
    while let Some(told) = soon(targets.join_next()).await {
        deltas += told.unwrap();
    }
    let mut log: Option<RosterFold> = None;
    while let Some(told) = soon(logs.join_next()).await {
        let told = told.unwrap();
        assert_eq!(told.resets, [], "every resume went on");
        assert_eq!(told.log.len() as u64, ended.revision - begun.revision);
        let first = log.get_or_insert_with(|| told.clone());
        assert_eq!(first.log, told.log, "all have the same log");
    }
    eprintln!(
        "{CHURN} joins and leaves before {} target and {EVENT_WATCHERS} event watchers: {took:.1?}, {} cuts, {deltas} deltas",
        nodes.len(),
        EVENT_WATCHERS * CUTS + nodes.len() as u64,
    );
}

/// How many viewers the roster of the reset has: fewer without optimisation.
fn roster_size() -> u64 {
    std::env::var("STARLING_TEST_ROSTER").map_or(20_000, |size| size.parse().expect("a number of viewers"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reset_of_large_roster_under_churn_ends_exact() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    let slow = livestream.through_channel(narrow(&server, 65_535).await);
    let size = roster_size();
    let took = fill(&server, &livestream, 10, 10 + size).await;
    eprintln!("{size} joins over gRPC: {took:.1?}");

    let (progress, mut reached) = watch::channel(0_u64);
    let busy = livestream.through(server.client().await);
    let churn = async {
        let mut random = Rng::new(8);
        let mut fresh = 1_000_000;
        // Until nobody reads the roster any more.
        while !progress.is_closed() {
            let node = random.within(10, 9 + size);
            if random.below(2) == 0 && busy.leave_if_in(node).await {
                fresh += 1;
                busy.join(fresh).await;
            } else {
                busy.join(node).await;
            }
            progress.send_modify(|steps| *steps += 1);
        }
    };
    let watching = async move {
        // A page does not fit the window, so the scan takes as long as the reader.
        let (mut stream, mut fold) = (slow.watch().await, RosterFold::default());
        let begin = Instant::now();
        while !fold.live {
            let pages = fold.pages;
            assert_eq!(fold.take(next(&mut stream).await), None);
            if fold.pages > pages {
                let steps = *reached.borrow_and_update();
                reached.wait_for(|now| *now >= steps + 10).await.unwrap();
            }
        }
        let steps = *reached.borrow();
        (stream, fold, steps, begin.elapsed())
    };
    let ((), (mut stream, mut fold, steps, took)) = tokio::join!(churn, watching);
    let last = livestream.get().await.revision;
    while fold.revision < last {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert!(!fold.log.is_empty(), "events came between the pages");
    fold.assert_is(&livestream.viewers().await);
    eprintln!(
        "a reset of {size} viewers: {took:.1?}, {} pages, {steps} viewers that came or went meanwhile",
        fold.pages
    );
}
