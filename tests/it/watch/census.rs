//! WatchLivestreams and WatchGroups: the set of swarms, ordered per partition.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{PartitionPosition, ResetReason, SetPosition};
use starling_client::pb::{group::v1 as group, livestream::v1::LivestreamState as State};
use tonic::Streaming;

use crate::harness::Server;
use crate::watch::fixture::{LivestreamFixture, NEVER, narrow, next, shape};
use crate::watch::fold::CensusFold;

const PARTITIONS: u32 = 4;
/// A log this short is soon lapped.
const LOG: usize = 16;

async fn server() -> Server {
    Server::with(|config| {
        config.store.shards = PARTITIONS as usize;
        config.store.event_log_revisions = LOG;
        config.streams.heartbeat_interval = NEVER;
    })
    .await
}

async fn watch(client: &Client, resume_from: Option<SetPosition>) -> Streaming<pb::WatchLivestreamsResponse> {
    client
        .livestreams
        .clone()
        .watch_livestreams(pb::WatchLivestreamsRequest { resume_from })
        .await
        .unwrap()
        .into_inner()
}

/// A watch from the beginning, read until all partitions are told.
async fn begin(client: &Client) -> (Streaming<pb::WatchLivestreamsResponse>, CensusFold) {
    let (mut stream, mut fold) = (watch(client, None).await, CensusFold::default());
    read_until(&mut stream, &mut fold, |fold| fold.in_sync).await;
    (stream, fold)
}

async fn read_until(
    stream: &mut Streaming<pb::WatchLivestreamsResponse>,
    fold: &mut CensusFold,
    done: impl Fn(&CensusFold) -> bool,
) {
    while !done(fold) {
        assert_eq!(fold.take(next(stream).await), None);
    }
}

async fn livestreams(client: &Client, ids: impl IntoIterator<Item = u64>) -> Vec<LivestreamFixture> {
    let mut livestreams = Vec::new();
    for id in ids {
        livestreams.push(LivestreamFixture::create(client.clone(), id, shape(50, 5)).await);
    }
    livestreams
}

/// What ListLivestreams says, as the fold has it.
async fn listed(client: &Client) -> BTreeMap<u64, (u64, i32, Vec<u8>)> {
    let request = pb::ListLivestreamsRequest { page_size: 1_000, ..Default::default() };
    let answer = client.livestreams.clone().list_livestreams(request).await.unwrap().into_inner();
    assert_eq!(answer.next_page_token, "");
    answer.livestreams.into_iter().map(|l| (l.livestream_id, (l.epoch, l.state, l.metadata.to_vec()))).collect()
}

fn folded(fold: &CensusFold) -> BTreeMap<u64, (u64, i32, Vec<u8>)> {
    fold.swarms.values().map(|swarm| (swarm.id, (swarm.epoch, swarm.state, swarm.metadata.to_vec()))).collect()
}

#[tokio::test]
async fn set_watch_begins_with_snapshots_of_all_partitions() {
    let server = server().await;
    let client = server.client().await;
    let livestreams = livestreams(&client, 1..=40).await;
    livestreams[3].start().await;
    livestreams[4].describe(b"final").await;
    livestreams[5].end().await;
    let (_stream, fold) = begin(&client).await;
    assert_eq!(fold.resets, (1..=PARTITIONS).map(|one| (one, ResetReason::Fresh)).collect());
    assert!(fold.created.is_empty(), "what was there is not told as new");
    assert_eq!(folded(&fold), listed(&client).await);
    assert_eq!(fold.swarms.len(), 40);
}

