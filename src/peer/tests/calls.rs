//! Calls among servers: who may call, what is forwarded, what is counted, what is reported.

use super::*;
use crate::pb::peer::v1::StatsRequest;
use starling_cluster::peers::Peers;
use starling_replica::batch::{LogId, PodIncarnation};
use starling_replica::output::PeerReport;

#[tokio::test]
async fn wrong_secret_is_unauthenticated() {
    let (one, stranger) = (Server::start(1, "secret").await, Server::start(2, "guess").await);
    let mut client = stranger.network.client(&one.address).unwrap();
    let refused = soon(client.stats(StatsRequest { swarm: None })).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", one.address)).unwrap().connect_lazy();
    let mut without = crate::pb::peer::v1::peer_service_client::PeerServiceClient::new(channel);
    let refused = soon(without.stats(StatsRequest { swarm: None })).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
}

#[tokio::test]
async fn single_update_is_published_at_its_home() {
    let cluster = Cluster::start(2).await;
    let term = cluster.claim(1);
    let (home, other) = (cluster.server(1), cluster.server(2));
    let publish = |fence, draft| async move { soon(other.service.publish_one(swarm(), &by(1), fence, &draft)).await };
    let accepted = publish(None, draft(true, 7)).await.unwrap();
    assert_eq!((accepted.position.point(), accepted.publisher_sequence), ((term, 1), 7));
    assert_eq!(home.feed().counts().published, 1);
    assert!(publish(None, draft(true, 7)).await.unwrap().duplicate);
    let refused = publish(None, draft(true, 6)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Feed(rejected) if rejected.refusal == AppendError::OutOfOrder));
    let refused = publish(Some(term + 1), draft(true, 8)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Feed(rejected) if rejected.refusal == AppendError::StaleTerm));
    assert_eq!((home.feed().counts().published, other.feed().counts().published), (1, 0));
}

#[tokio::test]
async fn update_for_a_dead_home_is_unavailable() {
    let mut cluster = Cluster::start(2).await;
    cluster.claim(1);
    cluster.kill(1).await;
    let service = &cluster.server(2).service;
    let refused = soon(service.publish_one(swarm(), &by(1), None, &draft(true, 1))).await.unwrap_err();
    assert_eq!(refused, PublishError::Swarm(ServiceError::HomeUnreachable));
}

#[tokio::test]
async fn peers_tell_what_they_have_counted() {
    let mut cluster = Cluster::start(3).await;
    let term = cluster.claim(1);
    cluster.server(1).publish(term, true, 1);
    let counts = soon(cluster.server(2).service.peer_counts(swarm())).await.unwrap();
    let published: Vec<u64> = counts.answers.iter().map(|counts| counts.published).collect();
    assert_eq!((counts.asked, published), (2, vec![1, 0]));
    cluster.kill(3).await;
    let counts = soon(cluster.server(2).service.peer_counts(swarm())).await.unwrap();
    assert_eq!((counts.asked, counts.answers.len()), (2, 1));
}

#[tokio::test]
async fn reports_reach_peers_that_are_known_or_found() {
    let (mut one, mut two) = (Server::start(1, "secret").await, Server::start(2, "secret").await);
    // The first has the address of the second alone, and its own; the second knows nobody.
    one.network.set_seeds(vec![two.address.clone(), one.address.clone()]);
    for server in [&mut one, &mut two] {
        let network = server.network.clone();
        server.tasks.spawn(async move { network.run().await });
    }
    let report = |incarnation, applied| {
        let (incarnation, log) = (PodIncarnation(incarnation), LogId(3));
        vec![(4, PeerReport { incarnation, log, applied, holds: Some(9) })]
    };
    one.reports.send(report(100, 5));
    assert_eq!(soon(two.reports.receive()).await, report(100, 5));
    two.reports.send(report(200, 6));
    assert_eq!(soon(one.reports.receive()).await, report(200, 6));
    assert_eq!(one.network.peers(), [two.peer_address()]);
}

#[tokio::test]
async fn another_life_of_a_server_takes_nothing() {
    let cluster = Cluster::start(2).await;
    cluster.claim(1);
    let (home, other) = (cluster.server(1), cluster.server(2));
    home.network.set_own(777);
    let refused = soon(other.service.publish_one(swarm(), &by(1), None, &draft(true, 1))).await.unwrap_err();
    assert_eq!(refused, PublishError::Swarm(ServiceError::HomeUnreachable));
    assert_eq!((home.feed().counts().published, home.feed().holder(node(1), Channel::Visual).is_some()), (0, true));
    assert_ne!(home.feed().holder(node(1), Channel::Visual).unwrap().1, NO_HOME);
}
