//! One run on one system: the server, its viewers, the load, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::access::Access;
use super::child::{Server, Usage, spent, usage};
use super::interests::{Interests, Pictures};
use super::latencies::Latency;
use super::livestream::{BROADCASTER, TestLivestream, node};
use super::meter::Meter;
use super::nats::Nats;
use super::publisher::{PublisherConnection, wire_size};
use super::system::System;
use super::viewer::{Behaviour, Protocol, ViewerConfig, ViewerContext, subscription};
use super::viewer_pool::ViewerPool;
use crate::error::BenchError;
use starling_client::Client;
use starling_client::pb::swarm::v1::Interest;

/// How long it may take until everybody is in.
pub(crate) const SETUP_TIMEOUT: Duration = Duration::from_secs(60);
/// Without any delivery for so long nothing more will come, unless something is sent.
const QUIET: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(5);
/// Bytes under way to one viewer in a burst: less than a socket holds, so that nobody is lapped.
const UNDER_WAY: usize = 256 * 1024;
/// An update that is sent later than this has missed the schedule.
const TOLERANCE: Duration = Duration::from_millis(10);

/// The load of one run.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) viewers: u64,
    pub(crate) connections: u64,
    /// Updates per second; `None` = a burst, as fast as the viewers take them.
    pub(crate) rate: Option<u32>,
    /// Of a payload, in bytes.
    pub(crate) size: usize,
    /// The same of a keyframe.
    pub(crate) keyframe_size: usize,
    /// Bytes per second that a viewer may be sent.
    pub(crate) budget: u64,
    pub(crate) interests: Interests,
    /// Of viewers who speak gRPC.
    pub(crate) behaviour: Behaviour,
    /// Viewers that never read; the first ones.
    pub(crate) stalled: u64,
    pub(crate) duration: Duration,
    /// What is switched on, of Starling and of plain tonic.
    pub(crate) access: Access,
    /// Starling, when it is not started here.
    pub(crate) url: Option<String>,
    /// The NATS server to compare with.
    pub(crate) nats: Option<Nats>,
}

/// What came of one run.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Outcome {
    pub(crate) system: System,
    /// Updates.
    pub(crate) published: u64,
    /// From the first update until the last delivery, in seconds.
    pub(crate) seconds: f64,
    /// Deliveries that the viewers who read were to get, and got.
    pub(crate) expected: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    /// Gaps that were told.
    pub(crate) gaps: u64,
    /// Streams that ended.
    pub(crate) cut: usize,
    pub(crate) deliveries_per_second: f64,
    /// The server's processor time, user and system, in microseconds per delivery.
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    /// Cores that were busy, on average.
    pub(crate) server_cores: Option<f64>,
    pub(crate) generator_cores: Option<f64>,
    pub(crate) latency_ms: Latency,
    /// The server's memory with all viewers in, before the load, and the most it had, in bytes.
    pub(crate) rss_idle: Option<u64>,
    pub(crate) rss_peak: Option<u64>,
    pub(crate) schedule: Schedule,
}

/// How the publisher kept its schedule.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Schedule {
    /// Updates sent more than 10 ms after they were due.
    pub(crate) late: u64,
    /// The worst delay, in milliseconds.
    pub(crate) worst_ms: f64,
    /// Times that a burst waited in vain for a viewer that had lost something.
    pub(crate) gave_up: u64,
}

/// A system with everybody in.
struct RunningLoad {
    publisher: PublisherConnection,
    pool: ViewerPool,
    meter: Arc<Meter>,
    target: LoadTarget,
}

/// Where the load goes.
enum LoadTarget {
    TestLivestream(Box<TestLivestream>),
    Baseline(Server),
    /// Not ours to start; its process, when it is on this machine.
    Elsewhere(Option<u32>),
}

