//! Reading one, reading some, and how much of a member is shown.

use starling_client::pb::swarm::v1::{self as shared, MemberView};
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};
use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound};

use crate::edge::world::{
    answered, end, go_live, join_group, join_livestream, make_group, make_livestream, mute, on_air,
};
use crate::harness::{Fault, Server, fault, soon};

fn endpoint() -> bytes::Bytes {
    b"192.0.2.7:9".as_slice().into()
}

#[tokio::test]
async fn one_viewer_is_read_by_its_node() {
    let (_server, client) = on_air().await;
    let join = pb::JoinLivestreamRequest {
        livestream_id: 7,
        node_id: 2,
        endpoint: Some(endpoint()),
        metadata: Some(b"two".as_slice().into()),
        ..Default::default()
    };
    let joined = answered(client.clone().livestreams.join_livestream(join).await);
    let own = joined.viewer.unwrap();
    assert_eq!((&own.endpoint, own.interests.len()), (&endpoint(), 5), "whoever joins sees itself in full");
    let get = async |viewer_node_id: u64, view: MemberView| {
        let request =
            pb::GetViewerRequest { livestream_id: 7, viewer_node_id, view: view.into(), ..Default::default() };
        client.clone().livestreams.get_viewer(request).await
    };
    let full = answered(get(2, MemberView::Full).await);
    assert_eq!((full.viewer.as_ref(), full.epoch, full.revision), (Some(&own), joined.epoch, joined.revision));
    let basic = pb::Viewer { endpoint: bytes::Bytes::new(), interests: vec![], lease_ttl: None, ..own };
    for view in [MemberView::Basic, MemberView::Unspecified] {
        assert_eq!(answered(get(2, view).await).viewer.as_ref(), Some(&basic));
    }
    assert_eq!(fault(get(9, MemberView::Full).await), Fault::new(NotFound, "MEMBER_NOT_FOUND"));
    assert_eq!(fault(get(1, MemberView::Full).await), Fault::new(FailedPrecondition, "TARGET_IS_BROADCASTER"));
    assert_eq!(fault(get(0, MemberView::Full).await), Fault::field("viewer_node_id"));
    let request = pb::GetViewerRequest { livestream_id: 7, viewer_node_id: 2, view: 3, ..Default::default() };
    assert_eq!(fault(client.clone().livestreams.get_viewer(request).await), Fault::field("view"));
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    assert_eq!(fault(get(2, MemberView::Full).await), Fault::new(FailedPrecondition, "ENDED"));
}

#[tokio::test]
async fn one_participant_is_read_by_its_node() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 16).await;
    let join = group::JoinGroupRequest { group_id: 7, node_id: 2, endpoint: Some(endpoint()), ..Default::default() };
    let joined = answered(client.clone().groups.join_group(join).await);
    let own = joined.participant.unwrap();
    let get = async |participant_node_id: u64, view: MemberView| {
        let request =
            group::GetParticipantRequest { group_id: 7, participant_node_id, view: view.into(), ..Default::default() };
        client.clone().groups.get_participant(request).await
    };
    assert_eq!(answered(get(2, MemberView::Full).await).participant.as_ref(), Some(&own));
    let basic = group::Participant { endpoint: bytes::Bytes::new(), interests: vec![], lease_ttl: None, ..own };
    assert_eq!(answered(get(2, MemberView::Basic).await).participant, Some(basic));
    assert_eq!(fault(get(9, MemberView::Basic).await), Fault::new(NotFound, "MEMBER_NOT_FOUND"));
    assert_eq!(fault(get(0, MemberView::Basic).await), Fault::field("participant_node_id"));
}

