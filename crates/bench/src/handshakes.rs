//! Connections that are opened and closed again: what a handshake costs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::try_join_all;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::access::Access;
use super::child::{spent, usage};
use super::latencies::{Latencies, Latency};
use super::system::System;
use super::table::Column;
use crate::error::BenchError;

/// Connections that are opened at the same time.
const AT_ONCE: u64 = 32;
/// How a client of HTTP/2 begins: its preface, and SETTINGS that say nothing.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// The head of a frame of HTTP/2, in bytes, and where its kind is.
const HEAD: usize = 9;
const KIND: usize = 3;
const SETTINGS: u8 = 4;

/// What came of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Handshakes {
    connections: u64,
    seconds: f64,
    per_second: f64,
    server_cpu_us_each: Option<f64>,
    server_cores: Option<f64>,
    generator_cores: Option<f64>,
    /// From the first packet until the server's SETTINGS.
    latency_ms: Latency,
}

pub(crate) const COLUMNS: &[Column<Handshakes>] = &[
    Column::new("connections/s", 13, 0, |run| Some(run.per_second), "connections that were opened, per second"),
    Column::new(
        "CPU us each",
        11,
        1,
        |run| run.server_cpu_us_each,
        "processor time of the server per connection, from its opening to its end, in microseconds",
    ),
    Column::new("cores", 6, 2, |run| run.server_cores, "cores that the server kept busy"),
    Column::new("p50 ms", 8, 2, |run| Some(run.latency_ms.p50), "until the server had sent its SETTINGS of HTTP/2"),
    Column::new("p99 ms", 8, 2, |run| Some(run.latency_ms.p99), "the same, exceeded by one in a hundred"),
];

impl Handshakes {
    /// The server's processor time for each connection, in microseconds.
    pub(crate) const fn cpu(&self) -> Option<f64> {
        self.server_cpu_us_each
    }

    /// Opens so many connections to a server of its own, up to 32 at the same time, and closes each when the server
    /// speaks HTTP/2.
    pub(crate) async fn measure(system: System, access: &Access, connections: u64) -> Result<Self, BenchError> {
        let server = system.start(access)?;
        let (left, latencies) = (AtomicU64::new(connections), Latencies::new());
        let (before, own, began) = (server.usage(), usage("self"), Instant::now());
        let lane = async || {
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                let begun = Instant::now();
                greet(server.address, access).await?;
                latencies.record(u64::try_from(begun.elapsed().as_nanos())?);
            }
            Ok::<(), BenchError>(())
        };
        try_join_all((0..AT_ONCE).map(|_| lane())).await?;
        let seconds = began.elapsed().as_secs_f64();
        let (spent, own) = (spent(before, server.usage()), spent(own, usage("self")));
        Ok(Self {
            connections,
            seconds,
            per_second: connections as f64 / seconds,
            server_cpu_us_each: spent.map(|spent| spent * 1e6 / connections as f64),
            server_cores: spent.map(|spent| spent / seconds),
            generator_cores: own.map(|own| own / seconds),
            latency_ms: latencies.summary(),
        })
    }
}

async fn greet(address: SocketAddr, access: &Access) -> Result<(), BenchError> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let mut wire = access.wire(tcp).await?;
    wire.write_all(GREETING).await?;
    wire.flush().await?;
    let mut head = [0; HEAD];
    wire.read_exact(&mut head).await?;
    if head[KIND] == SETTINGS { Ok(()) } else { Err(BenchError("the server does not speak HTTP/2".into())) }
}
