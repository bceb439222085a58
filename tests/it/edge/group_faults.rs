//! GroupService: every fault, in its order.

use bytes::Bytes;
use prost_types::Duration;
use starling_client::Client;
use starling_client::pb::group::v1 as pb;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, PeerReportReason, SeenRevision, UpdateChannel};
use tonic::Code::{AlreadyExists, FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted};

use crate::edge::refusals::{Call, Untouched, calls};
use crate::edge::world::{answered, join_group, make_group};
use crate::harness::{Fault, Server, fault, metadata};

const CALL: u64 = 7;
const FULL: u64 = 8;
const ENDED: u64 = 9;

const OWNER: u64 = 1;
const SHARING: u64 = 2;
const MEMBER: u64 = 3;
const STRANGER: u64 = 99;

struct World {
    untouched: Untouched,
    client: Client,
    /// A session that MEMBER had before its current one.
    stale: u64,
}

async fn every_state() -> World {
    let server = Server::start().await;
    let client = server.client().await;
    let mut groups = client.groups.clone();
    for (group_id, max) in [(CALL, 16), (FULL, 2), (ENDED, 16)] {
        make_group(&client, group_id, max).await;
        join_group(&client, group_id, OWNER).await;
        join_group(&client, group_id, SHARING).await;
    }
    let stale = join_group(&client, CALL, MEMBER).await;
    join_group(&client, CALL, MEMBER).await;
    answered(groups.start_screen_share(share(SHARING)).await);
    let end = pb::EndGroupRequest { group_id: ENDED, node_id: OWNER, ..Default::default() };
    answered(groups.end_group(end).await);
    World { untouched: Untouched::from(server).await, client, stale }
}

fn share(node_id: u64) -> pb::StartScreenShareRequest {
    pb::StartScreenShareRequest { group_id: CALL, node_id, ..Default::default() }
}

const CHANNELS: [UpdateChannel; 5] =
    [UpdateChannel::Visual, UpdateChannel::Audio, UpdateChannel::Screen, UpdateChannel::Chat, UpdateChannel::Data];

fn interest(source_node_id: u64) -> ChannelInterest {
    ChannelInterest {
        channel: UpdateChannel::Visual.into(),
        interest: Interest::Low.into(),
        source_node_id,
        ..Default::default()
    }
}

fn zeros(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}

const fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

fn looks(client: &Client, group_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        get_group GetGroupRequest { group_id: group_id }
        get_stats GetStatsRequest { group_id: group_id }
        watch_group WatchGroupRequest { group_id: group_id }
    }
}

fn looks_at_members(client: &Client, group_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        list_participants ListParticipantsRequest { group_id: group_id }
    }
}

fn join(client: &Client, group_id: u64, node_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        join_group JoinGroupRequest { group_id: group_id, node_id: node_id }
    }
}

fn targets(client: &Client, group_id: u64, node_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        get_targets GetTargetsRequest { group_id: group_id, of_node_id: node_id }
        watch_targets WatchTargetsRequest { group_id: group_id, of_node_id: node_id, node_id: node_id }
    }
}

fn of_owner(client: &Client, group_id: u64, node_id: u64, session_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        update_group UpdateGroupRequest {
            group_id: group_id, node_id: node_id, session_id: session_id, metadata: Some(zeros(1))
        }
        end_group EndGroupRequest { group_id: group_id, node_id: node_id, session_id: session_id }
    }
}

fn removing(client: &Client, group_id: u64, node_id: u64, session_id: u64, participant_node_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        remove_participant RemoveParticipantRequest {
            group_id: group_id, node_id: node_id, session_id: session_id, participant_node_id: participant_node_id
        }
    }
}

fn reporting(client: &Client, group_id: u64, node_id: u64, session_id: u64, peer_node_id: u64) -> Vec<Call> {
    calls! { client, Groups;
        report_peer ReportPeerRequest {
            group_id: group_id, node_id: node_id, session_id: session_id, peer_node_id: peer_node_id,
            reason: PeerReportReason::Unreachable.into()
        }
    }
}

fn on_target(client: &Client, group_id: u64, node_id: u64, session_id: u64, target: u64) -> Vec<Call> {
    let mut calls = removing(client, group_id, node_id, session_id, target);
    calls.extend(reporting(client, group_id, node_id, session_id, target));
    calls
}

