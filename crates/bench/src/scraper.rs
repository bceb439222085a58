//! Who scrapes the metrics of a server each second, as Prometheus does.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::interval;

use crate::error::BenchError;

const EVERY: Duration = Duration::from_secs(1);

/// Scrapes until it is dropped.
#[derive(Debug)]
pub(crate) struct Scraper(JoinSet<Result<(), BenchError>>);

impl Scraper {
    /// Begins at once.
    pub(crate) fn start(admin: SocketAddr) -> Self {
        let mut scraping = JoinSet::new();
        scraping.spawn(async move {
            let mut ticks = interval(EVERY);
            loop {
                ticks.tick().await;
                scrape(admin).await?;
            }
        });
        Self(scraping)
    }

    /// Fails when a scrape has failed.
    pub(crate) fn check(&mut self) -> Result<(), BenchError> {
        self.0.try_join_next().map_or(Ok(()), |ended| ended?)
    }
}

async fn scrape(admin: SocketAddr) -> Result<(), BenchError> {
    let mut tcp = TcpStream::connect(admin).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 200 ") && answer.windows(6).any(|end| end == b"# EOF\n") {
        Ok(())
    } else {
        Err(BenchError("the metrics were not answered whole".into()))
    }
}
