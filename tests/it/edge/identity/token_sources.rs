//! Streams of `starling-client` whose tokens end and are followed by others, over a real server of mode jwt.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use prost_types::Timestamp;
use starling::clock::Clock;
use starling::config::Config;
use starling::identity::KeyPair;
use starling_client::pb::livestream::v1::{self as pb, JoinLivestreamRequest, watch_targets_response::Event};
use starling_client::pb::swarm::v1::server_service_client::ServerServiceClient;
use starling_client::pb::swarm::v1::{ErrorReason, RevokeTokensRequest, UpdateChannel, UpdateDraft, delivery::Item};
use starling_client::{
    BearerToken, Client, Error, Join, PublishEvent, PublishOptions, Publisher, Retry, SubscribeOptions, Subscriber,
    SubscriptionEvent, SwarmRef, TokenChannel, Watch,
};
use tempfile::TempDir;

use super::fixture::{THERE, jwt_server};
use crate::harness::{Server, soon};
use crate::process::{Talking, starling};

/// Who issues tokens here.
#[derive(Clone)]
struct Issuer {
    signer: Arc<KeyPair>,
    issued: Arc<AtomicU64>,
}

impl Issuer {
    /// A token of this node, issued so many seconds ago and good for so many in all.
    fn issue(&self, subject: &str, ago: f64, lifetime: f64) -> String {
        self.issued.fetch_add(1, Ordering::Relaxed);
        let issued = Clock::system().wall() as f64 / 1_000.0 - ago;
        let mut claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": subject, "iat": issued, "exp": issued + lifetime,
            "starling": { "grants": [{
                "livestreams": "*", "groups": "*", "publish": "*", "may": ["create", "join", "administer"],
            }] },
        });
        if subject.parse::<u64>().is_err() {
            claims["starling"]["act_for"] = "*".into();
        }
        self.signer.sign(Some("dev"), &claims).unwrap()
    }

    /// One that no test outlives.
    fn lasting(&self, subject: &str) -> BearerToken {
        BearerToken::new(&self.issue(subject, 0.0, 600.0)).unwrap()
    }
}

/// A server on which node 1 has livestream 7 on air, and who issues its tokens.
async fn on_air(change: impl FnOnce(&mut Config)) -> (Server, Issuer, TempDir) {
    let (server, signer, directory) = jwt_server(|config| {
        config.streams.heartbeat_interval = Duration::from_millis(50);
        config.identity.leeway = Duration::ZERO;
        change(config);
    })
    .await;
    let issuer = Issuer { signer: Arc::new(signer), issued: Arc::default() };
    let mut owner = server.client().await.with_token(issuer.lasting("1"));
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
    owner.livestreams.create_livestream(create).await.unwrap();
    let start = pb::StartLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
    owner.livestreams.start_livestream(start).await.unwrap();
    (server, issuer, directory)
}

/// Replaces a file in one step, as a mounted secret changes.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

const SWARM: SwarmRef = SwarmRef::Livestream(THERE);

/// Node 2, with its session.
async fn viewer(server: &Server, token: BearerToken) -> (Client, u64) {
    let mut client = server.client().await.with_token(token);
    let join = JoinLivestreamRequest { livestream_id: THERE, node_id: 2, ..Default::default() };
    let session_id = client.join(Join::Livestream(join)).await.unwrap();
    (client, session_id)
}

async fn publisher(server: &Server, token: BearerToken) -> Publisher {
    let options = PublishOptions::new(SWARM, 1, vec![UpdateChannel::Data]);
    soon(Publisher::open(server.client().await.with_token(token), options)).await.unwrap()
}

fn publish(publisher: &mut Publisher) -> u64 {
    publisher.send(UpdateDraft { channel: UpdateChannel::Data.into(), ..Default::default() }).unwrap()
}

/// Ends with the token that it is opened with.
async fn witness(server: &Server, token: BearerToken) -> impl Future<Output = ()> {
    let mut calls = server.client().await.with_token(token).livestreams;
    let watch = pb::WatchLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let mut stream = calls.watch_livestream(watch).await.unwrap().into_inner();
    async move { while let Some(Ok(_)) = stream.next().await {} }
}

