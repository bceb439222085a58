//! LivestreamService, rules: who may do what in which state, and which fault is told first.

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code::{AlreadyExists, FailedPrecondition, NotFound, PermissionDenied, ResourceExhausted};

use crate::edge::livestream_calls::{
    Actor, join, looks, looks_at_members, moderating, naming_moderators, of_broadcaster, of_members, on_target,
    reporting,
};
use crate::edge::refusals::{Untouched, calls};
use crate::edge::world::{answered, end, go_live, join_livestream, lurk, make_livestream, pause, resume, start};
use crate::harness::{Fault, Server, fault, metadata, soon};

const ON_AIR: u64 = 7;
const INITIALIZING: u64 = 8;
const PAUSED: u64 = 9;
const ENDED: u64 = 10;
const FULL: u64 = 11;

const BROADCASTER: u64 = 1;
const MODERATOR: u64 = 2;
const VIEWER: u64 = 3;
const LURKER: u64 = 4;
const STRANGER: u64 = 99;

struct World {
    untouched: Untouched,
    client: Client,
    /// A session that VIEWER had before its current one, in ON_AIR.
    stale: u64,
    /// The current session of MODERATOR.
    of_another: u64,
}

/// A livestream in every state; the same nodes in each.
async fn every_state() -> World {
    let server = Server::start().await;
    let client = server.client().await;
    let mut livestreams = client.livestreams.clone();
    for livestream_id in [ON_AIR, INITIALIZING, PAUSED, ENDED] {
        make_livestream(&client, livestream_id, pb::LivestreamConfig::default()).await;
    }
    let small = pb::LivestreamConfig { max_viewers: Some(1), ..Default::default() };
    make_livestream(&client, FULL, small).await;
    join_livestream(&client, FULL, VIEWER).await;
    join_livestream(&client, INITIALIZING, VIEWER).await;
    join_livestream(&client, PAUSED, VIEWER).await;
    for livestream_id in [ON_AIR, PAUSED] {
        answered(livestreams.start_livestream(start(livestream_id)).await);
    }
    answered(livestreams.pause_livestream(pause(PAUSED)).await);
    answered(livestreams.end_livestream(end(ENDED)).await);

    join_livestream(&client, ON_AIR, BROADCASTER).await;
    let of_another = join_livestream(&client, ON_AIR, MODERATOR).await;
    let stale = join_livestream(&client, ON_AIR, VIEWER).await;
    join_livestream(&client, ON_AIR, VIEWER).await;
    lurk(&client, ON_AIR, LURKER).await;
    let name = pb::AddModeratorRequest {
        livestream_id: ON_AIR,
        node_id: BROADCASTER,
        viewer_node_id: MODERATOR,
        ..Default::default()
    };
    answered(livestreams.add_moderator(name).await);
    World { untouched: Untouched::from(server).await, client, stale, of_another }
}

#[tokio::test]
async fn unknown_livestream_is_not_found() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(NotFound, "LIVESTREAM_NOT_FOUND");
    for livestream_id in [99, u64::MAX] {
        untouched.refuses_all(looks(&client, livestream_id), &expected).await;
        untouched.refuses_all(looks_at_members(&client, livestream_id), &expected).await;
        untouched.refuses_all(join(&client, livestream_id, VIEWER), &expected).await;
        untouched.refuses_all(of_members(&client, livestream_id, BROADCASTER, VIEWER), &expected).await;
    }
}

#[tokio::test]
async fn ended_livestream_refuses_members_calls_but_not_end() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "ENDED");
    untouched.refuses_all(looks_at_members(&client, ENDED), &expected).await;
    untouched.refuses_all(join(&client, ENDED, VIEWER), &expected).await;
    untouched.refuses_all(of_members(&client, ENDED, VIEWER, STRANGER), &expected).await;
    let mut of_broadcaster = of_broadcaster(&client, ENDED, BROADCASTER);
    of_broadcaster.retain(|call| call.rpc() != "EndLivestream");
    untouched.refuses_all(of_broadcaster, &expected).await;

    let mut livestreams = client.livestreams.clone();
    let ended = answered(livestreams.end_livestream(end(ENDED)).await);
    let again = answered(livestreams.end_livestream(end(ENDED)).await);
    assert_eq!(ended, again);
}

