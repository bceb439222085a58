//! What is counted, after runs of which everything is known.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::GoodbyeReason;

use super::scrape::{Scrape, labels, server};
use crate::edge::updates::{Publisher, Subscriber, keyframe};
use crate::edge::world::{answered, end, go_live_wide, join_livestream};
use crate::exchange::Exchange;
use crate::harness::soon;

const SERVICE: &str = "grpc_service=\"starling.livestream.v1.LivestreamService\"";

/// Calls of a unary method that ended with a code.
fn handled(method: &str, code: &str) -> String {
    format!("grpc_server_handled_total{{grpc_type=\"unary\",{SERVICE},grpc_method=\"{method}\",grpc_code=\"{code}\"}}")
}

#[tokio::test]
async fn known_run_has_exact_figures() {
    let server = server(|_| ()).await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    for node in [2, 3, 4] {
        join_livestream(&client, 7, node).await;
    }
    let mut readers = [Subscriber::open(&client, 7, 2).await, Subscriber::open(&client, 7, 3).await];
    let mut publisher = Publisher::open(&client, 7, 1).await;
    publisher.run(1, "KdddddKddd").await;
    for reader in &mut readers {
        assert_eq!(reader.places(10).await.len(), 10);
    }
    let refused = client
        .clone()
        .livestreams
        .get_livestream(pb::GetLivestreamRequest { livestream_id: 99, ..Default::default() })
        .await;
    assert!(refused.is_err());

    let scrape = Scrape::of(&server).await;
    for (sample, value) in [
        ("starling_ready", 1.0),
        ("starling_swarms{kind=\"livestream\",state=\"active\"}", 1.0),
        ("starling_swarms{kind=\"livestream\",state=\"ended\"}", 0.0),
        ("starling_joins_total{kind=\"livestream\"}", 4.0),
        ("starling_updates_published_total", 10.0),
        ("starling_published_bytes_total", 80.0),
        ("starling_deliveries_total", 20.0),
        ("starling_delivery_latency_seconds_count", 20.0),
        ("starling_gaps_total{reason=\"lagging\"}", 0.0),
        ("starling_streams{type=\"subscribe\"}", 2.0),
        ("starling_streams{type=\"publish\"}", 1.0),
        ("starling_streams{type=\"watch_events\"}", 0.0),
        ("starling_connections{listener=\"grpc\"}", 1.0),
        ("starling_connections_accepted_total{listener=\"grpc\"}", 1.0),
        ("starling_errors_total{reason=\"LIVESTREAM_NOT_FOUND\"}", 1.0),
        ("starling_budget_limit_bytes{budget=\"feed.memory_bytes\"}", 536_870_912.0),
        (&*handled("JoinLivestream", "OK"), 3.0),
        (&*handled("GetLivestream", "NotFound"), 1.0),
    ] {
        assert_eq!(scrape.value(sample), value, "{sample}");
    }
    assert!(scrape.value("starling_delivered_bytes_total") > 160.0);
    // The broadcaster is a member too, once it publishes.
    assert_eq!(scrape.value("starling_members{kind=\"livestream\"}"), 4.0);
    let times =
        format!("grpc_server_handling_seconds_count{{grpc_type=\"unary\",{SERVICE},grpc_method=\"JoinLivestream\"}}");
    assert_eq!(scrape.value(&times), 3.0);
    for budget in ["feed.memory_bytes", "memory.state_bytes", "memory.event_logs_bytes", "memory.streams_bytes"] {
        let used = scrape.value(&format!("starling_budget_bytes{{budget=\"{budget}\"}}"));
        let limit = scrape.value(&format!("starling_budget_limit_bytes{{budget=\"{budget}\"}}"));
        assert!(used > 0.0 && used < limit, "{budget}: {used} of {limit}");
    }
}

#[tokio::test]
async fn counters_outlive_their_swarms() {
    let server = server(|config| config.retention.ended = std::time::Duration::ZERO).await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    let mut reader = Subscriber::open(&client, 7, 2).await;
    let mut publisher = Publisher::open(&client, 7, 1).await;
    publisher.run(1, "Kdd").await;
    reader.places(3).await;
    let before = Scrape::of(&server).await;
    publisher.run(4, "dd").await;
    reader.places(2).await;
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    reader.goodbye(GoodbyeReason::Ended).await.unwrap();
    drop((publisher, reader));
    let swarms = |scrape: &Scrape| {
        let of = |state| scrape.value(&format!("starling_swarms{{kind=\"livestream\",state=\"{state}\"}}"));
        of("initializing") + of("active") + of("paused") + of("ended")
    };
    let after = soon(async {
        loop {
            let scrape = Scrape::of(&server).await;
            let streams =
                ["subscribe", "publish"].map(|kind| scrape.value(&format!("starling_streams{{type=\"{kind}\"}}")));
            if swarms(&scrape) == 0.0 && streams == [0.0, 0.0] {
                return scrape;
            }
        }
    })
    .await;
    assert_eq!(after.value("starling_members{kind=\"livestream\"}"), 0.0);
    assert_eq!(after.value("starling_updates_published_total"), 5.0);
    assert_eq!(after.value("starling_deliveries_total"), 5.0);
    assert_eq!(after.value("starling_leaves_total{kind=\"livestream\",reason=\"ended\"}"), 2.0);
    for (sample, value) in before.counters() {
        assert!(after.value(sample) >= value, "{sample}: {value} before, {} after", after.value(sample));
    }
    let subscribed = format!(
        "grpc_server_handled_total{{grpc_type=\"server_stream\",{SERVICE},grpc_method=\"SubscribeUpdates\",grpc_code=\"OK\"}}"
    );
    assert_eq!(after.value(&subscribed), 1.0, "the end of a stream that passes all layers by is counted");
}

#[tokio::test]
async fn limits_are_counted_where_they_are_hit() {
    let server = server(|config| config.store.max_swarms = 1).await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    let create = pb::CreateLivestreamRequest { livestream_id: 8, node_id: 1, ..Default::default() };
    for _ in 0..2 {
        assert!(client.clone().livestreams.create_livestream(create.clone()).await.is_err());
    }
    let mut publisher = Publisher::open(&client, 7, 1).await;
    answered(client.clone().livestreams.pause_livestream(crate::edge::world::pause(7)).await);
    publisher.send(keyframe(1)).await;
    publisher.rejected().await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("starling_limit_hits_total{limit=\"TOO_MANY_SWARMS\"}"), 2.0);
    assert_eq!(scrape.value("starling_updates_rejected_total{reason=\"closed\"}"), 1.0);
}

#[tokio::test]
async fn no_label_has_what_clients_choose() {
    const LIVESTREAM: u64 = 987_654_321;
    let server = server(|_| ()).await;
    let client = server.client().await;
    go_live_wide(&client, LIVESTREAM).await;
    join_livestream(&client, LIVESTREAM, 123_456_789).await;
    Exchange::post(&server, "Invented876543", &[0, 0, 0, 0, 0]).await;
    let scrape = Scrape::of(&server).await;
    assert!(
        scrape.value("grpc_server_started_total{grpc_type=\"unary\",grpc_service=\"unknown\",grpc_method=\"unknown\"}")
            >= 1.0
    );
    for sample in scrape.samples.keys() {
        for (name, value) in labels(sample) {
            let chosen = ["987654321", "123456789", "876543"].iter().any(|number| value.contains(number));
            assert!(!chosen && value.len() < 64, "{name} of {sample}");
        }
    }
}