#[tokio::test]
async fn streams_go_on_across_two_expiries() {
    // A token ends 2 s after it was issued, and is to be followed after 0.85 s.
    let (server, issuer, directory) = on_air(|config| config.identity.leeway = Duration::from_secs(1)).await;
    let file: PathBuf = directory.path().join("viewer.jwt");
    let (keeper, kept) = (issuer.clone(), file.clone());
    // The viewer's token is never older than the publisher's.
    let token = BearerToken::from_source(move || {
        let token = keeper.issue("1", 0.0, 1.0);
        replace(&kept, &keeper.issue("2", 0.0, 1.0));
        std::future::ready(Ok::<_, Error>(token))
    });
    let mut publisher = publisher(&server, token).await;
    let (client, session) = viewer(&server, BearerToken::from_file(&file).unwrap()).await;
    let options = SubscribeOptions { channels: vec![UpdateChannel::Data], ..SubscribeOptions::new(SWARM, 2, session) };
    let mut subscriber = soon(Subscriber::open(client.clone(), options)).await.unwrap();
    let mut watch = Watch::open(client, session, None, Retry::default(), |mut client, session_id| async move {
        let watch = pb::WatchTargetsRequest {
            livestream_id: THERE,
            node_id: 2,
            session_id,
            of_node_id: 2,
            ..Default::default()
        };
        client.livestreams.watch_targets(watch).await
    })
    .await
    .unwrap();
    let (mut sent, mut received, mut resumes, mut snapshots) = (publish(&mut publisher), 0, 0, 0);
    // It ends on an update that was sent after all that.
    while resumes < 2 || snapshots < 3 || received < sent {
        let mut may_send = false;
        soon(async {
            tokio::select! {
                // With its second token over at the second resume, it has been renewed twice.
                event = publisher.next() => {
                    let event = event.unwrap().unwrap();
                    assert!(!matches!(event, PublishEvent::Cut(_) | PublishEvent::Rejected(_)), "{event:?}");
                }
                event = subscriber.next() => match event.unwrap().unwrap() {
                    SubscriptionEvent::Item(Item::Update(update)) => {
                        received += 1;
                        assert_eq!(update.position.unwrap().sequence, received, "in order, and once");
                    }
                    SubscriptionEvent::Item(Item::Gap(gap)) => panic!("{gap:?}"),
                    SubscriptionEvent::Item(_) => may_send = true,
                    SubscriptionEvent::Cut(why) => {
                        assert!(why.to_string().contains("TOKEN_EXPIRED"), "{why}");
                        may_send = true;
                    }
                    SubscriptionEvent::Resumed { rejoined, session_id } => {
                        assert_eq!((rejoined, session_id), (false, session));
                        resumes += 1;
                    }
                },
                message = watch.next() => {
                    snapshots += u32::from(matches!(message.unwrap().unwrap().event, Some(Event::Snapshot(_))));
                }
            }
        })
        .await;
        if may_send && (resumes < 2 || snapshots < 3) {
            sent = publish(&mut publisher);
        }
    }
    assert!(sent > 10 && issuer.issued.load(Ordering::Relaxed) > 6, "{sent}");
}

#[tokio::test]
async fn replaced_token_renews_the_open_publish_stream() {
    let (server, issuer, _directory) = on_air(|_| {}).await;
    let first = issuer.issue("1", 0.0, 2.0);
    let token = BearerToken::new(&first).unwrap();
    let mut publisher = publisher(&server, token.clone()).await;
    let ended = witness(&server, BearerToken::new(&first).unwrap()).await;
    token.set(&issuer.issue("1", 0.0, 600.0)).unwrap();
    let mut ended = std::pin::pin!(ended);
    let (mut over, mut accepted) = (false, 0);
    while accepted == 0 {
        tokio::select! {
            () = soon(&mut ended), if !over => {
                over = true;
                assert_eq!(publish(&mut publisher), 1);
            }
            event = soon(publisher.next()) => match event.unwrap().unwrap() {
                PublishEvent::Accepted(ack) => accepted = ack.accepted_through,
                PublishEvent::Cut(why) => panic!("{why}"),
                _ => {}
            },
        }
    }
    assert!(over && accepted == 1);
}