#[tokio::test]
async fn non_member_may_only_join() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "NOT_A_MEMBER");
    for livestream_id in [ON_AIR, INITIALIZING, PAUSED] {
        untouched.refuses_all(of_members(&client, livestream_id, STRANGER, VIEWER), &expected).await;
        let targets = calls! { client, Livestreams;
            get_targets GetTargetsRequest { livestream_id: livestream_id, of_node_id: STRANGER }
            watch_targets WatchTargetsRequest { livestream_id: livestream_id, of_node_id: STRANGER, node_id: STRANGER }
        };
        untouched.refuses_all(targets, &expected).await;
    }
}

#[tokio::test]
async fn stale_session_is_refused_by_every_method() {
    let World { untouched, client, stale, of_another } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "SESSION_REPLACED");
    for session_id in [stale, of_another, 12_345] {
        untouched.refuses_all(of_members(&client, ON_AIR, Actor(VIEWER, session_id), LURKER), &expected).await;
        let watches = calls! { client, Livestreams;
            watch_targets WatchTargetsRequest {
                livestream_id: ON_AIR, of_node_id: VIEWER, session_id: session_id, node_id: VIEWER }
            watch_livestream WatchLivestreamRequest {
                livestream_id: ON_AIR, node_id: VIEWER, session_id: session_id
            }
        };
        untouched.refuses_all(watches, &expected).await;
    }
    // The broadcaster may act without a session, but not with one that is over; and one who is not in has none.
    let expected = Fault::new(FailedPrecondition, "NOT_A_MEMBER");
    untouched.refuses_all(of_broadcaster(&client, INITIALIZING, Actor(BROADCASTER, stale)), &expected).await;
    untouched.refuses_all(of_broadcaster(&client, ON_AIR, Actor(STRANGER, stale)), &expected).await;
}

#[tokio::test]
async fn only_the_broadcaster_controls_the_livestream() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(PermissionDenied, "NOT_BROADCASTER");
    for node_id in [MODERATOR, VIEWER, LURKER] {
        untouched.refuses_all(of_broadcaster(&client, ON_AIR, node_id), &expected).await;
        untouched.refuses_all(naming_moderators(&client, ON_AIR, node_id, MODERATOR), &expected).await;
    }
}

#[tokio::test]
async fn only_moderators_moderate() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(PermissionDenied, "NOT_MODERATOR");
    for node_id in [VIEWER, LURKER] {
        untouched.refuses_all(moderating(&client, ON_AIR, node_id, MODERATOR), &expected).await;
    }
}

#[tokio::test]
async fn action_on_a_non_member_is_not_found() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(NotFound, "MEMBER_NOT_FOUND");
    for node_id in [STRANGER, u64::MAX] {
        untouched.refuses_all(on_target(&client, ON_AIR, BROADCASTER, node_id), &expected).await;
        untouched.refuses_all(reporting(&client, ON_AIR, BROADCASTER, node_id), &expected).await;
    }
}

#[tokio::test]
async fn broadcaster_cannot_be_moderated() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "TARGET_IS_BROADCASTER");
    untouched.refuses_all(on_target(&client, ON_AIR, BROADCASTER, BROADCASTER), &expected).await;
    untouched.refuses_all(moderating(&client, ON_AIR, MODERATOR, BROADCASTER), &expected).await;
    // Also while it has no session.
    untouched.refuses_all(on_target(&client, INITIALIZING, BROADCASTER, BROADCASTER), &expected).await;
}

#[tokio::test]
async fn broadcaster_cannot_join_as_viewer() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "BROADCASTER_CANNOT_VIEW");
    for mode in [pb::ViewerMode::Active, pb::ViewerMode::Lurker] {
        let join = calls! { client, Livestreams;
            join_livestream JoinLivestreamRequest {
                livestream_id: ON_AIR, node_id: BROADCASTER, mode: mode.into()
            }
            join_livestream JoinLivestreamRequest {
                livestream_id: INITIALIZING, node_id: BROADCASTER, mode: mode.into()
            }
        };
        untouched.refuses_all(join, &expected).await;
    }
}

#[tokio::test]
async fn a_broadcast_passes_to_active_viewers_only() {
    let World { untouched, client, .. } = every_state().await;
    let transfer = calls! { client, Livestreams;
        transfer_broadcast TransferBroadcastRequest {
            livestream_id: ON_AIR, node_id: BROADCASTER, viewer_node_id: LURKER
        }
    };
    untouched.refuses_all(transfer, &Fault::new(FailedPrecondition, "NOT_ACTIVE_VIEWER")).await;
}

