//! What one address may do, where identities are off.

use std::time::Duration;

use starling::config::Config;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::UpdateChannel;
use starling_client::{Client, SwarmRef};
use tonic::Code::ResourceExhausted;
use tonic::Status;

use crate::edge::updates::{Publisher, Subscriber, delta, publish_one};
use crate::edge::world::{answered, go_live, join_livestream};
use crate::harness::{Fault, Server, metadata, retry_delay, soon};

async fn server(configure: impl FnOnce(&mut Config)) -> (Server, Client) {
    let server = Server::with(configure).await;
    let client = server.client().await;
    go_live(&client, 7).await;
    (server, client)
}

#[track_caller]
fn assert_refused(refused: &Status, reason: &str, limit: &str) {
    assert_eq!(Fault::of(refused), Fault::new(ResourceExhausted, reason));
    assert_eq!(metadata(refused, "limit"), Some(format!("limits.{limit}")));
    let wait = retry_delay(refused).expect("a RetryInfo");
    assert!(!wait.is_zero() && wait <= Duration::from_secs(1), "{wait:?}");
}

/// Calls again and again until it is refused for a rate of one in a second.
async fn until_refused<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) -> Status {
    for _ in 0..100 {
        if let Err(refused) = call().await {
            return refused;
        }
    }
    panic!("it is never refused")
}

#[tokio::test]
async fn streams_of_one_address_are_limited() {
    let (server, client) = server(|config| config.limits.address_streams = 1).await;
    join_livestream(&client, 7, 2).await;
    let held = Subscriber::open(&client, 7, 2).await;
    // Another connection of it is the same address.
    let other = server.client().await;
    for client in [&client, &other] {
        let watch = pb::WatchLivestreamsRequest::default();
        let refused = client.clone().livestreams.watch_livestreams(watch).await.unwrap_err();
        assert_refused(&refused, "CLIENT_LIMIT", "address_streams");
        let refused = client.clone().groups.watch_groups(group::WatchGroupsRequest::default()).await.unwrap_err();
        assert_refused(&refused, "CLIENT_LIMIT", "address_streams");
    }
    assert!(
        answered(
            other.clone().livestreams.get_stats(pb::GetStatsRequest { livestream_id: 7, ..Default::default() }).await
        )
        .epoch
            != 0
    );
    drop(held);
    soon(async { while other.clone().groups.watch_groups(group::WatchGroupsRequest::default()).await.is_err() {} })
        .await;
}

#[tokio::test]
async fn joins_of_one_address_are_limited() {
    let (_server, client) = server(|config| config.limits.address_joins_per_second = 1).await;
    let mut node_id = 1;
    let refused = until_refused(async || {
        node_id += 1;
        let join = pb::JoinLivestreamRequest { livestream_id: 7, node_id, ..Default::default() };
        client.clone().livestreams.join_livestream(join).await
    })
    .await;
    assert_refused(&refused, "RATE_LIMITED", "address_joins_per_second");
    let stats = answered(
        client.clone().livestreams.get_stats(pb::GetStatsRequest { livestream_id: 7, ..Default::default() }).await,
    );
    assert_eq!(stats.stats.unwrap().joins, node_id - 2, "none for the one that was refused");
}

#[tokio::test]
async fn swarms_of_one_address_are_limited() {
    let (_server, client) = server(|config| config.limits.address_swarms = 2).await;
    let create = |livestream_id| pb::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() };
    answered(client.clone().livestreams.create_livestream(create(8)).await);
    let refused = client.clone().livestreams.create_livestream(create(9)).await.unwrap_err();
    assert_refused(&refused, "CLIENT_LIMIT", "address_swarms");
    assert_eq!(metadata(&refused, "max").as_deref(), Some("2"));
    let create = group::CreateGroupRequest { group_id: 8, ..Default::default() };
    let refused = client.clone().groups.create_group(create).await.unwrap_err();
    assert_refused(&refused, "CLIENT_LIMIT", "address_swarms");
    assert!(
        client
            .clone()
            .livestreams
            .get_livestream(pb::GetLivestreamRequest { livestream_id: 9, ..Default::default() })
            .await
            .is_err()
    );
}

#[tokio::test]
async fn updates_of_one_address_are_limited() {
    let (_server, client) = server(|config| config.limits.address_publishes_per_second = 1).await;
    let data =
        |number| starling_client::pb::swarm::v1::UpdateDraft { channel: UpdateChannel::Data.into(), ..delta(number) };
    let mut number = 0;
    let refused = until_refused(async || {
        number += 1;
        publish_one(&client, SwarmRef::Livestream(7), 1, 0, data(number)).await
    })
    .await;
    assert_refused(&refused, "RATE_LIMITED", "address_publishes_per_second");
}

#[tokio::test]
async fn published_bytes_of_one_address_wait() {
    let (_server, client) = server(|config| {
        config.feed.payload_bytes = 1_024;
        config.limits.address_published_bytes_per_second = 2_560;
    })
    .await;
    let mut publisher = Publisher::open(&client, 7, 1).await;
    // 120 blocks, of which 80 come at once and 40 in a second.
    let updates: String = std::iter::once('K').chain(std::iter::repeat_n('d', 119)).collect();
    publisher.run(1, &updates).await;
}

#[tokio::test]
async fn default_limits_admit_an_honest_address() {
    let (_server, client) = server(|_| ()).await;
    for node in 2..=50 {
        join_livestream(&client, 7, node).await;
    }
    let mut readers = Vec::new();
    for node in 2..=50 {
        readers.push(Subscriber::open(&client, 7, node).await);
    }
    let mut publisher = Publisher::open(&client, 7, 1).await;
    publisher.run(1, &"Kddddddddd".repeat(30)).await;
}
