//! One group, full but for a participant and a listener.

use starling_client::pb::group::v1 as pb;
use starling_client::pb::group::v1::{publish_updates_request, publish_updates_response};
use starling_client::pb::swarm::v1 as shared;
use starling_core::Epoch;
use tonic::Streaming;

use crate::meter::Allowed;
use crate::table::{flat, request_id, unary};
use crate::world::{CALL, FIRST, LISTENERS, World, group};

/// Who comes.
const GUEST: u64 = 500_000;
/// Who subscribes, and has subscribed before.
const MEMBER: u64 = FIRST + 2;
/// Who has no stream.
const QUIET: u64 = FIRST + 20;
/// The longest endpoint or metadata of a member.
const LONG: [u8; 256] = [9; 256];

/// Everybody in the group.
fn members(world: &World) -> usize {
    usize::try_from(2 * world.size.participants).unwrap() + 1
}

/// What all participants want of each other: a leave makes a copy of it without the one that left, for each.
fn overrides(world: &World) -> usize {
    let participants = usize::try_from(world.size.participants).unwrap();
    participants * participants * 5
}

/// As many interests as there may be, each another one than before.
fn interests(interest: shared::Interest) -> Vec<shared::ChannelInterest> {
    let one = |(source_node_id, channel)| shared::ChannelInterest {
        channel,
        interest: interest.into(),
        source_node_id,
        ..Default::default()
    };
    (FIRST..FIRST + 256).flat_map(|source| (1..=5).map(move |channel| (source, channel))).map(one).collect()
}

pub(crate) async fn get_group(world: &mut World) {
    let mut api = world.client.groups.clone();
    flat(world, "", api.get_group(pb::GetGroupRequest { group_id: CALL, ..Default::default() })).await;
}

/// All who subscribe look again.
pub(crate) async fn update_group(world: &mut World) {
    let mut api = world.client.groups.clone();
    let (count, woken) = (world.subscribers(group(CALL)), world.woken());
    let request = pb::UpdateGroupRequest {
        group_id: CALL,
        node_id: FIRST,
        metadata: Some(vec![9; 1_024].into()),
        request_id: request_id("update"),
        config: Some(pb::GroupConfig { subscriber_bytes_per_second: Some(1_000_000_000), ..Default::default() }),
        ..Default::default()
    };
    let update = async {
        api.update_group(request).await.unwrap();
        woken.reach(count).await;
        ((), count)
    };
    world.measure("", Allowed::Whole(1), update).await;
}

fn join(node_id: u64, mode: pb::ParticipantMode) -> pb::JoinGroupRequest {
    pb::JoinGroupRequest {
        group_id: CALL,
        node_id,
        endpoint: Some(LONG.to_vec().into()),
        metadata: Some(LONG.to_vec().into()),
        interests: interests(shared::Interest::Medium),
        lease_ttl: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        request_id: request_id("join"),
        mode: mode.into(),
    }
}

/// The answer has everybody, and everybody gets another target list.
pub(crate) async fn join_group(world: &mut World) {
    let mut api = world.client.groups.clone();
    let count = members(world);
    let new = join(GUEST, pb::ParticipantMode::Active);
    unary(world, "participant", Allowed::Whole(18), api.join_group(new.clone()), |_| count).await;
    unary(world, "repeat", Allowed::Whole(7), api.join_group(new), |_| count).await;
    let listener = join(GUEST + 1, pb::ParticipantMode::Listener);
    unary(world, "listener", Allowed::Whole(14), api.join_group(listener), |_| count).await;
    let again = join(MEMBER, pb::ParticipantMode::Active);
    unary(world, "again", Allowed::Whole(25), api.join_group(again), |_| count).await;
}

pub(crate) async fn renew_lease(world: &mut World) {
    let mut api = world.client.groups.clone();
    flat(world, "", api.renew_lease(pb::RenewLeaseRequest { group_id: CALL, node_id: QUIET, ..Default::default() }))
        .await;
}

pub(crate) async fn get_participant(world: &mut World) {
    let mut api = world.client.groups.clone();
    let view = shared::MemberView::Full.into();
    let request = pb::GetParticipantRequest { group_id: CALL, participant_node_id: QUIET, view, ..Default::default() };
    flat(world, "", api.get_participant(request)).await;
}

