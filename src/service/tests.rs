//! What streams see when the state of a partition takes the place of another one.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::attachment::Attachment;
use super::subscribe::{Request, Subscription};
use super::watch::{
    CensusItem, CensusWatch, Change, EventItem, EventSelection, EventWatch, Over, ResetReason, SetChange, Step,
    TargetWatch,
};
use super::*;
use crate::cluster::partition_state::{PARTITIONS, PartitionState, SHARDS, ShownPartition, partition_of};
use crate::feed::{Draft, Start, Timestamp};
use crate::store::entry::Entry;
use crate::store::{CreatorShares, Store};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, CreateLivestream, Join};
use starling_core::event::LeaveReason;
use starling_core::id::{Epoch, SINGLE_POD};
use starling_core::member::View;
use starling_core::topology::Forwarder;
use starling_core::{Command, LivestreamCommand, NodeId, SessionId, SharedCommand, SwarmId, SwarmKind, wire};
use starling_replica::State;
use starling_replica::state::{LogTime, StateChange};

/// Of the partition 0: it stays; it is not in the other state; there it has another incarnation. And one of another
/// partition.
const STAYS: u64 = 0;
const GOES: u64 = 1;
const OTHER: u64 = 2;

fn swarm(nth: u64, partition: usize) -> SwarmId {
    let ids = (1..).filter_map(|number| SwarmId::new(SwarmKind::Livestream, number));
    let mut here = ids.filter(|id| partition_of(*id) == partition);
    here.nth(usize::try_from(nth).unwrap()).unwrap()
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

fn create(epoch: u64) -> Command {
    Command::CreateLivestream(CreateLivestream {
        epoch: Epoch::new(epoch).unwrap(),
        broadcaster: node(1),
        config: livestream::Config::default(),
        metadata: Box::default(),
        retention_ms: 1_000,
    })
}

fn join(number: u64, session_number: u64) -> Command {
    SharedCommand::Join(Join::bare(node(number), session(session_number), 60_000)).into()
}

/// What both states have gone through: an active livestream whose broadcaster publishes, with viewers 2, 3 and 4.
fn common() -> Vec<(SwarmId, Command)> {
    let id = swarm(STAYS, 0);
    let channels: ChannelSet = [Channel::Visual].into_iter().collect();
    let claim = SharedCommand::Claim { by: by(1), channels, session: session(1), ttl_ms: 60_000, pod: SINGLE_POD };
    let mut all = vec![(id, create(1)), (id, LivestreamCommand::Start(by(1)).into()), (id, claim.into())];
    all.extend([2, 3, 4].map(|number| (id, join(number, number))));
    all
}

/// A process, and the place in it of partition 0.
struct Process {
    service: Service,
    store: Arc<Store>,
    place: ShownPartition,
}

impl Process {
    fn new() -> Self {
        let store = Arc::new(Store::new(crate::store::Settings {
            shards: SHARDS,
            event_log_revisions: 100,
            event_log_bytes: 1 << 20,
            event_logs_bytes: 1 << 24,
            ring_bytes: 1 << 20,
            feed_memory_bytes: 1 << 24,
            state_bytes: 1 << 30,
            creators: CreatorShares::UNLIMITED,
        }));
        let log = CommandLog::local(Arc::clone(&store), Clock::system());
        let settings = Settings { max_swarms: 0, retention_ms: 1_000, empty_group_ms: 1_000, tokens: None };
        let place = ShownPartition::new(Arc::clone(&store), 0).unwrap();
        Self { service: Service::new(log, settings), store, place }
    }

    async fn submit(&self, id: SwarmId, command: Command) -> u64 {
        let outcome = self.service.log.submit(id, command, Projection::NOTHING).await;
        outcome.unwrap().revision
    }

    /// A process that has gone through the common history, and more.
    async fn with_streams() -> Self {
        let process = Self::new();
        for (id, command) in common() {
            process.submit(id, command).await;
        }
        for (nth, epoch) in [(GOES, 2), (OTHER, 3)] {
            process.submit(swarm(nth, 0), create(epoch)).await;
            process.submit(swarm(nth, 0), join(2, 20 + nth)).await;
        }
        process.submit(swarm(0, 3), create(4)).await;
        process
    }

    fn subscribe(&self, id: SwarmId, number: u64, session_number: u64) -> Subscription {
        let request = Request {
            node: node(number),
            session: Some(session(session_number)),
            channels: ChannelSet::default(),
            sources: Vec::new(),
            start: Start::Live,
            resume: None,
        };
        self.service.subscribe(id, request, Waker::noop().clone()).unwrap().0
    }

    async fn attach(&self, id: SwarmId, number: u64, session_number: u64) -> Attachment {
        self.service.attach(id, node(number), session(session_number)).await.unwrap()
    }

    fn watch(&self, id: SwarmId) -> EventWatch {
        let mut watch = self.service.watch_events(id, EventSelection::ALL, None, 100, View::Basic).unwrap();
        while let Step::Item(_) = watch.step() {}
        watch
    }

    fn publish(&self, id: SwarmId, sequence: u64) -> bool {
        let feed = self.store.read(id, Entry::feed).unwrap();
        let term = feed.term(node(1), Channel::Visual).unwrap_or(0);
        let draft = Draft {
            channel: Channel::Visual,
            payload: Bytes::from_static(b"hello"),
            keyframe: true,
            urgent: false,
            temporal_layer: 0,
            publisher_sequence: sequence,
            publish_time: None,
            accept_time: Timestamp { seconds: 0, nanos: 0 },
            proof: None,
        };
        feed.publish(node(1), term, draft, crate::clock::uptime()).is_ok()
    }
}

/// The state that comes: viewer 2 has gone on, 3 has left, 4 has another session; and a swarm has another incarnation.
fn other_state(at: u64) -> PartitionState {
    let mut state = PartitionState::default();
    let time = LogTime { lease: at, wall: at };
    let mut history = common();
    history.push((swarm(STAYS, 0), SharedCommand::Leave(by(3)).into()));
    history.push((swarm(STAYS, 0), join(4, 44)));
    history.push((swarm(STAYS, 0), join(5, 5)));
    history.push((swarm(OTHER, 0), create(33)));
    for (id, command) in history {
        state.apply(StateChange::Command(&wire::encode(id, 0, &command), 1), time).unwrap();
    }
    state.raise(1);
    state
}

/// A state as it comes from a snapshot.
fn through_bytes(state: &PartitionState) -> PartitionState {
    let (mut bytes, mut from) = (Vec::new(), 0);
    while let Some(next) = state.encode_part(1, from, 1_000, &mut bytes) {
        from = next;
    }
    let read = PartitionState::decode(&bytes).unwrap();
    assert_eq!(read.digest(), state.digest());
    read
}

fn live(mut watch: CensusWatch) -> CensusWatch {
    while let Step::Item(_) = watch.step() {}
    watch
}

#[tokio::test]
async fn watchers_begin_anew_with_another_state() {
    let process = Process::with_streams().await;
    let (stays, goes, other) = (swarm(STAYS, 0), swarm(GOES, 0), swarm(OTHER, 0));
    let mut watches = [stays, goes, other].map(|id| process.watch(id));
    let mut elsewhere = process.watch(swarm(0, 3));
    let mut scanning = process.service.watch_events(stays, EventSelection::ALL, None, 1, View::Basic).unwrap();
    assert!(matches!(scanning.step(), Step::Item(EventItem::Reset { .. })));
    let mut targets: TargetWatch = process.service.watch_targets(stays, Forwarder::Broadcaster).unwrap();
    assert!(matches!(targets.step(), Step::Item(_)));
    let (epoch, _) = process.service.set().await.unwrap();
    let mut census = live(process.service.watch_census(SwarmKind::Livestream, epoch, None));
    let mut opened = process.service.watch_census(SwarmKind::Livestream, epoch, None);

    through_bytes(&other_state(process.service.clock().now())).show(&process.place);

    let revision = process.store.read(stays, |entry| entry.swarm().revision()).unwrap();
    assert!(revision > 1 << 20, "all positions of before are lapped");
    for watch in [&mut watches[0], &mut scanning] {
        let Step::Item(EventItem::Reset { reason, revision: at, .. }) = watch.step() else { panic!("a reset") };
        assert_eq!((reason, at), (ResetReason::Lapped, revision));
        let mut members = Vec::new();
        while let Step::Item(item) = watch.step() {
            let EventItem::Roster { members: page, .. } = item else { continue };
            members.extend(page.into_iter().map(|member| (member.node, member.session)));
        }
        assert_eq!(members.len(), 3);
        assert!(members.contains(&(node(4), session(44))) && members.contains(&(node(5), session(5))));
    }
    for watch in &mut watches[1..] {
        assert!(matches!(watch.step(), Step::Over(Over::SwarmEnded)), "its incarnation is no more");
    }
    assert!(matches!(elsewhere.step(), Step::Idle(_)), "other partitions notice nothing");
    let Step::Item(item) = targets.step() else { panic!("other viewers are to be served") };
    let Change::Delta(delta) = item.change else { panic!("what changed is told") };
    assert_eq!(delta.added.iter().map(|target| target.node).collect::<Vec<_>>(), [node(5)]);
    assert_eq!(delta.removed.iter().map(|(gone, _)| *gone).collect::<Vec<_>>(), [node(3)]);

    for watch in [&mut census, &mut opened] {
        let (mut resets, mut told) = (Vec::new(), Vec::new());
        while let Step::Item(items) = watch.step() {
            for item in items {
                match item {
                    CensusItem::About { shard, change: SetChange::Reset(_), .. } => resets.push(shard),
                    CensusItem::About { change: SetChange::Swarm { id, summary, .. }, .. } => {
                        told.push((id, summary.epoch.get()));
                    }
                    CensusItem::About { change: SetChange::Removed { .. }, .. } => panic!("its shard was reset"),
                    CensusItem::Opened { .. } | CensusItem::InSync(_) => {}
                }
            }
        }
        assert!(resets.iter().all(|shard| shard % PARTITIONS == 0) && resets.len() == SHARDS / PARTITIONS);
        assert!(told.contains(&(stays, 1)) && told.contains(&(other, 33)));
        assert!(told.iter().all(|(id, _)| *id != goes));
    }

    // And live on.
    process.submit(stays, join(6, 6)).await;
    assert!(matches!(watches[0].step(), Step::Item(EventItem::Events { .. })));
    assert!(matches!(targets.step(), Step::Item(_)));
}

#[tokio::test]
async fn streams_of_those_who_are_in_go_on() {
    let process = Process::with_streams().await;
    let (stays, goes) = (swarm(STAYS, 0), swarm(GOES, 0));
    let attached = [
        process.attach(stays, 2, 2).await,
        process.attach(stays, 3, 3).await,
        process.attach(stays, 4, 4).await,
        process.attach(goes, 2, 20 + GOES).await,
    ];
    let follows = [2, 3].map(|number| process.service.follow(stays, node(number)).unwrap());
    let mut reads = process.subscribe(stays, 2, 2);
    let mut lost = process.subscribe(goes, 2, 20 + GOES);
    assert!(process.publish(stays, 1));
    assert!(matches!(reads.step(), Step::Item(_)));

    through_bytes(&other_state(process.service.clock().now())).show(&process.place);

    let ended = attached.each_ref().map(Attachment::ended);
    let expected = [None, Some(LeaveReason::Timeout), Some(LeaveReason::Replaced), Some(LeaveReason::Ended)];
    assert_eq!(ended, expected);
    assert_eq!(follows.each_ref().map(Attachment::ended), [None, Some(LeaveReason::Timeout)]);
    assert!(process.publish(stays, 2), "the term is in force on");
    let Step::Item(deliveries) = reads.step() else { panic!("the update comes") };
    assert!(deliveries.iter().any(crate::feed::Delivery::is_update));
    let end = (0..3).map(|_| lost.step()).find(|step| matches!(step, Step::Over(_)));
    assert!(matches!(end, Some(Step::Over(Over::SwarmEnded))));
}

#[tokio::test]
async fn nothing_is_left_of_what_was_replaced() {
    let process = Process::with_streams().await;
    let (stays, goes) = (swarm(STAYS, 0), swarm(GOES, 0));
    {
        let watches = [stays, goes].map(|id| process.watch(id));
        let targets = process.service.watch_targets(stays, Forwarder::Broadcaster).unwrap();
        let attached = [process.attach(stays, 2, 2).await, process.attach(stays, 3, 3).await];
        let reads = [process.subscribe(stays, 2, 2), process.subscribe(goes, 2, 20 + GOES)];
        assert!(process.publish(stays, 1));
        through_bytes(&other_state(process.service.clock().now())).show(&process.place);
        // Dropped after the state that they were opened in.
        drop((watches, targets, attached, reads));
    }
    let fresh = Process::new();
    through_bytes(&other_state(process.service.clock().now())).show(&fresh.place);
    fresh.submit(swarm(0, 3), create(4)).await;
    let kind = |process: &Process| {
        let counts = process.store.counts();
        let kind = *counts.kind(SwarmKind::Livestream);
        (kind.members, kind.swarms().collect::<Vec<_>>(), process.store.len())
    };
    assert_eq!(kind(&process), kind(&fresh));
    // Vectors that have grown differently differ by some bytes.
    assert!(process.store.state_bytes().abs_diff(fresh.store.state_bytes()) < 1_024);

    PartitionState::default().show(&process.place);
    PartitionState::default().show(&fresh.place);
    // The wake tasks end after the last subscription.
    let all_gone = async {
        while process.store.feed_memory().used() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), all_gone).await.expect("nothing holds the feeds");
    assert_eq!((kind(&process), process.store.len()), (kind(&fresh), 1));
    assert_eq!(process.store.state_bytes(), fresh.store.state_bytes());
    assert_eq!(process.store.log_memory().used(), fresh.store.log_memory().used());
}

