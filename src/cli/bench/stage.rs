//! One run on one system: the server, its viewers, the load, and what came of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::audience::{Interests, Pictures};
use super::child::{Server, Usage, usage};
use super::line::{Line, wire_size};
use super::meter::{Latency, Meter};
use super::viewer::{Crowd, Hall, Seat, subscription};
use crate::cli::{Failure, told};
use crate::client::Client;
use crate::pb::livestream::v1 as pb;
use crate::pb::swarm::v1::{Channel, ChannelInterest, Interest};

/// The broadcaster; viewers come after it.
const BROADCASTER: u64 = 1;
/// How long it may take until everybody is in.
const SEATING: Duration = Duration::from_secs(60);
/// Without any delivery for so long nothing more will come, unless something is sent.
const QUIET: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);
/// Bytes under way to one viewer in a burst: less than a socket holds, so that nobody is lapped.
const UNDER_WAY: usize = 256 * 1024;
/// An update that is sent later than this has missed the schedule.
const TOLERANCE: Duration = Duration::from_millis(10);
/// Joins at the same time.
const JOINS: usize = 64;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum System {
    Starling,
    Tonic,
    Raw,
}

/// The load of one run.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) viewers: u64,
    pub(super) connections: u64,
    /// Updates per second; `None` = a burst, as fast as the viewers take them.
    pub(super) rate: Option<u32>,
    /// Of a payload, in bytes.
    pub(super) size: usize,
    pub(super) interests: Interests,
    /// Viewers that never read; the first ones.
    pub(super) stalled: u64,
    pub(super) duration: Duration,
    /// Starling, when it is not started here.
    pub(super) url: Option<String>,
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

impl System {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Tonic => "tonic",
            Self::Raw => "raw",
        }
    }

    fn server(self) -> Result<Server, Failure> {
        Server::start(match self {
            Self::Starling => &["serve", "--listen", "127.0.0.1:0", "--log", "warn"],
            Self::Tonic => &["bench", "serve", "tonic"],
            Self::Raw => &["bench", "serve", "raw"],
        })
    }
}

/// A system with everybody in.
struct Scene {
    line: Line,
    crowd: Crowd,
    meter: Arc<Meter>,
    /// Where the livestream is ended afterwards.
    client: Option<(Client, u64)>,
    server: Option<Server>,
}

impl Load {
    /// A keyframe every two seconds, or every 60 updates of a burst.
    fn pictures(&self) -> Pictures {
        Pictures { keyframes: self.rate.map_or(60, |rate| u64::from(rate) * 2) }
    }

    /// Updates that a burst may be ahead of the slowest viewer.
    fn ahead(&self) -> u64 {
        (UNDER_WAY / self.size).clamp(8, 512) as u64
    }

    fn interest(&self, system: System, viewer: u64) -> Interest {
        // The baselines filter nothing.
        if system == System::Starling { self.interests.of(viewer) } else { Interest::High }
    }

