//! WatchLivestreams and WatchGroups: each incarnation is told once, from its creation to
//! its removal, whoever watches.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{EndReason, ResetReason, SetPosition};
use starling_client::pb::{group::v1 as group, livestream::v1::LivestreamState};
use tokio::task::JoinSet;
use tonic::Streaming;

use crate::harness::Server;
use crate::watch::fixture::{LivestreamFixture, NEVER, narrow, next, shape};
use crate::watch::fold::CensusFold;
use starling_testkit::Rng;

const SHARDS: usize = 2;
/// Few, so that each is had by many incarnations.
const IDS: u64 = 4;

async fn server(log: usize) -> Server {
    Server::with(|config| {
        config.store.shards = SHARDS;
        config.store.event_log_revisions = log;
        config.streams.heartbeat_interval = NEVER;
    })
    .await
}

async fn watch(client: &Client, resume_from: Option<SetPosition>) -> Streaming<pb::WatchLivestreamsResponse> {
    let request = pb::WatchLivestreamsRequest { resume_from };
    client.livestreams.clone().watch_livestreams(request).await.unwrap().into_inner()
}

async fn begin(client: &Client) -> (Streaming<pb::WatchLivestreamsResponse>, CensusFold) {
    let (mut stream, mut fold) = (watch(client, None).await, CensusFold::default());
    while !fold.in_sync {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    (stream, fold)
}

/// Creates, changes, ends and replaces livestreams at random; all incarnations in their order.
async fn live_many_lives(client: &Client, random: &mut Rng, steps: u64) -> BTreeMap<u64, Vec<u64>> {
    let mut livestreams: BTreeMap<u64, (LivestreamFixture, bool)> = BTreeMap::new();
    let mut epochs: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for step in 0..steps {
        let id = random.within(1, IDS);
        match livestreams.get_mut(&id) {
            None => {
                let livestream = LivestreamFixture::create(client.clone(), id, shape(50, 5)).await;
                epochs.insert(id, vec![livestream.get().await.epoch]);
                livestreams.insert(id, (livestream, true));
            }
            Some((livestream, alive @ true)) => match random.below(4) {
                0 => drop(livestream.start().await),
                1 => drop(livestream.describe(&step.to_be_bytes()).await),
                _ => {
                    livestream.end().await;
                    *alive = false;
                }
            },
            Some((livestream, alive)) => {
                epochs.entry(id).or_default().push(livestream.create_again(shape(50, 5)).await.epoch);
                *alive = true;
            }
        }
    }
    epochs
}

/// What a fold must have been told, when nothing was there before and no partition was reset.
fn assert_told(fold: &CensusFold, epochs: &BTreeMap<u64, Vec<u64>>) {
    for (id, epochs) in epochs {
        let of = |told: &[(u64, u64)]| told.iter().filter(|told| told.0 == *id).map(|told| told.1).collect::<Vec<_>>();
        assert_eq!(of(&fold.births), *epochs, "livestream {id} is created");
        assert_eq!(of(&fold.deaths), epochs[..epochs.len() - 1], "livestream {id} is removed");
        assert_eq!(fold.swarms[id].epoch, *epochs.last().unwrap());
    }
}

fn is_current(fold: &CensusFold, epochs: &BTreeMap<u64, Vec<u64>>) -> bool {
    epochs.iter().all(|(id, epochs)| fold.swarms.get(id).map(|swarm| swarm.epoch) == epochs.last().copied())
}

#[tokio::test]
async fn watchers_are_told_each_incarnation_once() {
    for seed in 0..3 {
        let mut random = Rng::new(seed);
        let server = server(4_096).await;
        let client = server.client().await;
        // One reads all the time, one not before all is over, one comes back after every message.
        let (mut stream, mut live) = begin(&client).await;
        let mut slow = client.clone();
        slow.livestreams = pb::livestream_service_client::LivestreamServiceClient::new(narrow(&server, 16).await);
        let (mut unread, mut late) = begin(&slow).await;
        let start = live.position();
        let mut reading = JoinSet::new();
        reading.spawn(async move {
            let mut told = Vec::new();
            while let Ok(Some(message)) = stream.message().await {
                told.push(message);
            }
            told
        });
        let epochs = live_many_lives(&client, &mut random, 40).await;
        while !is_current(&late, &epochs) {
            assert_eq!(late.take(next(&mut unread).await), None);
        }
        assert_told(&late, &epochs);

        let mut resumed = live.clone();
        assert_eq!(resumed.position(), start);
        while !is_current(&resumed, &epochs) {
            let (mut stream, told) = (watch(&client, Some(resumed.position())).await, resumed.told);
            while resumed.told == told {
                assert_eq!(resumed.take(next(&mut stream).await), None);
            }
        }
        assert_told(&resumed, &epochs);
        // The position from before everything, once more, in one go.
        let mut all = live.clone();
        let mut stream = watch(&client, Some(start)).await;
        while !is_current(&all, &epochs) {
            assert_eq!(all.take(next(&mut stream).await), None);
        }
        assert_told(&all, &epochs);

        server.shutdown().await;
        for message in reading.join_next().await.unwrap().unwrap() {
            if live.take(message).is_some() {
                break;
            }
        }
        assert_told(&live, &epochs);
    }
}

#[tokio::test]
async fn a_replaced_livestream_is_removed_with_its_end() {
    let server = server(4_096).await;
    let client = server.client().await;
    let (stream, known) = begin(&client).await;
    drop(stream);
    let livestream = LivestreamFixture::create(client.clone(), 7, shape(50, 5)).await;
    let old = livestream.get().await;
    livestream.describe(b"first").await;
    livestream.end().await;
    let end_time = livestream.get().await.end_time;
    livestream.create_again(shape(50, 5)).await;
    let mut stream = watch(&client, Some(known.position())).await;
    use pb::watch_livestreams_response::Event;
    assert!(matches!(next(&mut stream).await.event, Some(Event::Opened(_))));
    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(next(&mut stream).await.event.unwrap());
    }
    // The old one is shown as it was last, never the new one in its place.
    for (at, event) in told[..3].iter().enumerate() {
        let Event::Livestream(summary) = event else { panic!("{event:?}") };
        assert_eq!((summary.epoch, summary.created), (old.epoch, at == 0));
        assert_eq!((summary.state(), summary.end_reason()), (LivestreamState::Ended, EndReason::Requested));
        assert_eq!(summary.metadata, &b"first"[..]);
    }
    let Event::Removed(removed) = &told[3] else { panic!("{told:?}") };
    assert_eq!(removed.state(), LivestreamState::Ended);
    assert_eq!((removed.livestream_id, removed.epoch), (7, old.epoch));
    assert_eq!((removed.end_reason(), removed.end_time), (EndReason::Requested, end_time));
    let Event::Livestream(new) = &told[4] else { panic!("{told:?}") };
    assert!(new.created && new.epoch != old.epoch && new.metadata.is_empty(), "{new:?}");
}

