//! Files that change while streams are open.

use std::fs::File;

use starling::config::ClientAuth;
use starling_client::pb::livestream::v1 as pb;
use tokio_stream::StreamExt;

use crate::harness::{Server, soon};
use crate::net::fixture::until;
use crate::process::{Serving, starling};
use crate::tls::authority::{Authority, Dialect, Files, client, serial, serve};

const CONNECTIONS: usize = 10;
const STREAMS: usize = 20;

/// Waits until new connections are shown this certificate.
async fn shown(server: std::net::SocketAddr, authority: &Authority, expected: u8) {
    soon(async { while serial(server, authority).await != expected {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_is_dropped_for_a_new_certificate() {
    let (server, authority, files) = serve(|_| ()).await;
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = client(&server, &authority, &files).await;
        for _ in 0..STREAMS {
            let watch = pb::WatchLivestreamsRequest::default();
            let mut stream = client.clone().livestreams.watch_livestreams(watch).await.unwrap().into_inner();
            // What there is; then it is silent.
            soon(stream.next()).await.unwrap().unwrap();
            streams.push(stream);
        }
    }
    assert_eq!(serial(server.address(), &authority).await, 1);
    files.replace(&authority.server(2));
    shown(server.address(), &authority, 2).await;
    // And one of another authority, which clients of the first would refuse.
    let other = Authority::new("others");
    files.replace(&other.server(3));
    soon(async { while Dialect::default().speak(server.address(), &authority).await.is_ok() {} }).await;
    assert_eq!(serial(server.address(), &other).await, 3);

    let create = pb::CreateLivestreamRequest { livestream_id: 7, node_id: 1, ..Default::default() };
    client(&server, &other, &files).await.livestreams.create_livestream(create).await.unwrap();
    for stream in &mut streams {
        soon(stream.next()).await.expect("it is open").expect("it goes on");
    }
    assert_eq!(server.open_streams(), CONNECTIONS * STREAMS);
}

#[tokio::test]
async fn broken_files_keep_the_old_ones_in_use() {
    let authority = Authority::new("servers");
    let (old, new) = (authority.server(1), authority.server(2));
    let files = Files::new(&old);
    let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "info"]);
    command
        .env("STARLING__TLS__CERT_FILE", files.path("tls.crt"))
        .env("STARLING__TLS__KEY_FILE", files.path("tls.key"));
    command.env("STARLING__TLS__RELOAD_INTERVAL", "1s");
    command.stderr(File::create(files.path("log")).unwrap());
    let server = Serving::spawn(command).await;
    let log = || std::fs::read_to_string(files.path("log")).unwrap();
    let told = |of: &str| log().lines().filter(|line| line.contains("ERROR") && line.contains(of)).count();

    files.write("tls.crt", "-----BEGIN CERTIFICATE-----\nbroken\n");
    until(|| told("tls.crt: is no valid PEM") == 1).await;
    assert_eq!(serial(server.address, &authority).await, 1);
    files.write("tls.crt", "");
    until(|| told("tls.crt: holds no certificate") == 1).await;
    std::fs::remove_file(files.path("tls.crt")).unwrap();
    until(|| told("tls.crt: there is no such file") == 1).await;
    files.write("tls.crt", &old.cert);
    files.write("tls.key", "nothing");
    until(|| told("tls.key: holds no private key") == 1).await;
    files.write("tls.key", &new.key);
    until(|| told("tls.key: is not the key of the certificate") == 1).await;
    assert_eq!(serial(server.address, &authority).await, 1);

    files.replace(&new);
    shown(server.address, &authority, 2).await;
    assert_eq!(told("TLS files are of no use"), 5, "each change is told once: {}", log());
}

#[tokio::test]
async fn authority_of_clients_changes_too() {
    let (servers, first, second) = (Authority::new("servers"), Authority::new("first"), Authority::new("second"));
    let files = Files::new(&servers.server(1));
    let server = Server::with(|config| files.ask(config, &first, ClientAuth::Required)).await;
    let speak = async |clients: &Authority| {
        let own = Some(clients.client("starling://node/7"));
        Dialect { own, ..Dialect::default() }.speak(server.address(), &servers).await
    };
    let _open = speak(&first).await.unwrap();
    assert!(speak(&second).await.is_err());
    files.write("clients.crt", &second.pem());
    soon(async { while speak(&second).await.is_err() {} }).await;
    assert!(speak(&first).await.is_err());
    // Both, while clients change over.
    files.write("clients.crt", &(first.pem() + &second.pem()));
    soon(async { while speak(&first).await.is_err() {} }).await;
    assert!(speak(&second).await.is_ok());
}
