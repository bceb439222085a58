//! How large an id may be that a client chooses.

use starling_client::Client;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, UpdateChannel};
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};

use crate::edge::world::{answered, go_live, join_group, join_livestream, make_group};
use crate::harness::{Fault, Server, fault};

/// 2^53 - 1: what a double holds exactly.
const EXACT: u64 = (1 << 53) - 1;

fn interest(source_node_id: u64) -> Vec<ChannelInterest> {
    let (channel, interest) = (UpdateChannel::Visual.into(), Interest::High.into());
    vec![ChannelInterest { channel, interest, source_node_id, ..Default::default() }]
}

/// Brings `id` in by every request that can; what each says.
async fn bring_in(client: &Client, id: u64) -> [(Result<(), tonic::Status>, &'static str); 12] {
    let (mut livestreams, mut groups) = (client.livestreams.clone(), client.groups.clone());
    let create = |livestream_id, node_id| pb::CreateLivestreamRequest { livestream_id, node_id, ..Default::default() };
    let create_group = |group_id, node_id, owner_node_id| group::CreateGroupRequest {
        group_id,
        node_id,
        owner_node_id,
        ..Default::default()
    };
    let join = |node_id, interests| group::JoinGroupRequest { group_id: 7, node_id, interests, ..Default::default() };
    let want = group::SetInterestRequest { group_id: 7, node_id: 2, interests: interest(id), ..Default::default() };
    let join_livestream = pb::JoinLivestreamRequest { livestream_id: 7, node_id: id, ..Default::default() };
    let moderator = pb::AddModeratorRequest { livestream_id: 7, node_id: 1, viewer_node_id: id, ..Default::default() };
    let mute = pb::MuteViewerRequest { livestream_id: 7, node_id: 1, viewer_node_id: id, ..Default::default() };
    let ban = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let out = pb::RemoveViewerRequest { livestream_id: 7, node_id: 1, viewer_node_id: id, ban, ..Default::default() };
    let off =
        group::RemoveParticipantRequest { group_id: 7, node_id: 1, participant_node_id: id, ban, ..Default::default() };
    [
        (livestreams.create_livestream(create(id, 1)).await.map(drop), "livestream_id"),
        (livestreams.create_livestream(create(8, id)).await.map(drop), "node_id"),
        (livestreams.join_livestream(join_livestream).await.map(drop), "node_id"),
        (livestreams.add_moderator(moderator).await.map(drop), "viewer_node_id"),
        (livestreams.mute_viewer(mute).await.map(drop), "viewer_node_id"),
        (livestreams.remove_viewer(out).await.map(drop), "viewer_node_id"),
        (groups.remove_participant(off).await.map(drop), "participant_node_id"),
        (groups.create_group(create_group(id, 1, 1)).await.map(drop), "group_id"),
        (groups.create_group(create_group(9, 1, id)).await.map(drop), "owner_node_id"),
        (groups.join_group(join(id, Vec::new())).await.map(drop), "node_id"),
        (groups.join_group(join(3, interest(id))).await.map(drop), "interests[0].source_node_id"),
        (groups.set_interest(want).await.map(drop), "interests[0].source_node_id"),
    ]
}

async fn swarms(client: &Client) {
    go_live(client, 7).await;
    join_livestream(client, 7, 2).await;
    make_group(client, 7, 16).await;
    join_group(client, 7, 2).await;
}

#[tokio::test]
async fn ids_above_the_setting_are_refused_by_field() {
    let server = Server::with(|config| config.limits.max_id = EXACT).await;
    let client = server.client().await;
    swarms(&client).await;
    let before = crate::edge::world::everything(&client).await;
    for id in [EXACT + 1, u64::MAX] {
        for (answer, field) in bring_in(&client, id).await {
            assert_eq!(fault(answer), Fault::field(field), "{id}");
        }
    }
    assert!(before == crate::edge::world::everything(&client).await, "what is refused changes nothing");
    for (answer, field) in bring_in(&client, EXACT).await {
        let named = answer.err().map(|status| Fault::of(&status));
        assert_ne!(named, Some(Fault::field(field)), "the largest is allowed");
    }
}

#[tokio::test]
async fn every_id_is_allowed_by_default() {
    let server = Server::start().await;
    let client = server.client().await;
    swarms(&client).await;
    for (answer, field) in bring_in(&client, u64::MAX).await {
        let named = answer.err().map(|status| Fault::of(&status));
        assert_ne!(named, Some(Fault::field(field)));
    }
}

#[tokio::test]
async fn drawn_ids_are_exact_in_doubles() {
    let server = Server::start().await;
    let client = server.client().await;
    for _ in 0..20 {
        let create = pb::CreateLivestreamRequest { node_id: 1, ..Default::default() };
        let livestream = answered(client.livestreams.clone().create_livestream(create).await).livestream.unwrap();
        let session = join_livestream(&client, livestream.livestream_id, 2).await;
        for drawn in [livestream.livestream_id, livestream.epoch, session] {
            assert!((1..=EXACT).contains(&drawn), "{drawn}");
        }
    }
}
