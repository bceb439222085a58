//! Many clients at once, each with a connection of its own, for what only some can have.

use std::collections::BTreeSet;
use std::sync::Arc;

use starling_client::Client;
use starling_client::pb::group::v1 as pb;
use starling_client::pb::livestream::v1 as livestream;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tonic::Code::{FailedPrecondition, ResourceExhausted};
use tonic::{Response, Status};

use crate::edge::world::{answered, end, join_group, make_group};
use crate::harness::{Fault, Server, metadata, soon};

/// Lets every client make its call at the same time; the answers, by the client's number.
async fn at_once<T: Send + 'static, F: Future<Output = Result<Response<T>, Status>> + Send + 'static>(
    clients: &[Client],
    call: impl Fn(u64, Client) -> F,
) -> Vec<(u64, Result<T, Status>)> {
    let ready = Arc::new(Barrier::new(clients.len()));
    let mut calls = JoinSet::new();
    for (number, client) in (1..).zip(clients) {
        let (ready, call) = (Arc::clone(&ready), call(number, client.clone()));
        calls.spawn(async move {
            ready.wait().await;
            (number, call.await.map(Response::into_inner))
        });
    }
    soon(calls.join_all()).await
}

async fn connect(server: &Server, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(server.client().await);
    }
    clients
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_twenty_concurrent_screen_shares_wins() {
    let server = Server::start().await;
    let clients = connect(&server, 20).await;
    make_group(&clients[0], 7, 20).await;
    for node_id in 1..=20 {
        join_group(&clients[0], 7, node_id).await;
    }
    let mut winners = BTreeSet::new();
    for _ in 0..10 {
        let answers = at_once(&clients, |node_id, mut client| async move {
            let request = pb::StartScreenShareRequest { group_id: 7, node_id, ..Default::default() };
            client.groups.start_screen_share(request).await
        })
        .await;
        let holder = crate::edge::world::group(&clients[0], 7).await.screen_share_node_id;
        assert_ne!(holder, 0, "somebody won");
        let mut losers = 0;
        for (node_id, answer) in answers {
            match answer {
                Ok(_) => assert_eq!(node_id, holder),
                Err(refused) => {
                    assert_eq!(Fault::of(&refused), Fault::new(FailedPrecondition, "SCREEN_SHARE_HELD"));
                    assert_eq!(metadata(&refused, "holderNodeId"), Some(holder.to_string()));
                    losers += 1;
                }
            }
        }
        assert_eq!(losers, 19);
        winners.insert(holder);
        let stop = pb::StopScreenShareRequest { group_id: 7, node_id: holder, ..Default::default() };
        answered(clients[0].clone().groups.stop_screen_share(stop).await);
    }
    assert!(!winners.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_joins_fill_exactly_the_capacity() {
    const PLACES: usize = 16;
    let server = Server::start().await;
    let clients = connect(&server, 100).await;
    let mut groups = clients[0].groups.clone();
    answered(groups.create_group(pb::CreateGroupRequest { group_id: 7, ..Default::default() }).await);
    let answers = at_once(&clients, |node_id, mut client| async move {
        let request = pb::JoinGroupRequest { group_id: 7, node_id, ..Default::default() };
        client.groups.join_group(request).await
    })
    .await;

    let mut sessions = BTreeSet::new();
    let mut revisions = BTreeSet::new();
    let mut members = BTreeSet::new();
    for (node_id, answer) in answers {
        match answer {
            Ok(joined) => {
                sessions.insert(joined.session_id);
                revisions.insert(joined.revision);
                members.insert(node_id);
            }
            Err(refused) => {
                assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "SWARM_FULL"));
                assert_eq!(metadata(&refused, "max"), Some(PLACES.to_string()));
            }
        }
    }
    assert_eq!((sessions.len(), members.len()), (PLACES, PLACES));
    // One after the other, each in a revision of its own.
    assert_eq!(revisions, (2..2 + PLACES as u64).collect());
    let list = pb::ListParticipantsRequest { group_id: 7, ..Default::default() };
    let listed = answered(groups.list_participants(list).await);
    assert_eq!(listed.participants.iter().map(|p| p.node_id).collect::<BTreeSet<_>>(), members);
    assert_eq!(listed.revision, 1 + PLACES as u64);
    for node_id in &members {
        let targets = pb::GetTargetsRequest { group_id: 7, of_node_id: *node_id, ..Default::default() };
        let targets = answered(groups.get_targets(targets).await).targets.unwrap().targets;
        let mut others = members.clone();
        others.remove(node_id);
        assert_eq!(targets.iter().map(|target| target.node_id).collect::<BTreeSet<_>>(), others);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn last_of_concurrent_claims_holds_the_channel() {
    let server = Server::start().await;
    let clients = connect(&server, 10).await;
    crate::edge::world::go_live(&clients[0], 7).await;
    let answers = at_once(&clients, |_, client| async move {
        Ok(Response::new(crate::edge::updates::Publisher::open(&client, 7, 1).await))
    })
    .await;
    let mut publishers: Vec<_> = answers.into_iter().map(|(_, answer)| answer.unwrap()).collect();
    publishers.sort_by_key(|publisher| publisher.term());
    let mut last = publishers.pop().unwrap();
    for mut publisher in publishers {
        assert_eq!(publisher.lost().await, Fault::new(FailedPrecondition, "STALE_TERM"));
    }
    last.send(crate::edge::updates::keyframe(1)).await;
    assert_eq!(last.acked().await.sequence, 1);
}

#[tokio::test]
async fn swarm_limit_refuses_further_swarms() {
    let server = Server::with(|config| {
        config.store.max_swarms = 3;
        config.retention.ended = std::time::Duration::ZERO;
    })
    .await;
    let client = server.client().await;
    let Client { mut livestreams, mut groups, .. } = client.clone();
    crate::edge::world::go_live(&client, 1).await;
    crate::edge::world::go_live(&client, 2).await;
    make_group(&client, 1, 16).await;

    let create =
        |livestream_id| livestream::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() };
    let full = Fault::new(ResourceExhausted, "TOO_MANY_SWARMS");
    for livestream_id in [0, 3] {
        let refused = livestreams.create_livestream(create(livestream_id)).await.unwrap_err();
        assert_eq!(Fault::of(&refused), full);
        assert_eq!(metadata(&refused, "max").as_deref(), Some("3"));
    }
    let refused = groups.create_group(pb::CreateGroupRequest::default()).await.unwrap_err();
    assert_eq!(Fault::of(&refused), full);
    // One that is there is no more.
    assert!(!answered(livestreams.create_livestream(create(1)).await).created);

    // One that is removed makes room for another: without retention, as soon as it has ended.
    let mut census = answered(livestreams.watch_livestreams(livestream::WatchLivestreamsRequest::default()).await);
    answered(livestreams.end_livestream(end(1)).await);
    loop {
        use livestream::watch_livestreams_response::Event;
        let message = soon(census.message()).await.unwrap().expect("the watch goes on");
        if matches!(message.event, Some(Event::Removed(removed)) if removed.livestream_id == 1) {
            break;
        }
    }
    assert!(answered(livestreams.create_livestream(create(3)).await).created);
}