impl LoadTarget {
    fn usage(&self) -> Option<Usage> {
        match self {
            Self::TestLivestream(livestream) => livestream.usage(),
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
    pub(crate) async fn run(&self, system: System) -> Result<Outcome, BenchError> {
        let mut running = timeout(SETUP_TIMEOUT, self.set(system))
            .await
            .map_err(|_| BenchError(format!("not every viewer got in within {} s", SETUP_TIMEOUT.as_secs())))??;
        let used = || (running.target.usage(), usage("self"));
        let before = used();
        let began = Instant::now();
        let meter = Arc::clone(&running.meter);
        let (published, schedule) = match self.rate {
            Some(rate) => self.paced(&mut running.publisher, &meter, rate).await?,
            None => self.burst(&mut running.publisher, &meter).await?,
        };
        let expected = (self.stalled..self.viewers)
            .map(|viewer| self.interest(system, viewer))
            .fold(Expected::new(self.pictures(), published), Expected::and)
            .sum;
        let ended = running.settle(expected).await?;
        let used = || (running.target.usage(), usage("self"));
        let after = used();
        running.pool.check()?;
        if let LoadTarget::TestLivestream(livestream) = &mut running.target {
            livestream.check()?;
        }
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
        running.close().await?;
        Ok(outcome)
    }

    /// Starts the server and brings everybody in.
    async fn set(&self, system: System) -> Result<RunningLoad, BenchError> {
        let paces = (0..self.viewers).map(|viewer| {
            let all = matches!(self.interest(system, viewer), Interest::High | Interest::Critical);
            all && viewer >= self.stalled
        });
        let meter = Arc::new(Meter::new(paces, self.ahead() / 4));
        // A look costs about as much as counting some ten deliveries.
        let every = if self.rate.is_some() { 8 } else { 32 };
        let size = wire_size(self.size);
        let context =
            |address, protocol| ViewerContext::new(address, Arc::clone(&meter), every, protocol, self.access.clone());
        let livestream = Client::random_node();
        let (target, publisher, pool) = match system {
            System::Starling => {
                let livestream = TestLivestream::open(self.url.as_deref(), self.budget, &self.access).await?;
                let publisher = PublisherConnection::of(&livestream).await?;
                let sessions = livestream.join(0..self.viewers, |viewer| self.interests.of(viewer)).await?;
                let configs = self.configs(livestream.livestream, &sessions)?;
                let protocol = Protocol::Grpc { greets: true, behaviour: self.behaviour };
                let pool = ViewerPool::open(context(livestream.address, protocol), configs).await?;
                (LoadTarget::TestLivestream(Box::new(livestream)), publisher, pool)
            }
            System::Tonic => {
                let server = system.start(&self.access)?;
                let client = self.access.client(&self.access.url(server.address)).await?;
                let publisher = PublisherConnection::grpc(client, livestream, BROADCASTER, None).await?;
                let protocol = Protocol::Grpc { greets: false, behaviour: self.behaviour };
                let pool = ViewerPool::open(context(server.address, protocol), self.configs(livestream, &[])?).await?;
                (LoadTarget::Baseline(server), publisher, pool)
            }
            System::Raw => {
                let server = system.start(&Access::default())?;
                let pool =
                    ViewerPool::open(context(server.address, Protocol::Raw(size)), self.configs(livestream, &[])?)
                        .await?;
                // Last: then it has accepted all others.
                let publisher = PublisherConnection::raw(server.address, size).await?;
                (LoadTarget::Baseline(server), publisher, pool)
            }
            System::Nats => {
                let nats = self.nats.as_ref().ok_or_else(|| BenchError("no NATS server is named".into()))?;
                let address = nats.resolve().await?;
                let subject: Arc<str> = format!("starling.bench.{livestream}").into();
                let protocol = Protocol::Nats(Arc::clone(&subject));
                let pool = ViewerPool::open(context(address, protocol), self.configs(livestream, &[])?).await?;
                let publisher = PublisherConnection::nats(address, &subject).await?;
                (LoadTarget::Elsewhere(nats.pid), publisher, pool)
            }
        };
        Ok(RunningLoad { publisher, pool, meter, target })
    }

    /// Who sits where: viewer by viewer, over all connections in turn.
    fn configs(&self, livestream: u64, sessions: &[u64]) -> Result<Vec<Vec<ViewerConfig>>, BenchError> {
        let mut connections = vec![Vec::new(); usize::try_from(self.connections).unwrap_or(1)];
        let count = connections.len();
        for (number, viewer) in (0..self.viewers).enumerate() {
            let session = sessions.get(number).copied().unwrap_or_default();
            let subscribe = subscription(livestream, node(viewer), session);
            connections[number % count].push(ViewerConfig {
                number,
                stalled: viewer < self.stalled,
                late: false,
                subscribe,
                authorization: self.access.authorization(node(viewer))?,
            });
        }
        Ok(connections)
    }

    async fn send(&self, publisher: &mut PublisherConnection, number: u64, nanos: u64) -> Result<(), BenchError> {
        let pictures = self.pictures();
        let (keyframe, _) = pictures.kind(number);
        publisher.send(number, nanos, if keyframe { self.keyframe_size } else { self.size }, pictures).await
    }

    /// Sends every update when it is due, whatever became of those before.
    async fn paced(
        &self,
        publisher: &mut PublisherConnection,
        meter: &Meter,
        rate: u32,
    ) -> Result<(u64, Schedule), BenchError> {
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
                heard = publisher.listen() => heard?,
            }
            publisher.room().await?;
            let late = due.elapsed();
            worst = worst.max(late);
            schedule.late += u64::from(late > TOLERANCE);
            self.send(publisher, number.into(), meter.clock.at(due)).await?;
            number += 1;
        }
        schedule.worst_ms = worst.as_secs_f64() * 1e3;
        Ok((number.into(), schedule))
    }

    /// Sends updates as fast as the slowest viewer that gets all of them reads.
    async fn burst(&self, publisher: &mut PublisherConnection, meter: &Meter) -> Result<(u64, Schedule), BenchError> {
        let (end, mut schedule) = (Instant::now() + self.duration, Schedule::default());
        let (mut number, mut seen, ahead) = (0, 0, self.ahead());
        while Instant::now() < end {
            if meter.window.had().is_some_and(|had| number >= had + ahead) {
                tokio::select! {
                    () = meter.window.moved.notified() => {}
                    heard = publisher.listen() => heard?,
                    () = sleep(QUIET) => {
                        // Slow is not lost.
                        let before = std::mem::replace(&mut seen, meter.updates());
                        if seen == before {
                            schedule.gave_up += 1;
                            publisher.room().await?;
                            self.send(publisher, number, meter.clock.now()).await?;
                            number += 1;
                        }
                    }
                }
                continue;
            }
            publisher.room().await?;
            self.send(publisher, number, meter.clock.now()).await?;
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

impl RunningLoad {
    /// Waits until everything has come, or nothing more does; answers with when the last came.
    async fn settle(&mut self, expected: u64) -> Result<Instant, BenchError> {
        let (meter, publisher) = (&self.meter, &mut self.publisher);
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
            heard = publisher.listen() => {
                heard?;
                Ok(Instant::now())
            }
        }
    }

    async fn close(self) -> Result<(), BenchError> {
        drop(self.pool);
        match self.target {
            LoadTarget::TestLivestream(livestream) => livestream.close().await,
            LoadTarget::Baseline(_) | LoadTarget::Elsewhere(_) => Ok(()),
        }
    }
}