pub(crate) async fn list_participants(world: &mut World) {
    let mut api = world.client.groups.clone();
    // With what each wants, and what the next one wants, which has no room.
    let count = |answer: pb::ListParticipantsResponse| {
        5 * 256 + answer.participants.iter().map(|member| 1 + member.interests.len()).sum::<usize>()
    };
    for (name, view) in [("full", shared::MemberView::Full), ("basic", shared::MemberView::Basic)] {
        let view = view.into();
        let page = pb::ListParticipantsRequest { group_id: CALL, page_size: 1_000, view, ..Default::default() };
        unary(world, name, Allowed::Parts(3), api.list_participants(page), count).await;
    }
    let node_ids = (FIRST..FIRST + 1_000).collect();
    let named = pb::ListParticipantsRequest { group_id: CALL, node_ids, ..Default::default() };
    unary(world, "named", Allowed::Parts(3), api.list_participants(named), count).await;
}

/// Another endpoint is told to all.
pub(crate) async fn update_participant(world: &mut World) {
    let mut api = world.client.groups.clone();
    let count = members(world);
    let metadata = pb::UpdateParticipantRequest {
        group_id: CALL,
        node_id: QUIET,
        metadata: Some(LONG.to_vec().into()),
        request_id: request_id("metadata"),
        ..Default::default()
    };
    let endpoint = pb::UpdateParticipantRequest {
        endpoint: Some(LONG.to_vec().into()),
        metadata: None,
        request_id: request_id("endpoint"),
        ..metadata.clone()
    };
    flat(world, "metadata", api.update_participant(metadata)).await;
    unary(world, "endpoint", Allowed::Whole(1), api.update_participant(endpoint), |_| count).await;
}

pub(crate) async fn set_media(world: &mut World) {
    let mut api = world.client.groups.clone();
    for (name, on) in [("off", Some(false)), ("on", Some(true))] {
        let request = pb::SetMediaRequest {
            group_id: CALL,
            node_id: MEMBER,
            audio_enabled: on,
            video_enabled: on,
            request_id: request_id(name),
            ..Default::default()
        };
        flat(world, name, api.set_media(request)).await;
    }
}

pub(crate) async fn start_screen_share(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request_id = request_id("start");
    let request = pb::StartScreenShareRequest { group_id: CALL, node_id: MEMBER, request_id, ..Default::default() };
    flat(world, "", api.start_screen_share(request)).await;
}

pub(crate) async fn stop_screen_share(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request_id = request_id("stop");
    let request = pb::StopScreenShareRequest { group_id: CALL, node_id: MEMBER, request_id, ..Default::default() };
    flat(world, "", api.stop_screen_share(request)).await;
}

/// So much for each interest that is there and each that is set.
pub(crate) async fn set_interest(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = pb::SetInterestRequest {
        group_id: CALL,
        node_id: MEMBER,
        interests: interests(shared::Interest::Critical),
        request_id: request_id("interests"),
        ..Default::default()
    };
    unary(world, "all", Allowed::Whole(11), api.set_interest(request), |_| 5 * 256).await;
    let one = pb::SetInterestRequest {
        group_id: CALL,
        node_id: MEMBER,
        interests: interests(shared::Interest::Low)[..1].to_vec(),
        request_id: request_id("one"),
        ..Default::default()
    };
    unary(world, "one", Allowed::Whole(4), api.set_interest(one), |_| 5 * 256).await;
}

pub(crate) async fn get_targets(world: &mut World) {
    let mut api = world.client.groups.clone();
    let count = |answer: pb::GetTargetsResponse| answer.targets.map_or(0, |list| list.targets.len());
    let request = pb::GetTargetsRequest { group_id: CALL, of_node_id: QUIET, ..Default::default() };
    unary(world, "", Allowed::Parts(7), api.get_targets(request), count).await;
}

