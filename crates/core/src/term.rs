//! The right to publish on one lane, and the pod where it is used.

use super::id::{NO_HOME, PodId, SINGLE_POD};
use super::invariant::{BrokenInvariant, ensure};

/// The term in force on one lane; by default there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Term {
    /// The revision that granted it; 0 = there is none.
    pub(super) number: u64,
    /// The pod that asked for it, whose updates count; [`NO_HOME`] = that pod is gone, or there is no term.
    pub(super) home: PodId,
}

impl Term {
    /// True when there is one.
    pub(super) const fn is_there(self) -> bool {
        self.number != 0
    }

    /// True when its holder may have another one on this pod without superseding anything that is in use. The only
    /// process is always there, and so is the home of its terms.
    pub(super) const fn is_free_for(self, pod: PodId) -> bool {
        !self.is_there() || (self.home == NO_HOME && pod != SINGLE_POD)
    }

    /// Its home is gone, if that was this pod: true then.
    pub(super) fn leave(&mut self, pod: PodId) -> bool {
        let was_there = self.home == pod && pod != NO_HOME;
        if was_there {
            self.home = NO_HOME;
        }
        was_there
    }

    /// Refuses what no command makes, at a revision.
    pub(super) fn validate(self, revision: u64) -> Result<(), BrokenInvariant> {
        ensure(self.number <= revision, "places and terms are revisions that were")?;
        ensure(self.is_there() || self.home == NO_HOME, "what is no term has no home")
    }
}