    /// Runs it once.
    pub(super) async fn run(&self, system: System) -> Result<Outcome, Failure> {
        let mut scene = timeout(SEATING, self.set(system))
            .await
            .map_err(|_| Failure(format!("not every viewer got in within {} s", SEATING.as_secs())))??;
        let used = || (scene.server.as_ref().and_then(Server::usage), usage("self"));
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
        let used = || (scene.server.as_ref().and_then(Server::usage), usage("self"));
        let after = used();
        scene.crowd.check()?;
        let seconds = (ended - began).as_secs_f64();
        let delivered = meter.updates();
        let spent = |from: Option<Usage>, to: Option<Usage>| Some(to?.cpu.saturating_sub(from?.cpu).as_secs_f64());
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
    async fn set(&self, system: System) -> Result<Scene, Failure> {
        let external = self.url.clone().filter(|_| system == System::Starling);
        let server = if external.is_none() { Some(system.server()?) } else { None };
        let address = match (&external, &server) {
            (Some(url), _) => resolve(url).await?,
            (None, Some(server)) => server.address,
            (None, None) => unreachable!("a server that is not elsewhere was started"),
        };
        let paces = (0..self.viewers).map(|viewer| {
            let all = matches!(self.interest(system, viewer), Interest::High | Interest::Critical);
            all && viewer >= self.stalled
        });
        let meter = Arc::new(Meter::new(paces, self.ahead() / 4));
        // A look costs about as much as counting some ten deliveries.
        let every = if self.rate.is_some() { 8 } else { 32 };
        let size = wire_size(self.size);
        let hall = Hall::new(address, Arc::clone(&meter), every, (system == System::Raw).then_some(size));
        let url = external.unwrap_or_else(|| format!("http://{address}"));
        let livestream = Client::random_node();
        let (line, client, sessions) = match system {
            System::Starling => {
                let client = Client::connect(&url).await?;
                prepare(client.clone(), livestream).await?;
                let line = Line::grpc(client.clone(), livestream, BROADCASTER).await?;
                let sessions = self.join(&client, livestream).await?;
                (Some(line), Some((client, livestream)), sessions)
            }
            System::Tonic => {
                let line = Line::grpc(Client::connect(&url).await?, livestream, BROADCASTER).await?;
                (Some(line), None, Vec::new())
            }
            System::Raw => (None, None, Vec::new()),
        };
        let crowd = hall.fill(self.seats(livestream, &sessions)).await?;
        let line = match line {
            Some(line) => line,
            // Last: then it has accepted all others.
            None => Line::raw(address, size).await?,
        };
        Ok(Scene { line, crowd, meter, client, server })
    }

    /// Who sits where: viewer by viewer, over all connections in turn.
    fn seats(&self, livestream: u64, sessions: &[u64]) -> Vec<Vec<Seat>> {
        let mut connections = vec![Vec::new(); usize::try_from(self.connections).unwrap_or(1)];
        let count = connections.len();
        for (number, viewer) in (0..self.viewers).enumerate() {
            let session = sessions.get(number).copied().unwrap_or_default();
            let subscribe = subscription(livestream, node(viewer), session);
            connections[number % count].push(Seat { number, stalled: viewer < self.stalled, subscribe });
        }
        connections
    }

    /// Joins every viewer; answers with their sessions, in order.
    async fn join(&self, client: &Client, livestream_id: u64) -> Result<Vec<u64>, Failure> {
        let joins = (0..self.viewers).map(|viewer| {
            let mut client = client.clone();
            let interest = ChannelInterest {
                channel: Channel::Visual.into(),
                interest: self.interests.of(viewer).into(),
                ..Default::default()
            };
            let join = pb::JoinLivestreamRequest {
                livestream_id,
                node_id: node(viewer),
                interests: vec![interest],
                lease_ttl: Some(prost_types::Duration { seconds: 120, nanos: 0 }),
                ..Default::default()
            };
            async move {
                let joined = client.livestreams.join_livestream(join).await;
                joined.map(|joined| joined.into_inner().session_id).map_err(|status| told(&status))
            }
        });
        stream::iter(joins).buffered(JOINS).try_collect().await
    }

    /// Sends every update when it is due, whatever became of those before.
    async fn paced(&self, line: &mut Line, meter: &Meter, rate: u32) -> Result<(u64, Schedule), Failure> {
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
            line.send(number.into(), meter.clock.at(due), self.size, self.pictures()).await?;
            number += 1;
        }
        schedule.worst_ms = worst.as_secs_f64() * 1e3;
        Ok((number.into(), schedule))
    }

    /// Sends updates as fast as the slowest viewer that gets all of them reads.
    async fn burst(&self, line: &mut Line, meter: &Meter) -> Result<(u64, Schedule), Failure> {
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
                            line.send(number, meter.clock.now(), self.size, self.pictures()).await?;
                            number += 1;
                        }
                    }
                }
                continue;
            }
            line.room().await?;
            line.send(number, meter.clock.now(), self.size, self.pictures()).await?;
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
    async fn settle(&mut self, expected: u64) -> Result<Instant, Failure> {
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

    /// Ends the livestream when the server is not ours to end.
    async fn close(self) -> Result<(), Failure> {
        if let (Some((mut client, livestream_id)), None) = (self.client, &self.server) {
            drop(self.crowd);
            let end = pb::EndLivestreamRequest { livestream_id, node_id: BROADCASTER, ..Default::default() };
            client.livestreams.end_livestream(end).await.map_err(|status| told(&status))?;
        }
        Ok(())
    }
}

const fn node(viewer: u64) -> u64 {
    BROADCASTER + 1 + viewer
}

/// Makes a livestream whose viewers may get all that they can take, and puts it on air.
async fn prepare(mut client: Client, livestream_id: u64) -> Result<(), Failure> {
    let config = pb::LivestreamConfig { bandwidth_per_viewer: Some(1_000_000_000), ..Default::default() };
    let create =
        pb::CreateLivestreamRequest { livestream_id, node_id: BROADCASTER, config: Some(config), ..Default::default() };
    client.livestreams.create_livestream(create).await.map_err(|status| told(&status))?;
    let start = pb::StartLivestreamRequest { livestream_id, node_id: BROADCASTER, ..Default::default() };
    client.livestreams.start_livestream(start).await.map_err(|status| told(&status))?;
    Ok(())
}

/// The address in a URL such as `http://host:port`.
async fn resolve(url: &str) -> Result<SocketAddr, Failure> {
    let uri: http::Uri = url.parse()?;
    let (Some(host), Some("http") | None) = (uri.host(), uri.scheme_str()) else {
        return Err(Failure(format!("{url} is not like http://host:port")));
    };
    let mut found = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(50_051))).await?;
    found.next().ok_or_else(|| Failure(format!("{host} has no address")))
}