fn of_members(client: &Client, group_id: u64, node_id: u64, session_id: u64) -> Vec<Call> {
    let mut calls = calls! { client, Groups;
        leave_group LeaveGroupRequest { group_id: group_id, node_id: node_id, session_id: session_id }
        renew_lease RenewLeaseRequest { group_id: group_id, node_id: node_id, session_id: session_id }
        update_participant UpdateParticipantRequest {
            group_id: group_id, node_id: node_id, session_id: session_id, metadata: Some(zeros(1))
        }
        set_media SetMediaRequest { group_id: group_id, node_id: node_id, session_id: session_id }
        start_screen_share StartScreenShareRequest {
            group_id: group_id, node_id: node_id, session_id: session_id
        }
        stop_screen_share StopScreenShareRequest {
            group_id: group_id, node_id: node_id, session_id: session_id
        }
        set_interest SetInterestRequest {
            group_id: group_id, node_id: node_id, session_id: session_id, interests: vec![interest(0)]
        }
    };
    calls.extend(of_owner(client, group_id, node_id, session_id));
    calls.extend(on_target(client, group_id, node_id, session_id, SHARING));
    calls
}

#[tokio::test]
async fn zero_id_is_refused_by_field() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::field("group_id");
    untouched.refuses_all(looks(&client, 0), &expected).await;
    untouched.refuses_all(looks_at_members(&client, 0), &expected).await;
    untouched.refuses_all(join(&client, 0, MEMBER), &expected).await;
    untouched.refuses_all(targets(&client, 0, MEMBER), &expected).await;
    untouched.refuses_all(of_members(&client, 0, MEMBER, 0), &expected).await;

    let expected = Fault::field("node_id");
    untouched.refuses_all(join(&client, CALL, 0), &expected).await;
    untouched.refuses_all(targets(&client, CALL, 0), &Fault::field("of_node_id")).await;
    untouched.refuses_all(of_members(&client, CALL, 0, 0), &expected).await;
    let watch = calls! { client, Groups;
        watch_group WatchGroupRequest { group_id: CALL, session_id: 5 }
    };
    untouched.refuses_all(watch, &expected).await;
    untouched.refuses_all(removing(&client, CALL, OWNER, 0, 0), &Fault::field("participant_node_id")).await;
    untouched.refuses_all(reporting(&client, CALL, OWNER, 0, 0), &Fault::field("peer_node_id")).await;
}

#[tokio::test]
async fn revision_needs_an_epoch() {
    let World { untouched, client, .. } = every_state().await;
    let seen = Some(SeenRevision { epoch: 0, revision: 1 });
    let calls = calls! { client, Groups;
        get_group GetGroupRequest { group_id: CALL, at_least: seen }
        get_participant GetParticipantRequest { group_id: CALL, participant_node_id: MEMBER, at_least: seen }
        list_participants ListParticipantsRequest { group_id: CALL, at_least: seen }
        list_bans ListBansRequest { group_id: CALL, at_least: seen }
        get_targets GetTargetsRequest { group_id: CALL, of_node_id: MEMBER, at_least: seen }
        watch_targets WatchTargetsRequest { group_id: CALL, of_node_id: MEMBER, at_least: seen }
        subscribe_updates SubscribeUpdatesRequest { group_id: CALL, node_id: MEMBER, at_least: seen }
        get_stats GetStatsRequest { group_id: CALL, at_least: seen }
    };
    untouched.refuses_all(calls, &Fault::field("at_least.epoch")).await;
}

