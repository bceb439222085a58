//! LivestreamService, fields: each one at fault is named, before anything else is looked at.

use bytes::Bytes;
use prost_types::Duration;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{ChannelInterest, Gap, SeenRevision, SubscriptionPosition, UpdatePosition};

use crate::edge::livestream_calls::{interest, join, looks, looks_at_members, of_members, on_target, reporting};
use crate::edge::refusals::{Untouched, calls};
use crate::edge::world::{answered, go_live, join_livestream};
use crate::harness::{Fault, Server, fault};

/// Livestream 7 on air, with viewer 2.
async fn on_air() -> Untouched {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    Untouched::from(server).await
}

fn zeros(length: usize) -> Bytes {
    Bytes::from(vec![0; length])
}

const fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

const fn millis(millis: i32) -> Option<Duration> {
    Some(Duration { seconds: 0, nanos: millis * 1_000_000 })
}

#[tokio::test]
async fn zero_livestream_id_is_refused_except_in_create() {
    let world = on_air().await;
    let expected = Fault::field("livestream_id");
    world.refuses_all(looks(&world.client, 0), &expected).await;
    world.refuses_all(looks_at_members(&world.client, 0), &expected).await;
    world.refuses_all(join(&world.client, 0, 2), &expected).await;
    world.refuses_all(of_members(&world.client, 0, 1, 2), &expected).await;
}

#[tokio::test]
async fn a_node_id_of_zero_is_refused_everywhere() {
    let world = on_air().await;
    world.refuses_all(of_members(&world.client, 7, 0, 2), &Fault::field("node_id")).await;
    world.refuses_all(join(&world.client, 7, 0), &Fault::field("node_id")).await;
    let calls = calls! { world.client, Livestreams;
        // A session belongs to a node.
        watch_livestream WatchLivestreamRequest { livestream_id: 7, session_id: 5 }
        watch_targets WatchTargetsRequest { livestream_id: 7, of_node_id: 2, session_id: 5 }
    };
    world.refuses_all(calls, &Fault::field("node_id")).await;
    let calls = calls! { world.client, Livestreams;
        create_livestream CreateLivestreamRequest { livestream_id: 8 }
    };
    world.refuses_all(calls, &Fault::field("broadcaster_node_id")).await;
    world.refuses_all(on_target(&world.client, 7, 1, 0), &Fault::field("viewer_node_id")).await;
    world.refuses_all(reporting(&world.client, 7, 1, 0), &Fault::field("peer_node_id")).await;
}

#[tokio::test]
async fn largest_ids_are_accepted() {
    let server = Server::start().await;
    let client = server.client().await;
    let request = pb::CreateLivestreamRequest { livestream_id: u64::MAX, node_id: u64::MAX, ..Default::default() };
    let made = client.clone().livestreams.create_livestream(request).await.unwrap().into_inner();
    let made = made.livestream.unwrap();
    assert_eq!((made.livestream_id, made.broadcaster_node_id), (u64::MAX, u64::MAX));
    let session_id = join_livestream(&client, u64::MAX, u64::MAX - 1).await;
    let leave =
        pb::LeaveLivestreamRequest { livestream_id: u64::MAX, node_id: u64::MAX - 1, session_id, ..Default::default() };
    client.clone().livestreams.leave_livestream(leave.clone()).await.unwrap();
    let again = pb::LeaveLivestreamRequest { session_id: u64::MAX, ..leave };
    let found = fault(client.clone().livestreams.leave_livestream(again).await);
    assert_eq!(found, Fault::new(tonic::Code::FailedPrecondition, "NOT_A_MEMBER"));
}

#[tokio::test]
async fn configuration_out_of_range_is_refused_by_field() {
    let world = on_air().await;
    let config = |config: pb::LivestreamConfig| {
        calls! { world.client, Livestreams;
            create_livestream CreateLivestreamRequest { livestream_id: 8, node_id: 1, config: Some(config) }
        }
    };
    macro_rules! refuse {
        ($($field:ident: $($value:expr),*;)*) => {$($(
            let calls = config(pb::LivestreamConfig { $field: $value, ..Default::default() });
            world.refuses_all(calls, &Fault::field(concat!("config.", stringify!($field)))).await;
        )*)*};
    }
    refuse! {
        star_to_tree_threshold: Some(0), Some(1_001), Some(u32::MAX);
        tree_fanout: Some(0), Some(1), Some(65);
        subscriber_bytes_per_second: Some(0), Some(999), Some(1_000_000_001), Some(u64::MAX);
        keyframe_interval: millis(99), millis(-1), seconds(61), seconds(0), seconds(i64::MAX);
        max_viewers: Some(0), Some(10_000_001);
        max_lag: millis(99), seconds(601), seconds(-1);
        broadcaster_timeout: seconds(7 * 86_400 + 1), seconds(-1), Some(Duration { seconds: 1, nanos: 1_000_000_000 });
    }
}

