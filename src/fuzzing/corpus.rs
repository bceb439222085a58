//! The inputs that are kept, and others made of them: what the fuzz targets do without a fuzzer.
//!
//! `MUTATIONS` says how many inputs are made for each target, `SEED` from what.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

use starling_testkit::Rng;

use super::TARGETS;

/// Inputs that are made for each target, unless `MUTATIONS` says otherwise.
const MUTATIONS: u64 = 100;
/// The most bytes of one.
const BYTES_MAX: usize = 4_096;

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// Names of what is in a directory, without their extensions.
fn names(name: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(directory(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The inputs of a directory, which may be missing, by their paths and in order.
fn inputs(name: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory(name)) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect()
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// One input made of others: bytes are altered, taken out, doubled, or taken from another one.
fn mutated(rng: &mut Rng, inputs: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = inputs[rng.index(inputs.len())].1.clone();
    for _ in 0..=rng.below(4) {
        let at = rng.index(bytes.len() + 1);
        let to = (at + rng.index(20)).min(bytes.len());
        match rng.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            1 if at < bytes.len() => bytes[at] = rng.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
            2 => drop(bytes.drain(at..to)),
            3 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            4 => {
                let other = &inputs[rng.index(inputs.len())].1;
                let from = rng.index(other.len() + 1);
                let to = (from + rng.index(64)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
            _ => bytes.insert(at, rng.bits().to_le_bytes()[0]),
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

#[track_caller]
fn corpus_passes(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let kept = inputs(&format!("corpus/{name}"));
    assert!(!kept.is_empty(), "there is no corpus");
    for (file, input) in kept.iter().chain(&inputs(&format!("regressions/{name}"))) {
        assert!(catch_unwind(|| target(input)).is_ok(), "{file} fails, as said above");
    }
    let mut rng = Rng::new(variable("SEED", 1));
    for _ in 0..variable("MUTATIONS", MUTATIONS) {
        let input = mutated(&mut rng, &kept);
        assert!(catch_unwind(|| target(&input)).is_ok(), "an input fails, as said above: {}", input.escape_ascii());
    }
}

/// A test for each target, so that a report names it.
macro_rules! corpora {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            corpus_passes(stringify!($name));
        })*

        #[test]
        fn every_target_has_its_corpus() {
            let named: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(named, [$(stringify!($name)),*].map(str::to_owned).into());
            assert_eq!(named, names("fuzz_targets"));
            assert_eq!(named, names("corpus"));
            let regressions = directory("regressions");
            assert!(!regressions.exists() || names("regressions").is_subset(&named));
        }
    };
}

corpora!(
    annexb,
    audio,
    certificates,
    commands,
    configuration,
    deliveries,
    http2,
    keys,
    positions,
    requests,
    revocations,
    signatures,
    states,
    swarms,
    tokens,
);