#[tokio::test]
async fn field_out_of_range_is_refused_by_name() {
    let World { untouched, client, .. } = every_state().await;
    let create = |config: pb::GroupConfig| {
        calls! { client, Groups; create_group CreateGroupRequest { group_id: 20, config: Some(config) } }
    };
    macro_rules! refuse {
        ($($field:ident: $($value:expr),*;)*) => {$($(
            let calls = create(pb::GroupConfig { $field: $value, ..Default::default() });
            untouched.refuses_all(calls, &Fault::field(concat!("config.", stringify!($field)))).await;
        )*)*};
    }
    refuse! {
        max_participants: Some(0), Some(257), Some(u32::MAX);
        subscriber_bytes_per_second: Some(999), Some(1_000_000_001);
        keyframe_interval: seconds(0), seconds(61), seconds(-1);
        max_lag: seconds(0), seconds(601);
    }

    let calls = calls! { client, Groups;
        create_group CreateGroupRequest { group_id: 20, metadata: zeros(1_025) }
        create_group CreateGroupRequest { group_id: 20, request_id: "x".repeat(65) }
        update_group UpdateGroupRequest { group_id: CALL, node_id: OWNER, metadata: Some(zeros(1_025)) }
        join_group JoinGroupRequest { group_id: CALL, node_id: 4, endpoint: Some(zeros(257)) }
        join_group JoinGroupRequest { group_id: CALL, node_id: 4, metadata: Some(zeros(257)) }
        join_group JoinGroupRequest { group_id: CALL, node_id: 4, lease_ttl: seconds(301) }
        join_group JoinGroupRequest { group_id: CALL, node_id: 4, request_id: " ".to_owned() }
        join_group JoinGroupRequest {
            group_id: CALL, node_id: 4, interests: vec![ChannelInterest { channel: 6, ..interest(1) }]
        }
        update_participant UpdateParticipantRequest { group_id: CALL, node_id: MEMBER, metadata: Some(zeros(257)) }
        set_interest SetInterestRequest { group_id: CALL, node_id: MEMBER }
        set_interest SetInterestRequest { group_id: CALL, node_id: MEMBER, interests: vec![interest(0); 1_281] }
        set_interest SetInterestRequest {
            group_id: CALL, node_id: MEMBER, interests: vec![ChannelInterest { interest: -1, ..interest(1) }]
        }
        report_peer ReportPeerRequest { group_id: CALL, node_id: OWNER, peer_node_id: MEMBER }
        report_peer ReportPeerRequest { group_id: CALL, node_id: OWNER, peer_node_id: MEMBER, reason: 4 }
        watch_group WatchGroupRequest { group_id: CALL, kinds: vec![0] }
        watch_group WatchGroupRequest { group_id: CALL, kinds: vec![1, 9] }
        list_groups ListGroupsRequest { page_size: -1 }
        list_groups ListGroupsRequest { page_token: "?".to_owned() }
        list_participants ListParticipantsRequest { group_id: CALL, page_size: -1 }
        list_participants ListParticipantsRequest { group_id: CALL, page_token: "?".to_owned() }
    };
    let fields = [
        "metadata",
        "request_id",
        "metadata",
        "endpoint",
        "metadata",
        "lease_ttl",
        "request_id",
        "interests[0].channel",
        "metadata",
        "interests",
        "interests",
        "interests[0].interest",
        "reason",
        "reason",
        "kinds[0]",
        "kinds[1]",
        "page_size",
        "page_token",
        "page_size",
        "page_token",
    ];
    untouched.refuses_each(calls, &fields.map(Fault::field)).await;
}

#[tokio::test]
async fn unknown_group_is_not_found() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(NotFound, "GROUP_NOT_FOUND");
    untouched.refuses_all(looks(&client, 99), &expected).await;
    untouched.refuses_all(looks_at_members(&client, 99), &expected).await;
    untouched.refuses_all(join(&client, 99, MEMBER), &expected).await;
    untouched.refuses_all(targets(&client, u64::MAX, MEMBER), &expected).await;
    untouched.refuses_all(of_members(&client, u64::MAX, MEMBER, 0), &expected).await;
}

#[tokio::test]
async fn ended_group_refuses_members_calls_but_not_end() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "ENDED");
    untouched.refuses_all(looks_at_members(&client, ENDED), &expected).await;
    untouched.refuses_all(join(&client, ENDED, MEMBER), &expected).await;
    untouched.refuses_all(targets(&client, ENDED, MEMBER), &expected).await;
    untouched.refuses_all(of_members(&client, ENDED, MEMBER, 0), &expected).await;
    let end = pb::EndGroupRequest { group_id: ENDED, node_id: OWNER, ..Default::default() };
    answered(client.clone().groups.end_group(end).await);
}

#[tokio::test]
async fn non_member_may_only_join() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "NOT_A_MEMBER");
    untouched.refuses_all(of_members(&client, CALL, STRANGER, 0), &expected).await;
    untouched.refuses_all(targets(&client, CALL, STRANGER), &expected).await;
}

#[tokio::test]
async fn stale_session_is_refused_by_every_method() {
    let World { untouched, client, stale } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "SESSION_REPLACED");
    for session_id in [stale, 12_345] {
        untouched.refuses_all(of_members(&client, CALL, MEMBER, session_id), &expected).await;
        let watches = calls! { client, Groups;
            watch_targets WatchTargetsRequest { group_id: CALL, of_node_id: MEMBER, session_id: session_id, node_id: MEMBER }
            watch_group WatchGroupRequest { group_id: CALL, node_id: MEMBER, session_id: session_id }
        };
        untouched.refuses_all(watches, &expected).await;
    }
}

