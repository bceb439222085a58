//! Reads that take a shard's lock more than once, and what a command does around its swarm.

use std::collections::BTreeSet;

use bytes::Bytes;
use starling_core::SharedCommand;
use starling_core::channel::Channel;
use starling_core::command::{By, CreateGroup, CreateLivestream, Join, SwarmUpdate};
use starling_core::group::Config;
use starling_core::id::{Epoch, NodeId, SINGLE_POD};
use starling_core::livestream;

use super::*;
use crate::feed::{Draft, Message, Micros, Timestamp};

const SETTINGS: Settings = Settings {
    shards: 2,
    event_log_revisions: 16,
    event_log_bytes: 1 << 20,
    event_logs_bytes: 1 << 20,
    ring_bytes: 1 << 16,
    feed_memory_bytes: 1 << 20,
    state_bytes: usize::MAX,
    creators: CreatorShares::UNLIMITED,
};

/// A store of two shards with so many groups, numbered from 1.
fn with_groups(count: u64) -> Store {
    let store = Store::new(SETTINGS);
    make_groups(&store, count);
    store
}

fn make_groups(store: &Store, count: u64) {
    for number in 1..=count {
        let create = CreateGroup {
            epoch: Epoch::drawn(number),
            owner: NodeId::new(2),
            config: Config::default(),
            metadata: Box::default(),
            retention_ms: 0,
            empty_ms: 1_000,
        };
        let outcome = store.apply(id(number), Command::CreateGroup(create), 1, Projection::SWARM).unwrap();
        assert!(outcome.created);
        assert_eq!(outcome.swarm.unwrap().id, id(number));
    }
}

fn id(number: u64) -> SwarmId {
    SwarmId::new(SwarmKind::Group, number).unwrap()
}

#[test]
fn list_shows_each_swarm_once() {
    let all = 3 * LISTED_AT_ONCE as u64 + 1;
    let store = with_groups(all);
    for limit in [1, LISTED_AT_ONCE - 1, LISTED_AT_ONCE, LISTED_AT_ONCE + 1, 2 * LISTED_AT_ONCE, 1_000] {
        let (mut after, mut seen) = (None, BTreeSet::new());
        loop {
            let (page, next) = store.list(SwarmKind::Group, after, limit, usize::MAX);
            assert!(page.len() <= limit);
            assert_eq!(next, page.last().map(|swarm| swarm.id).filter(|_| page.len() == limit));
            for swarm in page {
                assert!(seen.insert(swarm.id), "{} comes twice", swarm.id);
            }
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, (1..=all).map(id).collect());
    }
    assert_eq!(store.list(SwarmKind::Livestream, None, 10, usize::MAX).0.len(), 0);
}

#[test]
fn outcome_shows_no_more_than_requested() {
    let store = with_groups(1);
    let outcome = store.apply(id(1), Command::Shared(SharedCommand::Expire), 2, Projection::NOTHING).unwrap();
    assert!(outcome.swarm.is_none() && outcome.member.is_none() && outcome.targets.is_none());
    assert!(outcome.members.is_empty() && outcome.ttl_ms.is_none() && !outcome.created);
}

fn draft(channel: Channel, keyframe: bool) -> Draft {
    Draft {
        channel,
        payload: Bytes::from_static(b"hello"),
        keyframe,
        urgent: false,
        temporal_layer: 0,
        publisher_sequence: 1,
        publish_time: None,
        accept_time: Timestamp { seconds: 0, nanos: 0 },
        proof: None,
    }
}

#[test]
fn nobody_starts_at_what_a_departed_source_published() {
    let store = with_groups(1);
    let (node, session) = (NodeId::new(2).unwrap(), SessionId::new(7).unwrap());
    let apply = |command: SharedCommand| store.apply(id(1), command.into(), 1, Projection::NOTHING).unwrap();
    apply(SharedCommand::Join(Join::bare(node, session, 1_000)));
    let by = By { node, session: None, request: None };
    let channels = [Channel::Visual].into_iter().collect();
    let term =
        apply(SharedCommand::Claim { by: by.clone(), channels, session, ttl_ms: 1_000, pod: SINGLE_POD }).revision;
    let feed = store.read(id(1), Entry::feed).unwrap();
    feed.publish(node, term, draft(Channel::Visual, true), Micros::new(1)).unwrap();
    assert!(feed.has_start(node, Channel::Visual));
    apply(SharedCommand::Leave(by));
    assert!(!feed.has_start(node, Channel::Visual));
}