#[tokio::test]
async fn token_without_a_successor_ends_its_streams() {
    let (server, issuer, directory) = on_air(|_| {}).await;
    let file = directory.path().join("viewer.jwt");
    for kind in ["caller", "file", "source"] {
        let only = issuer.issue("2", 0.0, 1.0);
        let token = match kind {
            "caller" => BearerToken::new(&only).unwrap(),
            "file" => {
                replace(&file, &only);
                BearerToken::from_file(&file).unwrap()
            }
            _ => BearerToken::from_source(move || std::future::ready(Ok::<_, Error>(only.clone()))),
        };
        let (client, session) = viewer(&server, token).await;
        let options = SubscribeOptions::new(SWARM, 2, session);
        let mut subscriber = soon(Subscriber::open(client.clone(), options)).await.unwrap();
        let publication = PublishOptions::new(SWARM, 2, vec![UpdateChannel::Chat]);
        let mut publisher = soon(Publisher::open(client, publication)).await.unwrap();
        let ends = [
            loop {
                match soon(subscriber.next()).await {
                    Ok(event) => assert!(event.is_some(), "{kind}"),
                    Err(end) => break end,
                }
            },
            loop {
                match soon(publisher.next()).await {
                    Ok(event) => assert!(event.is_some(), "{kind}"),
                    Err(end) => break end,
                }
            },
        ];
        for end in ends {
            assert!(matches!(end, Error::TokenRefused { reason: ErrorReason::TokenExpired }), "{kind}: {end:?}");
        }
        assert!(soon(subscriber.next()).await.unwrap().is_none() && soon(publisher.next()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn revoked_token_is_followed_by_a_newer_one() {
    let (server, issuer, _directory) = on_air(|_| {}).await;
    let (keeper, asked) = (issuer.clone(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&asked);
    // The first one is old; those that follow are not.
    let token = BearerToken::from_source(move || {
        let ago = if count.fetch_add(1, Ordering::Relaxed) == 0 { 100.0 } else { 10.0 };
        std::future::ready(Ok::<_, Error>(keeper.issue("2", ago, 600.0)))
    });
    let old = BearerToken::new(&issuer.issue("2", 100.0, 600.0)).unwrap();
    let (client, session) = viewer(&server, token).await;
    let mut subscriber = soon(Subscriber::open(client, SubscribeOptions::new(SWARM, 2, session))).await.unwrap();
    let channel = server.client().await.channel;
    let mut operator = ServerServiceClient::new(TokenChannel::new(channel, issuer.lasting("operator")));
    let seconds = i64::try_from(Clock::system().wall() / 1_000).unwrap() - 50;
    let issued_before = Some(Timestamp { seconds, nanos: 0 });
    operator.revoke_tokens(RevokeTokensRequest { subject_node_id: 2, issued_before }).await.unwrap();
    loop {
        match soon(subscriber.next()).await.unwrap().unwrap() {
            SubscriptionEvent::Resumed { rejoined, .. } => break assert!(!rejoined),
            SubscriptionEvent::Item(Item::Gap(gap)) => panic!("{gap:?}"),
            _ => {}
        }
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);

    // So it is with a call, and with one whose token has no successor.
    let get = |mut client: Client| async move {
        client.livestreams.get_livestream(pb::GetLivestreamRequest { livestream_id: THERE, ..Default::default() }).await
    };
    let keeper = issuer.clone();
    let first = AtomicU64::new(100);
    let token = BearerToken::from_source(move || {
        std::future::ready(Ok::<_, Error>(keeper.issue("2", first.swap(10, Ordering::Relaxed) as f64, 600.0)))
    });
    let answer = server.client().await.with_token(token).until_answered(Retry::default(), get).await;
    assert_eq!(answer.unwrap().livestream.unwrap().livestream_id, THERE);
    let refused = server.client().await.with_token(old).until_answered(Retry::default(), get).await;
    assert!(matches!(refused, Err(Error::TokenRefused { reason: ErrorReason::TokenRevoked })), "{refused:?}");
}

#[tokio::test]
async fn command_goes_on_with_the_next_token_file() {
    let (server, issuer, directory) = on_air(|_| {}).await;
    let file = directory.path().join("viewer.jwt");
    let first = issuer.issue("2", 0.0, 5.0);
    replace(&file, &first);
    let ended = witness(&server, BearerToken::new(&first).unwrap()).await;
    let (url, named) = (server.url(), file.to_str().unwrap());
    let command = ["events", "--server", &url, "--token-file", named, "--livestream", "7", "--json"];
    let mut events = Talking::spawn(starling(&command));
    while !events.line().await.contains("snapshotComplete") {}
    replace(&file, &issuer.issue("2", 0.0, 600.0));
    soon(ended).await;
    viewer(&server, issuer.lasting("2")).await;
    loop {
        let line = events.line().await;
        assert!(!line.is_empty() && !line.contains("reset"), "it goes on where it was: {line}");
        if line.contains("viewerJoined") {
            break;
        }
    }
}

#[tokio::test]
async fn source_that_fails_is_told_with_its_words() {
    let (server, _issuer, _directory) = on_air(|_| {}).await;
    let token = BearerToken::from_source(|| std::future::ready(Err::<String, _>("the issuer is away")));
    let client = server.client().await.with_token(token);
    let options = SubscribeOptions::new(SWARM, 2, 0);
    let refused = soon(Subscriber::open(client.clone(), options)).await.expect_err("there is no token");
    assert!(matches!(&refused, Error::Token(why) if why.to_string().contains("the issuer is away")), "{refused:?}");
    let mut calls = client.livestreams;
    let status = calls
        .get_livestream(pb::GetLivestreamRequest { livestream_id: THERE, ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unauthenticated);
    assert!(status.message().contains("the issuer is away"), "{status}");
}
