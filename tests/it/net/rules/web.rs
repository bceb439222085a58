//! gRPC-Web: how its requests and answers differ.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::raw::{Connection, Head};
use crate::exchange::{Exchange, Frame, ORIGIN, SERVICE};
use crate::harness::Server;
use crate::net::connections::closed;
use crate::net::frames::framed;

fn create(livestream_id: u64) -> pb::CreateLivestreamRequest {
    pb::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() }
}

async fn exists(server: &Server, livestream_id: u64) -> bool {
    Connection::open(server.address()).await.exists(livestream_id).await
}

#[tokio::test]
async fn both_content_types_of_the_web_are_known() {
    let server = Server::start().await;
    let list = framed(&pb::ListLivestreamsRequest::default());
    for content in ["application/grpc-web", "application/grpc-web+proto"] {
        let headers = format!("Content-Type: {content}\r\n");
        let mut exchange = Exchange::post_as(&server, "ListLivestreams", &headers, &list).await;
        assert_eq!(exchange.status, 200);
        exchange.message::<pb::ListLivestreamsResponse>().await;
        exchange.ends_with("0").await;
    }
    // Native gRPC needs the trailers of HTTP/2.
    let headers = "Content-Type: application/grpc\r\n";
    assert_eq!(Exchange::post_as(&server, "ListLivestreams", headers, &list).await.status, 400);
    let headers = "Content-Type: application/grpc-web+json\r\n";
    assert_eq!(Exchange::post_as(&server, "ListLivestreams", headers, b"{}").await.status, 400);
}

#[tokio::test]
async fn text_streams_are_base64_both_ways() {
    let server = Server::start().await;
    for content in ["application/grpc-web-text", "application/grpc-web-text+proto"] {
        let headers = format!("Content-Type: {content}\r\nAccept: {content}\r\n");
        let body = BASE64_STANDARD.encode(framed(&create(7)));
        let exchange = Exchange::post_as(&server, "CreateLivestream", &headers, body.as_bytes()).await;
        assert_eq!(exchange.status, 200);
        assert!(exchange.header("content-type").starts_with("application/grpc-web-text"), "{exchange:?}");
        // Padding may stand at the end of each piece.
        let raw = exchange.raw().await;
        let text = String::from_utf8(raw.to_vec()).expect("it is text");
        let mut bytes = Vec::new();
        for quantum in text.as_bytes().chunks(4) {
            bytes.extend(BASE64_STANDARD.decode(quantum).expect("it is base64"));
        }
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        pb::CreateLivestreamResponse::decode(&bytes[5..5 + length]).unwrap();
        let trailers = &bytes[5 + length..];
        assert_eq!(trailers[0], 0x80);
        assert!(String::from_utf8_lossy(&trailers[5..]).contains("grpc-status:0"), "{trailers:?}");
    }
    assert!(exists(&server, 7).await);
}

#[tokio::test]
async fn the_web_works_over_http2_too() {
    let server = Server::start().await;
    let connection = Connection::open(server.address()).await;
    let head = Head::call("CreateLivestream").but("content-type", "application/grpc-web+proto");
    let mut exchange = connection.begin(head, false).await;
    exchange.send(framed(&create(7)), true);
    let mut answer = exchange.answering().await;
    assert_eq!(answer.headers["content-type"], "application/grpc-web+proto");
    pb::CreateLivestreamResponse::decode(answer.message().await.unwrap()).unwrap();
    let trailers = answer.message().await.expect("a frame of trailers");
    assert!(trailers.starts_with(b"grpc-status:0"), "{trailers:?}");
    assert!(answer.whole().await.trailers.is_none(), "HTTP/2 brings none besides");
}

#[tokio::test]
async fn web_trailers_are_the_last_frame() {
    let server = Server::start().await;
    let mut exchange = Exchange::call(&server, "CreateLivestream", create(7)).await;
    assert!(matches!(exchange.frame().await, Some(Frame::Message(_))));
    let Some(Frame::Trailers(trailers)) = exchange.frame().await else { panic!("trailers come after the message") };
    assert_eq!(trailers["grpc-status"], "0");
    assert!(trailers.keys().all(|name| *name == name.to_lowercase()), "{trailers:?}");
    assert_eq!(exchange.frame().await, None);
}

#[tokio::test]
async fn a_web_error_is_in_the_headers() {
    let server = Server::start().await;
    let get = pb::GetLivestreamRequest { livestream_id: 99, ..Default::default() };
    let exchange = Exchange::call(&server, "GetLivestream", get).await;
    assert_eq!((exchange.status, exchange.header("grpc-status")), (200, "5"));
    assert!(exchange.header("content-type").starts_with("application/grpc-web"), "{exchange:?}");
}