#[tokio::test]
async fn transition_out_of_order_is_refused_naming_state() {
    let World { untouched, client, .. } = every_state().await;
    let expected = Fault::new(FailedPrecondition, "WRONG_STATE");
    let steps = calls! { client, Livestreams;
        pause_livestream PauseLivestreamRequest { livestream_id: INITIALIZING, node_id: BROADCASTER }
        resume_livestream ResumeLivestreamRequest { livestream_id: INITIALIZING, node_id: BROADCASTER }
        start_livestream StartLivestreamRequest { livestream_id: PAUSED, node_id: BROADCASTER }
    };
    untouched.refuses_all(steps, &expected).await;
    let mut livestreams = client.livestreams.clone();
    let refused = livestreams.pause_livestream(pause(INITIALIZING)).await.unwrap_err();
    assert_eq!(metadata(&refused, "state").as_deref(), Some("INITIALIZING"));
    let refused = livestreams.start_livestream(start(PAUSED)).await.unwrap_err();
    assert_eq!(metadata(&refused, "state").as_deref(), Some("PAUSED"));
}

#[tokio::test]
async fn repeated_transition_changes_nothing() {
    let World { untouched: _server, client, .. } = every_state().await;
    let mut livestreams = client.livestreams.clone();
    let before = crate::edge::world::livestream(&client, ON_AIR).await;
    let started = answered(livestreams.start_livestream(start(ON_AIR)).await);
    assert_eq!((started.revision, started.livestream), (before.revision, Some(before.clone())));
    assert_eq!(answered(livestreams.resume_livestream(resume(ON_AIR)).await).revision, before.revision);
    let before = crate::edge::world::livestream(&client, PAUSED).await;
    let paused = answered(livestreams.pause_livestream(pause(PAUSED)).await);
    assert_eq!((paused.revision, paused.livestream), (before.revision, Some(before)));
}

#[tokio::test]
async fn full_livestream_admits_no_new_viewer() {
    let World { untouched, client, .. } = every_state().await;
    untouched.refuses_all(join(&client, FULL, STRANGER), &Fault::new(ResourceExhausted, "SWARM_FULL")).await;
    let mut livestreams = client.livestreams.clone();
    let request = pb::JoinLivestreamRequest { livestream_id: FULL, node_id: STRANGER, ..Default::default() };
    let refused = livestreams.join_livestream(request).await.unwrap_err();
    assert_eq!(metadata(&refused, "max").as_deref(), Some("1"));
    join_livestream(&client, FULL, VIEWER).await;
    // The broadcaster takes no place.
    join_livestream(&client, FULL, BROADCASTER).await;
    assert_eq!(crate::edge::world::livestream(&client, FULL).await.viewer_count, 1);
}

#[tokio::test]
async fn existing_livestream_is_created_again_only_unchanged() {
    let World { untouched, client, .. } = every_state().await;
    let other = pb::LivestreamConfig { tree_fanout: Some(6), ..Default::default() };
    let creates = calls! { client, Livestreams;
        create_livestream CreateLivestreamRequest {
            livestream_id: ON_AIR, node_id: BROADCASTER, config: Some(other)
        }
        create_livestream CreateLivestreamRequest { livestream_id: ON_AIR, node_id: VIEWER }
    };
    untouched.refuses_all(creates, &Fault::new(AlreadyExists, "SWARM_EXISTS")).await;

    let mut livestreams = client.livestreams.clone();
    let same = pb::CreateLivestreamRequest { livestream_id: ON_AIR, node_id: BROADCASTER, ..Default::default() };
    let found = answered(livestreams.create_livestream(same).await);
    assert!(!found.created);
    assert_eq!(found.livestream, Some(crate::edge::world::livestream(&client, ON_AIR).await));
    // An ended one is replaced at once, in a new epoch.
    let before = crate::edge::world::livestream(&client, ENDED).await;
    let anew = pb::CreateLivestreamRequest {
        livestream_id: ENDED,
        node_id: VIEWER,
        config: Some(other),
        ..Default::default()
    };
    let made = answered(livestreams.create_livestream(anew).await);
    let livestream = made.livestream.unwrap();
    assert!(made.created && livestream.epoch != before.epoch);
    assert_eq!((livestream.revision, livestream.broadcaster_node_id), (1, VIEWER));
}

