//! One livestream: a tree, and for target lists a star.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::{publish_updates_request, publish_updates_response};
use starling_client::pb::swarm::v1 as shared;
use starling_core::Epoch;
use tonic::Streaming;

use crate::meter::Allowed;
use crate::table::{flat, request_id, unary};
use crate::world::{FIRST, ROOT, STAR, SWITCH, TREE, World, livestream};

/// A viewer that comes to the tree.
const GUEST: u64 = 500_000;
/// A viewer that is there, and moderates in the end.
const VIEWER: u64 = FIRST + 999;
/// What becomes of those that a relay feeds, and that are watched in the larger world alone, in target lists of eight
/// steps each.
const WATCHED: usize = 32;
/// The longest endpoint or metadata of a member.
const LONG: [u8; 256] = [9; 256];
/// The most interests of a livestream: one for each channel, for a time.
fn interests() -> Vec<shared::ChannelInterest> {
    let ttl = Some(prost_types::Duration { seconds: 600, nanos: 0 });
    let interest = shared::Interest::Low.into();
    (1..=5).map(|channel| shared::ChannelInterest { channel, interest, ttl, ..Default::default() }).collect()
}

pub(crate) async fn get_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    flat(world, "", api.get_livestream(pb::GetLivestreamRequest { livestream_id: TREE, ..Default::default() })).await;
}

/// All who subscribe look again.
pub(crate) async fn update_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let (count, woken) = (world.subscribers(livestream(TREE)), world.woken());
    let request = pb::UpdateLivestreamRequest {
        livestream_id: TREE,
        node_id: ROOT,
        metadata: Some(vec![9; 1_024].into()),
        request_id: request_id("update"),
        config: Some(pb::LivestreamConfig { subscriber_bytes_per_second: Some(1_000_000_000), ..Default::default() }),
        ..Default::default()
    };
    let update = async {
        api.update_livestream(request).await.unwrap();
        woken.reach(count).await;
        ((), count)
    };
    world.measure("", Allowed::Whole(1), update).await;
}

pub(crate) async fn pause_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request_id = request_id("pause");
    let request = pb::PauseLivestreamRequest { livestream_id: TREE, node_id: ROOT, request_id, ..Default::default() };
    flat(world, "", api.pause_livestream(request)).await;
}

pub(crate) async fn resume_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request_id = request_id("resume");
    let request = pb::ResumeLivestreamRequest { livestream_id: TREE, node_id: ROOT, request_id, ..Default::default() };
    flat(world, "", api.resume_livestream(request)).await;
}

pub(crate) async fn start_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request_id = request_id("start");
    let request = pb::StartLivestreamRequest { livestream_id: TREE, node_id: ROOT, request_id, ..Default::default() };
    flat(world, "", api.start_livestream(request)).await;
}

fn join(livestream_id: u64, node_id: u64) -> pb::JoinLivestreamRequest {
    pb::JoinLivestreamRequest {
        livestream_id,
        node_id,
        endpoint: Some(LONG.to_vec().into()),
        metadata: Some(LONG.to_vec().into()),
        interests: interests(),
        lease_ttl: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        request_id: request_id("join"),
        ..Default::default()
    }
}

pub(crate) async fn join_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    flat(world, "relay", api.join_livestream(join(TREE, GUEST))).await;
    let again = pb::JoinLivestreamRequest { request_id: request_id("again"), ..join(TREE, GUEST) };
    flat(world, "again", api.join_livestream(again.clone())).await;
    flat(world, "repeat", api.join_livestream(again)).await;
    let leaf = pb::JoinLivestreamRequest { can_relay: Some(false), ..join(TREE, GUEST + 1) };
    flat(world, "leaf", api.join_livestream(leaf)).await;
    let broadcaster = pb::JoinLivestreamRequest { endpoint: Some(vec![1].into()), ..join(TREE, ROOT) };
    flat(world, "broadcaster", api.join_livestream(broadcaster)).await;
    let count = usize::try_from(world.size.star).unwrap();
    unary(world, "switch", Allowed::Whole(1), api.join_livestream(join(SWITCH, GUEST)), |_| count).await;
}

