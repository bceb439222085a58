//! One run on one system: the server, its viewers, the load, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::audience::{Interests, Pictures};
use super::child::{Server, Usage, spent, usage};
use super::latencies::Latency;
use super::line::{Line, wire_size};
use super::meter::Meter;
use super::nats::Nats;
use super::system::System;
use super::venue::{BROADCASTER, Venue, node};
use super::viewer::{Behaviour, Crowd, Hall, Protocol, Seat, subscription};
use crate::cli::CliError;
use crate::client::Client;
use crate::pb::swarm::v1::Interest;

/// How long it may take until everybody is in.
pub(super) const SEATING: Duration = Duration::from_secs(60);
/// Without any delivery for so long nothing more will come, unless something is sent.
const QUIET: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);
/// Bytes under way to one viewer in a burst: less than a socket holds, so that nobody is lapped.
const UNDER_WAY: usize = 256 * 1024;
/// An update that is sent later than this has missed the schedule.
const TOLERANCE: Duration = Duration::from_millis(10);

/// The load of one run.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) viewers: u64,
    pub(super) connections: u64,
    /// Updates per second; `None` = a burst, as fast as the viewers take them.
    pub(super) rate: Option<u32>,
    /// Of a payload, in bytes.
    pub(super) size: usize,
    /// The same of a keyframe.
    pub(super) keyframe_size: usize,
    /// Bytes per second that a viewer may be sent.
    pub(super) budget: u64,
    pub(super) interests: Interests,
    /// Of viewers who speak gRPC.
    pub(super) behaviour: Behaviour,
    /// Viewers that never read; the first ones.
    pub(super) stalled: u64,
    pub(super) duration: Duration,
    /// Starling, when it is not started here.
    pub(super) url: Option<String>,
    /// The NATS server to compare with.
    pub(super) nats: Option<Nats>,
}

/// What came of one run.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Outcome {
    pub(super) system: System,
    /// Updates.
    pub(super) published: u64,
    /// From the first update until the last delivery, in seconds.
    pub(super) seconds: f64,
    /// Deliveries that the viewers who read were to get, and got.
    pub(super) expected: u64,
    pub(super) delivered: u64,
    pub(super) lost: u64,
    /// Gaps that were told.
    pub(super) gaps: u64,
    /// Streams that ended.
    pub(super) cut: usize,
    pub(super) deliveries_per_second: f64,
    /// The server's processor time, user and system, in microseconds per delivery.
    pub(super) server_cpu_us_per_delivery: Option<f64>,
    /// Cores that were busy, on average.
    pub(super) server_cores: Option<f64>,
    pub(super) generator_cores: Option<f64>,
    pub(super) latency_ms: Latency,
    /// The server's memory with all viewers in, before the load, and the most it had, in bytes.
    pub(super) rss_idle: Option<u64>,
    pub(super) rss_peak: Option<u64>,
    pub(super) schedule: Schedule,
}

/// How the publisher kept its schedule.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Schedule {
    /// Updates sent more than 10 ms after they were due.
    pub(super) late: u64,
    /// The worst delay, in milliseconds.
    pub(super) worst_ms: f64,
    /// Times that a burst waited in vain for a viewer that had lost something.
    pub(super) gave_up: u64,
}

/// A system with everybody in.
struct Scene {
    line: Line,
    crowd: Crowd,
    meter: Arc<Meter>,
    host: Host,
}

/// Where the load goes.
enum Host {
    Venue(Box<Venue>),
    Baseline(Server),
    /// Not ours to start; its process, when it is on this machine.
    Elsewhere(Option<u32>),
}

impl Host {
    fn usage(&self) -> Option<Usage> {
        match self {
            Self::Venue(venue) => venue.usage(),
            Self::Baseline(server) => server.usage(),
            Self::Elsewhere(process) => usage(&(*process)?.to_string()),
        }
    }
}

impl Load {
    /// A keyframe every two seconds, or every 60 updates of a burst.
    fn pictures(&self) -> Pictures {
        Pictures { keyframes: self.rate.map_or(60, |rate| u64::from(rate) * 2) }
    }

    /// Updates that a burst may be ahead of the slowest viewer.
    fn ahead(&self) -> u64 {
        (UNDER_WAY / self.size.max(self.keyframe_size)).clamp(8, 512) as u64
    }

    fn interest(&self, system: System, viewer: u64) -> Interest {
        // The baselines filter nothing.
        if system == System::Starling { self.interests.of(viewer) } else { Interest::High }
    }

