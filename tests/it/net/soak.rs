//! A network that fails all the time, in every way, by chance; and nothing is lost in silence.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use starling_client::pb::swarm::v1::GapReason;
use tokio::time::{Instant, interval};

use crate::harness::Server;
use crate::net::fixture::{PacedPublisher, Reader, Seen, end, go_live, judged};
use crate::net::toxic::{Toxic, Way, Ways};

/// Networks that fail, each by itself.
const NETWORKS: u64 = 4;
/// Readers behind each.
const READERS: u64 = 4;
/// The one behind none.
const UNHARMED: u64 = 9;
/// The time between two faults.
const FAULTS: Duration = Duration::from_millis(100);
/// The time between two updates.
const INTERVAL: Duration = Duration::from_millis(10);
/// The size of an update: with [`INTERVAL`] 800 KB/s.
const SIZE: usize = 8_000;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Makes a network worse, or better; the name of what it did.
fn disturb(network: &Toxic, rng: &mut StdRng) -> &'static str {
    match rng.random_range(0..12) {
        0 => {
            network.reset();
            "reset"
        }
        1 => {
            network.close();
            "close"
        }
        2 => {
            network.swallow();
            "blackhole"
        }
        3 => {
            network.down(Way::stalled());
            "stall down"
        }
        4 => {
            network.turn(Ways { up: Way::stalled(), ..Ways::default() });
            "stall up"
        }
        5 => {
            network.down(Way::drip(rng.random_range(1..1_000)));
            "drip"
        }
        6 => {
            network.down(Way::drip(rng.random_range(100_000..2_000_000)));
            "narrow"
        }
        7 => {
            let late = |rng: &mut StdRng| Way::late(Duration::from_millis(rng.random_range(1..100)));
            network.turn(Ways { up: late(rng), down: late(rng) });
            "delay"
        }
        8 => {
            network.down(Way::limit(rng.random_range(1..2_000_000)));
            "limit"
        }
        _ => {
            network.turn(Ways::default());
            "heal"
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_networks_lose_nothing_in_silence() {
    let length = Duration::from_secs(variable("SOAK_SECONDS", 5));
    let seed = variable("SEED", 1);
    let mut rng = StdRng::seed_from_u64(seed);
    let server = Server::with(|config| {
        config.streams.stall_timeout = Duration::from_secs(1);
        let age = Duration::from_secs(20);
        (config.streams.max_age, config.server.max_connection_age) = (age, age);
        config.server.max_connection_age_grace = age;
        config.server.http2_keepalive_interval = Duration::from_secs(1);
        config.server.http2_keepalive_timeout = Duration::from_secs(2);
        // Two seconds of updates: long cuts lose some.
        config.feed.ring_bytes = 2 << 20;
    })
    .await;
    let client = server.client().await;
    go_live(&client, Duration::from_millis(500)).await;
    let publisher = PacedPublisher::start(server.client().await, SIZE, INTERVAL).await;
    let mut readers = vec![Reader::start(server.client().await, UNHARMED).await];
    let mut networks = Vec::new();
    for number in 0..NETWORKS {
        let network = Toxic::before(server.address()).await;
        for index in 0..READERS {
            readers.push(Reader::start(network.client().await, 10 + number * READERS + index).await);
        }
        networks.push(network);
    }

    let (began, mut ticks, mut faults) = (Instant::now(), interval(FAULTS), BTreeMap::<_, u64>::new());
    while began.elapsed() < length {
        ticks.tick().await;
        let network = &networks[rng.random_range(0..networks.len())];
        *faults.entry(disturb(network, &mut rng)).or_default() += 1;
    }
    for network in &networks {
        network.turn(Ways::default());
        // Whoever hangs in nothing would not know.
        network.reset();
    }
    let mut all = Seen::default();
    for reader in &mut readers {
        reader.catch_up_with(&publisher).await;
        let seen = *reader.seen.borrow();
        (all.cuts, all.resumes) = (all.cuts + seen.cuts, all.resumes + seen.resumes);
    }
    let log = publisher.finish().await;
    end(&server.client().await).await;
    let mut histories = Vec::new();
    for reader in readers {
        histories.push(reader.history().await);
    }
    let summary = judged(log, &histories);
    let gaps: Vec<String> = [GapReason::Lagging, GapReason::Evicted, GapReason::TermChanged]
        .map(|reason| format!("{} {}", summary.delivered.gaps(reason), reason.as_str_name()))
        .into();
    eprintln!(
        "{length:?}, seed {seed}: {} published, {} delivered to {} readers, {} cuts, {} resumes, {} gaps ({}), faults {faults:?}, no violation",
        summary.published,
        summary.delivered.updates,
        histories.len(),
        all.cuts,
        all.resumes,
        summary.delivered.all_gaps(),
        gaps.join(", "),
    );
    assert!(all.cuts > 0 && summary.delivered.updates > summary.published);
}
