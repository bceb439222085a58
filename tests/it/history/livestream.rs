//! A livestream: two who take turns as the broadcaster, and one who chats.

use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use starling_client::{Client, SwarmRef};
use starling_verify::PublisherLog;
use tokio::time::interval;

use crate::history::logged_publisher::{LoggedPublisher, draft};
use crate::history::{Clock, LISTENERS, LONG_LEASE, SHORT_LEASE, SWARM};
use starling_testkit::Rng;

const CHATTER: u64 = 5;

/// Makes the livestream.
pub(crate) async fn create(client: &mut Client, rng: &mut Rng) {
    let config = pb::LivestreamConfig {
        subscriber_bytes_per_second: Some(if rng.one_in(2) { 1_000_000_000 } else { 40_000 }),
        max_lag: rng.one_in(2).then_some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
        ..Default::default()
    };
    let create =
        pb::CreateLivestreamRequest { livestream_id: SWARM, node_id: 1, config: Some(config), ..Default::default() };
    client.livestreams.create_livestream(create).await.unwrap();
}

/// Publishes about `updates`, with turns, pauses, mutes and removals, and ends the livestream.
pub(crate) async fn drive(mut client: Client, rng: &mut Rng, updates: u64, clock: &Clock) -> Vec<PublisherLog> {
    let swarm = SwarmRef::Livestream(SWARM);
    let mut publishers = [LoggedPublisher::new(swarm, 1), LoggedPublisher::new(swarm, 2)];
    let mut chatter = LoggedPublisher::new(swarm, CHATTER);
    for node_id in [2, CHATTER] {
        let join =
            pb::JoinLivestreamRequest { livestream_id: SWARM, node_id, lease_ttl: LONG_LEASE, ..Default::default() };
        client.livestreams.join_livestream(join).await.unwrap();
    }
    chatter.open(&client, vec![UpdateChannel::Chat]).await;
    let start = pb::StartLivestreamRequest { livestream_id: SWARM, node_id: 1, ..Default::default() };
    client.livestreams.start_livestream(start).await.unwrap();
    let (mut leader, mut muted, mut paused, mut long_cuts) = (0, false, false, 1);
    while *clock.borrow() < updates {
        let node_id = publishers[leader].node;
        publishers[leader].open(&client, vec![UpdateChannel::Visual, UpdateChannel::Audio, UpdateChannel::Data]).await;
        for _ in 0..50 + rng.below(300) {
            let channel = rng.pick(&[
                UpdateChannel::Visual,
                UpdateChannel::Visual,
                UpdateChannel::Visual,
                UpdateChannel::Audio,
                UpdateChannel::Data,
            ]);
            publishers[leader].publish(draft(rng, channel)).await;
            clock.send_modify(|count| *count += 1);
            if rng.one_in(8) {
                chatter.publish(UpdateDraft { channel: UpdateChannel::Chat.into(), ..Default::default() }).await;
            }
            if rng.one_in(60) {
                let was_paused = paused;
                (muted, paused) = toggle(&mut client, rng, node_id, muted, paused).await;
                if was_paused && !paused {
                    // So that from here on nothing is rejected.
                    publishers[leader].settle().await;
                }
            }
            if rng.one_in(200) {
                remove(&mut client, node_id, rng.pick(&LISTENERS)).await;
            }
            if rng.one_in(40) {
                // What was rejected must be known before the stream goes: the log cannot tell.
                if paused {
                    publishers[leader].settle().await;
                }
                let listener = rng.pick(&LISTENERS);
                tokio::join!(publishers[leader].reopen(&client, rng), ask_for_keyframe(client.clone(), listener));
            }
        }
        publishers[leader].settle().await;
        chatter.settle().await;
        if rng.one_in(2) {
            let other = 1 - leader;
            let transfer = pb::TransferBroadcastRequest {
                livestream_id: SWARM,
                node_id,
                viewer_node_id: publishers[other].node,
                ..Default::default()
            };
            client.livestreams.transfer_broadcast(transfer).await.unwrap();
            leader = other;
            if rng.one_in(3) {
                // There and back in no time: the old one goes on, in its old session.
                let back = pb::TransferBroadcastRequest {
                    livestream_id: SWARM,
                    node_id: publishers[other].node,
                    viewer_node_id: node_id,
                    ..Default::default()
                };
                client.livestreams.transfer_broadcast(back).await.unwrap();
                leader = 1 - other;
                publishers[leader].reopen(&client, rng).await;
            }
        } else if long_cuts > 0 && rng.one_in(2) {
            long_cuts -= 1;
            outlive_the_lease(&mut client, &mut publishers[leader]).await;
        }
    }
    let end = pb::EndLivestreamRequest { livestream_id: SWARM, node_id: publishers[leader].node, ..Default::default() };
    client.livestreams.end_livestream(end).await.unwrap();
    let [one, two] = publishers;
    vec![one.log, two.log, chatter.log]
}

async fn ask_for_keyframe(mut client: Client, node_id: u64) {
    let channel = UpdateChannel::Visual.into();
    let request = pb::RequestKeyframeRequest { livestream_id: SWARM, node_id, channel, ..Default::default() };
    // It may not be in.
    drop(client.livestreams.request_keyframe(request).await);
}

/// The broadcaster joins with a short lease, is cut off, and comes back too late for it.
async fn outlive_the_lease(client: &mut Client, publisher: &mut LoggedPublisher) {
    let join = pb::JoinLivestreamRequest {
        livestream_id: SWARM,
        node_id: publisher.node,
        lease_ttl: SHORT_LEASE,
        ..Default::default()
    };
    client.livestreams.join_livestream(join).await.unwrap();
    publisher.disconnect();
    let mut looks = interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let look = pb::GetLivestreamRequest { livestream_id: SWARM, ..Default::default() };
        let found = client.livestreams.get_livestream(look).await.unwrap().into_inner().livestream.unwrap();
        if !found.broadcaster_present {
            return;
        }
    }
}

async fn toggle(client: &mut Client, rng: &mut Rng, node_id: u64, muted: bool, paused: bool) -> (bool, bool) {
    let (livestream_id, viewer_node_id) = (SWARM, CHATTER);
    if rng.one_in(2) {
        if muted {
            let unmute = pb::UnmuteViewerRequest { livestream_id, node_id, viewer_node_id, ..Default::default() };
            client.livestreams.unmute_viewer(unmute).await.unwrap();
        } else {
            let mute = pb::MuteViewerRequest { livestream_id, node_id, viewer_node_id, ..Default::default() };
            client.livestreams.mute_viewer(mute).await.unwrap();
        }
        return (!muted, paused);
    }
    if paused {
        let resume = pb::ResumeLivestreamRequest { livestream_id, node_id, ..Default::default() };
        client.livestreams.resume_livestream(resume).await.unwrap();
    } else {
        let pause = pb::PauseLivestreamRequest { livestream_id, node_id, ..Default::default() };
        client.livestreams.pause_livestream(pause).await.unwrap();
    }
    (muted, !paused)
}

async fn remove(client: &mut Client, node_id: u64, viewer_node_id: u64) {
    let remove = pb::RemoveViewerRequest { livestream_id: SWARM, node_id, viewer_node_id, ..Default::default() };
    // It may not be in.
    drop(client.livestreams.remove_viewer(remove).await);
}