#[tokio::test]
async fn members_are_listed_in_the_requested_order() {
    let (_server, client) = on_air().await;
    for node in [2, 3, 4] {
        join_livestream(&client, 7, node).await;
    }
    let list = async |node_ids: Vec<u64>| {
        let request = pb::ListViewersRequest { livestream_id: 7, node_ids, ..Default::default() };
        client.clone().livestreams.list_viewers(request).await
    };
    // Neither a stranger nor the broadcaster is a viewer.
    let found = answered(list(vec![4, 9, 1, 2]).await);
    assert_eq!(found.viewers.iter().map(|viewer| viewer.node_id).collect::<Vec<_>>(), [4, 2]);
    assert_eq!((found.next_page_token.as_str(), found.epoch != 0), ("", true));
    assert_eq!(fault(list(vec![2; 1_001]).await), Fault::field("node_ids"));
    assert_eq!(fault(list(vec![2, 0]).await), Fault::field("node_ids[1]"));
    let paged = pb::ListViewersRequest { livestream_id: 7, node_ids: vec![2], page_size: 5, ..Default::default() };
    assert_eq!(fault(client.clone().livestreams.list_viewers(paged).await), Fault::field("page_size"));
}

#[tokio::test]
async fn swarms_are_listed_by_id_and_by_state() {
    let server = Server::start().await;
    let client = server.client().await;
    for id in [1, 2, 3] {
        make_livestream(&client, id, pb::LivestreamConfig::default()).await;
        make_group(&client, id, 16).await;
    }
    go_live(&client, 4).await;
    answered(client.clone().livestreams.end_livestream(end(2)).await);
    let list = async |livestream_ids: Vec<u64>, states: Vec<i32>| {
        let request = pb::ListLivestreamsRequest { livestream_ids, states, ..Default::default() };
        client.clone().livestreams.list_livestreams(request).await
    };
    let ids = |found: pb::ListLivestreamsResponse| {
        assert_eq!(found.next_page_token, "");
        found.livestreams.iter().map(|found| found.livestream_id).collect::<Vec<_>>()
    };
    use pb::LivestreamState::{Active, Ended, Initializing};
    assert_eq!(ids(answered(list(vec![4, 9, 1], vec![]).await)), [4, 1]);
    assert_eq!(ids(answered(list(vec![4, 2, 1], vec![Active.into(), Ended.into()]).await)), [4, 2]);
    let mut waiting = ids(answered(list(vec![], vec![Initializing.into()]).await));
    waiting.sort_unstable();
    assert_eq!(waiting, [1, 3]);
    assert_eq!(fault(list(vec![], vec![Active.into(), 9]).await), Fault::field("states[1]"));
    assert_eq!(fault(list(vec![], vec![0]).await), Fault::field("states[0]"));
    assert_eq!(fault(list(vec![0], vec![]).await), Fault::field("livestream_ids[0]"));
    assert_eq!(fault(list(vec![5; 1_001], vec![]).await), Fault::field("livestream_ids"));
    let request = group::ListGroupsRequest { group_ids: vec![3, 8, 2], ..Default::default() };
    let groups = answered(client.clone().groups.list_groups(request).await).groups;
    assert_eq!(groups.iter().map(|found| found.group_id).collect::<Vec<_>>(), [3, 2]);
}

#[tokio::test]
async fn muted_nodes_are_listed_page_by_page() {
    let (_server, client) = on_air().await;
    for node in 2..12 {
        join_livestream(&client, 7, node).await;
        mute(&client, 7, node).await;
    }
    // A mute outlives its viewer.
    let leave = pb::LeaveLivestreamRequest { livestream_id: 7, node_id: 5, ..Default::default() };
    answered(client.clone().livestreams.leave_livestream(leave).await);
    let page = async |page_token: String| {
        let request = pb::ListMutedNodesRequest { livestream_id: 7, page_size: 4, page_token, ..Default::default() };
        client.clone().livestreams.list_muted_nodes(request).await
    };
    let (mut nodes, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let found = answered(page(token).await);
        nodes.extend(found.node_ids);
        pages += 1;
        token = found.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((nodes, pages), ((2..12).collect(), 3));
    // A token of the list of viewers is none of this list.
    let request = pb::ListViewersRequest { livestream_id: 7, page_size: 1, ..Default::default() };
    let other = answered(client.clone().livestreams.list_viewers(request).await).next_page_token;
    assert_eq!(fault(page(other).await), Fault::field("page_token"));
}

#[tokio::test]
async fn join_returns_the_current_state() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let join = pb::JoinLivestreamRequest { livestream_id: 7, node_id: 2, ..Default::default() };
    let joined = answered(client.clone().livestreams.join_livestream(join).await);
    assert_eq!(joined.livestream, Some(crate::edge::world::livestream(&client, 7).await));
    make_group(&client, 7, 16).await;
    join_group(&client, 7, 1).await;
    let join = group::JoinGroupRequest { group_id: 7, node_id: 2, ..Default::default() };
    let joined = answered(client.clone().groups.join_group(join).await);
    assert_eq!(joined.group, Some(crate::edge::world::group(&client, 7).await));
    let request = group::ListParticipantsRequest { group_id: 7, ..Default::default() };
    let listed = answered(client.clone().groups.list_participants(request).await).participants;
    assert_eq!(joined.participants, listed, "in the view BASIC");
}