pub(crate) async fn renew_lease(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::RenewLeaseRequest { livestream_id: TREE, node_id: VIEWER, ..Default::default() };
    flat(world, "", api.renew_lease(request)).await;
}

pub(crate) async fn get_viewer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let view = shared::MemberView::Full.into();
    flat(
        world,
        "",
        api.get_viewer(pb::GetViewerRequest {
            livestream_id: TREE,
            viewer_node_id: VIEWER,
            view,
            ..Default::default()
        }),
    )
    .await;
}

pub(crate) async fn list_viewers(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let count = |answer: pb::ListViewersResponse| answer.viewers.len();
    for (name, view) in [("full", shared::MemberView::Full), ("basic", shared::MemberView::Basic)] {
        let view = view.into();
        let page = pb::ListViewersRequest { livestream_id: TREE, page_size: 1_000, view, ..Default::default() };
        unary(world, name, Allowed::Parts(1), api.list_viewers(page), count).await;
    }
    let node_ids = (FIRST..FIRST + 1_000).collect();
    let named = pb::ListViewersRequest { livestream_id: TREE, node_ids, ..Default::default() };
    unary(world, "named", Allowed::Parts(1), api.list_viewers(named), count).await;
}

pub(crate) async fn set_interest(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::SetInterestRequest {
        livestream_id: TREE,
        node_id: FIRST,
        interests: interests(),
        request_id: request_id("interest"),
        ..Default::default()
    };
    flat(world, "", api.set_interest(request)).await;
}

pub(crate) async fn update_viewer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    for (name, can_relay) in [("leaf", false), ("relay", true)] {
        let request = pb::UpdateViewerRequest {
            livestream_id: TREE,
            node_id: FIRST,
            metadata: Some(vec![u8::from(can_relay); 256].into()),
            endpoint: Some(vec![u8::from(can_relay); 256].into()),
            can_relay: Some(can_relay),
            request_id: request_id(name),
            ..Default::default()
        };
        flat(world, name, api.update_viewer(request)).await;
    }
}

pub(crate) async fn add_moderator(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::AddModeratorRequest {
        livestream_id: TREE,
        node_id: ROOT,
        viewer_node_id: VIEWER,
        request_id: request_id("add"),
        ..Default::default()
    };
    flat(world, "", api.add_moderator(request)).await;
}

pub(crate) async fn remove_moderator(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::RemoveModeratorRequest {
        livestream_id: TREE,
        node_id: ROOT,
        viewer_node_id: VIEWER,
        request_id: request_id("remove"),
        ..Default::default()
    };
    flat(world, "", api.remove_moderator(request)).await;
}

pub(crate) async fn mute_viewer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::MuteViewerRequest {
        livestream_id: TREE,
        node_id: ROOT,
        viewer_node_id: GUEST,
        request_id: request_id("mute"),
        ..Default::default()
    };
    flat(world, "", api.mute_viewer(request)).await;
}

pub(crate) async fn unmute_viewer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::UnmuteViewerRequest {
        livestream_id: TREE,
        node_id: ROOT,
        viewer_node_id: FIRST,
        request_id: request_id("unmute"),
        ..Default::default()
    };
    flat(world, "", api.unmute_viewer(request)).await;
}

pub(crate) async fn list_muted_nodes(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::ListMutedNodesRequest { livestream_id: TREE, page_size: 1_000, ..Default::default() };
    let count = |answer: pb::ListMutedNodesResponse| answer.node_ids.len();
    unary(world, "", Allowed::Parts(1), api.list_muted_nodes(request), count).await;
}

pub(crate) async fn get_targets(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let count = |answer: pb::GetTargetsResponse| answer.targets.map_or(0, |list| list.targets.len());
    for (name, livestream_id, of_node_id) in [("star", STAR, 0), ("tree", TREE, 0), ("relay", TREE, FIRST + 1)] {
        let request = pb::GetTargetsRequest { livestream_id, of_node_id, ..Default::default() };
        unary(world, name, Allowed::Parts(8), api.get_targets(request), count).await;
    }
}

