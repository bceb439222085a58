//! No lock is held for longer than a portion takes, whatever is done: steps are counted.

use super::pods_of_one;
use super::*;
use starling_core::steps;

/// Steps under one lock at most; a viewer of a tree that leaves or is detached takes some twenty.
const PORTION: usize = 8_000;

#[track_caller]
fn assert_portions(most: usize, act: impl FnOnce()) {
    steps::begin(None);
    act();
    let work = steps::done();
    assert!(work.longest <= most, "{} steps under one lock, of {} in all", work.longest, work.steps);
    assert!(work.steps > work.longest, "it is done in portions");
}

#[test]
fn no_lock_is_held_for_all_sessions() {
    let (mut state, place) = shown();
    pods_of_one(&mut state, 6_000);
    let encoded = bytes(&state, 64 << 10);
    assert_portions(PORTION, || assert_eq!(bytes(&state, 64 << 10), encoded));
    assert_portions(PORTION, || assert_eq!(state.attached(2).len(), 6_000));
    let mut read = PartitionState::decode(&encoded).unwrap();
    assert_portions(PORTION, || read.show(&place));
    assert_portions(PORTION, || while read.detach_gone(2, 2_000, time_of(2_000), DUE) == DUE {});
    assert_eq!(read.attached(2), Vec::new());
}