    /// Runs it once.
    pub(super) async fn run(&self, system: System) -> Result<Outcome, CliError> {
        let mut scene = timeout(SEATING, self.set(system))
            .await
            .map_err(|_| CliError(format!("not every viewer got in within {} s", SEATING.as_secs())))??;
        let used = || (scene.host.usage(), usage("self"));
        let before = used();
        let began = Instant::now();
        let meter = Arc::clone(&scene.meter);
        let (published, schedule) = match self.rate {
            Some(rate) => self.paced(&mut scene.line, &meter, rate).await?,
            None => self.burst(&mut scene.line, &meter).await?,
        };
        let expected = (self.stalled..self.viewers)
            .map(|viewer| self.interest(system, viewer))
            .fold(Expected::new(self.pictures(), published), Expected::and)
            .sum;
        let ended = scene.settle(expected).await?;
        let used = || (scene.host.usage(), usage("self"));
        let after = used();
        scene.crowd.check()?;
        let seconds = (ended - began).as_secs_f64();
        let delivered = meter.updates();
        let server = spent(before.0, after.0);
        let outcome = Outcome {
            system,
            published,
            seconds,
            expected,
            delivered,
            lost: expected.saturating_sub(delivered),
            gaps: meter.gaps(),
            cut: meter.cuts(),
            deliveries_per_second: delivered as f64 / seconds,
            server_cpu_us_per_delivery: server.map(|spent| spent * 1e6 / delivered.max(1) as f64),
            server_cores: server.map(|spent| spent / seconds),
            generator_cores: spent(before.1, after.1).map(|spent| spent / seconds),
            latency_ms: meter.latency(),
            rss_idle: before.0.map(|usage| usage.resident),
            rss_peak: after.0.map(|usage| usage.peak),
            schedule,
        };
        scene.close().await?;
        Ok(outcome)
    }

    /// Starts the server and brings everybody in.
    async fn set(&self, system: System) -> Result<Scene, CliError> {
        let paces = (0..self.viewers).map(|viewer| {
            let all = matches!(self.interest(system, viewer), Interest::High | Interest::Critical);
            all && viewer >= self.stalled
        });
        let meter = Arc::new(Meter::new(paces, self.ahead() / 4));
        // A look costs about as much as counting some ten deliveries.
        let every = if self.rate.is_some() { 8 } else { 32 };
        let size = wire_size(self.size);
        let hall = |address, protocol| Hall::new(address, Arc::clone(&meter), every, protocol);
        let livestream = Client::random_node();
        let (host, line, crowd) = match system {
            System::Starling => {
                let venue = Venue::open(self.url.as_deref(), self.budget).await?;
                let line = Line::grpc(venue.client.clone(), venue.livestream, BROADCASTER).await?;
                let sessions = venue.join(0..self.viewers, |viewer| self.interests.of(viewer)).await?;
                let seats = self.seats(venue.livestream, &sessions);
                let crowd =
                    hall(venue.address, Protocol::Grpc { greets: true, behaviour: self.behaviour }).fill(seats).await?;
                (Host::Venue(Box::new(venue)), line, crowd)
            }
            System::Tonic => {
                let server = system.start()?;
                let client = Client::connect(&format!("http://{}", server.address)).await?;
                let line = Line::grpc(client, livestream, BROADCASTER).await?;
                let protocol = Protocol::Grpc { greets: false, behaviour: self.behaviour };
                let crowd = hall(server.address, protocol).fill(self.seats(livestream, &[])).await?;
                (Host::Baseline(server), line, crowd)
            }
            System::Raw => {
                let server = system.start()?;
                let crowd = hall(server.address, Protocol::Raw(size)).fill(self.seats(livestream, &[])).await?;
                // Last: then it has accepted all others.
                let line = Line::raw(server.address, size).await?;
                (Host::Baseline(server), line, crowd)
            }
            System::Nats => {
                let nats = self.nats.as_ref().ok_or_else(|| CliError("no NATS server is named".into()))?;
                let address = nats.resolve().await?;
                let subject: Arc<str> = format!("starling.bench.{livestream}").into();
                let protocol = Protocol::Nats(Arc::clone(&subject));
                let crowd = hall(address, protocol).fill(self.seats(livestream, &[])).await?;
                let line = Line::nats(address, &subject).await?;
                (Host::Elsewhere(nats.pid), line, crowd)
            }
        };
        Ok(Scene { line, crowd, meter, host })
    }