#[tokio::test]
async fn configuration_at_its_range_ends_is_accepted() {
    let server = Server::start().await;
    let client = server.client().await;
    let least = pb::LivestreamConfig {
        star_to_tree_threshold: Some(1),
        tree_fanout: Some(2),
        subscriber_bytes_per_second: Some(1_000),
        keyframe_interval: millis(100),
        max_viewers: Some(1),
        max_lag: millis(100),
        broadcaster_timeout: seconds(0),
    };
    let most = pb::LivestreamConfig {
        star_to_tree_threshold: Some(1_000),
        tree_fanout: Some(64),
        subscriber_bytes_per_second: Some(1_000_000_000),
        keyframe_interval: seconds(60),
        max_viewers: Some(10_000_000),
        max_lag: seconds(600),
        broadcaster_timeout: seconds(7 * 86_400),
    };
    for (livestream_id, config) in [(1, least), (2, most)] {
        crate::edge::world::make_livestream(&client, livestream_id, config).await;
        assert_eq!(crate::edge::world::livestream(&client, livestream_id).await.config, Some(config));
    }
}

#[tokio::test]
async fn durations_are_rounded_up_to_milliseconds() {
    let server = Server::start().await;
    let client = server.client().await;
    let nanos = |nanos| Some(Duration { seconds: 0, nanos });
    // A timeout of less than a millisecond must not become 0, which means never.
    for (livestream_id, short) in (1..).zip([1, 999_999, 1_000_000]) {
        let config = pb::LivestreamConfig {
            broadcaster_timeout: nanos(short),
            keyframe_interval: nanos(99_000_001),
            max_lag: nanos(99_999_999),
            ..Default::default()
        };
        crate::edge::world::make_livestream(&client, livestream_id, config).await;
        let config = crate::edge::world::livestream(&client, livestream_id).await.config.unwrap();
        assert_eq!(config.broadcaster_timeout, millis(1), "{short} ns");
        assert_eq!((config.keyframe_interval, config.max_lag), (millis(100), millis(100)));
    }
    go_live(&client, 7).await;
    let join = |lease_ttl| pb::JoinLivestreamRequest { livestream_id: 7, node_id: 2, lease_ttl, ..Default::default() };
    let joined = answered(client.clone().livestreams.join_livestream(join(nanos(999_000_001))).await);
    assert_eq!(joined.lease_ttl, seconds(1));
    let beyond = client.clone().livestreams.join_livestream(join(Some(Duration { seconds: 300, nanos: 1 }))).await;
    assert_eq!(fault(beyond), Fault::field("lease_ttl"));
}

#[tokio::test]
async fn the_default_configuration_is_the_documented_one() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let documented = pb::LivestreamConfig {
        star_to_tree_threshold: Some(50),
        tree_fanout: Some(5),
        subscriber_bytes_per_second: Some(500_000),
        keyframe_interval: seconds(2),
        max_viewers: Some(1_000_000),
        max_lag: seconds(2),
        broadcaster_timeout: seconds(300),
    };
    assert_eq!(crate::edge::world::livestream(&client, 7).await.config, Some(documented));
}

#[tokio::test]
async fn byte_length_limits_are_inclusive() {
    let world = on_air().await;
    let calls = calls! { world.client, Livestreams;
        create_livestream CreateLivestreamRequest { livestream_id: 8, node_id: 1, metadata: zeros(1_025) }
        update_livestream UpdateLivestreamRequest { livestream_id: 7, node_id: 1, metadata: Some(zeros(1_025)) }
        // Nothing is to change.
        update_livestream UpdateLivestreamRequest { livestream_id: 7, node_id: 1 }
        update_viewer UpdateViewerRequest { livestream_id: 7, node_id: 2 }
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, metadata: Some(zeros(257)) }
        update_viewer UpdateViewerRequest { livestream_id: 7, node_id: 2, metadata: Some(zeros(257)) }
    };
    world.refuses_all(calls, &Fault::field("metadata")).await;
    let calls = calls! { world.client, Livestreams;
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, endpoint: Some(zeros(257)) }
    };
    world.refuses_all(calls, &Fault::field("endpoint")).await;
    for request_id in ["x".repeat(65), "two words".to_owned(), "\u{e9}t\u{e9}".to_owned(), "tab\t".to_owned()] {
        let calls = calls! { world.client, Livestreams;
            create_livestream CreateLivestreamRequest { livestream_id: 8, node_id: 1, request_id: request_id.clone() }
            join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, request_id: request_id.clone() }
            pause_livestream PauseLivestreamRequest { livestream_id: 7, node_id: 1, request_id: request_id.clone() }
        };
        world.refuses_all(calls, &Fault::field("request_id")).await;
    }

    let mut livestreams = world.client.livestreams.clone();
    let join = pb::JoinLivestreamRequest {
        livestream_id: 7,
        node_id: 3,
        endpoint: Some(zeros(256)),
        metadata: Some(zeros(256)),
        request_id: "x".repeat(64),
        ..Default::default()
    };
    let joined = livestreams.join_livestream(join).await.unwrap().into_inner().viewer.unwrap();
    assert_eq!((joined.endpoint.len(), joined.metadata.len()), (256, 256));
    let update = pb::UpdateLivestreamRequest {
        livestream_id: 7,
        node_id: 1,
        metadata: Some(zeros(1_024)),
        ..Default::default()
    };
    let updated = livestreams.update_livestream(update).await.unwrap().into_inner().livestream.unwrap();
    assert_eq!(updated.metadata.len(), 1_024);
}

