//! Bans in groups: for the owner, who cannot be banned, and inherits nothing while it is.

use prost_types::Duration;
use starling_client::pb::group::v1 as pb;
use starling_client::pb::group::v1::group_event::Change;
use starling_client::pb::swarm::v1::{Ban, UpdateChannel};
use starling_client::{Client, SwarmRef};
use tonic::Code::{FailedPrecondition, NotFound, PermissionDenied};

use crate::edge::livestream_calls::interest;
use crate::edge::refusals::{Untouched, calls};
use crate::edge::updates::{delta, publish_one};
use crate::edge::world::{answered, group, join_group, make_group};
use crate::harness::{Fault, Server, fault, metadata};
use crate::watch::fixture::next;

const OWNER: u64 = 1;
const OTHER: u64 = 2;
const MEMBER: u64 = 3;
const STRANGER: u64 = 99;

const HOUR: Option<Duration> = Some(Duration { seconds: 3_600, nanos: 0 });

async fn call() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 16).await;
    for node in [OWNER, OTHER, MEMBER] {
        join_group(&client, 7, node).await;
    }
    (server, client)
}

fn remove(node_id: u64, participant_node_id: u64, ban: Option<Duration>) -> pb::RemoveParticipantRequest {
    pb::RemoveParticipantRequest { group_id: 7, node_id, participant_node_id, ban, ..Default::default() }
}

async fn ban(client: &Client, node_id: u64, participant_node_id: u64) -> pb::Group {
    let request = remove(node_id, participant_node_id, HOUR);
    answered(client.clone().groups.remove_participant(request).await).group.unwrap()
}

async fn leave(client: &Client, node_id: u64) {
    let request = pb::LeaveGroupRequest { group_id: 7, node_id, ..Default::default() };
    answered(client.clone().groups.leave_group(request).await);
}

async fn bans(client: &Client) -> Vec<Ban> {
    let list = pb::ListBansRequest { group_id: 7, ..Default::default() };
    answered(client.clone().groups.list_bans(list).await).bans
}

fn banned() -> Fault {
    Fault::new(PermissionDenied, "BANNED")
}

#[tokio::test]
async fn every_call_of_a_banned_participant_is_refused() {
    let (server, client) = call().await;
    let stale = join_group(&client, 7, MEMBER).await;
    assert_eq!(ban(&client, OWNER, MEMBER).await.banned_count, 1);
    let untouched = Untouched::from(server).await;
    for session_id in [0, stale] {
        let calls = calls! { client, Groups;
            leave_group LeaveGroupRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            renew_lease RenewLeaseRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            update_participant UpdateParticipantRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, metadata: Some(vec![0].into())
            }
            set_media SetMediaRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, audio_enabled: Some(false)
            }
            start_screen_share StartScreenShareRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            stop_screen_share StopScreenShareRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            set_interest SetInterestRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, interests: vec![interest()]
            }
            update_group UpdateGroupRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, metadata: Some(vec![0].into())
            }
            end_group EndGroupRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            remove_participant RemoveParticipantRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, participant_node_id: OTHER
            }
            unban_participant UnbanParticipantRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, participant_node_id: MEMBER
            }
            watch_targets WatchTargetsRequest {
                group_id: 7, of_node_id: MEMBER, node_id: MEMBER, session_id: session_id
            }
            watch_group WatchGroupRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            subscribe_updates SubscribeUpdatesRequest { group_id: 7, node_id: MEMBER, session_id: session_id }
            request_keyframe RequestKeyframeRequest {
                group_id: 7, node_id: MEMBER, session_id: session_id, source_node_id: OTHER,
                channel: UpdateChannel::Visual.into()
            }
        };
        untouched.refuses_all(calls, &banned()).await;
    }
    let calls = calls! { client, Groups;
        join_group JoinGroupRequest { group_id: 7, node_id: MEMBER }
        join_group JoinGroupRequest { group_id: 7, node_id: MEMBER, mode: pb::ParticipantMode::Listener.into() }
        get_targets GetTargetsRequest { group_id: 7, of_node_id: MEMBER }
    };
    untouched.refuses_all(calls, &banned()).await;
    let group = SwarmRef::Group(7);
    assert_eq!(fault(publish_one(&client, group, MEMBER, 0, delta(1)).await), banned());
    let request = pb::JoinGroupRequest { group_id: 7, node_id: MEMBER, ..Default::default() };
    let refused = client.clone().groups.join_group(request).await.unwrap_err();
    let until = bans(&client).await[0].expire_time.unwrap();
    assert_eq!(metadata(&refused, "until"), Some(until.to_string()));
}

