//! The core by simulation: seeded random commands, and after each one everything
//! that must hold.
//!
//! `world` submits and looks, `livestream` and `group` make up what happens, `cast`
//! who does it; `oracle`, `model` and `leases` know the answers from the contract
//! alone; `invariants` reads who forwards to whom; `replay` does it all again.
//!
//! `SEED=7 STEPS=100000 SEEDS=10 cargo test --test sim from_the_environment` runs
//! more. A failure names its seed and step.

mod cast;
mod coverage;
mod group;
mod invariants;
mod leases;
mod livestream;
mod model;
mod oracle;
mod replay;
mod rng;
mod tree;
mod world;

use std::ops::Range;

use coverage::Coverage;
use livestream::Size;
use world::World;

fn livestreams(size: Size, seeds: Range<u64>, steps: usize) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in seeds {
        let mut world = World::new(&format!("{size:?} livestream"), seed);
        livestream::run(&mut world, size, steps);
        coverage.add(&world.coverage);
    }
    coverage
}

fn groups(max: u32, seeds: Range<u64>, steps: usize) -> Coverage {
    let mut coverage = Coverage::default();
    for seed in seeds {
        let mut world = World::new(&format!("group of {max}"), seed);
        group::run(&mut world, max, steps);
        coverage.add(&world.coverage);
    }
    coverage
}

#[test]
fn small_livestreams_hold() {
    let coverage = livestreams(Size::Small, 0..4, 10_000);
    println!("{coverage:#?}");
}

#[test]
fn livestreams_of_hundreds_hold() {
    livestreams(Size::Middle, 0..2, 10_000);
}

#[test]
fn livestreams_of_thousands_hold() {
    livestreams(Size::Large, 0..1, 20_000);
}

#[test]
fn groups_hold() {
    let mut c = groups(16, 0..3, 10_000);
    groups(1, 0..1, 10_000);
    groups(3, 0..1, 10_000);
    c.add(&groups(256, 0..1, 10_000));
    println!("{c:#?}");
}
