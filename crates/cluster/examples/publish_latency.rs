//! How long a publish takes until it is acknowledged, at 1 and at 100 in flight: p50 and p99 in milliseconds.
//!
//! ```sh
//! cargo run --release -p starling-cluster --example publish_latency -- URL,URL,URL REPLICAS [MESSAGES] [BYTES]
//! ```
//!
//! It uses a cluster of its own, `latency`, whose streams stay.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use starling_cluster::{JetStreamCluster, JetStreamLog, JetStreamSettings, PartitionLog};
use tokio::time::Instant;

const USAGE: &str = "publish_latency URL,URL,URL REPLICAS [MESSAGES] [BYTES]";

async fn publish(log: &JetStreamLog, bytes: Bytes) -> Option<Duration> {
    let since = Instant::now();
    log.publish(bytes, None).await.ok().map(|_| since.elapsed())
}

/// The value that this share of them do not exceed.
fn quantile(sorted: &[Duration], share: f64) -> f64 {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index")]
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len() - 1);
    sorted[at].as_secs_f64() * 1_000.0
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [urls, replicas, more @ ..] = &arguments[..] else { return Err(USAGE.into()) };
    let number = |at: usize, default: usize| more.get(at).map_or(Ok(default), |text| text.parse());
    let (messages, size) = (number(0, 10_000)?, number(1, 200)?);
    let urls = urls.split(',').map(str::to_owned).collect();
    let settings = JetStreamSettings {
        partitions: 1,
        replicas: replicas.parse()?,
        ..JetStreamSettings::new(urls, format!("latency-{replicas}"))
    };
    let log = JetStreamCluster::connect(settings).await?.log(0);
    let bytes = Bytes::from(vec![7; size]);
    let mut out = std::io::stdout();
    for in_flight in [1, 100] {
        let since = Instant::now();
        let publishes = stream::iter(0..messages).map(|_| publish(&log, bytes.clone()));
        let answers: Vec<_> = publishes.buffer_unordered(in_flight).collect().await;
        let elapsed = since.elapsed().as_secs_f64();
        let mut times: Vec<Duration> = answers.iter().flatten().copied().collect();
        times.sort_unstable();
        if times.is_empty() {
            return Err("nothing was acknowledged".into());
        }
        let failed = answers.len() - times.len();
        let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
        #[allow(clippy::cast_precision_loss, reason = "printed")]
        let rate = times.len() as f64 / elapsed;
        writeln!(
            out,
            "R{replicas}, {size} bytes, {in_flight:>3} in flight: p50 {p50:.2} ms, p99 {p99:.2} ms, {rate:.0}/s, {failed} failed"
        )?;
    }
    Ok(())
}
