//! `starling-bench idle`: memory of subscribers to whom nothing comes.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::access::Access;
use super::child::{Server, Usage, spent};
use super::interests::Pictures;
use super::livestream::{BROADCASTER, BUDGET, TestLivestream, node};
use super::load::SETUP_TIMEOUT;
use super::meter::Meter;
use super::publisher::PublisherConnection;
use super::system::System;
use super::table::{self, Column, mebibytes};
use super::viewer::{Behaviour, Protocol, ViewerConfig, ViewerContext, subscription};
use super::viewer_pool::ViewerPool;
use super::{descriptors, progress};
use crate::error::BenchError;
use crate::terminal::output;
use starling_client::Client;

use starling_client::pb::swarm::v1::Interest;

/// Of the one update, in bytes.
const PAYLOAD: usize = 1_200;
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
#[command(after_help = table::legend(COLUMNS))]
pub(crate) struct Idle {
    /// Viewers, each with a connection and one subscription on it.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=16_000))]
    viewers: u64,
    /// Subscriptions that come after, over the same connections.
    #[arg(long, value_name = "M", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    streams: u64,
    /// Publish one update, so that every connection has been of use.
    #[arg(long)]
    update: bool,
    /// Look at plain tonic too, which knows no members.
    #[arg(long)]
    baseline: bool,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// All that was looked at.
#[derive(Debug, Serialize)]
struct Report {
    viewers: u64,
    streams: u64,
    update: bool,
    systems: Vec<Steps>,
}

/// How the memory of a server grew.
#[derive(Debug, Serialize)]
struct Steps {
    system: System,
    steps: Vec<Step>,
    /// When the next step begins, and what the server had used by then.
    #[serde(skip)]
    before: (Instant, Option<Usage>),
}

/// The server's memory after something has come.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    what: &'static str,
    /// How many came, and how long that took, in seconds.
    count: u64,
    seconds: f64,
    /// In bytes, and by how much it has grown for each that came.
    rss: Option<u64>,
    pub(crate) bytes_each: Option<f64>,
    /// The server's processor time for each that came, in microseconds.
    cpu_us_each: Option<f64>,
}

pub(crate) const COLUMNS: &[Column<Step>] = &[
    Column::new("count", 9, 0, |step| Some(step.count as f64), "how many came in this step"),
    Column::new("seconds", 9, 2, |step| Some(step.seconds), "how long that took"),
    Column::new("RSS MiB", 9, 1, |step| mebibytes(step.rss), "memory of the server after the step"),
    Column::new("bytes each", 11, 0, |step| step.bytes_each, "by how much it grew for each that came, in bytes"),
    Column::new(
        "CPU us each",
        12,
        1,
        |step| step.cpu_us_each,
        "processor time of the server for each, in microseconds",
    ),
];

impl Idle {
    pub(crate) async fn run(self) -> Result<(), BenchError> {
        descriptors::allow(self.viewers)?;
        let bar = progress::bar(if self.baseline { 2 } else { 1 });
        bar.set_message(System::Starling.name());
        let open = Access::default();
        let mut systems = vec![self.starling(&open).await?];
        if self.baseline {
            bar.inc(1);
            bar.set_message(System::Tonic.name());
            systems.push(self.tonic(&open).await?);
        }
        bar.finish_and_clear();
        let report = Report { viewers: self.viewers, streams: self.streams, update: self.update, systems };
        if self.json { table::print_json(&report) } else { report.print() }
    }

    /// So many connections with a subscription each, all of which have had one update.
    pub(crate) async fn connections(system: System, access: &Access, viewers: u64) -> Result<Step, BenchError> {
        let idle = Self { viewers, streams: 0, update: true, baseline: false, json: false };
        let steps = if system == System::Starling { idle.starling(access).await? } else { idle.tonic(access).await? };
        let connections = steps.steps.into_iter().find(|step| step.what == "connections");
        connections.ok_or_else(|| BenchError("no connection was opened".into()))
    }

    async fn starling(&self, access: &Access) -> Result<Steps, BenchError> {
        let livestream = TestLivestream::open(None, BUDGET, access).await?;
        let server = livestream.server()?;
        let mut publisher = PublisherConnection::of(&livestream).await?;
        let mut steps = Steps::begin(System::Starling, server).await;
        let sessions = livestream.join(0..self.viewers, |_| Interest::High).await?;
        steps.add("members", self.viewers, server).await;
        let configs = self.configs(livestream.livestream, &sessions, access)?;
        self.subscribe(server, &mut publisher, configs, steps, access).await
    }

    async fn tonic(&self, access: &Access) -> Result<Steps, BenchError> {
        let server = System::Tonic.start(access)?;
        let livestream = Client::random_node();
        let client = access.client(&access.url(server.address)).await?;
        let mut publisher = PublisherConnection::grpc(client, livestream, BROADCASTER, None).await?;
        let steps = Steps::begin(System::Tonic, &server).await;
        let sessions = vec![0; usize::try_from(self.viewers)?];
        self.subscribe(&server, &mut publisher, self.configs(livestream, &sessions, access)?, steps, access).await
    }

