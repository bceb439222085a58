//! When a change was made, and by whom: what the messages of a watch say beside their events.

use starling_client::pb::{group::v1 as group, livestream::v1 as pb};
use tonic::Streaming;

use crate::harness::Server;
use crate::watch::fixture::{livestream, next, shape};

const BROADCASTER: u64 = 1;

/// Reads until this revision is told: by whom it was made, and when, in nanoseconds.
async fn origin(stream: &mut Streaming<pb::WatchLivestreamResponse>, revision: u64) -> (u64, i128) {
    loop {
        let message = next(stream).await;
        if let Some(pb::watch_livestream_response::Event::Batch(events)) = message.event
            && message.revision == revision
        {
            return (events.actor_node_id, nanos(events.event_time));
        }
    }
}

fn nanos(time: Option<prost_types::Timestamp>) -> i128 {
    let time = time.expect("there is a time");
    i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos)
}

#[tokio::test]
async fn livestream_events_name_their_time_and_actor() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let created = nanos(livestream.get().await.create_time);
    let mut watch = livestream.watch().await;
    let joined = livestream.join(10).await.revision;
    let brief = livestream.join_briefly(11).await.revision;
    let muted = livestream.mute(10).await;
    let removed = livestream.remove(10).await;
    let mut last = created;
    for (revision, actor) in [(joined, 10), (brief, 11), (muted, BROADCASTER), (removed, BROADCASTER), (removed + 1, 0)]
    {
        let (by, at) = origin(&mut watch, revision).await;
        assert_eq!(by, actor, "revision {revision}");
        assert!(at >= last, "revision {revision}: {at} after {last}");
        last = at;
    }
}

#[tokio::test]
async fn group_events_name_their_time_and_actor() {
    let server = Server::start().await;
    let mut groups = server.client().await.groups;
    let create = group::CreateGroupRequest { group_id: 7, owner_node_id: 1, ..Default::default() };
    let created = groups.create_group(create).await.unwrap().into_inner().group.unwrap_or_default();
    let watch = group::WatchGroupRequest { group_id: 7, ..Default::default() };
    let mut watch = groups.watch_group(watch).await.unwrap().into_inner();
    let join = |node_id, lease_seconds| group::JoinGroupRequest {
        group_id: 7,
        node_id,
        lease_ttl: Some(prost_types::Duration { seconds: lease_seconds, nanos: 0 }),
        ..Default::default()
    };
    let joined = groups.join_group(join(1, 60)).await.unwrap().into_inner().revision;
    let brief = groups.join_group(join(2, 1)).await.unwrap().into_inner().revision;
    let mut last = nanos(created.create_time);
    for (revision, actor) in [(joined, 1), (brief, 2), (brief + 1, 0)] {
        let events = loop {
            let message = next(&mut watch).await;
            if let Some(group::watch_group_response::Event::Batch(events)) = message.event
                && message.revision == revision
            {
                break events;
            }
        };
        assert_eq!(events.actor_node_id, actor, "revision {revision}");
        let at = nanos(events.event_time);
        assert!(at >= last, "revision {revision}: {at} after {last}");
        last = at;
    }
}
