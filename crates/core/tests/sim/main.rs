//! The core by simulation: seeded random commands, and after each one everything
//! that must hold.
//!
//! `world` submits and looks, `livestream` and `group` make up what happens, `actors`
//! who does it; `oracle`, `model`, `tree_slots`, `ownership`, `leases`, `homes` and `bans` know the answers from the contract
//! alone; `invariants` reads who forwards to whom; `replay` does it all again, and `twin` with what was read from bytes.
//!
//! `SEED=7 STEPS=100000 SEEDS=10 cargo test -p starling-core --test sim` runs more. A failure names its seed and step.

mod actors;
mod bans;
mod coverage;
mod group;
mod homes;
mod invariants;
mod leases;
mod livestream;
mod model;
mod oracle;
mod ownership;
mod replay;
mod tree;
mod tree_slots;
mod twin;
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
fn small_livestreams_keep_the_contract() {
    let coverage = livestreams(Size::Small, 0..4, 10_000);
    coverage.assert_saw(
        "Acquire AddModerator Attach Ban BanChanged Banned Chat Claim CreateLivestream CreateSignedLivestream Detach End Expire Forget Join Leave Mute \
         Pause PodGone Remove RemoveModerator ReportPeer Resume SetInterest Start Touch Transfer TransferSigned Unban Unmute UpdateMember \
         UpdateSwarm BroadcasterCannotView Ended Exists Full KeyNotExpected KeyRequired NoSuchMember NoSuchSwarm NotAMember \
         NotActiveViewer NotBroadcaster NotModerator RequestReused SessionReplaced TargetIsBroadcaster \
         WrongState AuthorityGranted BroadcasterJoined BroadcasterLost InterestChanged Joined \
         Left LivestreamUpdated LurkerCannotRelay MemberUpdated ModeratorChanged MuteChanged PlacementChanged StateChanged \
         TopologySwitched Transferred",
    );
}

#[test]
fn livestreams_of_hundreds_keep_the_contract() {
    let coverage = livestreams(Size::Middle, 0..3, 10_000);
    assert!(coverage.peak >= 250, "it grew to {}", coverage.peak);
}

#[test]
fn livestreams_of_thousands_keep_the_contract() {
    let coverage = livestreams(Size::Large, 3..4, 14_000);
    assert!(coverage.peak >= 4_000, "it grew to {}", coverage.peak);
}

#[test]
fn mass_timeout_is_applied_in_portions() {
    let mut world = World::new("mass timeout", 0);
    livestream::mass_timeout(&mut world, 2_500);
    assert!(world.coverage.accepted["Expire"] >= 3, "no single Expire holds its shard for long");
    world.check_replay();
}

#[test]
fn groups_keep_the_contract() {
    let mut coverage = groups(16, 0..3, 10_000);
    coverage.add(&groups(1, 3..4, 10_000));
    coverage.add(&groups(3, 4..5, 10_000));
    coverage.assert_saw(
        "Attach Ban BanChanged Banned TargetIsOwner Unban Claim CreateGroup Detach End Expire Forget Join Leave PodGone Remove ReportPeer SetInterest \
         SetMedia StartShare StopShare Touch UpdateMember UpdateSwarm ChannelDisabled Ended Exists Full \
         NoSuchMember NoSuchSwarm NotAMember NotOwner OnlyListens RequestReused ScreenShareHeld SessionReplaced \
         AuthorityGranted GroupEnded InterestChanged Joined Left MediaChanged MemberUpdated \
         GroupUpdated OwnerChanged ShareStarted ShareStopped",
    );
}

#[test]
fn largest_groups_keep_the_contract() {
    let coverage = groups(256, 0..1, 10_000);
    assert!(coverage.peak >= 100, "it grew to {}", coverage.peak);
}

/// Nothing without SEED. Each seed runs one swarm of each size and kind.
#[test]
fn seeds_from_the_environment_keep_the_contract() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u32>().expect("a number"));
    let Some(first) = number("SEED") else { return };
    let steps = number("STEPS").unwrap_or(10_000) as usize;
    for number in first..first + number("SEEDS").unwrap_or(1) {
        let seed = u64::from(number);
        let seeds = seed..seed + 1;
        for size in [Size::Small, Size::Middle, Size::Large] {
            livestreams(size, seeds.clone(), steps);
        }
        for max in [1 + number % 7, 16, 256] {
            groups(max, seeds.clone(), steps);
        }
    }
}
