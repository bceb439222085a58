//! Randomized runs over real gRPC, each judged by the history checker: slow readers, cuts with
//! resume, some longer than the lease, late joiners, removals, changes of interest, small rings
//! and budgets; publish streams that end and begin again while viewers resume, ask for keyframes
//! and authority passes on; livestreams with transfers, pauses and mutes; groups with media and
//! screens going on and off, whose members come and go.
//!
//! SEED=n begins at another seed, SEEDS=n runs as many, UPDATES=n publishes about as many in each.

mod group;
mod livestream;
mod logged_publisher;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use starling::app::App;
use starling::config::{Config, Overrides};
use starling::shutdown::Shutdown;
use starling_client::{Client, SwarmRef};
use starling_testkit::Rng;
use starling_verify::{History, PublisherLog, Report, check};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use reader::Reader;

/// The livestream, or the group.
const SWARM: u64 = 7;
/// Those who only read.
const LISTENERS: [u64; 6] = [10, 11, 12, 13, 14, 15];
/// A lease that no run outlives.
const LONG_LEASE: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 300, nanos: 0 });

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The shortest lease that there is.
const SHORT_LEASE: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 1, nanos: 0 });

/// How far the publishers are; readers that rest wait on it. At the end beyond every number.
type Clock = Arc<watch::Sender<u64>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn livestream_updates_are_never_lost_in_silence() {
    judge(SwarmRef::Livestream(SWARM)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn group_updates_are_never_lost_in_silence() {
    judge(SwarmRef::Group(SWARM)).await;
}

async fn judge(swarm: SwarmRef) {
    let (first, seeds, updates) = (variable("SEED", 1), variable("SEEDS", 4), variable("UPDATES", 2_000));
    // Longer than anything takes; a run that hangs fails.
    let soon = Duration::from_secs(60) + Duration::from_millis(10) * u32::try_from(updates).unwrap();
    let (mut published, mut delivered, mut gaps) = (0, 0, 0);
    for seed in first..first + seeds {
        let (logs, histories) = timeout(soon, run(swarm, seed, updates)).await.expect("a run ends");
        let summary = verdict(seed, &logs, &histories);
        published += summary.published;
        delivered += summary.delivered.updates;
        gaps += summary.delivered.all_gaps();
    }
    eprintln!(
        "{swarm:?}, {seeds} runs: {published} updates published, {delivered} delivered, {gaps} gaps, no violation"
    );
    assert!(published > seeds * 100 && delivered > published);
}

fn verdict(seed: u64, logs: &[PublisherLog], histories: &[History]) -> Report {
    check(logs, histories).unwrap_or_else(|violations| {
        let told: Vec<_> = violations.iter().take(5).map(ToString::to_string).collect();
        panic!("seed {seed}: {} violations:\n{}", violations.len(), told.join("\n"))
    })
}

async fn run(swarm: SwarmRef, seed: u64, updates: u64) -> (Vec<PublisherLog>, Vec<History>) {
    let mut rng = Rng::new(seed);
    let overrides = Overrides { listen: Some(([127, 0, 0, 1], 0).into()), ..Overrides::default() };
    let mut config = Config::load(None, std::collections::HashMap::new(), overrides).unwrap();
    config.feed.ring_bytes = rng.pick(&[64 << 10, 256 << 10, 8 << 20]);
    config.feed.payload_bytes = 16 << 10;
    config.drain.spread = Duration::ZERO;
    config.admin.listen = None;
    let app = App::bind(config).await.unwrap();
    let (url, shutdown) = (format!("http://{}", app.address()), Shutdown::new());
    let mut server = JoinSet::new();
    server.spawn(app.run(shutdown.clone()));

    let mut client = Client::connect(&url).await.unwrap();
    let sources: &[u64] = match swarm {
        SwarmRef::Livestream(_) => {
            livestream::create(&mut client, &mut rng).await;
            &[]
        }
        SwarmRef::Group(_) => {
            group::create(&mut client, &mut rng).await;
            &group::SPEAKERS
        }
    };
    let clock = Clock::new(watch::Sender::new(0));
    let mut readers = JoinSet::new();
    for node in LISTENERS.iter().chain(sources).copied() {
        let reader = Reader {
            url: url.clone(),
            swarm,
            node,
            sources: sources.to_vec(),
            joins: LISTENERS.contains(&node),
            rng: Rng::new(seed ^ node << 32),
            clock: Arc::clone(&clock),
        };
        readers.spawn(reader.read());
    }
    let logs = match swarm {
        SwarmRef::Livestream(_) => livestream::drive(client, &mut rng, updates, &clock).await,
        SwarmRef::Group(_) => group::drive(client, &mut rng, updates, &clock).await,
    };
    clock.send_replace(u64::MAX);
    let histories = readers.join_all().await;
    shutdown.begin();
    server.join_all().await;
    (logs, histories)
}