#[tokio::test]
async fn created_changed_ended_and_removed_swarms_are_told() {
    let server = Server::with(|config| {
        config.store.shards = PARTITIONS as usize;
        config.retention.ended = Duration::from_millis(200);
    })
    .await;
    let client = server.client().await;
    let (mut stream, mut fold) = begin(&client).await;
    let livestream = LivestreamFixture::create(client.clone(), 7, shape(50, 5)).await;
    read_until(&mut stream, &mut fold, |fold| fold.created == [7]).await;
    let epoch = livestream.get().await.epoch;
    let state = |state: State| move |fold: &CensusFold| fold.swarms[&7].state == i32::from(state);
    livestream.start().await;
    read_until(&mut stream, &mut fold, state(State::Active)).await;
    livestream.describe(b"final").await;
    read_until(&mut stream, &mut fold, |fold| fold.swarms[&7].metadata == b"final"[..]).await;
    // Who watches is told of no viewer.
    let before = fold.told;
    livestream.join(10).await;
    livestream.end().await;
    read_until(&mut stream, &mut fold, state(State::Ended)).await;
    assert_eq!(fold.told - before, 1, "only the end is a change of the set");
    read_until(&mut stream, &mut fold, |fold| fold.removed == [7]).await;
    assert_eq!((fold.swarms.len(), fold.created.len()), (0, 1));
    // The id is free for another incarnation.
    livestream.create_again(shape(50, 5)).await;
    read_until(&mut stream, &mut fold, |fold| fold.created == [7, 7]).await;
    assert_ne!(fold.swarms[&7].epoch, epoch);
}

#[tokio::test]
async fn replacement_of_ended_livestream_is_told_as_created() {
    let server = server().await;
    let client = server.client().await;
    let livestream = LivestreamFixture::create(client.clone(), 7, shape(50, 5)).await;
    let (mut stream, mut fold) = begin(&client).await;
    let old = fold.swarms[&7].epoch;
    livestream.end().await;
    livestream.create_again(shape(50, 5)).await;
    read_until(&mut stream, &mut fold, |fold| fold.created == [7]).await;
    assert_ne!(fold.swarms[&7].epoch, old);
    assert_eq!(folded(&fold), listed(&client).await);
}

#[tokio::test]
async fn set_watch_resumes_in_each_partition() {
    let server = server().await;
    let client = server.client().await;
    let livestreams = livestreams(&client, 1..=20).await;
    let (stream, known) = begin(&client).await;
    drop(stream);
    livestreams[2].start().await;
    livestreams[11].end().await;
    let new = LivestreamFixture::create(client.clone(), 100, shape(50, 5)).await;
    let (mut stream, mut fold) = (watch(&client, Some(known.position())).await, known.resumed());
    // Three changes, and nothing else about any swarm.
    read_until(&mut stream, &mut fold, |fold| fold.in_sync).await;
    assert_eq!(fold.told - known.told, 3);
    assert_eq!((fold.resets.len(), &fold.created[..]), (0, &[new.id][..]));
    assert_eq!(folded(&fold), listed(&client).await);
}

#[tokio::test]
async fn lapped_partition_is_reset_alone() {
    let server = server().await;
    let client = server.client().await;
    let livestreams = livestreams(&client, 1..=20).await;
    let (mut stream, known) = begin(&client).await;
    let mut follower = known.resumed();
    for round in 0..=LOG {
        livestreams[0].describe(&[u8::try_from(round).unwrap()]).await;
        let told = follower.told;
        read_until(&mut stream, &mut follower, |fold| fold.told > told).await;
    }
    let busy = follower.positions.iter().find(|(one, position)| known.positions[one] != **position).unwrap().0;
    let (mut stream, mut fold) = (watch(&client, Some(known.position())).await, known.resumed());
    // The state of one partition is told as a whole; of the others nothing is.
    read_until(&mut stream, &mut fold, |fold| fold.in_sync).await;
    assert_eq!(fold.resets, [(*busy, ResetReason::Lapped)].into());
    assert_eq!(folded(&fold), listed(&client).await);
}

#[tokio::test]
async fn position_of_another_set_is_reset_epoch_changed() {
    let server = server().await;
    let client = server.client().await;
    livestreams(&client, 1..=20).await;
    let (_stream, known) = begin(&client).await;
    let foreign = SetPosition { epoch: known.epoch ^ 1, ..known.position() };
    let (mut stream, mut fold) = (watch(&client, Some(foreign)).await, CensusFold::default());
    read_until(&mut stream, &mut fold, |fold| fold.in_sync).await;
    assert_eq!(fold.resets, (1..=PARTITIONS).map(|one| (one, ResetReason::EpochChanged)).collect());
    assert_eq!(folded(&fold), folded(&known));
}

