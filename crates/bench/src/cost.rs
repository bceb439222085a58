//! `starling-bench cost`: what metrics, tokens, TLS and signatures cost, each and together, beside plain tonic.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::access::Access;
use super::churn::{CallSpread, ChurnRuns};
use super::credentials::Credentials;
use super::fanout;
use super::features::Features;
use super::handshakes::{self, Handshakes};
use super::idle::{self, Idle, Step};
use super::interests::Interests;
use super::join::{self, Join, Phase};
use super::livestream::BUDGET;
use super::load::{Load, Outcome};
use super::rate::Rate;
use super::report;
use super::system::System;
use super::table::{self, Column, median};
use super::viewer::Behaviour;
use super::{descriptors, progress};
use crate::error::BenchError;
use crate::terminal::output;
use starling_signing::{SignedUpdate, SigningKey, SwarmTag};

/// Times that a viewer's verification is measured.
const VERIFICATIONS: u32 = 2_000;
/// How the joins are spread.
const SPREAD: CallSpread = CallSpread::new(8, 32);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The tables are those of the commands fanout (paced), idle (connections that have had one update), \
                        join and, for handshakes, of connections that are closed when the server speaks HTTP/2. Rows are \
                        what is switched on; `all` is metrics, jwt, TLS and signed."
)]
pub(crate) struct Cost {
    /// Viewers of the livestream, each with a connection.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=16_000))]
    viewers: u64,
    /// Size of a payload.
    #[arg(long, value_name = "BYTES", default_value_t = 1_200, value_parser = fanout::size)]
    size: usize,
    /// Updates per second.
    #[arg(long, value_name = "R", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long each run publishes, and lets viewers come and go.
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Connections whose memory is looked at.
    #[arg(long, value_name = "N", default_value_t = 4_000, value_parser = clap::value_parser!(u64).range(1..=16_000))]
    idle: u64,
    /// Viewers who join, and then come and go.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    joiners: u64,
    /// Connections that are opened and closed.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    handshakes: u64,
    /// Runs of each row, in turn with the others; the medians are told.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// Print one JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

/// A row: what is measured, and what is switched on.
#[derive(Clone, Copy, Debug)]
struct Variant(&'static str, System, Features);

const OFF: Variant = Variant("off", System::Starling, Features::OFF);
const METRICS: Variant = Variant("metrics", System::Starling, Features::METRICS);
const JWT: Variant = Variant("jwt", System::Starling, Features::JWT);
const TLS: Variant = Variant("TLS", System::Starling, Features::TLS);
const SIGNED: Variant = Variant("signed", System::Starling, Features::SIGNED);
const ALL: Variant = Variant("all", System::Starling, Features::ALL);
const TONIC: Variant = Variant("tonic", System::Tonic, Features::OFF);
const TONIC_TLS: Variant = Variant("tonic TLS", System::Tonic, Features::TLS);

const FANOUT: &[Variant] = &[OFF, METRICS, JWT, TLS, SIGNED, ALL, TONIC, TONIC_TLS];
const CONNECTIONS: &[Variant] = &[OFF, TLS, TONIC, TONIC_TLS];
const JOINS: &[Variant] = &[OFF, METRICS, JWT, TLS, ALL];

/// What is told as a ratio: each by the other.
const RATIOS: &[(Variant, Variant)] = &[
    (METRICS, OFF),
    (JWT, OFF),
    (TLS, OFF),
    (SIGNED, OFF),
    (ALL, OFF),
    (OFF, TONIC),
    (TLS, TONIC_TLS),
    (ALL, TONIC_TLS),
    (TONIC_TLS, TONIC),
];

/// All runs.
#[derive(Debug, Serialize)]
struct Report {
    viewers: u64,
    /// Of a payload, in bytes.
    size: usize,
    /// Updates per second.
    rate: u32,
    /// Of each run, in seconds.
    duration: f64,
    runs: u32,
    fanout: Section<Outcome>,
    idle: Section<Step>,
    /// Everybody joins: tokens come for the first time.
    first_joins: Section<Phase>,
    /// Viewers come and go: tokens are known.
    churn: Section<Phase>,
    handshakes: Section<Handshakes>,
    /// What a viewer who verifies spends on an update, in microseconds; no server does.
    verification_us: f64,
}

/// A table: of each row its outcomes, in the order of the runs.
#[derive(Debug, Serialize)]
struct Section<O> {
    rows: Vec<Row<O>>,
    ratios: Vec<Ratio>,
}

#[derive(Debug, Serialize)]
struct Row<O> {
    name: &'static str,
    outcomes: Vec<O>,
}

/// The median of the ratios of runs that followed each other.
#[derive(Debug, Serialize)]
struct Ratio {
    of: &'static str,
    to: &'static str,
    ratio: f64,
}

impl<O> Section<O> {
    fn new(variants: &[Variant]) -> Self {
        let rows = variants.iter().map(|Variant(name, ..)| Row { name, outcomes: Vec::new() });
        Self { rows: rows.collect(), ratios: Vec::new() }
    }

    fn add(&mut self, name: &str, outcome: O) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.name == name) {
            row.outcomes.push(outcome);
        }
    }