#[tokio::test]
async fn unknown_enum_value_is_refused() {
    let world = on_air().await;
    let calls = calls! { world.client, Livestreams;
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, mode: 3 }
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, mode: -1 }
        report_peer ReportPeerRequest { livestream_id: 7, node_id: 1, peer_node_id: 2 }
        report_peer ReportPeerRequest { livestream_id: 7, node_id: 1, peer_node_id: 2, reason: 9 }
        watch_livestream WatchLivestreamRequest { livestream_id: 7, kinds: vec![1, 0] }
        watch_livestream WatchLivestreamRequest { livestream_id: 7, kinds: vec![1, 2, 99] }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, start_from: 3 }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, channels: vec![1, 6] }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, channels: vec![0] }
    };
    let fields =
        ["mode", "mode", "reason", "reason", "kinds[1]", "kinds[2]", "start_from", "channels[1]", "channels[0]"];
    world.refuses_each(calls, &fields.map(Fault::field)).await;
}

#[tokio::test]
async fn revision_needs_epoch_and_number() {
    let world = on_air().await;
    let seen = |epoch, revision| Some(SeenRevision { epoch, revision });
    let calls = calls! { world.client, Livestreams;
        get_livestream GetLivestreamRequest { livestream_id: 7, at_least: seen(0, 1) }
        get_viewer GetViewerRequest { livestream_id: 7, viewer_node_id: 2, at_least: seen(0, 1) }
        list_viewers ListViewersRequest { livestream_id: 7, at_least: seen(0, 1) }
        list_muted_nodes ListMutedNodesRequest { livestream_id: 7, at_least: seen(0, 1) }
        list_bans ListBansRequest { livestream_id: 7, at_least: seen(0, 1) }
        get_targets GetTargetsRequest { livestream_id: 7, at_least: seen(0, 1) }
        watch_targets WatchTargetsRequest { livestream_id: 7, at_least: seen(0, 1) }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, at_least: seen(0, 1) }
        get_stats GetStatsRequest { livestream_id: 7, at_least: seen(1 << 53, 1) }
    };
    world.refuses_all(calls, &Fault::field("at_least.epoch")).await;
    let calls = calls! { world.client, Livestreams;
        get_stats GetStatsRequest { livestream_id: 7, at_least: seen(1, 0) }
    };
    world.refuses_all(calls, &Fault::field("at_least.revision")).await;
}

#[tokio::test]
async fn repeated_and_surplus_elements_are_refused() {
    let world = on_air().await;
    let resume = |positions: Vec<UpdatePosition>, open_gaps: Vec<Gap>| {
        Some(SubscriptionPosition { epoch: 1, positions, open_gaps })
    };
    let (position, gap) =
        (UpdatePosition { channel: 1, ..Default::default() }, Gap { channel: 1, ..Default::default() });
    let calls = calls! { world.client, Livestreams;
        // Not one of them is looked at: they are wrong too.
        watch_livestream WatchLivestreamRequest { livestream_id: 7, kinds: vec![99; 33] }
        watch_livestream WatchLivestreamRequest { livestream_id: 7, kinds: vec![1, 2, 1] }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, channels: vec![99; 6] }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, channels: vec![1, 1] }
        subscribe_updates SubscribeUpdatesRequest {
            livestream_id: 7, node_id: 2, resume_from: resume(vec![position, position], vec![])
        }
        subscribe_updates SubscribeUpdatesRequest {
            livestream_id: 7, node_id: 2, resume_from: resume(vec![], vec![gap, gap])
        }
        list_livestreams ListLivestreamsRequest { states: vec![99; 9] }
        list_livestreams ListLivestreamsRequest { states: vec![1, 2, 2] }
        list_livestreams ListLivestreamsRequest { livestream_ids: vec![7, 8, 7] }
        list_viewers ListViewersRequest { livestream_id: 7, node_ids: vec![2, 3, 3] }
    };
    let fields = [
        "kinds",
        "kinds[2]",
        "channels",
        "channels[1]",
        "resume_from.positions[1]",
        "resume_from.open_gaps[1]",
        "states",
        "states[2]",
        "livestream_ids[2]",
        "node_ids[2]",
    ];
    world.refuses_each(calls, &fields.map(Fault::field)).await;
}

