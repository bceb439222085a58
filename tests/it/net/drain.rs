//! The drain ends in time, whoever is connected.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server};
use crate::net::connections::{PREFACE, closed};
use crate::net::fixture::{PacedPublisher, go_live, join, subscribe, until};
use crate::net::frames::{WIDE, Wire};

#[tokio::test]
async fn idle_connections_do_not_delay_the_drain() {
    // The deadline is beyond what a test waits for.
    let server = Server::with(|config| config.drain.timeout = 10 * PATIENCE).await;
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let idle = Wire::connect(server.address(), WIDE).await;
    let _client = server.client().await;
    server.shutdown().await;
    idle.ended().await.expect("it is told to go");
    closed(silent).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unresponsive_clients_are_cut_at_the_deadline() {
    let server = Server::with(|config| {
        config.drain.timeout = Duration::from_secs(1);
        // Neither of these helps.
        config.streams.stall_timeout = 10 * PATIENCE;
        config.server.http2_keepalive_interval = 10 * PATIENCE;
    })
    .await;
    let client = server.client().await;
    go_live(&client, Duration::from_secs(60)).await;
    let publisher = PacedPublisher::start(server.client().await, 50_000, Duration::from_millis(5)).await;
    let streams = server.streams();
    // One that never opens the window of its stream, and one that does not read its socket.
    let mut windowless = Wire::connect(server.address(), 1_000).await;
    let unread = windowless.subscribe(&subscribe(10, join(&client, 10).await)).await;
    let mut deaf = Wire::connect(server.address(), WIDE).await;
    let unheard = deaf.subscribe(&subscribe(11, join(&client, 11).await)).await;
    deaf.hold(true);
    // One that hears that it shall go, and never answers.
    let mut mute = TcpStream::connect(server.address()).await.unwrap();
    mute.write_all(PREFACE).await.unwrap();
    until(|| publisher.published() > 100).await;
    server.shutdown().await;
    closed(mute).await;
    deaf.hold(false);
    drop((unread, unheard));
    drop(tokio::join!(windowless.ended(), deaf.ended()));
    // Nothing of them is left.
    until(|| streams.open_streams() == 0).await;
}
