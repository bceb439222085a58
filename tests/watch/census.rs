//! WatchLivestreams and WatchGroups: the set of swarms, ordered per shard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use starling::client::Client;
use starling::pb::livestream::v1 as pb;
use starling::pb::swarm::v1::{ResetReason, SetPosition};
use starling::pb::{group::v1 as group, livestream::v1::LivestreamState as State};
use tonic::Streaming;

use crate::fold::CensusFold;
use crate::harness::Server;
use crate::stage::{NEVER, Show, narrow, next, shape};

const SHARDS: u32 = 4;
/// A log this short is soon lapped.
const LOG: usize = 16;

async fn server() -> Server {
    Server::with(|config| {
        config.store.shards = SHARDS as usize;
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

/// A watch from the beginning, read until every shard is complete.
async fn begin(client: &Client) -> (Streaming<pb::WatchLivestreamsResponse>, CensusFold) {
    let (mut stream, mut fold) = (watch(client, None).await, CensusFold::default());
    read_until(&mut stream, &mut fold, |fold| fold.complete.len() == SHARDS as usize).await;
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

async fn shows(client: &Client, ids: impl IntoIterator<Item = u64>) -> Vec<Show> {
    let mut shows = Vec::new();
    for id in ids {
        shows.push(Show::create(client.clone(), id, shape(50, 5)).await);
    }
    shows
}

/// What ListLivestreams says, as the fold has it.
async fn listed(client: &Client) -> BTreeMap<u64, (u64, i32, Vec<u8>)> {
    let request = pb::ListLivestreamsRequest { page_size: 1_000, page_token: String::new() };
    let answer = client.livestreams.clone().list_livestreams(request).await.unwrap().into_inner();
    assert_eq!(answer.next_page_token, "");
    answer.livestreams.into_iter().map(|l| (l.livestream_id, (l.epoch, l.state, l.metadata.to_vec()))).collect()
}

fn folded(fold: &CensusFold) -> BTreeMap<u64, (u64, i32, Vec<u8>)> {
    fold.swarms.values().map(|swarm| (swarm.id, (swarm.epoch, swarm.state, swarm.metadata.to_vec()))).collect()
}

#[tokio::test]
async fn a_watch_of_the_set_begins_with_a_snapshot_of_each_shard() {
    let server = server().await;
    let client = server.client().await;
    let shows = shows(&client, 1..=40).await;
    shows[3].start().await;
    shows[4].describe(b"final").await;
    shows[5].end().await;
    let (_stream, fold) = begin(&client).await;
    assert_eq!(fold.resets, (0..SHARDS).map(|shard| (shard, ResetReason::Fresh)).collect());
    assert!(fold.created.is_empty(), "what was there is not told as new");
    assert_eq!(folded(&fold), listed(&client).await);
    assert_eq!(fold.swarms.len(), 40);
}

#[tokio::test]
async fn created_changed_ended_and_removed_swarms_are_told() {
    let server = Server::with(|config| {
        config.store.shards = SHARDS as usize;
        config.retention.ended = Duration::from_millis(200);
    })
    .await;
    let client = server.client().await;
    let (mut stream, mut fold) = begin(&client).await;
    let show = Show::create(client.clone(), 7, shape(50, 5)).await;
    read_until(&mut stream, &mut fold, |fold| fold.created == [7]).await;
    let epoch = show.get().await.epoch;
    let state = |state: State| move |fold: &CensusFold| fold.swarms[&7].state == i32::from(state);
    show.start().await;
    read_until(&mut stream, &mut fold, state(State::Active)).await;
    show.describe(b"final").await;
    read_until(&mut stream, &mut fold, |fold| fold.swarms[&7].metadata == b"final"[..]).await;
    // Who watches is told of no viewer.
    let before = fold.positions.clone();
    show.join(10).await;
    show.end().await;
    read_until(&mut stream, &mut fold, state(State::Ended)).await;
    let steps: u64 = fold.positions.iter().map(|(shard, revision)| revision - before[shard]).sum();
    assert_eq!(steps, 1, "only the end is a change of the set");
    read_until(&mut stream, &mut fold, |fold| fold.removed == [7]).await;
    assert_eq!((fold.swarms.len(), fold.created.len()), (0, 1));
    // The id is free for another incarnation.
    show.create_again(shape(50, 5)).await;
    read_until(&mut stream, &mut fold, |fold| fold.created == [7, 7]).await;
    assert_ne!(fold.swarms[&7].epoch, epoch);
}

#[tokio::test]
async fn a_livestream_that_replaces_an_ended_one_is_told_as_created() {
    let server = server().await;
    let client = server.client().await;
    let show = Show::create(client.clone(), 7, shape(50, 5)).await;
    let (mut stream, mut fold) = begin(&client).await;
    let old = fold.swarms[&7].epoch;
    show.end().await;
    show.create_again(shape(50, 5)).await;
    read_until(&mut stream, &mut fold, |fold| fold.created == [7]).await;
    assert_ne!(fold.swarms[&7].epoch, old);
    assert_eq!(folded(&fold), listed(&client).await);
}

#[tokio::test]
async fn a_watch_of_the_set_resumes_in_each_shard_where_it_stopped() {
    let server = server().await;
    let client = server.client().await;
    let shows = shows(&client, 1..=20).await;
    let (stream, known) = begin(&client).await;
    drop(stream);
    shows[2].start().await;
    shows[11].end().await;
    let new = Show::create(client.clone(), 100, shape(50, 5)).await;
    let (mut stream, mut fold) = (watch(&client, Some(known.position())).await, known.resumed());
    // Three changes, and nothing else, neither reset nor roster.
    for _ in 0..3 {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!((fold.resets.len(), &fold.created[..]), (0, &[new.id][..]));
    assert_eq!(folded(&fold), listed(&client).await);
}

#[tokio::test]
async fn a_shard_whose_log_went_round_is_reset_lapped_and_the_others_go_on() {
    let server = server().await;
    let client = server.client().await;
    let shows = shows(&client, 1..=20).await;
    let (mut stream, known) = begin(&client).await;
    let mut follower = known.resumed();
    for round in 0..=LOG {
        shows[0].describe(&[u8::try_from(round).unwrap()]).await;
        assert_eq!(follower.take(next(&mut stream).await), None);
    }
    let busy = follower.positions.iter().find(|(shard, revision)| known.positions[shard] != **revision).unwrap().0;
    let (mut stream, mut fold) = (watch(&client, Some(known.position())).await, known.resumed());
    // The reset of one shard is told whole; of the others nothing is.
    fold.complete.remove(busy);
    read_until(&mut stream, &mut fold, |fold| fold.complete.len() == SHARDS as usize).await;
    assert_eq!(fold.resets, [(*busy, ResetReason::Lapped)].into());
    assert_eq!(folded(&fold), listed(&client).await);
}

#[tokio::test]
async fn a_position_in_another_set_is_reset_epoch_changed() {
    let server = server().await;
    let client = server.client().await;
    shows(&client, 1..=20).await;
    let (_stream, known) = begin(&client).await;
    let foreign = SetPosition { epoch: known.epoch ^ 1, ..known.position() };
    let (mut stream, mut fold) = (watch(&client, Some(foreign)).await, CensusFold::default());
    read_until(&mut stream, &mut fold, |fold| fold.complete.len() == SHARDS as usize).await;
    assert_eq!(fold.resets, (0..SHARDS).map(|shard| (shard, ResetReason::EpochChanged)).collect());
    assert_eq!(folded(&fold), folded(&known));
}

#[tokio::test]
async fn a_position_ahead_of_a_shard_is_reset_unknown_position() {
    let server = server().await;
    let client = server.client().await;
    shows(&client, 1..=20).await;
    let (_stream, known) = begin(&client).await;
    let mut ahead = known.position();
    ahead.shards[2].revision += 1;
    let (mut stream, mut fold) = (watch(&client, Some(ahead)).await, known.resumed());
    fold.complete.remove(&2);
    read_until(&mut stream, &mut fold, |fold| fold.complete.len() == SHARDS as usize).await;
    assert_eq!(fold.resets, [(2, ResetReason::UnknownPosition)].into());
    assert_eq!(folded(&fold), folded(&known));
}

#[tokio::test]
async fn a_shard_that_a_position_does_not_name_starts_anew() {
    let server = server().await;
    let client = server.client().await;
    shows(&client, 1..=20).await;
    let (_stream, known) = begin(&client).await;
    for named in [3, 1, 0] {
        let mut position = known.position();
        position.shards.truncate(named);
        // A shard that this server does not have is nobody's.
        position.shards.push(starling::pb::swarm::v1::ShardPosition { shard: SHARDS, revision: 1 });
        let (mut stream, mut fold) = (watch(&client, Some(position)).await, known.resumed());
        fold.complete = (0..SHARDS).take(named).collect::<BTreeSet<_>>();
        read_until(&mut stream, &mut fold, |fold| fold.complete.len() == SHARDS as usize).await;
        let unnamed = (0..SHARDS).skip(named).map(|shard| (shard, ResetReason::Fresh)).collect();
        assert_eq!(fold.resets, unnamed);
        assert_eq!(folded(&fold), folded(&known));
    }
}

/// The watcher is slower than the changes of one shard, so that this shard has news
/// whenever it looks.
#[tokio::test]
async fn a_busy_shard_does_not_hide_the_others() {
    let server = Server::with(|config| config.store.shards = SHARDS as usize).await;
    let client = server.client().await;
    let shows = shows(&client, 1..=20).await;
    let mut slow = client.clone();
    slow.livestreams = shows[0].through_channel(narrow(&server, 16).await).client;
    let shard_of = begin(&client).await.1.shard_of;
    let one = &shows[0];
    let other = shows.iter().find(|show| shard_of[&show.id] != shard_of[&one.id]).unwrap();
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
        let news = busy.id.to_be_bytes();
        quiet.describe(&news).await;
        for round in 50..250 {
            change(2 * round).await;
            change(2 * round + 1).await;
            assert_eq!(fold.take(next(&mut stream).await), None);
        }
        assert_eq!(fold.swarms[&quiet.id].metadata, news[..], "{} hides {}", busy.id, quiet.id);
    }
}

#[tokio::test]
async fn a_heartbeat_of_the_set_names_no_shard_and_no_revision() {
    let server = Server::with(|config| {
        config.store.shards = SHARDS as usize;
        config.streams.heartbeat_interval = Duration::from_millis(1);
    })
    .await;
    let client = server.client().await;
    let shows = shows(&client, 1..=20).await;
    let (mut stream, mut fold) = begin(&client).await;
    for round in 0..20_u8 {
        for show in &shows {
            show.describe(&[round]).await;
        }
        let last = &shows[19].id;
        read_until(&mut stream, &mut fold, |fold| fold.swarms[last].metadata == [round][..]).await;
    }
    // The fold looks at each.
    read_until(&mut stream, &mut fold, |fold| fold.heartbeats > 0).await;
}

#[tokio::test]
async fn groups_are_told_as_livestreams_are() {
    let server = Server::with(|config| {
        config.store.shards = SHARDS as usize;
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
    shows(&client, 1..=3).await;
    create(1).await;
    create(2).await;
    let (mut stream, mut fold) = (watch(None).await, CensusFold::default());
    while fold.complete.len() < SHARDS as usize {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.swarms.keys().copied().collect::<Vec<_>>(), [1, 2]);
    create(3).await;
    let update = group::UpdateGroupRequest {
        group_id: 1,
        node_id: 1,
        metadata: b"standup".to_vec().into(),
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