#[tokio::test]
async fn owner_bans_others_and_not_itself() {
    let (server, client) = call().await;
    let untouched = Untouched::from(server).await;
    let calls = calls! { client, Groups;
        remove_participant RemoveParticipantRequest { group_id: 7, node_id: 1, participant_node_id: OWNER, ban: HOUR }
        remove_participant RemoveParticipantRequest { group_id: 7, node_id: 2, participant_node_id: OWNER, ban: HOUR }
        unban_participant UnbanParticipantRequest { group_id: 7, node_id: 1, participant_node_id: OWNER }
    };
    untouched.refuses_all(calls, &Fault::new(FailedPrecondition, "TARGET_IS_OWNER")).await;
    let calls = calls! { client, Groups;
        remove_participant RemoveParticipantRequest { group_id: 7, node_id: 2, participant_node_id: MEMBER, ban: HOUR }
        unban_participant UnbanParticipantRequest { group_id: 7, node_id: 2, participant_node_id: MEMBER }
    };
    untouched.refuses_all(calls, &Fault::new(PermissionDenied, "NOT_OWNER")).await;
    let missing = client.clone().groups.remove_participant(remove(OWNER, STRANGER, None)).await;
    assert_eq!(fault(missing), Fault::new(NotFound, "MEMBER_NOT_FOUND"));
    assert_eq!(ban(&client, OWNER, STRANGER).await.banned_count, 1, "a node that was never in");
}

#[tokio::test]
async fn ban_of_a_participant_is_told_and_lifted() {
    let (_server, client) = call().await;
    let kinds = vec![pb::GroupEventKind::Moderation.into()];
    let request = pb::WatchGroupRequest { group_id: 7, kinds, ..Default::default() };
    let mut log = answered(client.clone().groups.watch_group(request).await);
    let mut told = async || loop {
        if let Some(pb::watch_group_response::Event::Batch(batch)) = next(&mut log).await.event {
            return batch.events.into_iter().filter_map(|event| event.change).collect::<Vec<_>>();
        }
    };
    ban(&client, OWNER, MEMBER).await;
    let happened = told().await;
    let [Change::BanChanged(changed)] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!((changed.node_id, changed.expire_time), (MEMBER, bans(&client).await[0].expire_time));
    let lift =
        pb::UnbanParticipantRequest { group_id: 7, node_id: OWNER, participant_node_id: MEMBER, ..Default::default() };
    assert_eq!(answered(client.clone().groups.unban_participant(lift).await).group.unwrap().banned_count, 0);
    let happened = told().await;
    let [Change::BanChanged(changed)] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!((changed.node_id, changed.expire_time), (MEMBER, None));
    join_group(&client, 7, MEMBER).await;
}

#[tokio::test]
async fn ownership_returns_to_nobody_who_is_banned() {
    let (_server, client) = call().await;
    leave(&client, OWNER).await;
    assert_eq!(group(&client, 7).await.owner_node_id, OTHER);
    ban(&client, OTHER, OWNER).await;
    leave(&client, MEMBER).await;
    leave(&client, OTHER).await;
    assert_eq!(group(&client, 7).await.owner_node_id, 0, "not to whom creation named");
    let end = pb::EndGroupRequest { group_id: 7, node_id: OWNER, ..Default::default() };
    assert_eq!(fault(client.clone().groups.end_group(end).await), banned());
    // Whoever comes first owns it, and may let the other back.
    join_group(&client, 7, MEMBER).await;
    assert_eq!(group(&client, 7).await.owner_node_id, MEMBER);
    let lift =
        pb::UnbanParticipantRequest { group_id: 7, node_id: MEMBER, participant_node_id: OWNER, ..Default::default() };
    answered(client.clone().groups.unban_participant(lift).await);
    leave(&client, MEMBER).await;
    assert_eq!(group(&client, 7).await.owner_node_id, OWNER);
}