#[tokio::test]
async fn events_have_addresses_in_full_view_only() {
    let (_server, client) = on_air().await;
    let watch = async |view: MemberView, kinds: Vec<i32>| {
        let request = pb::WatchLivestreamRequest { livestream_id: 7, view: view.into(), kinds, ..Default::default() };
        client.clone().livestreams.watch_livestream(request).await
    };
    let interest = pb::LivestreamEventKind::Interest.into();
    let hidden = soon(watch(MemberView::Basic, vec![interest])).await;
    assert_eq!(fault(hidden), Fault { code: InvalidArgument, ..Fault::field("kinds") });
    let mut watches = [
        (MemberView::Basic, answered(watch(MemberView::Basic, vec![]).await)),
        (MemberView::Full, answered(watch(MemberView::Full, vec![interest, 1]).await)),
    ];
    for (_, stream) in &mut watches {
        // reset, snapshot_complete
        for _ in 0..2 {
            soon(stream.message()).await.unwrap().unwrap();
        }
    }
    let join =
        pb::JoinLivestreamRequest { livestream_id: 7, node_id: 2, endpoint: Some(endpoint()), ..Default::default() };
    answered(client.clone().livestreams.join_livestream(join).await);
    for (view, stream) in &mut watches {
        let message = soon(stream.message()).await.unwrap().unwrap();
        let Some(pb::watch_livestream_response::Event::Batch(events)) = message.event else { panic!("{message:?}") };
        let event = events.events[0].clone();
        let Some(pb::livestream_event::Change::ViewerJoined(joined)) = event.change else { panic!("{event:?}") };
        let viewer = joined.viewer.unwrap();
        let full = *view == MemberView::Full;
        assert_eq!(
            (viewer.endpoint == endpoint(), viewer.interests.len(), viewer.lease_ttl.is_some()),
            (full, if full { 5 } else { 0 }, full)
        );
    }
}

#[tokio::test]
async fn server_reports_its_version_and_limits() {
    let server = Server::with(|config| {
        config.feed.chat_payload_bytes = 1_000;
        config.limits.max_id = 1_000_000;
        config.server.grpc_web = false;
        config.streams.heartbeat_interval = std::time::Duration::from_secs(15);
    })
    .await;
    let channel = server.client().await.channel;
    let mut info = shared::server_service_client::ServerServiceClient::new(channel);
    let told = answered(info.get_server_info(shared::GetServerInfoRequest {}).await);
    assert_eq!((told.version.as_str(), told.server_time.is_some()), (env!("CARGO_PKG_VERSION"), true));
    assert_eq!(told.features, [i32::from(shared::Feature::Reflection)]);
    let limits = told.limits.unwrap();
    assert_eq!((limits.max_chat_payload_bytes, limits.max_id), (1_000, Some(1_000_000)));
    assert_eq!((limits.max_receive_bytes, limits.max_publish_receive_bytes), (64 << 10, 2 << 20));
    assert_eq!(limits.heartbeat_interval.unwrap().seconds, 15);
    let profiles: Vec<_> = told
        .profiles
        .iter()
        .map(|p| (p.interest(), p.priority(), p.delay_budget.as_ref().unwrap().nanos / 1_000_000, p.quality()))
        .collect();
    use shared::{Interest, Priority, Quality};
    assert_eq!(
        profiles,
        [
            (Interest::Low, Priority::Background, 200, Quality::Keyframes),
            (Interest::Medium, Priority::Normal, 50, Quality::NoTopLayer),
            (Interest::High, Priority::High, 10, Quality::Full),
            (Interest::Critical, Priority::Urgent, 0, Quality::Full),
        ]
    );
}