#[tokio::test]
async fn truncated_web_request_is_not_carried_out() {
    let server = Server::start().await;
    let body = framed(&create(7));
    for (length, cut) in [(body.len(), body.len() - 1), (body.len() + 1, body.len()), (body.len(), 3)] {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let head = format!(
            "POST /{SERVICE}/CreateLivestream HTTP/1.1\r\nHost: {}\r\nContent-Type: application/grpc-web+proto\r\n\
             Content-Length: {length}\r\n\r\n",
            server.address(),
        );
        connection.write_all(&[head.as_bytes(), &body[..cut]].concat()).await.unwrap();
        connection.shutdown().await.unwrap();
        closed(connection).await;
        assert!(!exists(&server, 7).await, "{cut} of {length} bytes");
    }
    // In chunks, of which the last one never comes.
    let mut connection = TcpStream::connect(server.address()).await.unwrap();
    let head = format!(
        "POST /{SERVICE}/CreateLivestream HTTP/1.1\r\nHost: {}\r\nContent-Type: application/grpc-web+proto\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
        server.address(),
        body.len(),
    );
    connection.write_all(&[head.as_bytes(), &body, b"\r\n"].concat()).await.unwrap();
    connection.shutdown().await.unwrap();
    closed(connection).await;
    assert!(!exists(&server, 7).await);
    // A reset of HTTP/2, as a browser does it behind a proxy.
    let connection = Connection::open(server.address()).await;
    for reason in [h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
        let head = Head::call("CreateLivestream").but("content-type", "application/grpc-web+proto");
        let mut exchange = connection.begin(head, false).await;
        exchange.send(body.clone(), false);
        exchange.reset(reason);
        assert!(!connection.exists(7).await, "{reason:?}");
    }
}

#[tokio::test]
async fn a_web_request_has_one_message() {
    let server = Server::start().await;
    for body in [[framed(&create(7)), framed(&create(8))].concat(), Vec::new()] {
        let mut exchange = Exchange::post(&server, "CreateLivestream", &body).await;
        assert_eq!(exchange.refused().await["grpc-status"], "12", "{} bytes", body.len());
    }
    assert!(!exists(&server, 7).await && !exists(&server, 8).await);
}

#[tokio::test]
async fn web_deadlines_are_kept() {
    let server = Server::start().await;
    let watch = framed(&pb::WatchLivestreamsRequest::default());
    let headers = "Content-Type: application/grpc-web+proto\r\nGrpc-Timeout: 200m\r\n";
    let mut exchange = Exchange::post_as(&server, "WatchLivestreams", headers, &watch).await;
    loop {
        match exchange.frame().await {
            Some(Frame::Message(_)) => {}
            Some(Frame::Trailers(trailers)) => break assert_eq!(trailers["grpc-status"], "4"),
            None => panic!("it ended without a status"),
        }
    }
    let headers = "Content-Type: application/grpc-web+proto\r\nGrpc-Timeout: soon\r\n";
    let mut refused = Exchange::post_as(&server, "WatchLivestreams", headers, &watch).await;
    assert_eq!(refused.refused().await["grpc-status"], "3");
}

#[tokio::test]
async fn preflights_allow_what_they_ask_for() {
    let server = Server::start().await;
    let asked = "authorization,content-type,grpc-timeout,x-custom,x-grpc-web,x-user-agent";
    let head = format!(
        "OPTIONS /{SERVICE}/GetLivestream HTTP/1.1\r\nHost: {}\r\nOrigin: {ORIGIN}\r\n\
         Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: {asked}\r\n\r\n",
        server.address(),
    );
    let exchange = Exchange::send(&server, head, b"").await;
    assert_eq!(exchange.status, 200);
    assert_eq!(exchange.header("access-control-allow-origin"), "*");
    assert_eq!(exchange.header("access-control-allow-methods"), "POST");
    // `*` would leave out Authorization.
    assert_eq!(exchange.header("access-control-allow-headers"), asked);
    assert_eq!(exchange.header("access-control-max-age"), "7200");
}

#[tokio::test]
async fn large_web_headers_are_refused() {
    let server = Server::start().await;
    let list = framed(&pb::ListLivestreamsRequest::default());
    // What is larger by far is refused by HTTP.
    for bytes in [17 * 1_024, 30 * 1_024] {
        let headers = format!("Content-Type: application/grpc-web+proto\r\nX-Large: {}\r\n", "x".repeat(bytes));
        let mut exchange = Exchange::post_as(&server, "ListLivestreams", &headers, &list).await;
        assert_eq!(exchange.refused().await["grpc-status"], "8", "{bytes} bytes");
        assert_eq!(exchange.header("access-control-allow-origin"), "*", "a page may read why");
    }
}