/// In the star the whole list is copied for each change of it: up to a thousand targets.
pub(crate) async fn watch_targets(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let star = usize::try_from(world.size.star).unwrap();
    for (open, change, livestream_id, targets) in
        [("open star", "change star", STAR, star), ("open tree", "change tree", TREE, WATCHED)]
    {
        let mut own = api.clone();
        let opened = async {
            let request = pb::WatchTargetsRequest { livestream_id, ..Default::default() };
            let mut stream = own.watch_targets(request).await.unwrap().into_inner();
            stream.message().await.unwrap().unwrap();
            (stream, if livestream_id == STAR { star } else { 0 })
        };
        let mut stream = world.measure(open, Allowed::Parts(8), opened).await;
        let changed = async {
            let request = pb::UpdateViewerRequest {
                livestream_id,
                node_id: FIRST + 2,
                endpoint: Some(LONG.to_vec().into()),
                ..Default::default()
            };
            api.update_viewer(request).await.unwrap();
            stream.message().await.unwrap().unwrap();
            ((), targets)
        };
        world.measure(change, Allowed::Parts(8), changed).await;
        world.close(stream).await;
    }
}

pub(crate) async fn report_peer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let reason = shared::PeerReportReason::Unreachable.into();
    let request = pb::ReportPeerRequest {
        livestream_id: TREE,
        node_id: VIEWER,
        peer_node_id: FIRST,
        reason,
        ..Default::default()
    };
    flat(world, "", api.report_peer(request)).await;
}

/// The largest that a channel takes. Urgent: all who subscribe get it at once.
fn draft(channel: shared::UpdateChannel, publisher_sequence: u64) -> shared::UpdateDraft {
    let chat = channel == shared::UpdateChannel::Chat;
    shared::UpdateDraft {
        channel: channel.into(),
        payload: vec![7; if chat { 16 << 10 } else { 1 << 20 }].into(),
        keyframe: !chat,
        urgent: true,
        publisher_sequence,
        ..Default::default()
    }
}

