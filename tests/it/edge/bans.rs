//! Bans: who is banned stays out, whatever it asks, until it is let back or its time is over.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_event::Change;
use starling_client::pb::swarm::v1::{Ban, GoodbyeReason, LeaveReason, UpdateChannel};
use starling_client::{Client, SwarmRef};
use tonic::Code::{FailedPrecondition, NotFound, PermissionDenied};
use tonic::{Status, Streaming};

use crate::edge::livestream_calls::{join, of_members};
use crate::edge::refusals::{Untouched, calls};
use crate::edge::updates::{Publisher, Subscriber, delta, message, opening, publish, publish_one};
use crate::edge::world::{answered, end, go_live, join_livestream, livestream, on_air};
use crate::harness::{Fault, Server, fault, metadata};
use crate::watch::fixture::{events, next};

const BROADCASTER: u64 = 1;
const MODERATOR: u64 = 2;
const VIEWER: u64 = 3;
const OTHER: u64 = 4;
const STRANGER: u64 = 99;

const HOUR: i64 = 3_600;
const LONGEST: i64 = 30 * 24 * HOUR;

fn remove(node_id: u64, viewer_node_id: u64) -> pb::RemoveViewerRequest {
    pb::RemoveViewerRequest { livestream_id: 7, node_id, viewer_node_id, ..Default::default() }
}

fn ban_for(node_id: u64, viewer_node_id: u64, seconds: i64) -> pb::RemoveViewerRequest {
    let ban = Some(prost_types::Duration { seconds, nanos: 0 });
    pb::RemoveViewerRequest { ban, ..remove(node_id, viewer_node_id) }
}

async fn ban(client: &Client, viewer_node_id: u64, seconds: i64) -> pb::RemoveViewerResponse {
    answered(client.clone().livestreams.remove_viewer(ban_for(BROADCASTER, viewer_node_id, seconds)).await)
}

fn unban(node_id: u64, viewer_node_id: u64) -> pb::UnbanViewerRequest {
    pb::UnbanViewerRequest { livestream_id: 7, node_id, viewer_node_id, ..Default::default() }
}

async fn bans(client: &Client) -> Vec<Ban> {
    let list = pb::ListBansRequest { livestream_id: 7, ..Default::default() };
    answered(client.clone().livestreams.list_bans(list).await).bans
}

async fn joins(client: &Client, node_id: u64) -> Result<u64, Status> {
    let request = pb::JoinLivestreamRequest { livestream_id: 7, node_id, ..Default::default() };
    client.clone().livestreams.join_livestream(request).await.map(|joined| joined.into_inner().session_id)
}

fn banned() -> Fault {
    Fault::new(PermissionDenied, "BANNED")
}

/// Livestream 7 on air, with a moderator and two viewers.
async fn moderated() -> (Server, Client) {
    let (server, client) = on_air().await;
    for node in [MODERATOR, VIEWER, OTHER] {
        join_livestream(&client, 7, node).await;
    }
    let name = pb::AddModeratorRequest {
        livestream_id: 7,
        node_id: BROADCASTER,
        viewer_node_id: MODERATOR,
        ..Default::default()
    };
    answered(client.clone().livestreams.add_moderator(name).await);
    (server, client)
}

async fn watch(client: &Client) -> Streaming<pb::WatchLivestreamResponse> {
    let request = pb::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let mut stream = answered(client.clone().livestreams.watch_livestream(request).await);
    while !matches!(next(&mut stream).await.event, Some(pb::watch_livestream_response::Event::SnapshotComplete(_))) {}
    stream
}

/// Reads until bans change: who, and whether it is banned now; and what else the revision brought before.
async fn next_ban(stream: &mut Streaming<pb::WatchLivestreamResponse>) -> (u64, bool, Vec<Change>) {
    loop {
        let mut happened = events(&next(stream).await);
        let is_ban = |change: &Change| matches!(change, Change::BanChanged(_));
        if let Some(at) = happened.iter().position(is_ban)
            && let Change::BanChanged(changed) = happened.remove(at)
        {
            happened.truncate(at);
            return (changed.node_id, changed.expire_time.is_some(), happened);
        }
    }
}