#[tokio::test]
async fn faulty_interest_is_named_with_its_index() {
    let world = on_air().await;
    let wrong = [
        ("channel", ChannelInterest { channel: 0, ..interest() }),
        ("channel", ChannelInterest { channel: 6, ..interest() }),
        ("interest", ChannelInterest { interest: 0, ..interest() }),
        ("interest", ChannelInterest { interest: 6, ..interest() }),
        ("source_node_id", ChannelInterest { source_node_id: 1, ..interest() }),
        ("ttl", ChannelInterest { ttl: millis(999), ..interest() }),
        ("ttl", ChannelInterest { ttl: seconds(86_401), ..interest() }),
        ("ttl", ChannelInterest { ttl: seconds(-5), ..interest() }),
    ];
    for (name, wrong) in wrong {
        let calls = calls! { world.client, Livestreams;
            set_interest SetInterestRequest { livestream_id: 7, node_id: 2, interests: vec![interest(), wrong] }
            join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, interests: vec![interest(), wrong] }
        };
        world.refuses_all(calls, &Fault::field(&format!("interests[1].{name}"))).await;
    }
    let calls = calls! { world.client, Livestreams;
        set_interest SetInterestRequest { livestream_id: 7, node_id: 2 }
        set_interest SetInterestRequest { livestream_id: 7, node_id: 2, interests: vec![interest(); 1_281] }
    };
    world.refuses_all(calls, &Fault::field("interests")).await;
}

#[tokio::test]
async fn join_with_invalid_options_is_refused() {
    let world = on_air().await;
    let lurker = pb::ViewerMode::Lurker.into();
    let calls = calls! { world.client, Livestreams;
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, mode: lurker, can_relay: Some(true) }
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, lease_ttl: millis(999) }
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, lease_ttl: seconds(301) }
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, lease_ttl: seconds(0) }
    };
    world.refuses_each(calls, &["can_relay", "lease_ttl", "lease_ttl", "lease_ttl"].map(Fault::field)).await;
}

#[tokio::test]
async fn invalid_page_size_or_token_is_refused() {
    let world = on_air().await;
    for page_size in [-1, i32::MIN] {
        let calls = calls! { world.client, Livestreams;
            list_livestreams ListLivestreamsRequest { page_size: page_size }
            list_viewers ListViewersRequest { livestream_id: 7, page_size: page_size }
        };
        world.refuses_all(calls, &Fault::field("page_size")).await;
    }
    for page_token in ["x", "-1", "+1", "07", "FF", " ", "10000000000000000"] {
        let calls = calls! { world.client, Livestreams;
            list_livestreams ListLivestreamsRequest { page_token: page_token.to_owned() }
            list_viewers ListViewersRequest { livestream_id: 7, page_token: page_token.to_owned() }
        };
        world.refuses_all(calls, &Fault::field("page_token")).await;
    }
}

#[tokio::test]
async fn first_faulty_field_is_named() {
    let world = on_air().await;
    let calls = calls! { world.client, Livestreams;
        join_livestream JoinLivestreamRequest { mode: 9, endpoint: Some(zeros(999)), metadata: Some(zeros(999)) }
        join_livestream JoinLivestreamRequest { livestream_id: 7, mode: 9, endpoint: Some(zeros(999)) }
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: 3, mode: 9, endpoint: Some(zeros(999)) }
        join_livestream JoinLivestreamRequest {
            livestream_id: 7, node_id: 3, endpoint: Some(zeros(999)), metadata: Some(zeros(999))
        }
        join_livestream JoinLivestreamRequest {
            livestream_id: 7, node_id: 3, metadata: Some(zeros(999)), lease_ttl: seconds(999)
        }
        join_livestream JoinLivestreamRequest {
            livestream_id: 7, node_id: 3, lease_ttl: seconds(999), request_id: "x".repeat(99)
        }
    };
    let fields = ["livestream_id", "node_id", "mode", "endpoint", "metadata", "lease_ttl"];
    world.refuses_each(calls, &fields.map(Fault::field)).await;
}
