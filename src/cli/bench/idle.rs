//! `starling bench idle`: memory of subscribers to whom nothing comes.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep, timeout};

use super::audience::Pictures;
use super::line::Line;
use super::meter::Meter;
use super::stage::SEATING;
use super::table::{self, Column, mebibytes};
use super::venue::{BROADCASTER, Venue, node};
use super::viewer::{Hall, Protocol, Seat, subscription};
use super::{descriptors, progress};
use crate::cli::Failure;

use crate::pb::swarm::v1::Interest;

/// Of the one update, in bytes.
const PAYLOAD: usize = 1_200;
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, clap::Args)]
pub(super) struct Idle {
    /// Viewers, each with a connection and one subscription on it.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=16_000))]
    viewers: u64,
    /// Subscriptions that come after, over the same connections.
    #[arg(long, value_name = "M", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    streams: u64,
    /// Publish one update, so that every connection has been of use.
    #[arg(long)]
    update: bool,
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
    steps: Vec<Step>,
}

/// The server's memory after something has come.
#[derive(Debug, Serialize)]
struct Step {
    what: &'static str,
    /// How many came, and how long that took, in seconds.
    count: u64,
    seconds: f64,
    /// In bytes, and by how much it has grown for each that came.
    rss: Option<u64>,
    bytes_each: Option<f64>,
    /// The server's processor time for each that came, in microseconds.
    cpu_us_each: Option<f64>,
}

const COLUMNS: &[Column<Step>] = &[
    Column::new("count", 9, 0, |step| Some(step.count as f64)),
    Column::new("seconds", 9, 2, |step| Some(step.seconds)),
    Column::new("RSS MiB", 9, 1, |step| mebibytes(step.rss)),
    Column::new("bytes each", 11, 0, |step| step.bytes_each),
    Column::new("CPU us each", 12, 1, |step| step.cpu_us_each),
];

impl Idle {
    pub(super) async fn run(self) -> Result<(), Failure> {
        descriptors::allow(self.viewers)?;
        let bar = progress::bar(3);
        let mut steps = Vec::new();
        bar.set_message("members");
        let venue = Venue::open(None).await?;
        let mut line = Line::grpc(venue.client.clone(), venue.livestream, BROADCASTER).await?;
        let start = (Instant::now(), venue.settled().await);

        let sessions = venue.join(0..self.viewers, |_| Interest::High).await?;
        let joined = step(&venue, "members", self.viewers, start, &mut steps).await;
        bar.inc(1);

        bar.set_message("connections");
        let all = usize::try_from(self.viewers + self.streams)?;
        let meter = Arc::new(Meter::new((0..all).map(|_| false), 1));
        let hall = Hall::new(venue.address, Arc::clone(&meter), 1, Protocol::Grpc { greets: true });
        let seats = self.seats(venue.livestream, &sessions);
        let in_time = |_| Failure(format!("not every viewer got in within {} s", SEATING.as_secs()));
        let mut crowd = timeout(SEATING, hall.fill(seats)).await.map_err(in_time)??;
        if self.update {
            line.send(0, meter.clock.now(), PAYLOAD, Pictures { keyframes: 1 }).await?;
            updated(&mut line, &meter, self.viewers).await?;
        }
        let connected = step(&venue, "connections", self.viewers, joined, &mut steps).await;
        bar.inc(1);

        if self.streams > 0 {
            bar.set_message("streams");
            let more = usize::try_from(self.streams)?;
            timeout(SEATING, crowd.let_in(more)).await.map_err(in_time)??;
            if self.update {
                // Whoever comes late gets the keyframe.
                updated(&mut line, &meter, self.viewers + self.streams).await?;
            }
            step(&venue, "streams", self.streams, connected, &mut steps).await;
        }
        crowd.check()?;
        if meter.cuts() > 0 {
            return Err(Failure(format!("{} streams were cut", meter.cuts())));
        }
        bar.finish_and_clear();
        let report = Report { viewers: self.viewers, streams: self.streams, update: self.update, steps };
        if self.json { table::print_json(&report) } else { report.print() }
    }

    /// A connection for each viewer; those who come later are spread over all.
    fn seats(&self, livestream: u64, sessions: &[u64]) -> Vec<Vec<Seat>> {
        let viewers = sessions.len();
        let mut connections = vec![Vec::new(); viewers];
        for (number, place) in (0..self.viewers + self.streams).enumerate() {
            let at = number % viewers;
            let subscribe = subscription(livestream, node(place % self.viewers), sessions[at]);
            connections[at].push(Seat { number, stalled: false, later: number >= viewers, subscribe });
        }
        connections
    }
}

type Before = (Instant, Option<super::child::Usage>);

/// Looks at the server when it has come to rest; answers with when the next step begins.
async fn step(venue: &Venue, what: &'static str, count: u64, before: Before, steps: &mut Vec<Step>) -> Before {
    let seconds = before.0.elapsed().as_secs_f64();
    let after = venue.settled().await;
    let each = |spent: f64| spent / count.max(1) as f64;
    steps.push(Step {
        what,
        count,
        seconds,
        rss: after.map(|usage| usage.resident),
        bytes_each: after.zip(before.1).map(|(after, before)| each(after.resident as f64 - before.resident as f64)),
        cpu_us_each: super::child::spent(before.1, after).map(|spent| each(spent * 1e6)),
    });
    (Instant::now(), after)
}

/// Waits until the update has come so often.
async fn updated(line: &mut Line, meter: &Meter, times: u64) -> Result<(), Failure> {
    let come = async {
        while meter.updates() < times {
            sleep(LOOK).await;
        }
    };
    tokio::select! {
        come = timeout(SEATING, come) => come.map_err(|_| Failure("the update did not come to everybody".into())),
        heard = line.listen() => heard,
    }
}

impl Report {
    fn print(&self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        let Self { viewers, streams, update, steps } = self;
        let published = if *update { "one update" } else { "nothing published" };
        writeln!(
            out,
            "{viewers} connections with a subscription each, then {streams} subscriptions more, {published}"
        )?;
        table::print(&mut out, COLUMNS, steps.iter().map(|step| (step.what, vec![step])))
    }
}