#[tokio::test]
async fn first_fault_in_order_of_checks_is_returned() {
    let World { untouched, client, stale, .. } = every_state().await;
    let calls = calls! { client, Livestreams;
        // Fields, then the livestream.
        mute_viewer MuteViewerRequest { livestream_id: 99, node_id: BROADCASTER }
        // The livestream's end, then membership.
        mute_viewer MuteViewerRequest { livestream_id: ENDED, node_id: STRANGER, viewer_node_id: STRANGER }
        // The actor's membership, then the target's.
        mute_viewer MuteViewerRequest { livestream_id: ON_AIR, node_id: STRANGER, viewer_node_id: STRANGER }
        mute_viewer MuteViewerRequest {
            livestream_id: ON_AIR, node_id: VIEWER, session_id: stale, viewer_node_id: STRANGER
        }
        // The target, then authority.
        mute_viewer MuteViewerRequest { livestream_id: ON_AIR, node_id: VIEWER, viewer_node_id: STRANGER }
        transfer_broadcast TransferBroadcastRequest {
            livestream_id: ON_AIR, node_id: VIEWER, viewer_node_id: BROADCASTER
        }
        // Authority, then state.
        pause_livestream PauseLivestreamRequest { livestream_id: INITIALIZING, node_id: VIEWER }
        transfer_broadcast TransferBroadcastRequest {
            livestream_id: ON_AIR, node_id: VIEWER, viewer_node_id: LURKER
        }
        // Membership, then authority, then state.
        pause_livestream PauseLivestreamRequest { livestream_id: INITIALIZING, node_id: STRANGER }
        // State, then capacity.
        join_livestream JoinLivestreamRequest {
            livestream_id: FULL, node_id: BROADCASTER, mode: pb::ViewerMode::Active.into()
        }
    };
    let expected = [
        Fault::field("viewer_node_id"),
        Fault::new(FailedPrecondition, "ENDED"),
        Fault::new(FailedPrecondition, "NOT_A_MEMBER"),
        Fault::new(FailedPrecondition, "SESSION_REPLACED"),
        Fault::new(NotFound, "MEMBER_NOT_FOUND"),
        Fault::new(FailedPrecondition, "TARGET_IS_BROADCASTER"),
        Fault::new(PermissionDenied, "NOT_BROADCASTER"),
        Fault::new(PermissionDenied, "NOT_BROADCASTER"),
        Fault::new(FailedPrecondition, "NOT_A_MEMBER"),
        Fault::new(FailedPrecondition, "BROADCASTER_CANNOT_VIEW"),
    ];
    untouched.refuses_each(calls, &expected).await;
}

#[tokio::test]
async fn time_on_air_advances_only_on_air() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, ON_AIR).await;
    let on_air = async || {
        let stats = pb::GetStatsRequest { livestream_id: ON_AIR, ..Default::default() };
        let stats = answered(client.clone().livestreams.get_stats(stats).await).stats.unwrap();
        std::time::Duration::try_from(stats.active_time.unwrap()).unwrap()
    };
    let first = on_air().await;
    soon(async { while on_air().await <= first {} }).await;
    answered(client.clone().livestreams.pause_livestream(pause(ON_AIR)).await);
    let paused = on_air().await;
    let later = tokio::time::Instant::now() + std::time::Duration::from_millis(20);
    while tokio::time::Instant::now() < later {
        assert_eq!(on_air().await, paused);
    }
}

#[tokio::test]
async fn livestream_has_at_most_a_thousand_moderators() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, ON_AIR).await;
    let mut livestreams = client.livestreams.clone();
    for node_id in 2..=1_002 {
        join_livestream(&client, ON_AIR, node_id).await;
    }
    let name = |viewer_node_id| pb::AddModeratorRequest {
        livestream_id: ON_AIR,
        node_id: BROADCASTER,
        viewer_node_id,
        ..Default::default()
    };
    for node_id in 2..=1_001 {
        answered(livestreams.add_moderator(name(node_id)).await);
    }
    assert_eq!(fault(livestreams.add_moderator(name(1_002)).await), Fault::new(ResourceExhausted, "QUOTA"));
    // One who is one already is no one more.
    answered(livestreams.add_moderator(name(2)).await);
}
