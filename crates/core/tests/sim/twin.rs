//! Twins: swarms that were read from the bytes of the one under test, and are given what it is given from then on.
//!
//! One is made anew every so many commands, and the first one of a run stays to its end.

use starling_core::hash::FixedHasher;
use starling_core::wire::state::{self, StateDecoder, StateEncoder, StateVersion, encode};
use starling_core::{Applied, Command, Rejection, Swarm, apply};
use starling_testkit::Rng;

use crate::replay::{Slot, digest, through};

/// The first twin of a run, and the newest one.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    first: Option<Slot>,
    newest: Option<Slot>,
    /// How many were made.
    pub(crate) made: u64,
}

impl Twins {
    /// Makes one. `step` decides how the bytes are cut.
    pub(crate) fn make(&mut self, swarm: &Swarm, step: usize) {
        let twin = Some(Box::new(copy(swarm, step)));
        if self.first.is_none() {
            self.first = Some(twin.clone());
        }
        self.newest = Some(twin);
        self.made += 1;
    }

    /// Gives them a command too: it comes to the same in every respect.
    pub(crate) fn apply(&mut self, command: &Command, at: u64, result: &Result<Applied, Rejection>, slot: &Slot) {
        for twin in [&mut self.first, &mut self.newest].into_iter().flatten() {
            let other = apply(twin, through(command.clone()), at).map(|(applied, _)| applied);
            match (result, &other) {
                (Ok(applied), Ok(other)) => assert_same(applied, other),
                (Err(rejection), Err(other)) => assert_eq!(rejection, other, "a twin refuses for the same reason"),
                _ => panic!("a twin does what the swarm does: {result:?}, {other:?}"),
            }
            let next = |slot: &Slot| slot.as_deref().map(Swarm::next_expiry);
            assert_eq!(next(twin), next(slot), "the same is due");
            assert_eq!(running_digest(twin), running_digest(slot), "a twin is as the swarm is");
        }
    }

    /// Panics unless they are as the swarm is. O(n).
    pub(crate) fn compare(&self, slot: &Slot) {
        for twin in [&self.first, &self.newest].into_iter().flatten() {
            assert_eq!(digest(twin), digest(slot), "a twin is as the swarm is");
            if let Some(twin) = twin.as_deref() {
                twin.check();
            }
        }
    }
}

fn running_digest(slot: &Slot) -> Option<u64> {
    slot.as_deref().map(|swarm| state::running_digest(swarm, StateVersion::NEWEST))
}

/// The swarm that the bytes of this one are, in pieces of any size. Panics unless it is the same.
fn copy(swarm: &Swarm, step: usize) -> Swarm {
    let mut rng = Rng::new(step as u64);
    let (mut encoder, mut bytes) = (StateEncoder::new(StateVersion::NEWEST), Vec::new());
    while let Some(piece) = encoder.next(swarm, rng.pick(&[1, 7, 100, 3_000])).expect("nobody changes it") {
        bytes.extend(piece);
    }
    assert!(bytes == encode(swarm, StateVersion::NEWEST), "a state has one form, however it is cut");
    let (mut decoder, mut rest) = (StateDecoder::default(), &bytes[..]);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rng.pick(&[1, 2, 30, 5_000]).min(rest.len()));
        decoder = decoder.feed(piece).expect("what was encoded can be decoded");
        rest = after;
    }
    let copy = decoder.finish().expect("what was encoded can be decoded");
    copy.check();
    assert_eq!(copy.digest(), swarm.digest(), "what was read is what was written");
    assert!(encode(&copy, StateVersion::NEWEST) == bytes, "it has the same bytes");
    copy
}

fn assert_same(applied: &Applied, other: &Applied) {
    let Applied { revision, events, touched, grants, ended, left, interests, .. } = applied;
    assert_eq!((revision, events, touched), (&other.revision, &other.events, &other.touched));
    assert_eq!((grants, ended, left, interests), (&other.grants, &other.ended, &other.left, &other.interests));
    let Applied { former_sources, updated, summary_changed, session, created, over, removed, retired, .. } = applied;
    assert_eq!((former_sources, session), (&other.former_sources, &other.session));
    assert_eq!((updated, summary_changed), (&other.updated, &other.summary_changed));
    assert_eq!((created, over, removed), (&other.created, &other.over, &other.removed));
    let roster = |retired: &Option<_>| retired.as_ref().map(FixedHasher::digest);
    assert_eq!(roster(retired), roster(&other.retired));
}