#[tokio::test]
async fn position_lapped_by_the_log_is_reset() {
    let server = server(8).await;
    let client = server.client().await;
    let (stream, known) = begin(&client).await;
    drop(stream);
    let epochs = live_many_lives(&client, &mut Rng::new(1), 60).await;
    let (mut stream, mut fold) = (watch(&client, Some(known.position())).await, known.resumed());
    while !is_current(&fold, &epochs) {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert!(!fold.resets.is_empty() && fold.resets.values().all(|reason| *reason == ResetReason::Lapped));
}

#[tokio::test]
async fn large_summaries_cause_earlier_resets() {
    let server = server(1_000_000).await;
    let client = server.client().await;
    let (stream, known) = begin(&client).await;
    drop(stream);
    let livestream = LivestreamFixture::create(client.clone(), 7, shape(50, 5)).await;
    // What the log keeps of those that are gone is bounded in bytes.
    for _ in 0..200 {
        livestream.describe(&[1; 1_024]).await;
        livestream.end().await;
        livestream.create_again(shape(50, 5)).await;
    }
    let epochs = BTreeMap::from([(7, vec![livestream.get().await.epoch])]);
    let (mut stream, mut fold) = (watch(&client, Some(known.position())).await, known.resumed());
    while !is_current(&fold, &epochs) {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.resets.values().copied().collect::<Vec<_>>(), [ResetReason::Lapped]);
    assert!(fold.deaths.is_empty());
}

#[tokio::test]
async fn groups_are_told_each_incarnation_once() {
    let server = Server::with(|config| {
        config.store.shards = SHARDS;
        config.retention.empty_group = Duration::from_millis(50);
        config.streams.heartbeat_interval = NEVER;
    })
    .await;
    let client = server.client().await;
    let watch = async |resume_from: Option<SetPosition>| {
        client.groups.clone().watch_groups(group::WatchGroupsRequest { resume_from }).await.unwrap().into_inner()
    };
    let (mut stream, mut fold) = (watch(None).await, CensusFold::default());
    while !fold.in_sync {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    let (start, mut epochs) = (fold.clone(), Vec::new());
    for round in 0..4 {
        let create = group::CreateGroupRequest { group_id: 7, owner_node_id: 1, ..Default::default() };
        let made = client.groups.clone().create_group(create).await.unwrap().into_inner().group.unwrap();
        epochs.push((7, made.epoch));
        if round % 2 == 0 {
            let end = group::EndGroupRequest { group_id: 7, node_id: 1, ..Default::default() };
            client.groups.clone().end_group(end).await.unwrap();
        } else {
            // Empty for too long, it ends and goes at once.
            while fold.deaths.len() <= round {
                assert_eq!(fold.take(next(&mut stream).await), None);
            }
        }
    }
    drop(stream);
    let mut resumed = start;
    while resumed.deaths.len() < 4 {
        let (mut stream, told) = (watch(Some(resumed.position())).await, resumed.told);
        while resumed.told == told {
            assert_eq!(resumed.take(next(&mut stream).await), None);
        }
    }
    for told in [fold, resumed] {
        assert_eq!((&told.births, &told.deaths), (&epochs, &epochs));
    }
}
