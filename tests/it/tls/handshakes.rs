//! Versions, protocols, who does not speak TLS, and who does not come to an end.

use std::io::ErrorKind;
use std::time::Duration;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::ProtocolVersion;

use crate::admin::scrape::Scrape;
use crate::harness::{Server, soon};
use crate::net::connections::{PREFACE, closed};
use crate::net::frames::{WIDE, Wire};
use crate::process::{Serving, starling, text};
use crate::tls::authority::{Authority, Dialect, Files, ONLY_1_2, ONLY_1_3, client, serve, url};

/// How a record of TLS begins that holds a greeting of so many bytes.
fn greeting(bytes: u16) -> Vec<u8> {
    let [high, low] = bytes.to_be_bytes();
    vec![22, 3, 1, 0x40, 0, 1, 0, high, low, 3, 3]
}

#[tokio::test]
async fn both_versions_are_spoken() {
    let (server, authority, files) = serve(|_| ()).await;
    for (versions, negotiated) in [(ONLY_1_2, ProtocolVersion::TLSv1_2), (ONLY_1_3, ProtocolVersion::TLSv1_3)] {
        let stream = Dialect { versions, ..Dialect::default() }.speak(server.address(), &authority).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(negotiated));
    }
    let client = client(&server, &authority, &files).await;
    client.clone().livestreams.list_livestreams(pb::ListLivestreamsRequest::default()).await.unwrap();
    assert!(client.again().await.is_ok());
}

