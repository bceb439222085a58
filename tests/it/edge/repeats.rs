//! A request may be repeated by its request_id when its answer was lost.

use starling_client::Client;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code::{FailedPrecondition, InvalidArgument};

use crate::edge::world::{answered, everything, go_live, join_group, join_livestream, make_group};
use crate::harness::{Fault, Server, fault};

fn reused() -> Fault {
    Fault { field: Some("request_id".to_owned()), ..Fault::new(InvalidArgument, "REQUEST_ID_REUSED") }
}

fn pause(node_id: u64, request_id: &str) -> pb::PauseLivestreamRequest {
    pb::PauseLivestreamRequest { livestream_id: 7, node_id, request_id: request_id.to_owned(), ..Default::default() }
}

fn resume(request_id: &str) -> pb::ResumeLivestreamRequest {
    pb::ResumeLivestreamRequest {
        livestream_id: 7,
        node_id: 1,
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

fn update(metadata: &'static [u8], request_id: &str) -> pb::UpdateLivestreamRequest {
    pb::UpdateLivestreamRequest {
        livestream_id: 7,
        node_id: 1,
        metadata: Some(metadata.into()),
        request_id: request_id.to_owned(),
        ..Default::default()
    }
}

async fn on_air() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    (server, client)
}

#[tokio::test]
async fn repeat_returns_original_revision_and_current_state() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let first = answered(livestreams.pause_livestream(pause(1, "a")).await);
    answered(livestreams.resume_livestream(resume("")).await);
    let before = everything(&client).await;

    let repeat = answered(livestreams.pause_livestream(pause(1, "a")).await);
    assert_eq!(repeat.revision, first.revision);
    let now = repeat.livestream.unwrap();
    assert_eq!((now.state(), now.revision), (pb::LivestreamState::Active, first.revision + 1));
    assert!(before == everything(&client).await, "a repeat changes nothing");
}

#[tokio::test]
async fn request_id_of_another_request_is_refused() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    answered(livestreams.update_livestream(update(b"one", "a")).await);
    let before = everything(&client).await;
    assert_eq!(fault(livestreams.update_livestream(update(b"two", "a")).await), reused());
    assert!(before == everything(&client).await, "neither repeat nor refusal changes anything");
    answered(livestreams.update_livestream(update(b"two", "b")).await);
}

#[tokio::test]
async fn request_id_is_scoped_to_node_and_method() {
    let (_server, client) = on_air().await;
    join_livestream(&client, 7, 2).await;
    let mut livestreams = client.livestreams.clone();
    let paused = answered(livestreams.pause_livestream(pause(1, "a")).await);
    let resumed = answered(livestreams.resume_livestream(resume("a")).await);
    assert_eq!(resumed.revision, paused.revision + 1);
    let found = fault(livestreams.pause_livestream(pause(2, "a")).await);
    assert_eq!(found.reason, "NOT_BROADCASTER");
}

#[tokio::test]
async fn a_refused_request_is_not_remembered() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let leave = |metadata: &'static [u8]| pb::UpdateViewerRequest {
        livestream_id: 7,
        node_id: 2,
        metadata: Some(metadata.into()),
        request_id: "a".to_owned(),
        ..Default::default()
    };
    let found = fault(livestreams.update_viewer(leave(b"one")).await);
    assert_eq!(found, Fault::new(FailedPrecondition, "NOT_A_MEMBER"));
    join_livestream(&client, 7, 2).await;
    // Neither the fault nor the name is remembered.
    let viewer = answered(livestreams.update_viewer(leave(b"two")).await).viewer.unwrap();
    assert_eq!(&viewer.metadata[..], b"two");
}

#[tokio::test]
async fn leave_may_be_repeated_after_leaving() {
    let (_server, client) = on_air().await;
    let session_id = join_livestream(&client, 7, 2).await;
    let leave = pb::LeaveLivestreamRequest { livestream_id: 7, node_id: 2, session_id, request_id: "a".to_owned() };
    let mut livestreams = client.livestreams.clone();
    let left = answered(livestreams.leave_livestream(leave.clone()).await);
    assert_eq!(answered(livestreams.leave_livestream(leave.clone()).await), left);
    let nameless = pb::LeaveLivestreamRequest { request_id: String::new(), ..leave };
    assert_eq!(fault(livestreams.leave_livestream(nameless).await).reason, "NOT_A_MEMBER");
}

#[tokio::test]
async fn an_end_may_be_repeated_after_the_end() {
    let (_server, client) = on_air().await;
    let end =
        pb::EndLivestreamRequest { livestream_id: 7, node_id: 1, request_id: "a".to_owned(), ..Default::default() };
    let mut livestreams = client.livestreams.clone();
    let ended = answered(livestreams.end_livestream(end.clone()).await);
    assert_eq!(answered(livestreams.end_livestream(end).await), ended);
}