#[tokio::test]
async fn position_not_issued_is_refused_by_field() {
    let server = server().await;
    let client = server.client().await;
    livestreams(&client, 1..=20).await;
    let (_stream, known) = begin(&client).await;
    let good = known.position();
    let with = |change: &dyn Fn(&mut Vec<PartitionPosition>)| {
        let mut position = good.clone();
        change(&mut position.partitions);
        position
    };
    let changed = |at: usize| {
        with(&move |partitions| {
            let mut bytes = partitions[at].position.to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            partitions[at].position = bytes.into();
        })
    };
    for (position, field) in [
        (changed(2), "resume_from.partitions[2].position"),
        (with(&|all| all[0].position = all[1].position.clone()), "resume_from.partitions[0].position"),
        (with(&|all| all[3].position = bytes::Bytes::new()), "resume_from.partitions[3].position"),
        (with(&|all| all[1].partition = 0), "resume_from.partitions[1].partition"),
        (with(&|all| all[1].partition = PARTITIONS + 1), "resume_from.partitions[1].partition"),
        (with(&|all| all[1].partition = 1), "resume_from.partitions[1].partition"),
    ] {
        let request = pb::WatchLivestreamsRequest { resume_from: Some(position) };
        let refused = client.livestreams.clone().watch_livestreams(request).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().starts_with(field), "{field}: {refused:?}");
    }
    // Nor is one of the other set.
    let request = group::WatchGroupsRequest { resume_from: Some(good) };
    assert_eq!(client.groups.clone().watch_groups(request).await.unwrap_err().code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn partition_missing_from_a_position_starts_fresh() {
    let server = server().await;
    let client = server.client().await;
    livestreams(&client, 1..=20).await;
    let (_stream, known) = begin(&client).await;
    for named in [3, 1, 0] {
        let mut position = known.position();
        position.partitions.truncate(named);
        let (mut stream, mut fold) = (watch(&client, Some(position)).await, known.resumed());
        read_until(&mut stream, &mut fold, |fold| fold.in_sync).await;
        let unnamed = (1..=PARTITIONS).skip(named).map(|one| (one, ResetReason::Fresh)).collect();
        assert_eq!(fold.resets, unnamed);
        assert_eq!(folded(&fold), folded(&known));
    }
}

#[tokio::test]
async fn empty_partitions_cost_no_message_of_their_own() {
    let server = Server::with(|config| config.streams.heartbeat_interval = NEVER).await;
    let client = server.client().await;
    livestreams(&client, 1..=2).await;
    let mut stream = watch(&client, None).await;
    let mut fold = CensusFold::default();
    // opened, the two, in_sync.
    for _ in 0..4 {
        assert!(!fold.in_sync);
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert!(fold.in_sync && fold.partitions > 4);
    assert_eq!(folded(&fold), listed(&client).await);
    let mut resumed = fold.resumed();
    let mut stream = watch(&client, Some(fold.position())).await;
    for _ in 0..2 {
        assert_eq!(resumed.take(next(&mut stream).await), None);
    }
    assert!(resumed.in_sync && resumed.told == fold.told);
}

/// The watcher is slower than the changes of one partition, so that this one has changes
/// whenever it looks.
#[tokio::test]
async fn a_busy_partition_does_not_hide_the_others() {
    let server = Server::with(|config| config.store.shards = PARTITIONS as usize).await;
    let client = server.client().await;
    let livestreams = livestreams(&client, 1..=20).await;
    let mut slow = client.clone();
    slow.livestreams = livestreams[0].through_channel(narrow(&server, 16).await).client;
    let partition_of = begin(&client).await.1.partition_of;
    let one = &livestreams[0];
    let other = livestreams.iter().find(|livestream| partition_of[&livestream.id] != partition_of[&one.id]).unwrap();
    for (busy, quiet) in [(one, other), (other, one)] {
        let (mut stream, mut fold) = begin(&slow).await;
        let change = async |round: u64| {
            let mut metadata = [0; 1_024];
            metadata[..8].copy_from_slice(&round.to_be_bytes());
            busy.describe(&metadata).await
        };
        for round in 0..100 {
            change(round).await;
        }
        let metadata = busy.id.to_be_bytes();
        quiet.describe(&metadata).await;
        for round in 50..250 {
            change(2 * round).await;
            change(2 * round + 1).await;
            let told = fold.told;
            read_until(&mut stream, &mut fold, |fold| fold.told > told).await;
        }
        assert_eq!(fold.swarms[&quiet.id].metadata, metadata[..], "{} hides {}", busy.id, quiet.id);
    }
}

#[tokio::test]
async fn a_heartbeat_of_the_set_names_no_partition() {
    let server = Server::with(|config| {
        config.store.shards = PARTITIONS as usize;
        config.streams.heartbeat_interval = Duration::from_millis(1);
    })
    .await;
    let client = server.client().await;
    let livestreams = livestreams(&client, 1..=20).await;
    let (mut stream, mut fold) = begin(&client).await;
    for round in 0..20_u8 {
        for livestream in &livestreams {
            livestream.describe(&[round]).await;
        }
        let last = &livestreams[19].id;
        read_until(&mut stream, &mut fold, |fold| fold.swarms[last].metadata == [round][..]).await;
    }
    // The fold looks at each.
    read_until(&mut stream, &mut fold, |fold| fold.heartbeats > 0).await;
}

#[tokio::test]
async fn groups_are_told_as_livestreams_are() {
    let server = Server::with(|config| {
        config.store.shards = PARTITIONS as usize;
        config.retention.empty_group = Duration::from_millis(200);
        config.retention.ended = Duration::from_millis(200);
    })
    .await;
    let client = server.client().await;
    let create = async |id: u64| {
        let request = group::CreateGroupRequest { group_id: id, owner_node_id: 1, ..Default::default() };
        client.groups.clone().create_group(request).await.unwrap();
        let request = group::JoinGroupRequest { group_id: id, node_id: 1, ..Default::default() };
        client.groups.clone().join_group(request).await.unwrap();
    };
    let watch = async |resume_from: Option<SetPosition>| {
        client.groups.clone().watch_groups(group::WatchGroupsRequest { resume_from }).await.unwrap().into_inner()
    };
    // Livestreams of the same numbers are another set.
    livestreams(&client, 1..=3).await;
    create(1).await;
    create(2).await;
    let (mut stream, mut fold) = (watch(None).await, CensusFold::default());
    while !fold.in_sync {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.swarms.keys().copied().collect::<Vec<_>>(), [1, 2]);
    create(3).await;
    let update = group::UpdateGroupRequest {
        group_id: 1,
        node_id: 1,
        metadata: Some(b"standup".to_vec().into()),
        ..Default::default()
    };
    client.groups.clone().update_group(update).await.unwrap();
    while fold.swarms[&1].metadata != b"standup"[..] || fold.created != [3] {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    drop(stream);
    // One ends, one is left empty; both are forgotten.
    let end = group::EndGroupRequest { group_id: 2, node_id: 1, ..Default::default() };
    client.groups.clone().end_group(end).await.unwrap();
    let leave = group::LeaveGroupRequest { group_id: 3, node_id: 1, ..Default::default() };
    client.groups.clone().leave_group(leave).await.unwrap();
    let (mut stream, mut resumed) = (watch(Some(fold.position())).await, fold.resumed());
    while resumed.removed.len() < 2 {
        assert_eq!(resumed.take(next(&mut stream).await), None);
    }
    assert_eq!(resumed.resets, [].into());
    assert_eq!(resumed.swarms.keys().copied().collect::<Vec<_>>(), [1]);
}