#[tokio::test]
async fn every_call_of_a_banned_member_is_refused() {
    let (server, client) = moderated().await;
    let stale = join_livestream(&client, 7, VIEWER).await;
    ban(&client, VIEWER, HOUR).await;
    let untouched = Untouched::from(server).await;
    for actor in [(VIEWER, 0), (VIEWER, stale)] {
        let actor = crate::edge::livestream_calls::Actor(actor.0, actor.1);
        untouched.refuses_all(of_members(&client, 7, actor, OTHER), &banned()).await;
    }
    untouched.refuses_all(join(&client, 7, VIEWER), &banned()).await;
    let others = calls! { client, Livestreams;
        join_livestream JoinLivestreamRequest { livestream_id: 7, node_id: VIEWER, request_id: "again".to_owned() }
        watch_livestream WatchLivestreamRequest { livestream_id: 7, node_id: VIEWER }
        watch_livestream WatchLivestreamRequest { livestream_id: 7, node_id: VIEWER, session_id: stale }
        watch_targets WatchTargetsRequest { livestream_id: 7, of_node_id: VIEWER, node_id: VIEWER }
        watch_targets WatchTargetsRequest { livestream_id: 7, node_id: VIEWER, session_id: stale }
        get_targets GetTargetsRequest { livestream_id: 7, of_node_id: VIEWER }
        subscribe_updates SubscribeUpdatesRequest { livestream_id: 7, node_id: VIEWER, session_id: stale }
        request_keyframe RequestKeyframeRequest {
            livestream_id: 7, node_id: VIEWER, channel: UpdateChannel::Visual.into()
        }
        unban_viewer UnbanViewerRequest { livestream_id: 7, node_id: VIEWER, viewer_node_id: VIEWER }
    };
    untouched.refuses_all(others, &banned()).await;
    for channel in [UpdateChannel::Chat, UpdateChannel::Visual] {
        let open = pb::PublishOpen { channels: vec![channel.into()], ..opening(7, VIEWER) };
        let (said, ended) = publish(&client, vec![message(pb::publish_updates_request::Message::Open(open))]).await;
        assert_eq!((said, fault(ended)), (vec![], banned()), "{channel:?}");
        let update = starling_client::pb::swarm::v1::UpdateDraft { channel: channel.into(), ..delta(1) };
        assert_eq!(fault(publish_one(&client, SwarmRef::Livestream(7), VIEWER, 0, update).await), banned());
    }
    // Until when it is told, as everybody may read.
    let refused = joins(&client, VIEWER).await.unwrap_err();
    let until = bans(&client).await[0].expire_time.unwrap();
    assert_eq!(metadata(&refused, "nodeId").as_deref(), Some("3"));
    assert_eq!(metadata(&refused, "until"), Some(until.to_string()));
    // Who it is to others is nobody: not a member.
    let mute = pb::MuteViewerRequest { livestream_id: 7, node_id: 1, viewer_node_id: VIEWER, ..Default::default() };
    let refused = client.clone().livestreams.mute_viewer(mute).await;
    assert_eq!(fault(refused), Fault::new(NotFound, "MEMBER_NOT_FOUND"));
    let transfer =
        pb::TransferBroadcastRequest { livestream_id: 7, node_id: 1, viewer_node_id: VIEWER, ..Default::default() };
    let refused = client.clone().livestreams.transfer_broadcast(transfer).await;
    assert_eq!(fault(refused), Fault::new(NotFound, "MEMBER_NOT_FOUND"));
}

#[tokio::test]
async fn ban_ends_the_streams_and_is_told() {
    let (_server, client) = moderated().await;
    let mut log = watch(&client).await;
    let chat = pb::PublishOpen { channels: vec![UpdateChannel::Chat.into()], ..opening(7, VIEWER) };
    let mut publisher = Publisher::open_with(&client, chat).await;
    let mut subscriber = Subscriber::open(&client, 7, VIEWER).await;
    let response = ban(&client, VIEWER, HOUR).await;
    assert_eq!(response.livestream.unwrap().banned_count, 1);
    let removed = Fault::new(PermissionDenied, "REMOVED");
    assert_eq!(Fault::of(&publisher.goodbye(GoodbyeReason::Removed).await.unwrap_err()), removed);
    assert_eq!(Fault::of(&subscriber.goodbye(GoodbyeReason::Removed).await.unwrap_err()), removed);
    let (node, is_banned, before) = next_ban(&mut log).await;
    assert_eq!((node, is_banned), (VIEWER, true));
    let Some(Change::ViewerLeft(left)) = before.first() else { panic!("it left in the same revision: {before:?}") };
    assert_eq!((left.node_id, left.reason()), (VIEWER, LeaveReason::Removed));

    // A moderator lets it back, and once more, which changes nothing.
    let lifted = answered(client.clone().livestreams.unban_viewer(unban(MODERATOR, VIEWER)).await);
    assert_eq!(lifted.livestream.as_ref().unwrap().banned_count, 0);
    let again = answered(client.clone().livestreams.unban_viewer(unban(MODERATOR, VIEWER)).await);
    assert_eq!((lifted.livestream, lifted.revision), (again.livestream, again.revision));
    assert_eq!(next_ban(&mut log).await, (VIEWER, false, vec![]));
    joins(&client, VIEWER).await.unwrap();
    assert_eq!(bans(&client).await, []);
}

