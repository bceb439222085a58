//! Preambles of the PROXY protocol, and a balancer that sends them.

use std::net::{Ipv4Addr, SocketAddr};

use h2::RecvStream;
use http::Response;
use ppp::v2::{Builder, Command, PROTOCOL_PREFIX, Protocol, Version};
use starling::config::{Config, ProxyProtocol};
use starling_client::pb::livestream::v1 as pb;
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::harness::{Server, soon};
use crate::net::frames::{WIDE, Wire};

/// The preamble of a balancer's own connection.
pub(crate) const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// The preamble of a connection for a client of whom no address is told.
pub(crate) const UNKNOWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0";

/// The preamble of a connection for a client at this address.
pub(crate) fn announced(client: &str) -> Vec<u8> {
    let client = SocketAddr::new(client.parse().unwrap(), 4_711);
    let server = if client.is_ipv4() { "10.0.0.1:443" } else { "[fd00::1]:443" };
    let addresses = (client, server.parse::<SocketAddr>().unwrap());
    let preamble = Builder::with_addresses(Version::Two | Command::Proxy, Protocol::Stream, addresses).build().unwrap();
    assert!(preamble.starts_with(PROTOCOL_PREFIX));
    preamble
}

/// Expects preambles, from these networks.
pub(crate) fn expect_preambles(config: &mut Config, proxies: &str) {
    config.server.proxy_protocol = ProxyProtocol::V2;
    proxies.clone_into(&mut config.server.trusted_proxies);
}

/// A server that expects preambles from 127.0.0.1.
pub(crate) async fn server(configure: impl FnOnce(&mut Config)) -> Server {
    Server::with(|config| {
        expect_preambles(config, "127.0.0.1");
        configure(config);
    })
    .await
}

/// A connection from a loopback address.
pub(crate) async fn connect_from(host: u8, server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::new(127, 0, 0, host), 0).into()).unwrap();
    soon(socket.connect(server)).await.unwrap()
}

/// A connection of HTTP/2 from 127.0.0.1 behind this preamble.
pub(crate) async fn behind(preamble: &[u8], server: SocketAddr) -> Wire {
    let mut socket = connect_from(1, server).await;
    socket.write_all(preamble).await.unwrap();
    Wire::over(socket, WIDE).await
}

/// Opens a stream, which is open for as long as the answer is kept; or says why there is none.
pub(crate) async fn watch(wire: &mut Wire) -> Result<Response<RecvStream>, Status> {
    let answer = wire.call("WatchLivestreams", &pb::WatchLivestreamsRequest::default()).await.unwrap();
    match Status::from_header_map(answer.headers()) {
        Some(status) if status.code() != Code::Ok => Err(status),
        _ => Ok(answer),
    }
}

/// Connects to a server for whoever connects to it, and sends a preamble first. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    _running: JoinSet<()>,
}

impl Balancer {
    pub(crate) async fn before(server: SocketAddr, preamble: Vec<u8>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let preamble = preamble.clone();
                connections.spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    server.write_all(&preamble).await.unwrap();
                    // Either side may be gone.
                    copy_bidirectional(&mut client, &mut server).await.ok();
                });
            }
        });
        Self { address, _running: running }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