    /// Who sits where: viewer by viewer, over all connections in turn.
    fn seats(&self, livestream: u64, sessions: &[u64]) -> Vec<Vec<Seat>> {
        let mut connections = vec![Vec::new(); usize::try_from(self.connections).unwrap_or(1)];
        let count = connections.len();
        for (number, viewer) in (0..self.viewers).enumerate() {
            let session = sessions.get(number).copied().unwrap_or_default();
            let subscribe = subscription(livestream, node(viewer), session);
            connections[number % count].push(Seat { number, stalled: viewer < self.stalled, later: false, subscribe });
        }
        connections
    }

    async fn send(&self, line: &mut Line, number: u64, nanos: u64) -> Result<(), CliError> {
        let pictures = self.pictures();
        let (keyframe, _) = pictures.kind(number);
        line.send(number, nanos, if keyframe { self.keyframe_size } else { self.size }, pictures).await
    }

    /// Sends every update when it is due, whatever became of those before.
    async fn paced(&self, line: &mut Line, meter: &Meter, rate: u32) -> Result<(u64, Schedule), CliError> {
        let (began, mut schedule, mut worst) = (Instant::now(), Schedule::default(), Duration::ZERO);
        let mut number = 0_u32;
        loop {
            let after = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
            if after >= self.duration {
                break;
            }
            let due = began + after;
            tokio::select! {
                biased;
                () = sleep_until(due) => {}
                heard = line.listen() => heard?,
            }
            line.room().await?;
            let late = due.elapsed();
            worst = worst.max(late);
            schedule.late += u64::from(late > TOLERANCE);
            self.send(line, number.into(), meter.clock.at(due)).await?;
            number += 1;
        }
        schedule.worst_ms = worst.as_secs_f64() * 1e3;
        Ok((number.into(), schedule))
    }

    /// Sends updates as fast as the slowest viewer that gets all of them reads.
    async fn burst(&self, line: &mut Line, meter: &Meter) -> Result<(u64, Schedule), CliError> {
        let (end, mut schedule) = (Instant::now() + self.duration, Schedule::default());
        let (mut number, mut seen, ahead) = (0, 0, self.ahead());
        while Instant::now() < end {
            if meter.gate.had().is_some_and(|had| number >= had + ahead) {
                tokio::select! {
                    () = meter.gate.moved.notified() => {}
                    heard = line.listen() => heard?,
                    () = sleep(QUIET) => {
                        // Slow is not lost.
                        let before = std::mem::replace(&mut seen, meter.updates());
                        if seen == before {
                            schedule.gave_up += 1;
                            line.room().await?;
                            self.send(line, number, meter.clock.now()).await?;
                            number += 1;
                        }
                    }
                }
                continue;
            }
            line.room().await?;
            self.send(line, number, meter.clock.now()).await?;
            number += 1;
        }
        Ok((number, schedule))
    }
}

/// Deliveries that a run should bring; each interest is worked out once.
struct Expected {
    pictures: Pictures,
    published: u64,
    known: Vec<(Interest, u64)>,
    sum: u64,
}

impl Expected {
    const fn new(pictures: Pictures, published: u64) -> Self {
        Self { pictures, published, known: Vec::new(), sum: 0 }
    }

    fn and(mut self, interest: Interest) -> Self {
        let known = self.known.iter().find(|(known, _)| *known == interest).map(|(_, share)| *share);
        let share = known.unwrap_or_else(|| {
            let share = self.pictures.share(interest, self.published);
            self.known.push((interest, share));
            share
        });
        self.sum += share;
        self
    }
}

impl Scene {
    /// Waits until everything has come, or nothing more does; answers with when the last came.
    async fn settle(&mut self, expected: u64) -> Result<Instant, CliError> {
        let (meter, line) = (&self.meter, &mut self.line);
        let quiet = async {
            let (mut before, mut last) = (meter.updates(), Instant::now());
            while before < expected && last.elapsed() < QUIET {
                sleep(LOOK).await;
                let now = meter.updates();
                if now > before {
                    (before, last) = (now, Instant::now());
                }
            }
            last
        };
        tokio::select! {
            last = quiet => Ok(last),
            heard = line.listen() => {
                heard?;
                Ok(Instant::now())
            }
        }
    }

    async fn close(self) -> Result<(), CliError> {
        drop(self.crowd);
        match self.host {
            Host::Venue(venue) => venue.close().await,
            Host::Baseline(_) | Host::Elsewhere(_) => Ok(()),
        }
    }
}
