//! The memory for swarms is full: what would grow is refused, and what ends makes room.

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code::ResourceExhausted;
use tonic_types::StatusExt;

use crate::edge::world::answered;
use crate::harness::{Fault, Server};

const BROADCASTER: u64 = 1;

fn create(livestream_id: u64) -> pb::CreateLivestreamRequest {
    let metadata = vec![7; 1_024].into();
    pb::CreateLivestreamRequest { livestream_id, node_id: BROADCASTER, metadata, ..Default::default() }
}

fn join(livestream_id: u64, node_id: u64) -> pb::JoinLivestreamRequest {
    pb::JoinLivestreamRequest { livestream_id, node_id, ..Default::default() }
}

/// A server with so much memory for swarms, and livestreams from 1 on until no more is admitted; how many there are.
async fn filled(state_bytes: usize, address_bytes: usize) -> (Server, Client, u64) {
    let server = Server::with(move |config| {
        config.memory.state_bytes = state_bytes;
        config.memory.state_address_bytes = address_bytes;
    })
    .await;
    let client = server.client().await;
    let mut livestreams = client.livestreams.clone();
    for number in 1.. {
        let Err(refused) = livestreams.create_livestream(create(number)).await else { continue };
        assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "STATE_MEMORY"));
        assert!(refused.get_error_details().retry_info().is_some(), "a retry may help");
        return (server, client, number - 1);
    }
    unreachable!("a megabyte does not hold all numbers")
}

#[tokio::test]
async fn full_memory_refuses_growth_and_admits_ends() {
    let (_server, client, count) = filled(1 << 20, 1 << 20).await;
    assert!((200..=500).contains(&count), "{count} livestreams of about 3 KB in 1 MiB");
    let mut livestreams = client.livestreams.clone();
    // What is there is answered, and nothing grows.
    assert!(!answered(livestreams.create_livestream(create(1)).await).created);
    let refused = livestreams.join_livestream(join(1, 2)).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "STATE_MEMORY"));
    let stats = livestreams.get_stats(pb::GetStatsRequest { livestream_id: 1, ..Default::default() }).await;
    assert_eq!(answered(stats).stats.expect("it has statistics").joins, 0);
    // An ended one is kept for its retention, unless its memory is wanted.
    let end = |livestream_id| pb::EndLivestreamRequest { livestream_id, node_id: BROADCASTER, ..Default::default() };
    answered(livestreams.end_livestream(end(7)).await);
    answered(livestreams.end_livestream(end(9)).await);
    assert!(answered(livestreams.create_livestream(create(count + 1)).await).created);
    let get = |livestream_id| pb::GetLivestreamRequest { livestream_id, ..Default::default() };
    assert!(livestreams.get_livestream(get(7)).await.is_err(), "the one that ended first goes");
    answered(livestreams.get_livestream(get(9)).await);
    answered(livestreams.join_livestream(join(1, 2)).await);
    assert!(livestreams.get_livestream(get(9)).await.is_err(), "a Join is given room as well");
}

#[tokio::test]
async fn address_is_refused_beyond_its_share() {
    let (_, _, all) = filled(2 << 20, 2 << 20).await;
    let (server, _client, count) = filled(2 << 20, 1 << 20).await;
    assert!((all / 2 - 10..=all / 2 + 10).contains(&count), "{count} of {all}");
    // Another connection of it is the same address.
    let mut other = server.client().await.livestreams;
    let refused = other.create_livestream(create(count + 1)).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "STATE_MEMORY"));
}