#[tokio::test]
async fn only_the_owner_ends_updates_and_removes() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(PermissionDenied, "NOT_OWNER");
    for node_id in [SHARING, MEMBER] {
        untouched.refuses_all(of_owner(&client, CALL, node_id, 0), &expected).await;
        let remove = calls! { client, Groups;
            remove_participant RemoveParticipantRequest {
                group_id: CALL, node_id: node_id, participant_node_id: OWNER
            }
        };
        untouched.refuses_all(remove, &expected).await;
    }
}

#[tokio::test]
async fn action_on_a_non_member_is_not_found() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(NotFound, "MEMBER_NOT_FOUND");
    untouched.refuses_all(on_target(&client, CALL, OWNER, 0, STRANGER), &expected).await;
    // Before authority.
    untouched.refuses_all(on_target(&client, CALL, MEMBER, 0, STRANGER), &expected).await;
}

#[tokio::test]
async fn held_screen_share_is_refused_naming_its_holder() {
    let World { untouched, client, .. } = every_state().await;
    for node_id in [OWNER, MEMBER] {
        let call = calls! { client, Groups;
            start_screen_share StartScreenShareRequest { group_id: CALL, node_id: node_id }
        };
        untouched.refuses_all(call, &Fault::new(FailedPrecondition, "SCREEN_SHARE_HELD")).await;
        let refused = client.clone().groups.start_screen_share(share(node_id)).await.unwrap_err();
        assert_eq!(metadata(&refused, "holderNodeId"), Some(SHARING.to_string()));
    }
    // The holder may repeat it.
    let before = crate::edge::world::group(&client, CALL).await;
    let again = answered(client.clone().groups.start_screen_share(share(SHARING)).await);
    assert_eq!((again.revision, again.group), (before.revision, Some(before)));
}

#[tokio::test]
async fn full_group_admits_only_current_members() {
    let World { untouched, client, .. } = every_state().await;
    untouched.refuses_all(join(&client, FULL, STRANGER), &Fault::new(ResourceExhausted, "SWARM_FULL")).await;
    join_group(&client, FULL, OWNER).await;
    assert_eq!(crate::edge::world::group(&client, FULL).await.participant_count, 2);
}

#[tokio::test]
async fn existing_group_is_created_again_only_unchanged() {
    let World { untouched, client, .. } = every_state().await;
    let config = |max| Some(pb::GroupConfig { max_participants: Some(max), ..Default::default() });
    let creates = calls! { client, Groups;
        create_group CreateGroupRequest { group_id: FULL, owner_node_id: OWNER, config: config(3) }
        create_group CreateGroupRequest { group_id: FULL, owner_node_id: MEMBER, config: config(2) }
        create_group CreateGroupRequest { group_id: FULL, config: config(2) }
    };
    untouched.refuses_all(creates, &Fault::new(AlreadyExists, "SWARM_EXISTS")).await;
    let same = pb::CreateGroupRequest { group_id: FULL, owner_node_id: OWNER, config: config(2), ..Default::default() };
    let found = answered(client.clone().groups.create_group(same).await);
    assert!(!found.created);
    assert_eq!(found.group, Some(crate::edge::world::group(&client, FULL).await));
}

#[tokio::test]
async fn interests_are_limited_per_member() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, CALL, 256).await;
    for node in 1..=256 {
        join_group(&client, CALL, node).await;
    }
    let set = |interests| pb::SetInterestRequest { group_id: CALL, node_id: MEMBER, interests, ..Default::default() };
    let in_one = |source| CHANNELS.map(|channel| ChannelInterest { channel: channel.into(), ..interest(source) });
    answered(client.clone().groups.set_interest(set((1..=256).flat_map(in_one).collect())).await);
    let untouched = Untouched::from(server).await;
    let for_a_time = ChannelInterest { ttl: Some(Duration { seconds: 60, nanos: 0 }), ..interest(0) };
    let call = calls! { client, Groups;
        set_interest SetInterestRequest { group_id: CALL, node_id: MEMBER, interests: vec![for_a_time] }
        join_group JoinGroupRequest { group_id: CALL, node_id: MEMBER, interests: vec![for_a_time] }
    };
    untouched.refuses_all(call, &Fault::new(ResourceExhausted, "QUOTA")).await;
    // One that is there may change.
    let change = ChannelInterest { interest: Interest::Critical.into(), ..interest(100) };
    answered(client.clone().groups.set_interest(set(vec![change])).await);
}