    /// Compares rows by this figure.
    fn compare(&mut self, figure: impl Fn(&O) -> Option<f64>) {
        let row = |name| self.rows.iter().find(|row| row.name == name);
        let ratio = |&(Variant(of, ..), Variant(to, ..)): &(Variant, Variant)| {
            let pairs = row(of)?.outcomes.iter().zip(&row(to)?.outcomes);
            let ratios = pairs.filter_map(|(one, other)| Some(figure(one)? / figure(other)?));
            let ratio = median(ratios.filter(|ratio| ratio.is_finite()).collect())?;
            Some(Ratio { of, to, ratio })
        };
        self.ratios = RATIOS.iter().filter_map(ratio).collect();
    }

    fn print(&self, out: &mut impl Write, title: &str, columns: &[Column<O>], figure: &str) -> Result<(), BenchError> {
        writeln!(out, "{title}")?;
        table::print(out, columns, self.rows.iter().map(|row| (row.name, row.outcomes.iter().collect())))?;
        let ratios: Vec<_> =
            self.ratios.iter().map(|Ratio { of, to, ratio }| format!("{of}/{to} {ratio:.2}")).collect();
        Ok(writeln!(out, "{figure}: {}\n", ratios.join(", "))?)
    }
}

impl Cost {
    pub(crate) async fn run(self) -> Result<(), BenchError> {
        descriptors::allow(self.viewers.max(self.idle))?;
        let credentials = Arc::new(Credentials::new()?);
        let rows = FANOUT.len() + JOINS.len() + 2 * CONNECTIONS.len();
        let bar = progress::bar(u64::from(self.runs) * rows as u64);
        let (mut fanout, mut idle) = (Section::new(FANOUT), Section::new(CONNECTIONS));
        let (mut first_joins, mut churn) = (Section::new(JOINS), Section::new(JOINS));
        let mut handshakes = Section::new(CONNECTIONS);
        let join = self.join();
        for _ in 0..self.runs {
            for &Variant(name, system, features) in FANOUT {
                bar.set_message(format!("fanout, {name}"));
                let load = self.load(Access::new(features, &credentials));
                fanout.add(name, named(name, load.run(system).await)?);
                bar.inc(1);
            }
            for &Variant(name, system, features) in CONNECTIONS {
                bar.set_message(format!("idle, {name}"));
                let access = Access::new(features, &credentials);
                idle.add(name, named(name, Idle::connections(system, &access, self.idle).await)?);
                bar.inc(1);
            }
            for &Variant(name, _, features) in JOINS {
                bar.set_message(format!("join, {name}"));
                let joined = named(name, join.once(&Access::new(features, &credentials)).await)?;
                first_joins.add(name, joined.fill);
                churn.add(name, joined.churn);
                bar.inc(1);
            }
            for &Variant(name, system, features) in CONNECTIONS {
                bar.set_message(format!("handshakes, {name}"));
                let access = Access::new(features, &credentials);
                handshakes.add(name, named(name, Handshakes::measure(system, &access, self.handshakes).await)?);
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        fanout.compare(|outcome| outcome.server_cpu_us_per_delivery);
        idle.compare(|step| step.bytes_each);
        first_joins.compare(|phase| phase.server_cpu_us_per_operation);
        churn.compare(|phase| phase.server_cpu_us_per_operation);
        handshakes.compare(Handshakes::cpu);
        let report = Report {
            viewers: self.viewers,
            size: self.size,
            rate: self.rate,
            duration: self.duration.as_secs_f64(),
            runs: self.runs,
            fanout,
            idle,
            first_joins,
            churn,
            handshakes,
            verification_us: verification(self.size)?,
        };
        if self.json { table::print_json(&report) } else { report.print(&self) }
    }

    fn load(&self, access: Access) -> Load {
        Load {
            viewers: self.viewers,
            connections: self.viewers,
            rate: Some(self.rate),
            size: self.size,
            keyframe_size: self.size,
            budget: BUDGET,
            interests: Interests::high(),
            behaviour: Behaviour::Lean,
            stalled: 0,
            duration: self.duration,
            access,
            url: None,
            nats: None,
        }
    }

    const fn join(&self) -> Join {
        let runs = ChurnRuns { lanes: SPREAD, duration: self.duration, runs: 1, json: false };
        Join { viewers: self.joiners, rate: Rate::BURST, runs }
    }
}

/// Says with what it happened.
fn named<T>(name: &str, outcome: Result<T, BenchError>) -> Result<T, BenchError> {
    outcome.map_err(|failure| BenchError(format!("{name}: {failure}")))
}

/// What it takes to verify an update with a payload of so many bytes, in microseconds, in one thread.
fn verification(size: usize) -> Result<f64, BenchError> {
    let key = SigningKey::from_seed(&rand::random())?;
    let payload = vec![7; size];
    let update = SignedUpdate {
        kind: SwarmTag::Livestream,
        swarm: 7,
        epoch: 8,
        session: 9,
        source: key.public_key().node_id(),
        channel: 1,
        track: 0,
        publisher_sequence: 11,
        publish_time: None,
        urgent: false,
        keyframe: true,
        temporal_layer: 0,
        payload: &payload,
    };
    let signature = key.sign(&update);
    let began = Instant::now();
    for _ in 0..VERIFICATIONS {
        key.public_key().verify(black_box(&update), &signature)?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e6 / f64::from(VERIFICATIONS))
}

impl Report {
    fn print(&self, cost: &Cost) -> Result<(), BenchError> {
        let mut out = output();
        let Self { viewers, size, rate, duration, runs, .. } = self;
        writeln!(out, "medians of {runs}; ratios are the medians of those of runs that followed each other\n")?;
        let title = format!("{viewers} viewers, a connection each, {size} B, {rate} updates/s, {duration} s:");
        self.fanout.print(&mut out, &title, report::COLUMNS, "CPU per delivery")?;
        let verification = self.verification_us;
        writeln!(out, "A viewer who verifies spends {verification:.1} us on each update.\n")?;
        let title = format!("{} connections with a subscription each, one update:", cost.idle);
        self.idle.print(&mut out, &title, idle::COLUMNS, "bytes per connection")?;
        let title = format!("{} viewers join, each for the first time, {SPREAD}:", cost.joiners);
        self.first_joins.print(&mut out, &title, join::COLUMNS, "CPU per join")?;
        let title = format!("they leave and join again, a burst, {duration} s:");
        self.churn.print(&mut out, &title, join::COLUMNS, "CPU per join or leave")?;
        let title = format!("{} connections are opened and closed, up to 32 at the same time:", cost.handshakes);
        self.handshakes.print(&mut out, &title, handshakes::COLUMNS, "CPU per connection")
    }
}
