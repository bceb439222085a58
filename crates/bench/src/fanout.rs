//! `starling-bench fanout`: one publisher, many viewers.

use std::time::Duration;

use super::access::Access;
use super::interests::Interests;
use super::livestream::BUDGET;
use super::load::Load;
use super::nats::Nats;
use super::report::{self, Report};
use super::stamp::STAMP;
use super::system::System;
use super::viewer::Behaviour;
use super::{descriptors, progress, table};
use crate::error::BenchError;

#[derive(Debug, clap::Args)]
#[command(after_help = table::legend(report::COLUMNS))]
pub(crate) struct Fanout {
    /// Viewers of the livestream.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    viewers: u64,
    /// Connections that they share; by default each has its own. Raw TCP and NATS always have one for each.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    connections: Option<u64>,
    /// Updates per second; 0 = a burst, as fast as the slowest viewer reads.
    #[arg(long, value_name = "R", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rate: u32,
    /// Size of a payload.
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = size)]
    size: usize,
    /// Size of a keyframe's payload, when it is another one: each two seconds, or one update in 60 of a burst.
    /// Not with --baseline: raw TCP has messages of one size.
    #[arg(long, value_name = "BYTES", value_parser = size, conflicts_with = "baseline")]
    keyframe_size: Option<usize>,
    /// Bytes per second that a viewer may be sent.
    #[arg(long, value_name = "BYTES", default_value_t = BUDGET, value_parser = clap::value_parser!(u64).range(1_000..=BUDGET))]
    budget: u64,
    /// What viewers want: critical, high, medium, low, mix, or weights such as high=5,low=2.
    /// The baselines send everything to everybody.
    #[arg(long, value_name = "INTEREST", default_value = "high")]
    interest: Interests,
    /// How viewers use HTTP/2, of Starling and of plain tonic.
    #[arg(long, value_name = "CLIENT", value_enum, default_value_t)]
    client: Behaviour,
    /// Share of viewers that never read after they subscribed, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    stalled: f64,
    /// Starling's publisher signs its updates, and the server verifies them; not the baselines. Viewers verify nothing.
    #[arg(long)]
    signed: bool,
    /// How long each run publishes.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Runs on each system; the medians are told.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// Put the same load on plain tonic and on raw TCP, in turn with Starling.
    #[arg(long)]
    baseline: bool,
    #[command(flatten)]
    nats: Option<Nats>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// A server that runs already; by default one is started for each run. What it uses is not
    /// measured.
    #[arg(long = "server", value_name = "ADDRESS", value_parser = starling_client::parse_address)]
    url: Option<String>,
}

/// The size of a payload, in bytes.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(size) if (STAMP..=1 << 20).contains(&size) => Ok(size),
        Ok(_) => Err(format!("must be at least {STAMP}, at most {}", 1 << 20)),
        Err(error) => Err(error.to_string()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => Ok(share),
        Ok(_) => Err("must be at least 0, less than 1".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Fanout {
    pub(crate) async fn run(self) -> Result<(), BenchError> {
        let mut systems = vec![System::Starling];
        if self.baseline {
            systems.extend([System::Tonic, System::Raw]);
        }
        if self.nats.is_some() {
            systems.push(System::Nats);
        }
        let load = Load {
            viewers: self.viewers,
            connections: self.connections.unwrap_or(self.viewers).min(self.viewers),
            rate: (self.rate > 0).then_some(self.rate),
            size: self.size,
            keyframe_size: self.keyframe_size.unwrap_or(self.size),
            budget: self.budget,
            interests: self.interest,
            behaviour: self.client,
            stalled: (0..self.viewers).filter(|viewer| (*viewer as f64) < self.viewers as f64 * self.stalled).count()
                as u64,
            duration: self.duration,
            access: Access::open(self.signed),
            url: self.url,
            nats: self.nats,
        };
        // Raw TCP and NATS have a connection per viewer in any case.
        descriptors::allow(if systems.len() > 1 { load.viewers } else { load.connections })?;
        let mut report = Report::new(&load, self.runs);
        let bar = progress::bar(u64::from(self.runs) * systems.len() as u64);
        for _ in 0..self.runs {
            for system in &systems {
                bar.set_message(system.name());
                let outcome = load.run(*system).await;
                report.add(outcome.map_err(|failure| BenchError(format!("{}: {failure}", system.name())))?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        if self.json { report.print_json() } else { report.print() }
    }
}