/// The whole list is copied for each change of it: up to 255 targets.
pub(crate) async fn watch_targets(world: &mut World) {
    let mut api = world.client.groups.clone();
    let (mut own, targets) = (api.clone(), members(world));
    let open = async {
        let request = pb::WatchTargetsRequest { group_id: CALL, of_node_id: QUIET, ..Default::default() };
        let mut stream = own.watch_targets(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        (stream, targets)
    };
    let mut stream = world.measure("open", Allowed::Parts(7), open).await;
    let change = async {
        let endpoint = Some(vec![3].into());
        let request = pb::UpdateParticipantRequest { group_id: CALL, node_id: MEMBER, endpoint, ..Default::default() };
        api.update_participant(request).await.unwrap();
        stream.message().await.unwrap().unwrap();
        ((), targets)
    };
    world.measure("change", Allowed::Parts(4), change).await;
    world.close(stream).await;
}

pub(crate) async fn report_peer(world: &mut World) {
    let mut api = world.client.groups.clone();
    let reason = shared::PeerReportReason::Unreachable.into();
    let request =
        pb::ReportPeerRequest { group_id: CALL, node_id: QUIET, peer_node_id: FIRST, reason, ..Default::default() };
    flat(world, "", api.report_peer(request)).await;
}

/// The largest that there may be. Urgent: all who subscribe get it at once.
fn draft(channel: shared::UpdateChannel, publisher_sequence: u64) -> shared::UpdateDraft {
    let payload = vec![7; 1 << 20].into();
    let channel = channel.into();
    shared::UpdateDraft { channel, payload, keyframe: true, urgent: true, publisher_sequence, ..Default::default() }
}

pub(crate) async fn publish_update(world: &mut World) {
    let mut api = world.client.groups.clone();
    let (count, woken) = (world.subscribers(group(CALL)), world.woken());
    let update = Some(draft(shared::UpdateChannel::Visual, 1));
    let request = pb::PublishUpdateRequest { group_id: CALL, node_id: QUIET, update, ..Default::default() };
    let publish = async {
        api.publish_update(request).await.unwrap();
        woken.reach(count).await;
        ((), count)
    };
    world.measure("", Allowed::Whole(1), publish).await;
}

/// What the server says next that is no request for a keyframe and no demand.
async fn said(stream: &mut Streaming<pb::PublishUpdatesResponse>) -> publish_updates_response::Event {
    use publish_updates_response::Event;
    loop {
        match stream.message().await.unwrap().unwrap().event.unwrap() {
            Event::KeyframeRequest(_) | Event::Demand(_) | Event::Skips(_) => {}
            said => return said,
        }
    }
}

pub(crate) async fn publish_updates(world: &mut World) {
    use publish_updates_request::Message;
    let mut api = world.client.groups.clone();
    let count = world.subscribers(group(CALL));
    let (send, receive) = tokio::sync::mpsc::channel(4);
    let message = |message| pb::PublishUpdatesRequest { message: Some(message) };
    let open = async {
        let channels = vec![1, 2, 4, 5];
        let open =
            pb::PublishOpen { group_id: CALL, node_id: QUIET, channels, temporal_layers: 3, ..Default::default() };
        send.send(message(Message::Open(open))).await.unwrap();
        let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
        let mut stream = api.publish_updates(requests).await.unwrap().into_inner();
        assert!(matches!(said(&mut stream).await, publish_updates_response::Event::Opened(_)));
        (stream, 0)
    };
    let mut stream = world.measure("open", Allowed::Flat, open).await;
    let woken = world.woken();
    let update = async {
        send.send(message(Message::Update(draft(shared::UpdateChannel::Visual, 2)))).await.unwrap();
        assert!(matches!(said(&mut stream).await, publish_updates_response::Event::Ack(_)));
        woken.reach(count).await;
        ((), count)
    };
    world.measure("update", Allowed::Whole(1), update).await;
    world.close((stream, send)).await;
}

/// The answer names each source and channel, and so does the request.
pub(crate) async fn subscribe_updates(world: &mut World) {
    let mut api = world.client.groups.clone();
    let mut own = api.clone();
    let lanes = usize::try_from(world.size.participants).unwrap() * 5;
    let open = async {
        let position = |(source_node_id, channel)| shared::UpdatePosition {
            source_node_id,
            channel,
            term: 1,
            ..Default::default()
        };
        let all = (FIRST..FIRST + 256).flat_map(|source| (1..=5).map(move |channel| (source, channel)));
        let positions = all.map(position).collect();
        let epoch = Epoch::drawn(CALL).get();
        let request = pb::SubscribeUpdatesRequest {
            group_id: CALL,
            node_id: QUIET,
            channels: (1..=5).collect(),
            source_node_ids: (FIRST..FIRST + 256).collect(),
            resume_from: Some(shared::SubscriptionPosition { epoch, positions, open_gaps: Vec::new() }),
            ..Default::default()
        };
        let mut stream = own.subscribe_updates(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        (stream, lanes)
    };
    let mut stream = world.measure("open", Allowed::Whole(8), open).await;
    let (count, woken) = (world.subscribers(group(CALL)), world.woken());
    let update = async {
        let update = Some(draft(shared::UpdateChannel::Data, 1));
        let request = pb::PublishUpdateRequest { group_id: CALL, node_id: QUIET, update, ..Default::default() };
        api.publish_update(request).await.unwrap();
        stream.message().await.unwrap().unwrap();
        woken.reach(count).await;
        ((), count)
    };
    world.measure("update", Allowed::Whole(1), update).await;
    let shut = async { (drop(stream), lanes) };
    world.measure("close", Allowed::Whole(1), shut).await;
}

pub(crate) async fn request_keyframe(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = pb::RequestKeyframeRequest {
        group_id: CALL,
        node_id: QUIET,
        channel: shared::UpdateChannel::Visual.into(),
        source_node_id: FIRST,
        ..Default::default()
    };
    flat(world, "", api.request_keyframe(request)).await;
}

pub(crate) async fn watch_group(world: &mut World) {
    use pb::watch_group_response::Event;
    let mut api = world.client.groups.clone();
    let mut own = api.clone();
    let request = pb::WatchGroupRequest {
        group_id: CALL,
        kinds: (1..=7).collect(),
        view: shared::MemberView::Full.into(),
        ..Default::default()
    };
    let open = async {
        let (mut stream, mut told) = (own.watch_group(request).await.unwrap().into_inner(), 0);
        loop {
            match stream.message().await.unwrap().unwrap().event.unwrap() {
                Event::Roster(page) => {
                    told += page.participants.iter().map(|member| 1 + member.interests.len()).sum::<usize>();
                }
                Event::SnapshotComplete(_) => return (stream, told),
                _ => {}
            }
        }
    };
    let mut stream = world.measure("open", Allowed::Parts(3), open).await;
    let change = async {
        let request =
            pb::SetMediaRequest { group_id: CALL, node_id: QUIET, audio_enabled: Some(false), ..Default::default() };
        api.set_media(request).await.unwrap();
        stream.message().await.unwrap().unwrap();
        ((), 0)
    };
    world.measure("change", Allowed::Flat, change).await;
    world.close(stream).await;
}

pub(crate) async fn get_stats(world: &mut World) {
    let mut api = world.client.groups.clone();
    flat(world, "", api.get_stats(pb::GetStatsRequest { group_id: CALL, ..Default::default() })).await;
}

/// Everybody gets another target list, and what all want of it goes with a source.
pub(crate) async fn leave_group(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = |node_id, name| pb::LeaveGroupRequest {
        group_id: CALL,
        node_id,
        request_id: request_id(name),
        ..Default::default()
    };
    let (members, overrides) = (members(world), overrides(world));
    let listener = request(LISTENERS, "listener");
    unary(world, "listener", Allowed::Whole(4), api.leave_group(listener), |_| members).await;
    let source = request(FIRST + 1, "source");
    unary(world, "source", Allowed::Whole(2), api.leave_group(source), |_| overrides).await;
}

pub(crate) async fn remove_participant(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = pb::RemoveParticipantRequest {
        group_id: CALL,
        node_id: FIRST,
        participant_node_id: QUIET,
        request_id: request_id("remove"),
        ban: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..Default::default()
    };
    let overrides = overrides(world);
    unary(world, "", Allowed::Whole(2), api.remove_participant(request), |_| overrides).await;
}

pub(crate) async fn list_bans(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = pb::ListBansRequest { group_id: CALL, page_size: 1_000, ..Default::default() };
    unary(world, "", Allowed::Parts(1), api.list_bans(request), |answer| answer.bans.len()).await;
}

pub(crate) async fn unban_participant(world: &mut World) {
    let mut api = world.client.groups.clone();
    let request = pb::UnbanParticipantRequest {
        group_id: CALL,
        node_id: FIRST,
        participant_node_id: QUIET,
        request_id: request_id("unban"),
        ..Default::default()
    };
    flat(world, "", api.unban_participant(request)).await;
}

pub(crate) async fn end_group(world: &mut World) {
    let mut api = world.client.groups.clone();
    let (count, request_id) = (members(world), request_id("end"));
    let request = pb::EndGroupRequest { group_id: CALL, node_id: FIRST, request_id, ..Default::default() };
    unary(world, "", Allowed::Whole(16), api.end_group(request), |_| count).await;
}
