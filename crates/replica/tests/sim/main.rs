//! Replicas by simulation: pods over one log in memory, with every fault that a network, a log, an object store and a
//! clock can have, from a seed; and after each event everything that must hold.
//!
//! `cluster` has the pods and carries what they say; `clients` wants something of them; `faults` makes things go wrong;
//! `checks` knows what must hold; `model` is what the log's entries are applied to. `contract` and `scenarios` show single
//! promises.
//!
//! `SEED=7 STEPS=5000 SEEDS=1000 cargo test --release -p starling-replica --test sim` runs more. A failure names its
//! seed and step.

mod checks;
mod clients;
mod cluster;
mod contract;
mod faults;
mod losses;
mod model;
mod scenarios;
mod state;
mod swarm_clients;
mod swarms;

use cluster::Cluster;
use faults::Profile;

/// Says which seed it was when a run panics where nobody knows.
struct SeedAtWork(u64);

impl Drop for SeedAtWork {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} has failed", self.0);
        }
    }
}

/// One run: some minutes with faults, then a quiet time, after which all pods are equal and nobody is left.
fn run(seed: u64, steps: u64) -> Cluster {
    let _at_work = SeedAtWork(seed);
    let mut cluster = Cluster::new(seed, Profile::drawn(seed));
    cluster.ticks_when_due = true;
    for _ in 0..steps {
        cluster.step();
    }
    cluster.calm_down();
    cluster.check_end();
    cluster
}

#[test]
fn seeds_keep_what_the_log_promises() {
    let mut seen = checks::Coverage::default();
    for seed in 0..24 {
        seen.add(&run(seed, 1_200).coverage);
    }
    seen.assert_all();
}

/// Nothing without SEED.
#[test]
fn seeds_from_the_environment_keep_the_promises() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let Some(first) = number("SEED") else { return };
    let (seeds, steps) = (number("SEEDS").unwrap_or(1), number("STEPS").unwrap_or(5_000));
    let mut seen = checks::Coverage::default();
    for seed in first..first + seeds {
        seen.add(&run(seed, steps).coverage);
    }
    eprintln!("{seeds} seeds of {steps} steps: {seen:?}");
}