#[tokio::test]
async fn ban_is_over_at_its_time() {
    let (_server, client) = moderated().await;
    let mut log = watch(&client).await;
    ban(&client, VIEWER, HOUR).await;
    // What was said before counts no more.
    ban(&client, VIEWER, 1).await;
    let until = bans(&client).await[0].expire_time.unwrap();
    assert_eq!(fault(joins(&client, VIEWER).await), banned());
    for is_banned in [true, true] {
        let (node, now, _) = next_ban(&mut log).await;
        assert_eq!((node, now), (VIEWER, is_banned));
    }
    let Some(pb::watch_livestream_response::Event::Batch(over)) = next(&mut log).await.event else {
        panic!("nothing else happens before it is over")
    };
    let at = over.event_time.unwrap();
    assert!((until.seconds, until.nanos) <= (at.seconds, at.nanos), "not before its end: {until}, {at}");
    assert_eq!(over.actor_node_id, 0, "nobody lets it back but time");
    joins(&client, VIEWER).await.unwrap();
    assert_eq!((livestream(&client, 7).await.banned_count, bans(&client).await), (0, vec![]));
}

#[tokio::test]
async fn absent_node_can_be_banned() {
    let (_server, client) = moderated().await;
    let mut livestreams = client.livestreams.clone();
    let before = livestream(&client, 7).await;
    let refused = livestreams.remove_viewer(remove(BROADCASTER, STRANGER)).await;
    assert_eq!(fault(refused), Fault::new(NotFound, "MEMBER_NOT_FOUND"), "without a ban there is nothing to do");
    assert_eq!(livestream(&client, 7).await, before);
    let mut log = watch(&client).await;
    let response = answered(livestreams.remove_viewer(ban_for(MODERATOR, STRANGER, HOUR)).await);
    assert_eq!((response.revision, response.livestream.unwrap().banned_count), (before.revision + 1, 1));
    assert_eq!(next_ban(&mut log).await, (STRANGER, true, vec![]));
    assert_eq!(fault(joins(&client, STRANGER).await), banned());
    assert_eq!(livestream(&client, 7).await.viewer_count, before.viewer_count);
}

#[tokio::test]
async fn only_moderators_ban_and_nobody_the_broadcaster() {
    let (server, client) = moderated().await;
    let untouched = Untouched::from(server).await;
    let hour = Some(prost_types::Duration { seconds: HOUR, nanos: 0 });
    let calls = calls! { client, Livestreams;
        remove_viewer RemoveViewerRequest { livestream_id: 7, node_id: VIEWER, viewer_node_id: OTHER, ban: hour }
        remove_viewer RemoveViewerRequest { livestream_id: 7, node_id: VIEWER, viewer_node_id: STRANGER, ban: hour }
        unban_viewer UnbanViewerRequest { livestream_id: 7, node_id: VIEWER, viewer_node_id: STRANGER }
    };
    untouched.refuses_all(calls, &Fault::new(PermissionDenied, "NOT_MODERATOR")).await;
    let calls = calls! { client, Livestreams;
        remove_viewer RemoveViewerRequest { livestream_id: 7, node_id: 2, viewer_node_id: BROADCASTER, ban: hour }
        remove_viewer RemoveViewerRequest { livestream_id: 7, node_id: 1, viewer_node_id: BROADCASTER, ban: hour }
        unban_viewer UnbanViewerRequest { livestream_id: 7, node_id: 1, viewer_node_id: BROADCASTER }
    };
    untouched.refuses_all(calls, &Fault::new(FailedPrecondition, "TARGET_IS_BROADCASTER")).await;
    for (seconds, nanos) in [(0, 999_000_000), (0, 0), (-1, 0), (LONGEST, 1), (i64::MAX, 0)] {
        let ban = Some(prost_types::Duration { seconds, nanos });
        let calls = calls! { client, Livestreams;
            remove_viewer RemoveViewerRequest { livestream_id: 7, node_id: 1, viewer_node_id: VIEWER, ban: ban }
        };
        untouched.refuses_all(calls, &Fault::field("ban")).await;
    }
    for seconds in [1, LONGEST] {
        assert_eq!(ban(&client, VIEWER, seconds).await.livestream.unwrap().banned_count, 1);
    }
}