#[tokio::test]
async fn repeated_join_returns_the_session_it_made() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let join = |endpoint: &'static [u8], request_id: &str| pb::JoinLivestreamRequest {
        livestream_id: 7,
        node_id: 2,
        endpoint: Some(endpoint.into()),
        lease_ttl: crate::edge::world::LONG_LEASE,
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let joined = answered(livestreams.join_livestream(join(b"here", "a")).await);
    join_livestream(&client, 7, 3).await;
    let before = everything(&client).await;
    let repeat = answered(livestreams.join_livestream(join(b"here", "a")).await);
    // The livestream is shown as it is now.
    assert_eq!(repeat.livestream, Some(crate::edge::world::livestream(&client, 7).await));
    assert_eq!(pb::JoinLivestreamResponse { livestream: joined.livestream.clone(), ..repeat }, joined);
    assert_eq!(fault(livestreams.join_livestream(join(b"there", "a")).await), reused());
    assert!(before == everything(&client).await, "neither repeat nor refusal changes anything");

    // Under another name it is another session, and the first name means nothing any more.
    let second = answered(livestreams.join_livestream(join(b"here", "b")).await);
    let third = answered(livestreams.join_livestream(join(b"here", "a")).await);
    assert!(joined.session_id != second.session_id && second.session_id != third.session_id);
    assert_eq!(third.revision, second.revision + 1);
}

#[tokio::test]
async fn livestream_without_id_is_created_once_per_request() {
    let (_server, client) = on_air().await;
    let mut livestreams = client.livestreams.clone();
    let create = |node_id, request_id: &str| pb::CreateLivestreamRequest {
        node_id,
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    let made = answered(livestreams.create_livestream(create(1, "a")).await);
    let again = answered(livestreams.create_livestream(create(1, "a")).await);
    assert!(made.created && !again.created);
    assert_eq!(made.livestream, again.livestream);
    let livestream = made.livestream.unwrap();
    assert!((1..1 << 53).contains(&livestream.livestream_id));

    let other = pb::CreateLivestreamRequest {
        config: Some(pb::LivestreamConfig { tree_fanout: Some(9), ..Default::default() }),
        ..create(1, "a")
    };
    assert_eq!(fault(livestreams.create_livestream(other).await), reused());

    let mut ids = vec![livestream.livestream_id];
    for request in [create(2, "a"), create(1, "b"), create(1, ""), create(1, "")] {
        let made = answered(livestreams.create_livestream(request).await);
        assert!(made.created);
        ids.push(made.livestream.unwrap().livestream_id);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each is another one");
}

#[tokio::test]
async fn group_without_id_is_created_once_per_request() {
    let (_server, client) = on_air().await;
    let mut groups = client.groups.clone();
    let create = |max| group::CreateGroupRequest {
        node_id: 5,
        owner_node_id: 5,
        config: Some(group::GroupConfig { max_participants: Some(max), ..Default::default() }),
        request_id: "a".to_owned(),
        ..Default::default()
    };
    let made = answered(groups.create_group(create(4)).await);
    let again = answered(groups.create_group(create(4)).await);
    assert!(made.created && !again.created);
    assert_eq!(made.group, again.group);
    assert_eq!(fault(groups.create_group(create(5)).await), reused());
}

#[tokio::test]
async fn repeats_in_a_group_change_nothing() {
    let (_server, client) = on_air().await;
    make_group(&client, 7, 16).await;
    join_group(&client, 7, 2).await;
    let mut groups = client.groups.clone();
    let share =
        group::StartScreenShareRequest { group_id: 7, node_id: 2, request_id: "a".to_owned(), ..Default::default() };
    let first = answered(groups.start_screen_share(share.clone()).await);
    let stop = group::StopScreenShareRequest { group_id: 7, node_id: 2, ..Default::default() };
    answered(groups.stop_screen_share(stop).await);
    let repeat = answered(groups.start_screen_share(share).await);
    assert_eq!(repeat.revision, first.revision);
    assert_eq!(repeat.group.unwrap().screen_share_node_id, 0);
    let media = |audio, request_id: &str| group::SetMediaRequest {
        group_id: 7,
        node_id: 2,
        audio_enabled: Some(audio),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    answered(groups.set_media(media(false, "m")).await);
    assert_eq!(fault(groups.set_media(media(true, "m")).await), reused());
    assert!(!answered(groups.set_media(media(false, "m")).await).participant.unwrap().audio_enabled);
}