pub(crate) async fn publish_update(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let (count, author) = (world.subscribers(livestream(TREE)), FIRST + world.size.viewers - 1);
    for (name, channel, node_id) in
        [("picture", shared::UpdateChannel::Visual, ROOT), ("chat", shared::UpdateChannel::Chat, author)]
    {
        let woken = world.woken();
        let update = Some(draft(channel, 1));
        let request = pb::PublishUpdateRequest { livestream_id: TREE, node_id, update, ..Default::default() };
        let publish = async {
            api.publish_update(request).await.unwrap();
            woken.reach(count).await;
            ((), count)
        };
        world.measure(name, Allowed::Whole(1), publish).await;
    }
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
    let mut api = world.client.livestreams.clone();
    let count = world.subscribers(livestream(TREE));
    let (send, receive) = tokio::sync::mpsc::channel(4);
    let message = |message| pb::PublishUpdatesRequest { message: Some(message) };
    let open = async {
        let channels = (1..=5).collect();
        let open =
            pb::PublishOpen { livestream_id: TREE, node_id: ROOT, channels, temporal_layers: 3, ..Default::default() };
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

pub(crate) async fn subscribe_updates(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    // Those on CHAT come again.
    let (mut own, messages) = (api.clone(), usize::try_from(world.size.streams).unwrap());
    let open = async {
        let position = |channel| {
            let chat = channel == i32::from(shared::UpdateChannel::Chat);
            let source_node_id = if chat { 0 } else { ROOT };
            shared::UpdatePosition { source_node_id, channel, term: u64::from(!chat), ..Default::default() }
        };
        let positions = (1..=5).map(position).collect();
        let epoch = Epoch::drawn(TREE).get();
        let resume_from = Some(shared::SubscriptionPosition { epoch, positions, open_gaps: Vec::new() });
        let request = pb::SubscribeUpdatesRequest {
            livestream_id: TREE,
            node_id: FIRST + 500,
            channels: (1..=5).collect(),
            resume_from,
            ..Default::default()
        };
        let mut stream = own.subscribe_updates(request).await.unwrap().into_inner();
        stream.message().await.unwrap().unwrap();
        (stream, messages)
    };
    let mut stream = world.measure("open", Allowed::Parts(4), open).await;
    let (count, woken) = (world.subscribers(livestream(TREE)), world.woken());
    let update = async {
        let update = Some(draft(shared::UpdateChannel::Data, 1));
        let request = pb::PublishUpdateRequest { livestream_id: TREE, node_id: ROOT, update, ..Default::default() };
        api.publish_update(request).await.unwrap();
        stream.message().await.unwrap().unwrap();
        woken.reach(count).await;
        ((), count)
    };
    world.measure("update", Allowed::Whole(1), update).await;
    world.close(stream).await;
}

pub(crate) async fn request_keyframe(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let channel = shared::UpdateChannel::Visual.into();
    let request = pb::RequestKeyframeRequest { livestream_id: TREE, node_id: FIRST, channel, ..Default::default() };
    flat(world, "", api.request_keyframe(request)).await;
}

pub(crate) async fn watch_livestream(world: &mut World) {
    use pb::watch_livestream_response::Event;
    let mut api = world.client.livestreams.clone();
    let mut own = api.clone();
    let request = pb::WatchLivestreamRequest {
        livestream_id: TREE,
        kinds: (1..=8).collect(),
        view: shared::MemberView::Full.into(),
        ..Default::default()
    };
    let open = async {
        let (mut stream, mut told) = (own.watch_livestream(request).await.unwrap().into_inner(), 0);
        loop {
            match stream.message().await.unwrap().unwrap().event.unwrap() {
                Event::Roster(page) => told += page.viewers.len(),
                Event::SnapshotComplete(_) => return (stream, told),
                _ => {}
            }
        }
    };
    let mut stream = world.measure("open", Allowed::Parts(15), open).await;
    let change = async {
        api.join_livestream(join(TREE, GUEST + 2)).await.unwrap();
        stream.message().await.unwrap().unwrap();
        ((), 0)
    };
    world.measure("change", Allowed::Flat, change).await;
    world.close(stream).await;
}

pub(crate) async fn get_stats(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    flat(world, "", api.get_stats(pb::GetStatsRequest { livestream_id: TREE, ..Default::default() })).await;
}

pub(crate) async fn leave_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    for (name, node_id) in [("relay", FIRST + 1), ("last", GUEST)] {
        let request_id = request_id(name);
        let request = pb::LeaveLivestreamRequest { livestream_id: TREE, node_id, request_id, ..Default::default() };
        flat(world, name, api.leave_livestream(request)).await;
    }
}

pub(crate) async fn remove_viewer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::RemoveViewerRequest {
        livestream_id: TREE,
        node_id: ROOT,
        viewer_node_id: FIRST + 3,
        request_id: request_id("remove"),
        ban: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..Default::default()
    };
    flat(world, "", api.remove_viewer(request)).await;
}

pub(crate) async fn list_bans(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::ListBansRequest { livestream_id: TREE, page_size: 1_000, ..Default::default() };
    unary(world, "", Allowed::Parts(1), api.list_bans(request), |answer| answer.bans.len()).await;
}

pub(crate) async fn unban_viewer(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = pb::UnbanViewerRequest {
        livestream_id: TREE,
        node_id: ROOT,
        viewer_node_id: FIRST + 3,
        request_id: request_id("unban"),
        ..Default::default()
    };
    flat(world, "", api.unban_viewer(request)).await;
}

/// In the star everybody gets another parent.
pub(crate) async fn transfer_broadcast(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let request = |livestream_id, node_id, viewer_node_id| pb::TransferBroadcastRequest {
        livestream_id,
        node_id,
        viewer_node_id,
        request_id: request_id("transfer"),
        ..Default::default()
    };
    flat(world, "tree", api.transfer_broadcast(request(TREE, ROOT, FIRST + 4))).await;
    let count = usize::try_from(world.size.star).unwrap();
    let star = request(STAR, ROOT, FIRST + 4);
    unary(world, "star", Allowed::Whole(8), api.transfer_broadcast(star), |_| count).await;
}

pub(crate) async fn end_livestream(world: &mut World) {
    let mut api = world.client.livestreams.clone();
    let (viewers, request_id) = (usize::try_from(world.size.viewers).unwrap(), request_id("end"));
    let request =
        pb::EndLivestreamRequest { livestream_id: TREE, node_id: FIRST + 4, request_id, ..Default::default() };
    unary(world, "", Allowed::Whole(2), api.end_livestream(request), |_| viewers).await;
}