/// What a member wants of single sources, as it is answered.
async fn wanted(client: &Client, interests: Vec<ChannelInterest>) -> Vec<(u64, Interest)> {
    let request = pb::SetInterestRequest { group_id: CALL, node_id: MEMBER, interests, ..Default::default() };
    let answer = answered(client.clone().groups.set_interest(request).await);
    let interests = answer.participant.expect("the answer shows the participant").interests;
    let of_one = interests.iter().filter(|one| one.source_node_id != 0);
    of_one.map(|one| (one.source_node_id, one.interest())).collect()
}

#[tokio::test]
async fn interest_lasts_as_long_as_its_source_participates() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, CALL, 16).await;
    join_group(&client, CALL, MEMBER).await;
    join_group(&client, CALL, 100).await;
    assert_eq!(wanted(&client, vec![interest(101), interest(100)]).await, [(100, Interest::Low)], "101 is not in");
    join_group(&client, CALL, 100).await;
    let audio = ChannelInterest { channel: UpdateChannel::Audio.into(), ..interest(0) };
    assert_eq!(wanted(&client, vec![audio]).await, [(100, Interest::Low)], "a rejoin keeps it");
    let listen = pb::JoinGroupRequest {
        group_id: CALL,
        node_id: 100,
        mode: pb::ParticipantMode::Listener.into(),
        ..Default::default()
    };
    answered(client.clone().groups.join_group(listen).await);
    assert_eq!(wanted(&client, vec![audio, interest(100)]).await, [], "it only listens");
}

#[tokio::test]
async fn repeated_source_and_channel_is_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, CALL, 16).await;
    join_group(&client, CALL, MEMBER).await;
    let untouched = Untouched::from(server).await;
    let high = ChannelInterest { interest: Interest::High.into(), ..interest(MEMBER) };
    let call = calls! { client, Groups;
        set_interest SetInterestRequest {
            group_id: CALL, node_id: MEMBER, interests: vec![interest(MEMBER), interest(0), high]
        }
    };
    untouched.refuses_all(call, &Fault::field("interests[2]")).await;
}

#[tokio::test]
async fn first_fault_in_order_of_checks_is_returned() {
    let World { untouched, client, stale } = every_state().await;
    let calls = calls! { client, Groups;
        // Fields, then the group.
        remove_participant RemoveParticipantRequest { group_id: 99, node_id: OWNER }
        // The group's end, then membership.
        remove_participant RemoveParticipantRequest { group_id: ENDED, node_id: STRANGER, participant_node_id: STRANGER }
        // The actor's membership, then the target's.
        remove_participant RemoveParticipantRequest { group_id: CALL, node_id: STRANGER, participant_node_id: STRANGER }
        remove_participant RemoveParticipantRequest {
            group_id: CALL, node_id: MEMBER, session_id: stale, participant_node_id: STRANGER
        }
        // The target, then authority.
        remove_participant RemoveParticipantRequest { group_id: CALL, node_id: MEMBER, participant_node_id: STRANGER }
        // The end, then capacity.
        join_group JoinGroupRequest { group_id: ENDED, node_id: STRANGER }
    };
    let expected = [
        Fault::field("participant_node_id"),
        Fault::new(FailedPrecondition, "ENDED"),
        Fault::new(FailedPrecondition, "NOT_A_MEMBER"),
        Fault::new(FailedPrecondition, "SESSION_REPLACED"),
        Fault::new(NotFound, "MEMBER_NOT_FOUND"),
        Fault::new(FailedPrecondition, "ENDED"),
    ];
    untouched.refuses_each(calls, &expected).await;
}

#[tokio::test]
async fn livestream_and_group_ids_are_separate() {
    let World { untouched: _server, client, .. } = every_state().await;
    let get = starling_client::pb::livestream::v1::GetLivestreamRequest { livestream_id: CALL, ..Default::default() };
    let found = fault(client.clone().livestreams.get_livestream(get).await);
    assert_eq!(found, Fault::new(NotFound, "LIVESTREAM_NOT_FOUND"));
}
