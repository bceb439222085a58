//! Those who only listen to a group: recorders, moderation.

use starling_client::pb::group::v1 as pb;
use starling_client::pb::swarm::v1::{EndReason, MemberView, UpdateChannel, UpdateDraft};
use tonic::Code::{FailedPrecondition, ResourceExhausted};

use crate::edge::world::{answered, group, join_group, make_group};
use crate::harness::{Fault, Server, fault, soon};

fn join(node_id: u64, mode: pb::ParticipantMode) -> pb::JoinGroupRequest {
    pb::JoinGroupRequest { group_id: 7, node_id, mode: mode.into(), ..Default::default() }
}

fn draft(channel: UpdateChannel) -> Option<UpdateDraft> {
    Some(UpdateDraft { channel: channel.into(), keyframe: true, payload: b"x".as_slice().into(), ..Default::default() })
}

#[tokio::test]
async fn listener_takes_no_capacity_and_is_no_target() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 2).await;
    join_group(&client, 7, 1).await;
    join_group(&client, 7, 2).await;
    let mut groups = client.clone().groups;
    let full = Fault::new(ResourceExhausted, "SWARM_FULL");
    assert_eq!(fault(groups.join_group(join(3, pb::ParticipantMode::Active)).await), full);
    let joined = answered(groups.join_group(join(3, pb::ParticipantMode::Listener)).await);
    let listener = joined.participant.unwrap();
    assert_eq!(
        (listener.mode(), listener.audio_enabled, listener.video_enabled),
        (pb::ParticipantMode::Listener, false, false)
    );
    assert!(joined.targets.unwrap().targets.is_empty(), "it feeds nobody");
    assert_eq!(joined.participants.len(), 3, "it shows as what it is");
    let now = group(&client, 7).await;
    assert_eq!((now.participant_count, now.listener_count), (2, 1));
    let targets = pb::GetTargetsRequest { group_id: 7, of_node_id: 1, ..Default::default() };
    let targets = answered(groups.get_targets(targets).await).targets.unwrap().targets;
    assert_eq!(targets.iter().map(|target| target.node_id).collect::<Vec<_>>(), [2]);
    // It hears what the others say.
    let subscribe = pb::SubscribeUpdatesRequest { group_id: 7, node_id: 3, ..Default::default() };
    let mut heard = answered(groups.subscribe_updates(subscribe).await);
    soon(heard.message()).await.unwrap().expect("subscribed");
    let publish =
        pb::PublishUpdateRequest { group_id: 7, node_id: 1, update: draft(UpdateChannel::Chat), ..Default::default() };
    answered(groups.publish_update(publish).await);
    soon(heard.message()).await.unwrap().expect("an update");
    // Whoever becomes a participant needs a place, and a participant that listens leaves one.
    assert_eq!(fault(groups.join_group(join(3, pb::ParticipantMode::Active)).await), full);
    answered(groups.join_group(join(2, pb::ParticipantMode::Listener)).await);
    let active = answered(groups.join_group(join(3, pb::ParticipantMode::Active)).await).participant.unwrap();
    assert_eq!((active.mode(), active.audio_enabled), (pb::ParticipantMode::Active, true));
    let again = answered(groups.join_group(join(2, pb::ParticipantMode::Unspecified)).await).participant.unwrap();
    assert_eq!(again.mode(), pb::ParticipantMode::Listener, "as before");
}

#[tokio::test]
async fn a_listener_sends_nothing() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 2).await;
    join_group(&client, 7, 1).await;
    let mut groups = client.clone().groups;
    answered(groups.join_group(join(3, pb::ParticipantMode::Listener)).await);
    let listens = Fault::new(FailedPrecondition, "ONLY_LISTENS");
    for channel in [UpdateChannel::Chat, UpdateChannel::Visual, UpdateChannel::Screen, UpdateChannel::Data] {
        let publish =
            pb::PublishUpdateRequest { group_id: 7, node_id: 3, update: draft(channel), ..Default::default() };
        assert_eq!(fault(groups.publish_update(publish).await), listens, "{channel:?}");
        let open = pb::PublishOpen { group_id: 7, node_id: 3, channels: vec![channel.into()], ..Default::default() };
        let message = Some(pb::publish_updates_request::Message::Open(open));
        let stream = tokio_stream::iter([pb::PublishUpdatesRequest { message }]);
        assert_eq!(fault(groups.publish_updates(stream).await), listens, "{channel:?}");
    }
    let media = pb::SetMediaRequest { group_id: 7, node_id: 3, audio_enabled: Some(true), ..Default::default() };
    assert_eq!(fault(groups.set_media(media).await), listens);
    let share = pb::StartScreenShareRequest { group_id: 7, node_id: 3, ..Default::default() };
    assert_eq!(fault(groups.start_screen_share(share).await), listens);
    let view = MemberView::Full.into();
    let get = pb::GetParticipantRequest { group_id: 7, participant_node_id: 3, view, ..Default::default() };
    let seen = answered(groups.get_participant(get).await).participant.unwrap();
    assert_eq!((seen.mode(), seen.interests.len()), (pb::ParticipantMode::Listener, 5));
}

#[tokio::test]
async fn listener_neither_owns_nor_keeps_a_group() {
    let server = Server::with(|config| config.retention.empty_group = std::time::Duration::from_millis(200)).await;
    let client = server.client().await;
    let mut groups = client.clone().groups;
    let create = pb::CreateGroupRequest { group_id: 7, ..Default::default() };
    answered(groups.create_group(create).await);
    answered(groups.join_group(join(3, pb::ParticipantMode::Listener)).await);
    assert_eq!(group(&client, 7).await.owner_node_id, 0);
    join_group(&client, 7, 1).await;
    assert_eq!(group(&client, 7).await.owner_node_id, 1);
    let watch = pb::WatchGroupRequest { group_id: 7, node_id: 3, ..Default::default() };
    let mut watch = answered(groups.watch_group(watch).await);
    let leave = pb::LeaveGroupRequest { group_id: 7, node_id: 1, ..Default::default() };
    answered(groups.leave_group(leave).await);
    loop {
        let message = soon(watch.message()).await.unwrap().expect("the end is told");
        let Some(pb::watch_group_response::Event::Batch(batch)) = message.event else { continue };
        let event = batch.events[0].clone();
        if let Some(pb::group_event::Change::StateChanged(changed)) = event.change {
            assert_eq!(changed.end_reason(), EndReason::Empty);
            break;
        }
    }
}