#[test]
fn feed_is_told_who_left() {
    let store = with_groups(0);
    let id = SwarmId::new(SwarmKind::Livestream, 1).unwrap();
    let [broadcaster, author] = [1, 2].map(|node| NodeId::new(node).unwrap());
    let session = SessionId::new(7).unwrap();
    let apply = |command: Command| store.apply(id, command, 1, Projection::NOTHING).unwrap();
    apply(Command::CreateLivestream(CreateLivestream {
        epoch: Epoch::drawn(1),
        broadcaster,
        config: livestream::Config::default(),
        metadata: Box::default(),
        retention_ms: 0,
    }));
    apply(SharedCommand::Join(Join::bare(author, session, 1_000)).into());
    let feed = store.read(id, Entry::feed).unwrap();
    let draft = draft(Channel::Chat, false);
    feed.chat(Message { author, session, muted: false, draft }, Micros::new(1), true).unwrap();
    assert_eq!(feed.departed_authors(), 0);
    apply(SharedCommand::Leave(By { node: author, session: None, request: None }).into());
    assert_eq!(feed.departed_authors(), 1, "otherwise authors are remembered for ever");
}

/// Updates the metadata of a group, so often.
fn describe(store: &Store, number: u64, times: u64) {
    for time in 0..times {
        let mut metadata = vec![0; 256];
        metadata[..8].copy_from_slice(&time.to_be_bytes());
        let by = By { node: NodeId::new(2).unwrap(), session: None, request: None };
        let update = SwarmUpdate { metadata: Some(metadata.into()), ..SwarmUpdate::default() };
        let update = SharedCommand::UpdateSwarm(by, update);
        store.apply(id(number), update.into(), 1, Projection::NOTHING).unwrap();
    }
}

/// How many revisions the log of a group holds.
fn revisions(store: &Store, number: u64) -> u64 {
    let reaches = |entry: &Entry| {
        let head = entry.log().head();
        let is_there = |back: &u64| matches!(entry.log().since(head - back, 1), log::Since::Events(_));
        (0..=head).take_while(is_there).last().unwrap_or(0)
    };
    store.read(id(number), reaches).unwrap()
}

#[test]
fn largest_logs_give_way_when_all_are_full() {
    let settings = Settings { event_log_revisions: 100_000, ..SETTINGS };
    let store = Store::new(settings);
    let count = 40;
    make_groups(&store, count);
    // One log takes nearly all there is, then goes quiet.
    describe(&store, 1, 10_000);
    assert!(store.log_memory.used() > SETTINGS.event_logs_bytes / 2, "it is alone");
    for number in 2..=count {
        describe(&store, number, 5);
        assert!(store.log_memory.used() <= SETTINGS.event_logs_bytes, "after each command");
    }
    for number in 2..=count {
        assert_eq!(revisions(&store, number), 6, "with its creation: the small ones keep all");
    }
    assert!(store.log_memory.evicted() > 0 && revisions(&store, 1) > 6);
    let held: usize = (1..=count).map(|number| store.read(id(number), |entry| entry.log().bytes()).unwrap()).sum();
    assert_eq!(store.log_memory.used(), held, "booked as it is");
    // All of them together want more than there is: they share it.
    for _ in 0..30 {
        (1..=count).for_each(|number| describe(&store, number, 20));
    }
    let shares = (1..=count).map(|number| store.read(id(number), |entry| entry.log().bytes()).unwrap());
    let (least, most) = shares.fold((usize::MAX, 0), |(least, most), bytes| (least.min(bytes), most.max(bytes)));
    assert!(store.log_memory.used() <= SETTINGS.event_logs_bytes && least * 8 > most, "{least} to {most}");
}

#[test]
fn counts_follow_every_swarm_and_member() {
    let store = with_groups(3);
    let (node, session) = (NodeId::new(2).unwrap(), SessionId::new(7).unwrap());
    let apply = |group, at, command: SharedCommand| store.apply(id(group), command.into(), at, Projection::NOTHING);
    let seen = || {
        let counts = store.counts();
        let group = *counts.kind(SwarmKind::Group);
        let [_, (_, active), _, (_, ended)] = group.swarms().collect::<Vec<_>>()[..] else { panic!("four states") };
        let left: u64 = group.leaves().map(|(_, sessions)| sessions).sum();
        assert_eq!(counts.kind(SwarmKind::Livestream), &counts::KindCounts::default());
        (active, ended, group.members, group.joins, left)
    };
    assert_eq!(seen(), (3, 0, 0, 0, 0));
    for group in [1, 2] {
        apply(group, 1, SharedCommand::Join(Join::bare(node, session, 1_000))).unwrap();
    }
    assert_eq!(seen(), (3, 0, 2, 2, 0));
    let by = By { node, session: None, request: None };
    apply(1, 1, SharedCommand::Leave(by)).unwrap();
    assert_eq!(seen(), (3, 0, 1, 2, 1));
    // Those that are empty end after a second; the lease ends with it.
    for group in [1, 2, 3] {
        drop(apply(group, 5_000, SharedCommand::Expire));
    }
    assert_eq!(seen().2, 0);
    // One by one they are gone, and what was counted stays.
    for at in 2..10 {
        for group in [1, 2, 3] {
            drop(apply(group, at * 5_000, SharedCommand::Expire));
        }
    }
    assert!(store.is_empty());
    assert_eq!(seen(), (0, 0, 0, 2, 2));
}
