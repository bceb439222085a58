//! Tokens that are revoked while streams are open that they opened.

use std::time::Duration;

use futures_util::StreamExt;
use prost_types::Timestamp;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::server_service_client::ServerServiceClient;
use starling_client::pb::swarm::v1::{RevokeTokensRequest, UpdateChannel};
use starling_client::{BearerToken, Client, TokenChannel};
use tonic::{Code, Status};

use super::fixture::{THERE, jwt_server};
use crate::harness::{Fault, fault};

/// What a stream ends with.
async fn last<M>(mut stream: tonic::Streaming<M>) -> Status {
    loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(status)) => return status,
            None => panic!("the stream ended with OK"),
        }
    }
}

#[tokio::test]
async fn revocation_ends_streams_and_refuses_calls() {
    // A stream looks at its token with each sign of life.
    let (server, signer, _keys) =
        jwt_server(|config| config.streams.heartbeat_interval = Duration::from_millis(50)).await;
    let now = starling::clock::Clock::system().wall() / 1_000;
    let minted = |sub: &str, issued: u64, back_end: bool| {
        let mut claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": sub, "iat": issued, "exp": now + 600,
            "starling": {
                "grants": [{
                    "livestreams": "*", "groups": "*", "publish": "*",
                    "may": ["create", "join", "administer"],
                }],
            },
        });
        if back_end {
            claims["starling"]["act_for"] = "*".into();
        }
        BearerToken::new(&signer.sign(Some("dev"), &claims).unwrap()).unwrap()
    };
    let connected = Client::connect(&server.url()).await.unwrap();
    let old = connected.clone().with_token(minted("1", now - 100, false));
    let mut calls = old.livestreams.clone();
    calls.create_livestream(pb::CreateLivestreamRequest { livestream_id: THERE, ..Default::default() }).await.unwrap();
    let watch = pb::WatchLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let watched = calls.watch_livestream(watch).await.unwrap().into_inner();
    let open =
        pb::PublishOpen { livestream_id: THERE, channels: vec![UpdateChannel::Data.into()], ..Default::default() };
    let open = pb::PublishUpdatesRequest { message: Some(Message::Open(open)) };
    let messages = futures_util::stream::iter([open]).chain(futures_util::stream::pending());
    let published = calls.publish_updates(messages).await.unwrap().into_inner();

    let mut services =
        ServerServiceClient::new(TokenChannel::new(connected.channel.clone(), minted("operator", now, true)));
    let issued_before = Some(Timestamp { seconds: i64::try_from(now).unwrap() - 50, nanos: 0 });
    services.revoke_tokens(RevokeTokensRequest { subject_node_id: 1, issued_before }).await.unwrap();

    let revoked = Fault::new(Code::Unauthenticated, "TOKEN_REVOKED");
    assert_eq!(Fault::of(&last(watched).await), revoked);
    assert_eq!(Fault::of(&last(published).await), revoked);
    let get = pb::GetLivestreamRequest { livestream_id: THERE, ..Default::default() };
    assert_eq!(fault(calls.get_livestream(get).await), revoked);
    // One that was issued since is as good as ever, and so is another node's.
    for token in [minted("1", now - 10, false), minted("2", now - 100, false)] {
        connected.clone().with_token(token).livestreams.get_livestream(get).await.unwrap();
    }
}