#[tokio::test]
async fn revoked_tokens_are_those_of_the_state() {
    let process = Process::new();
    let revoke = |number: u64| {
        let command = starling_core::command::RevokeTokens { node: node(number), issued_before: 500, forget_at: 9_000 };
        wire::server::encode(0, &command.into())
    };
    let time = LogTime { lease: 1_000, wall: 1_000 };
    let [mut first, mut second] = [PartitionState::default(), PartitionState::default()];
    first.apply(StateChange::Command(&revoke(1), 1), time).unwrap();
    second.apply(StateChange::Command(&revoke(2), 1), time).unwrap();
    let refuses = || [1, 2, 3].map(|number| process.store.revoked().refuses(node(number), 499));
    through_bytes(&first).show(&process.place);
    assert_eq!(refuses(), [true, false, false]);
    let mut second = through_bytes(&second);
    second.show(&process.place);
    assert_eq!(refuses(), [false, true, false]);
    second.apply(StateChange::Command(&revoke(3), 1), time).unwrap();
    assert_eq!(refuses(), [false, true, true]);
    assert_eq!(through_bytes(&second).attached(1), Vec::new());
    // Other partitions have nothing of it.
    let place = ShownPartition::new(Arc::clone(&process.store), 1).unwrap();
    PartitionState::default().show(&place);
    assert_eq!(refuses(), [false, true, true]);
    PartitionState::default().show(&process.place);
    assert_eq!(refuses(), [false; 3]);
}