#[tokio::test]
async fn http1_is_agreed_on_for_grpc_web_only() {
    let chosen = async |server: &Server, authority: &Authority, protocols| {
        let stream = Dialect { protocols, ..Dialect::default() }.connect(server.address(), authority).await?;
        Ok::<_, std::io::Error>(
            stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        )
    };
    let (server, authority, _files) = serve(|_| ()).await;
    for (protocols, expected) in
        [(&["http/1.1", "h2"][..], Some("h2")), (&["http/1.1"], Some("http/1.1")), (&["h2"], Some("h2")), (&[], None)]
    {
        assert_eq!(chosen(&server, &authority, protocols).await.unwrap().as_deref(), expected, "{protocols:?}");
    }
    let (server, authority, _files) = serve(|config| config.server.grpc_web = false).await;
    assert_eq!(chosen(&server, &authority, &["http/1.1", "h2"]).await.unwrap().as_deref(), Some("h2"));
    let refused = chosen(&server, &authority, &["http/1.1"]).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn plain_clients_are_told_to_use_tls() {
    let (server, authority, files) = serve(|_| ()).await;
    let mut plain = Wire::connect(server.address(), WIDE).await;
    let refused = plain.call("ListLivestreams", &pb::ListLivestreamsRequest::default()).await.unwrap_err();
    assert!(refused.is_remote() && refused.is_go_away(), "{refused}");
    assert!(refused.to_string().contains("this port speaks TLS: use https://"), "{refused}");
    let mut browser = TcpStream::connect(server.address()).await.unwrap();
    browser.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(browser.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("use https://\r\n"), "{answer}");
    let mut stranger = TcpStream::connect(server.address()).await.unwrap();
    stranger.write_all(b"\x16\x00\xff\xff\xff\xff\xff\xff").await.unwrap();
    closed(stranger).await;
    // None of them has changed anything.
    client(&server, &authority, &files).await;
}

#[tokio::test]
async fn tls_client_of_a_plain_port_is_told() {
    let server = Server::start().await;
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let refused = Client::connect_with(&url(server.address()), files.options(&authority, None)).await.unwrap_err();
    assert!(refused.to_string().contains("the server does not speak TLS there"), "{refused}");
    server.client().await;
}

#[tokio::test]
async fn clients_refuse_a_server_of_another_authority() {
    let (server, _, files) = serve(|_| ()).await;
    let other = Authority::new("others");
    let refused = Client::connect_with(&url(server.address()), files.options(&other, None)).await.unwrap_err();
    assert!(refused.to_string().contains("invalid peer certificate"), "{refused}");
    // And one without an authority of its own asks the system's.
    let refused = Client::connect(&url(server.address())).await.unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
}

#[tokio::test]
async fn stalled_handshakes_keep_nobody_out() {
    const MANY: usize = 12;
    let (server, authority, files) = serve(|config| config.server.max_connections = MANY).await;
    let mut stalled = Vec::new();
    for _ in 0..MANY / 3 {
        stalled.push(TcpStream::connect(server.address()).await.unwrap());
        let mut begun = TcpStream::connect(server.address()).await.unwrap();
        begun.write_all(&greeting(200)).await.unwrap();
        stalled.push(begun);
        let mut plain = TcpStream::connect(server.address()).await.unwrap();
        plain.write_all(PREFACE).await.unwrap();
        stalled.push(plain);
    }
    // Each in the place of one of them.
    let mut served = Vec::new();
    for _ in 0..MANY / 2 {
        let client = client(&server, &authority, &files).await;
        client.clone().livestreams.list_livestreams(pb::ListLivestreamsRequest::default()).await.unwrap();
        served.push(client);
    }
    for socket in stalled {
        closed(socket).await;
    }
}

#[tokio::test]
async fn stalled_handshake_is_closed_at_its_deadline() {
    let (server, ..) = serve(|_| ()).await;
    let mut begun = TcpStream::connect(server.address()).await.unwrap();
    begun.write_all(&greeting(200)).await.unwrap();
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let began = tokio::time::Instant::now();
    tokio::join!(closed(begun), closed(silent));
    let took = began.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(20)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn drain_does_not_wait_for_handshakes() {
    let (server, ..) = serve(|config| config.drain.timeout = Duration::from_secs(60)).await;
    let mut begun = TcpStream::connect(server.address()).await.unwrap();
    begun.write_all(&greeting(200)).await.unwrap();
    // Accepted in order: it was taken in before one that has been answered.
    let mut plain = TcpStream::connect(server.address()).await.unwrap();
    plain.write_all(PREFACE).await.unwrap();
    soon(plain.read_exact(&mut [0; 9])).await.unwrap();
    let began = tokio::time::Instant::now();
    server.shutdown().await;
    // Its deadline is 10 s after it came.
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    closed(begun).await;
}

#[tokio::test]
async fn endless_handshake_is_cut_at_its_bytes() {
    let (server, ..) = serve(|_| ()).await;
    let mut endless = TcpStream::connect(server.address()).await.unwrap();
    let mut record = greeting(60_000);
    record.resize(5 + 0x4000, 0);
    let mut sent = 0;
    let ended = soon(async {
        loop {
            // The greeting goes on in each record.
            match endless.write_all(&record).await {
                Ok(()) => sent += record.len(),
                Err(error) => break error,
            }
            record.truncate(5);
            record.resize(5 + 0x4000, 0);
            if sent > 4 << 20 {
                panic!("it is not cut");
            }
        }
    });
    let ended = ended.await;
    assert!(matches!(ended.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{ended}");
}

#[tokio::test]
async fn failed_handshakes_are_logged_with_their_reasons() {
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "info"]);
    command
        .env("STARLING__TLS__CERT_FILE", files.path("tls.crt"))
        .env("STARLING__TLS__KEY_FILE", files.path("tls.key"));
    let server = Serving::spawn(command).await;
    for bytes in [PREFACE, b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\x16\x03\x01\0\x05hello", b""] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        closed(socket).await;
    }
    let refused = Dialect { protocols: &["smtp"], ..Dialect::default() }.connect(server.address, &authority).await;
    assert!(refused.is_err());
    Dialect::default().speak(server.address, &authority).await.unwrap();
    server.process.signal("TERM");
    let log = text(&server.process.output().await.stderr);
    for reason in [
        "the client speaks HTTP/2 without TLS",
        "the client speaks HTTP/1 without TLS",
        "the client does not speak TLS",
        "received corrupt message",
        "support any known protocol",
    ] {
        let told = log.lines().filter(|line| line.contains("a TLS handshake failed") && line.contains(reason));
        assert_eq!(told.count(), 1, "{reason}: {log}");
    }
    // Who said nothing is not told of.
    assert_eq!(log.matches("a TLS handshake failed").count(), 5, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn failed_handshake_flood_is_counted_in_the_log() {
    const MANY: usize = 300;
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "info"]);
    command
        .env("STARLING__TLS__CERT_FILE", files.path("tls.crt"))
        .env("STARLING__TLS__KEY_FILE", files.path("tls.key"));
    let server = Serving::spawn(command).await;
    let flood = (0..MANY).map(|_| async {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        socket.write_all(b"\0\0\0\0").await.unwrap();
        socket.shutdown().await.unwrap();
        closed(socket).await;
    });
    futures_util::future::join_all(flood).await;
    server.process.signal("TERM");
    let log = text(&server.process.output().await.stderr);
    let lines = log.lines().filter(|line| line.contains("\"message\":\"a TLS handshake failed\"")).count();
    let left_out = log.lines().filter(|line| line.contains("\"kind\":\"a TLS handshake failed\""));
    let left_out: usize = left_out
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["lines"].as_u64().unwrap())
        .map(|lines| usize::try_from(lines).unwrap())
        .sum();
    assert_eq!(lines + left_out, MANY, "{log}");
    assert!(left_out > 0, "{lines}");
}

#[tokio::test]
async fn handshakes_of_one_address_are_limited() {
    let (server, authority, files) = serve(|config| {
        config.admin.listen = Some((std::net::Ipv4Addr::LOCALHOST, 0).into());
        config.limits.address_handshakes_per_second = 1;
    })
    .await;
    let client = client(&server, &authority, &files).await;
    let mut refused = false;
    for _ in 0..100 {
        refused |= Dialect::default().connect(server.address(), &authority).await.is_err();
        if refused {
            break;
        }
    }
    assert!(refused, "it is refused in the end");
    client.clone().livestreams.list_livestreams(pb::ListLivestreamsRequest::default()).await.unwrap();
    let hits = "starling_client_limit_hits_total{limit=\"limits.address_handshakes_per_second\"}";
    assert!(Scrape::of(&server).await.value(hits) >= 1.0);
}
