//! Keys of tokens that change while streams are open.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use starling::clock::Clock;
use starling::identity::{KeyKind, KeyPair};
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::RenewToken;
use starling_client::{BearerToken, Client};
use tempfile::TempDir;
use tonic::Code;

use super::fixture::{THERE, jwt_server};
use crate::edge::updates::{Publisher, Subscriber, message};
use crate::edge::world::{go_live_patient, join_livestream};
use crate::harness::{Fault, fault, soon};
use crate::net::fixture::until;
use crate::process::{Serving, starling};

const CONNECTIONS: u64 = 10;
/// Watches of each connection, beside a subscription.
const WATCHES: usize = 19;
/// Nodes of viewers begin here.
const FIRST: u64 = 10;

/// A token of a node, or of a back-end, that may do everything, issued with this key.
fn minted(key: &KeyPair, id: &str, sub: &str) -> String {
    let now = Clock::system().wall() / 1_000;
    let may = ["create", "join", "moderate", "administer"];
    let mut claims = serde_json::json!({
        "iss": "us", "aud": "starling", "sub": sub, "iat": now - 100, "exp": now + 600,
        "starling": { "grants": [{ "livestreams": "*", "groups": "*", "publish": "*", "may": may }] },
    });
    if sub.parse::<u64>().is_err() {
        claims["starling"]["act_for"] = "*".into();
    }
    key.sign(Some(id), &claims).unwrap()
}

fn shown(client: &Client, token: &str) -> Client {
    client.clone().with_token(BearerToken::new(token).unwrap())
}

async fn look(client: &Client) -> Result<(), Fault> {
    let get = pb::GetLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let got = client.clone().livestreams.get_livestream(get).await;
    if got.is_ok() { Ok(()) } else { Err(fault(got)) }
}

