//! The attacks of one server again, with the attacker on another server than everybody else.

use std::time::Duration;

use starling::clock::Clock;
use starling::cluster::SharedLogs;

use crate::edge::identity::fixture::{World, ask_for_jwt, jwt_keys, until_ready};
use crate::edge::identity::{attacks, evasion};
use crate::harness::Server;
use crate::net::rules::raw::Connection;

#[tokio::test(flavor = "multi_thread")]
async fn attacks_through_another_pod_leave_no_trace() {
    attacks::attempt_all(&World::on_two_pods().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn banned_node_returns_through_no_pod() {
    evasion::return_in_every_way(&World::on_two_pods().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ban_ends_streams_on_other_pods() {
    evasion::stay_in_spite_of_a_ban(&World::on_two_pods().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token_revoked_on_one_pod_ends_everywhere() {
    let (signer, keys) = jwt_keys();
    let logs = SharedLogs::new(Clock::system().wall());
    let pod = async || {
        let server = Server::pod(&logs, |config| {
            ask_for_jwt(config, &keys);
            config.streams.heartbeat_interval = Duration::from_millis(50);
        })
        .await;
        let now = Clock::system().wall() / 1_000;
        let claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": "operator", "iat": now, "exp": now + 600,
            "starling": { "grants": [{ "livestreams": "*", "may": ["administer"] }], "act_for": "*" },
        });
        let operator = signer.sign(Some("dev"), &claims).unwrap();
        until_ready(&Connection::open(server.address()).await, &operator).await;
        server
    };
    let (home, server) = (pod().await, pod().await);
    evasion::use_revoked_tokens([&home, &server], &signer).await;
}
