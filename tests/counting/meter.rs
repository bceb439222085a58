//! What is measured of each phase of a method, and what is allowed to grow.

use std::fmt;

use starling_core::steps::{Probe, Work};

use crate::ALLOCATED;

/// Asked at each lock: bytes that are allocated while one is held.
pub(crate) const PROBE: Probe = Probe { begin, end };

fn begin() {
    ALLOCATED.reset_peak_usage();
    START.set(ALLOCATED.current_usage());
}

fn end() -> usize {
    ALLOCATED.peak_usage().saturating_sub(START.get())
}

thread_local! {
    static START: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How the work of a phase may depend on what it changes or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// It is the same whatever the population is.
    Flat,
    /// So many steps for each item, and a part of the items under each lock: [`AT_ONCE`].
    Parts(usize),
    /// So many steps for each item, all under one lock: in the list of `docs/design.md`, section 13.
    Whole(usize),
}

/// Items under one lock: the largest page, and the targets of the largest star.
const AT_ONCE: usize = 1_000;

/// Bytes allocated under one lock for each item: a copy of a member or target with all that it says of itself.
const BYTES_EACH: usize = 1_024;

/// What a phase may do more in the larger world without being asked for more: a deeper tree, a place in another log.
const STEPS_MORE: usize = 40;

/// The same of bytes under one lock: a list that doubles; what was freed before, as a log that is full does.
const BYTES_MORE: usize = 16 * 1_024;

/// The same of bytes that are left afterwards: buffers of connections, and of the client in the same process.
const HELD_MORE: isize = 24 * 1_024;

/// What one phase of a method did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) method: &'static str,
    pub(crate) name: &'static str,
    pub(crate) allowed: Allowed,
    /// What was changed or answered.
    pub(crate) items: usize,
    pub(crate) work: Work,
    /// Bytes that are there afterwards and were not before.
    pub(crate) held: isize,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, work: Work { steps, longest, bytes }, held, .. } = *self;
        write!(f, "{items} items, {steps} steps, {longest} under one lock, {bytes} bytes there, {held} held")
    }
}

/// A tenth more than `small`, a fixed amount, and so much for each item.
const fn bound(small: usize, more: usize, items: usize, each: usize) -> usize {
    small + small / 10 + more + items * each
}

fn problem(small: &Phase, large: &Phase) -> Option<String> {
    let (items, at_once, each) = match large.allowed {
        Allowed::Flat => (0, 0, 0),
        Allowed::Parts(each) => (large.items, large.items.min(AT_ONCE), each),
        Allowed::Whole(each) => (large.items, large.items, each),
    };
    let (before, after) = (small.work, large.work);
    let growth = [
        ("steps", after.steps, bound(before.steps, STEPS_MORE, items, each)),
        ("steps under one lock", after.longest, bound(before.longest, STEPS_MORE, at_once, each)),
        ("bytes under one lock", after.bytes, bound(before.bytes, BYTES_MORE, at_once, BYTES_EACH)),
    ];
    // What a stream holds of an answer that is read in parts is a part of it.
    let most = small.held.max(0) + HELD_MORE + (at_once * BYTES_EACH).cast_signed();
    let held = (large.held > most).then(|| format!("bytes held ({} > {most})", large.held));
    let grown = growth.iter().filter(|(_, found, most)| found > most);
    let grown: Vec<_> = grown.map(|(what, found, most)| format!("{what} ({found} > {most})")).chain(held).collect();
    let Phase { method, name, allowed, .. } = *large;
    let same = format!("{method} {name} ({allowed:?}):\n    {small}\n    {large}");
    (!grown.is_empty()).then(|| format!("{same}\n    grows in {}", grown.join(", ")))
}

/// What grows that must not.
pub(crate) fn compare(small: &[Phase], large: &[Phase]) -> Vec<String> {
    let names = |phases: &[Phase]| phases.iter().map(|phase| (phase.method, phase.name)).collect::<Vec<_>>();
    assert_eq!(names(small), names(large), "both worlds see the same");
    for (small, large) in small.iter().zip(large) {
        eprintln!("{} {} ({:?}):\n    {small}\n    {large}", large.method, large.name, large.allowed);
    }
    small.iter().zip(large).filter_map(|(small, large)| problem(small, large)).collect()
}