#[tokio::test]
async fn moderator_that_was_banned_comes_back_as_one() {
    let (_server, client) = moderated().await;
    ban(&client, MODERATOR, HOUR).await;
    let refused = client.clone().livestreams.remove_viewer(remove(MODERATOR, VIEWER)).await;
    assert_eq!(fault(refused), banned());
    assert_eq!(livestream(&client, 7).await.moderator_node_ids, [MODERATOR], "the broadcaster alone names them");
    answered(client.clone().livestreams.unban_viewer(unban(BROADCASTER, MODERATOR)).await);
    joins(&client, MODERATOR).await.unwrap();
    answered(client.clone().livestreams.remove_viewer(remove(MODERATOR, VIEWER)).await);
}

#[tokio::test]
async fn repeated_ban_answers_as_before() {
    let (_server, client) = moderated().await;
    let mut livestreams = client.livestreams.clone();
    let request = pb::RemoveViewerRequest { request_id: "out".to_owned(), ..ban_for(BROADCASTER, VIEWER, HOUR) };
    let first = answered(livestreams.remove_viewer(request.clone()).await);
    let until = bans(&client).await;
    let again = answered(livestreams.remove_viewer(request.clone()).await);
    assert_eq!((first.revision, &until), (again.revision, &bans(&client).await), "it runs from the first on");
    // Another time, or none, is another request.
    let longer = prost_types::Duration { seconds: 2 * HOUR, nanos: 0 };
    for ban in [Some(longer), None] {
        let other = pb::RemoveViewerRequest { ban, ..request.clone() };
        assert_eq!(fault(livestreams.remove_viewer(other).await).reason, "REQUEST_ID_REUSED");
    }
    let lift = pb::UnbanViewerRequest { request_id: "out".to_owned(), ..unban(BROADCASTER, VIEWER) };
    let first = answered(livestreams.unban_viewer(lift.clone()).await);
    ban(&client, VIEWER, HOUR).await;
    assert_eq!(answered(livestreams.unban_viewer(lift).await).revision, first.revision);
    assert_eq!(bans(&client).await.len(), 1, "a repeat lifts nothing");
}

#[tokio::test]
async fn bans_are_listed_page_by_page() {
    let (_server, client) = moderated().await;
    for node in (100..110).rev() {
        ban(&client, node, HOUR).await;
    }
    let mut request = pb::ListBansRequest { livestream_id: 7, page_size: 4, ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let page = answered(client.clone().livestreams.list_bans(request.clone()).await);
        assert!(page.bans.len() <= 4 && page.revision == livestream(&client, 7).await.revision);
        listed.extend(page.bans.iter().map(|ban| ban.node_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, (100..110).collect::<Vec<_>>());
    let foreign = answered(client.clone().livestreams.list_bans(pb::ListBansRequest { page_size: 4, ..request }).await);
    let muted =
        pb::ListMutedNodesRequest { livestream_id: 7, page_token: foreign.next_page_token, ..Default::default() };
    assert_eq!(fault(client.clone().livestreams.list_muted_nodes(muted).await), Fault::field("page_token"));
}

#[tokio::test]
async fn bans_end_with_their_livestream() {
    let (_server, client) = moderated().await;
    ban(&client, VIEWER, HOUR).await;
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    assert_eq!(livestream(&client, 7).await.banned_count, 0);
    let list = pb::ListBansRequest { livestream_id: 7, ..Default::default() };
    assert_eq!(fault(client.clone().livestreams.list_bans(list).await), Fault::new(FailedPrecondition, "ENDED"));
    assert_eq!(fault(joins(&client, VIEWER).await), Fault::new(FailedPrecondition, "ENDED"));
    // Another incarnation knows nothing of it.
    go_live(&client, 7).await;
    joins(&client, VIEWER).await.unwrap();
}

#[tokio::test]
async fn ban_wins_against_joins_at_the_same_time() {
    let (_server, client) = moderated().await;
    for round in 0..20 {
        let node = 200 + round;
        let (joined, _) = tokio::join!(joins(&client, node), ban(&client, node, HOUR));
        // Whichever came first, it is out now.
        assert!(joined.is_ok() || fault(joined) == banned());
        assert_eq!(fault(joins(&client, node).await), banned());
    }
    assert_eq!(livestream(&client, 7).await.viewer_count, 3);
}
