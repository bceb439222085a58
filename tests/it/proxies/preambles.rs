//! What a preamble of the PROXY protocol changes.

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::AsyncWriteExt;
use tonic::Code::ResourceExhausted;

use crate::harness::{Fault, Server, soon};
use crate::net::connections::PREFACE;
use crate::proxies::balancer::{
    Balancer, LOCAL, UNKNOWN, announced, behind, connect_from, expect_preambles, server, watch,
};
use crate::tls::authority::{Authority, Dialect, Files, url};

#[tokio::test]
async fn address_share_is_that_of_the_client() {
    let server = server(|config| config.server.max_connections_per_address = 1).await;
    let refused = Fault::new(ResourceExhausted, "TOO_MANY_CONNECTIONS");
    let mut open = Vec::new();
    // Each pair is one address.
    for (first, second) in [
        (announced("192.0.2.1"), announced("::ffff:192.0.2.1")),
        (announced("192.0.2.2"), announced("192.0.2.2")),
        (announced("2001:db8::1"), announced("2001:db8::2")),
        (announced("2001:db8:0:1::1"), announced("2001:db8:0:1:ffff::")),
        // The balancer itself, and whom it does not name.
        (LOCAL.to_vec(), UNKNOWN.to_vec()),
    ] {
        let mut wire = behind(&first, server.address()).await;
        let stream = watch(&mut wire).await.unwrap();
        let mut beyond = behind(&second, server.address()).await;
        assert_eq!(Fault::of(&watch(&mut beyond).await.unwrap_err()), refused, "{second:?}");
        open.push((wire, stream));
    }
    // A share is free again when its stream has ended.
    drop(open.remove(0));
    let mut wire = behind(&announced("192.0.2.1"), server.address()).await;
    soon(async { while watch(&mut wire).await.is_err() {} }).await;
}

#[tokio::test]
async fn clients_come_through_a_balancer() {
    let server = server(|_| ()).await;
    let balancer = Balancer::before(server.address(), announced("192.0.2.1")).await;
    let client = Client::connect(&balancer.url()).await.unwrap();
    let create = pb::CreateLivestreamRequest { livestream_id: 7, node_id: 1, ..Default::default() };
    assert!(client.clone().livestreams.create_livestream(create).await.unwrap().into_inner().created);
}

#[tokio::test]
async fn tls_begins_behind_the_preamble() {
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let server = server(|config| files.configure(config)).await;
    let balancer = Balancer::before(server.address(), announced("2001:db8::1")).await;
    let client = Client::connect_with(&url(balancer.address), files.options(&authority, None)).await.unwrap();
    client.clone().livestreams.list_livestreams(pb::ListLivestreamsRequest::default()).await.unwrap();
    assert!(Dialect::default().speak(server.address(), &authority).await.is_err(), "TLS alone is not enough");
}

#[tokio::test]
async fn only_trusted_addresses_may_connect() {
    let server = Server::with(|config| {
        expect_preambles(config, "127.0.0.8/31, ::1");
        config.server.max_connections = 1;
    })
    .await;
    let mut trusted = connect_from(9, server.address()).await;
    trusted.write_all(&[&announced("192.0.2.1"), PREFACE].concat()).await.unwrap();
    // Had one of them taken a place, it would have been that of the other, which carries no call.
    for _ in 0..20 {
        let mut stranger = connect_from(1, server.address()).await;
        // It may be closed before it has said anything.
        stranger.write_all(&[&announced("192.0.2.1"), PREFACE].concat()).await.ok();
        crate::net::connections::closed(stranger).await;
    }
    let mut head = [0; 9];
    soon(tokio::io::AsyncReadExt::read_exact(&mut trusted, &mut head)).await.unwrap();
    assert_eq!(head[3], 4, "SETTINGS");
}