    /// Brings in the connections, then the streams that come after.
    async fn subscribe(
        &self,
        server: &Server,
        publisher: &mut PublisherConnection,
        configs: Vec<Vec<ViewerConfig>>,
        mut steps: Steps,
        access: &Access,
    ) -> Result<Steps, BenchError> {
        let all = usize::try_from(self.viewers + self.streams)?;
        let meter = Arc::new(Meter::new((0..all).map(|_| false), 1));
        // Starling greets; and whoever comes late gets the newest keyframe.
        let greets = steps.system == System::Starling;
        let context = ViewerContext::new(
            server.address,
            Arc::clone(&meter),
            1,
            Protocol::Grpc { greets, behaviour: Behaviour::Lean },
            access.clone(),
        );
        let in_time = |_| BenchError(format!("not every viewer got in within {} s", SETUP_TIMEOUT.as_secs()));
        let mut pool = timeout(SETUP_TIMEOUT, ViewerPool::open(context, configs)).await.map_err(in_time)??;
        if self.update {
            publisher.send(0, meter.clock.now(), PAYLOAD, Pictures { keyframes: 1 }).await?;
            updated(publisher, &meter, self.viewers).await?;
        }
        steps.add("connections", self.viewers, server).await;
        if self.streams > 0 {
            let more = usize::try_from(self.streams)?;
            timeout(SETUP_TIMEOUT, pool.start_late(more)).await.map_err(in_time)??;
            if self.update && greets {
                updated(publisher, &meter, self.viewers + self.streams).await?;
            }
            steps.add("streams", self.streams, server).await;
        }
        pool.check()?;
        if meter.cuts() > 0 {
            return Err(BenchError(format!("{} streams were cut", meter.cuts())));
        }
        Ok(steps)
    }

    /// A connection for each viewer; those who come later are spread over all.
    fn configs(
        &self,
        livestream: u64,
        sessions: &[u64],
        access: &Access,
    ) -> Result<Vec<Vec<ViewerConfig>>, BenchError> {
        let viewers = sessions.len();
        let mut connections = vec![Vec::new(); viewers];
        for (number, place) in (0..self.viewers + self.streams).enumerate() {
            let at = number % viewers;
            let subscribe = subscription(livestream, node(place % self.viewers), sessions[at]);
            let authorization = access.authorization(node(place % self.viewers))?;
            let late = number >= viewers;
            connections[at].push(ViewerConfig { number, stalled: false, late, subscribe, authorization });
        }
        Ok(connections)
    }
}

impl Steps {
    async fn begin(system: System, server: &Server) -> Self {
        let usage = server.settled().await;
        Self { system, steps: Vec::new(), before: (Instant::now(), usage) }
    }

    /// Looks at the server when it has come to rest.
    async fn add(&mut self, what: &'static str, count: u64, server: &Server) {
        let (began, before) = self.before;
        let seconds = began.elapsed().as_secs_f64();
        let after = server.settled().await;
        let each = |spent: f64| spent / count as f64;
        self.steps.push(Step {
            what,
            count,
            seconds,
            rss: after.map(|usage| usage.resident),
            bytes_each: after.zip(before).map(|(after, before)| each(after.resident as f64 - before.resident as f64)),
            cpu_us_each: spent(before, after).map(|spent| each(spent * 1e6)),
        });
        self.before = (Instant::now(), after);
    }

    fn bytes_each(&self, what: &str) -> Option<f64> {
        self.steps.iter().find(|step| step.what == what)?.bytes_each
    }
}

/// Waits until the update has come so often.
async fn updated(publisher: &mut PublisherConnection, meter: &Meter, times: u64) -> Result<(), BenchError> {
    let come = async {
        while meter.updates() < times {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        come = timeout(SETUP_TIMEOUT, come) => come.map_err(|_| BenchError("the update did not come to everybody".into())),
        heard = publisher.listen() => heard,
    }
}

impl Report {
    fn print(&self) -> Result<(), BenchError> {
        let mut out = output();
        let Self { viewers, streams, update, systems } = self;
        let published = if *update { "one update" } else { "nothing published" };
        writeln!(
            out,
            "{viewers} connections with a subscription each, then {streams} subscriptions more, {published}"
        )?;
        for Steps { system, steps, .. } in systems {
            writeln!(out, "{}:", system.name())?;
            table::print(&mut out, COLUMNS, steps.iter().map(|step| (step.what, vec![step])))?;
        }
        if let [own, other] = systems.as_slice() {
            let ratio = |what| Some(own.bytes_each(what)? / other.bytes_each(what)?);
            let cell = |ratio: Option<f64>| ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}"));
            let (connections, streams) = (cell(ratio("connections")), cell(ratio("streams")));
            writeln!(out, "starling/tonic: bytes per connection {connections}, per stream {streams}")?;
        }
        Ok(())
    }
}
