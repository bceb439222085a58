//! Randomized runs over real gRPC, each judged by the history checker: slow readers, cuts with
//! resume, late joiners, changes of interest, transfers, pauses, mutes, small rings and budgets.
//!
//! SEED=n begins at another seed, SEEDS=n runs as many, UPDATES=n publishes about as many in each.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails, and says where")]

mod livestream;
mod reader;

use std::sync::Arc;
use std::time::Duration;

use starling::app::App;
use starling::client::Client;
use starling::config::{Config, Overrides};
use starling::history::check;
use starling::pb::livestream::v1 as pb;
use starling::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

const LIVESTREAM: u64 = 7;
/// Longer than anything takes; a run that hangs fails.
const SOON: Duration = Duration::from_secs(120);

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Numbers that follow from a seed (splitmix64).
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// How far the publishers are; readers that rest wait on it.
type Clock = Arc<watch::Sender<u64>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_in_silence_whatever_happens() {
    let (first, seeds) = (variable("SEED", 1), variable("SEEDS", 4));
    let (mut published, mut delivered, mut gaps) = (0, 0, 0);
    for seed in first..first + seeds {
        let summary = timeout(SOON, run(seed, variable("UPDATES", 2_000))).await.expect("a run ends");
        published += summary.published;
        delivered += summary.delivered.updates;
        gaps += summary.delivered.all_gaps();
    }
    eprintln!("{seeds} runs: {published} updates published, {delivered} delivered, {gaps} gaps, no violation");
    assert!(published > seeds * 100 && delivered > published);
}

async fn run(seed: u64, updates: u64) -> starling::history::Summary {
    let mut rng = Rng(seed);
    let overrides = Overrides { listen: Some(([127, 0, 0, 1], 0).into()), ..Overrides::default() };
    let mut config = Config::load(None, std::collections::HashMap::new(), overrides).unwrap();
    config.feed.ring_bytes = [64 << 10, 256 << 10, 8 << 20][usize::try_from(rng.below(3)).unwrap()];
    config.feed.payload_bytes = 16 << 10;
    config.drain.spread = Duration::ZERO;
    let app = App::bind(config).await.unwrap();
    let (url, shutdown) = (format!("http://{}", app.address()), Shutdown::new());
    let mut server = JoinSet::new();
    server.spawn(app.run(shutdown.clone()));

    let mut client = Client::connect(&url).await.unwrap();
    let livestream = pb::LivestreamConfig {
        bandwidth_per_viewer: Some(if rng.one_in(2) { 1_000_000_000 } else { 40_000 }),
        max_lag: rng.one_in(2).then_some(prost_types::Duration { seconds: 0, nanos: 100_000_000 }),
        ..Default::default()
    };
    let create = pb::CreateLivestreamRequest {
        livestream_id: LIVESTREAM,
        node_id: 1,
        config: Some(livestream),
        ..Default::default()
    };
    client.livestreams.create_livestream(create).await.unwrap();
    let clock = Clock::new(watch::Sender::new(0));
    let mut readers = JoinSet::new();
    for node in 10..16 {
        readers.spawn(reader::read(url.clone(), node, Rng(seed ^ node << 32), Arc::clone(&clock)));
    }
    let logs = livestream::direct(&url, &mut rng, updates, &clock).await;
    let histories = readers.join_all().await;
    shutdown.begin();
    server.join_all().await.into_iter().for_each(|served| served.unwrap());
    check(&logs, &histories).unwrap_or_else(|violations| {
        let told: Vec<_> = violations.iter().take(5).map(ToString::to_string).collect();
        panic!("seed {seed}: {} violations:\n{}", violations.len(), told.join("\n"))
    })
}
