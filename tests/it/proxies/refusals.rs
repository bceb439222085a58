//! Connections that do not begin with a preamble of the PROXY protocol, or not with a whole one.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::admin::scrape::Scrape;
use crate::net::connections::{PREFACE, closed};
use crate::process::{Serving, starling, text};
use crate::proxies::balancer::{LOCAL, announced, behind, connect_from, expect_preambles, server, watch};
use crate::tls::authority::{Authority, Dialect, Files};

/// What a trusted proxy must not begin with.
const GARBAGE: &[&[u8]] = &[
    PREFACE,
    b"GET / HTTP/1.1\r\nhost: here\r\n\r\n",
    b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n",
    b"\x16\x03\x01\0\x05hello",
    b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x7f\0\0\x01",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
];

#[tokio::test]
async fn connections_without_a_preamble_are_closed() {
    let server = crate::admin::scrape::server(|config| expect_preambles(config, "127.0.0.1")).await;
    for bytes in GARBAGE {
        let mut socket = connect_from(1, server.address()).await;
        socket.write_all(bytes).await.unwrap();
        closed(socket).await;
    }
    let whole = [&announced("2001:db8::1"), PREFACE].concat();
    let preamble = whole.len() - PREFACE.len();
    for end in 0..preamble {
        let mut socket = connect_from(1, server.address()).await;
        socket.write_all(&whole[..end]).await.unwrap();
        socket.shutdown().await.unwrap();
        closed(socket).await;
    }
    // None of them has changed anything.
    watch(&mut behind(&announced("2001:db8::1"), server.address()).await).await.unwrap();
    let closed = "starling_connections_closed_total{listener=\"grpc\",reason=\"handshake\"}";
    // Who says nothing at all is none of them.
    let expected = GARBAGE.len() + preamble - 1;
    let count = Scrape::of(&server).await.value(closed);
    assert!((count - expected as f64).abs() < 0.5, "{count}, not {expected}");
}

#[tokio::test]
async fn stalled_preambles_keep_nobody_out() {
    const MANY: usize = 8;
    let server = server(|config| config.server.max_connections = MANY).await;
    let mut stalled = Vec::new();
    for _ in 0..MANY / 2 {
        stalled.push(connect_from(1, server.address()).await);
        let mut begun = connect_from(1, server.address()).await;
        begun.write_all(&announced("192.0.2.1")[..20]).await.unwrap();
        stalled.push(begun);
    }
    // Each in the place of one of them.
    let mut open = Vec::new();
    for host in 0..MANY {
        let mut wire = behind(&announced(&format!("192.0.2.{host}")), server.address()).await;
        let stream = watch(&mut wire).await.unwrap();
        open.push((wire, stream));
    }
    for socket in stalled {
        closed(socket).await;
    }
}

#[tokio::test]
async fn stalled_preamble_is_closed_at_its_deadline() {
    let server = server(|_| ()).await;
    let silent = connect_from(1, server.address()).await;
    let mut begun = connect_from(1, server.address()).await;
    begun.write_all(&LOCAL[..10]).await.unwrap();
    tokio::join!(closed(silent), closed(begun));
}

#[tokio::test]
async fn drain_does_not_wait_for_preambles() {
    let server = server(|config| config.drain.timeout = std::time::Duration::from_secs(600)).await;
    let mut begun = connect_from(1, server.address()).await;
    begun.write_all(&LOCAL[..10]).await.unwrap();
    // Accepted in order: it was taken in before one that is served.
    watch(&mut behind(LOCAL, server.address()).await).await.unwrap();
    server.shutdown().await;
    closed(begun).await;
}

#[tokio::test]
async fn log_names_the_client_behind_a_proxy() {
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "info"]);
    command
        .env("STARLING__TLS__CERT_FILE", files.path("tls.crt"))
        .env("STARLING__TLS__KEY_FILE", files.path("tls.key"))
        .env("STARLING__SERVER__PROXY_PROTOCOL", "v2")
        .env("STARLING__SERVER__TRUSTED_PROXIES", "127.0.0.1");
    let server = Serving::spawn(command).await;
    let send = async |host, bytes: &[u8]| {
        let mut socket: TcpStream = connect_from(host, server.address).await;
        socket.write_all(bytes).await.ok();
        socket.shutdown().await.ok();
        closed(socket).await;
    };
    for bytes in GARBAGE {
        send(1, bytes).await;
    }
    send(1, &[&announced("192.0.2.7"), PREFACE].concat()).await;
    send(1, LOCAL).await;
    send(1, b"").await;
    send(2, LOCAL).await;
    assert!(Dialect::default().speak(server.address, &authority).await.is_err());
    server.process.signal("TERM");
    let log = text(&server.process.output().await.stderr);
    let told = |words: &[&str]| log.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
    let refused = "a preamble of the PROXY protocol was refused";
    assert_eq!(told(&[refused, "\"peer\":\"127.0.0.1\""]), GARBAGE.len() + 1, "{log}");
    assert_eq!(told(&[refused, "does not begin with a preamble"]), 4, "{log}");
    for reason in ["version 1", "the preamble is malformed", "the preamble has 65551 bytes"] {
        assert!(told(&[refused, reason]) > 0, "{reason}: {log}");
    }
    assert_eq!(told(&["a TLS handshake failed", "\"peer\":\"192.0.2.7\"", "speaks HTTP/2 without TLS"]), 1, "{log}");
    assert_eq!(told(&["refused a connection that comes from no trusted proxy", "\"peer\":\"127.0.0.2\""]), 1, "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}