fn write_key(dir: &Path, id: &str, key: &KeyPair) {
    // In one step, as a mounted secret changes.
    std::fs::write(dir.join("new"), key.public_jwk(id).unwrap().to_string()).unwrap();
    std::fs::rename(dir.join("new"), dir.join(format!("{id}.jwk"))).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_is_dropped_for_a_new_key() {
    let (server, old, keys) = jwt_server(|config| config.identity.reload_interval = Duration::from_millis(50)).await;
    let client = Client::connect(&server.url()).await.unwrap();
    go_live_patient(&shown(&client, &minted(&old, "dev", "operator")), THERE).await;
    let mut publisher = Publisher::open(&shown(&client, &minted(&old, "dev", "1")), THERE, 1).await;
    let (mut watches, mut subscribers) = (Vec::new(), Vec::new());
    for node in FIRST..FIRST + CONNECTIONS {
        let connection = Client::connect(&server.url()).await.unwrap();
        let viewer = shown(&connection, &minted(&old, "dev", &node.to_string()));
        join_livestream(&viewer, THERE, node).await;
        subscribers.push(Subscriber::open(&viewer, THERE, node).await);
        for _ in 0..WATCHES {
            let watch = pb::WatchLivestreamRequest { livestream_id: THERE, ..Default::default() };
            watches.push(viewer.clone().livestreams.watch_livestream(watch).await.unwrap().into_inner());
        }
    }
    let all = watches.len() + subscribers.len() + 1;
    assert!(all > 200 && server.open_streams() == all, "{all}");
    publisher.run(1, "Kdd").await;

    // Both are valid.
    let new = KeyPair::generate(KeyKind::Es256).unwrap();
    write_key(keys.path(), "next", &new);
    let by_new = shown(&client, &minted(&new, "next", "2"));
    let by_old = shown(&client, &minted(&old, "dev", "3"));
    soon(async { while look(&by_new).await.is_err() {} }).await;
    assert_eq!(look(&by_old).await, Ok(()));
    publisher.run(4, "dd").await;

    // The old one is over, for calls that begin now.
    std::fs::remove_file(keys.path().join("dev.jwk")).unwrap();
    soon(async { while look(&by_old).await.is_ok() {} }).await;
    assert_eq!(look(&by_old).await, Err(Fault::new(Code::Unauthenticated, "TOKEN_INVALID")));
    assert_eq!(look(&by_new).await, Ok(()));
    publisher.run(6, "dd").await;
    let renew = Message::Renew(RenewToken { token: minted(&new, "next", "1") });
    publisher.outbox().send(message(renew)).await.unwrap();
    let renewed = publisher.event().await;
    assert!(matches!(renewed, Event::Renewed(_)), "{renewed:?}");
    publisher.run(8, "dd").await;

    for subscriber in &mut subscribers {
        for sequence in 1..10 {
            let position = subscriber.update().await.position.unwrap();
            assert_eq!(position.sequence, sequence, "nothing is lost and nothing comes twice");
        }
    }
    join_livestream(&by_new, THERE, 2).await;
    for watch in &mut watches {
        soon(async {
            loop {
                let said = watch.message().await.expect("it goes on").expect("it is open");
                let Some(pb::watch_livestream_response::Event::Batch(batch)) = said.event else { continue };
                let joined = |event: &pb::LivestreamEvent| {
                    matches!(&event.change, Some(pb::livestream_event::Change::ViewerJoined(joined))
                        if joined.viewer.as_ref().is_some_and(|viewer| viewer.node_id == 2))
                };
                if batch.events.iter().any(joined) {
                    break;
                }
            }
        })
        .await;
    }
    assert_eq!(server.open_streams(), all, "none was dropped");
}

#[tokio::test]
async fn broken_key_file_keeps_its_key_in_use() {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("keys")).unwrap();
    let (old, new) = (KeyPair::generate(KeyKind::Ed25519).unwrap(), KeyPair::generate(KeyKind::Ed25519).unwrap());
    write_key(&path("keys"), "dev", &old);
    let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "info"]);
    command.env("STARLING__IDENTITY__MODE", "jwt").env("STARLING__IDENTITY__ISSUER", "us");
    command.env("STARLING__IDENTITY__AUDIENCE", "starling").env("STARLING__IDENTITY__KEYS_DIR", path("keys"));
    command.env("STARLING__IDENTITY__RELOAD_INTERVAL", "1s").stderr(File::create(path("log")).unwrap());
    let server = Serving::spawn(command).await;
    let log = || std::fs::read_to_string(path("log")).unwrap();
    let told = |of: &str| log().lines().filter(|line| line.contains("ERROR") && line.contains(of)).count();
    let client = Client::connect(&format!("http://{}", server.address)).await.unwrap();
    let operator = shown(&client, &minted(&old, "dev", "operator"));
    go_live_patient(&operator, THERE).await;
    let mut publisher = Publisher::open(&shown(&client, &minted(&old, "dev", "1")), THERE, 1).await;

    for (content, why) in [
        ("broken".to_owned(), "is no JSON Web Key"),
        (String::new(), "is no JSON Web Key"),
        (old.public_jwk("other").unwrap().to_string(), "has another kid than its file is named for"),
    ] {
        let before = told(why);
        std::fs::write(path("keys").join("dev.jwk"), &content).unwrap();
        until(|| told(why) > before).await;
        // A token that nobody has seen yet.
        assert_eq!(look(&shown(&client, &minted(&old, "dev", "5"))).await, Ok(()), "{content:?}");
    }
    publisher.run(1, "Kd").await;
    assert_eq!(told("a file of keys is not right"), 3, "each change is told once: {}", log());

    write_key(&path("keys"), "dev", &new);
    let by_new = shown(&client, &minted(&new, "dev", "2"));
    soon(async { while look(&by_new).await.is_err() {} }).await;
    assert_eq!(look(&operator).await, Err(Fault::new(Code::Unauthenticated, "TOKEN_INVALID")));
    publisher.run(3, "dd").await;
}
