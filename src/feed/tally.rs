//! What a lane has carried, by what filters tell apart.

use starling_core::propagation::Filter;

/// What a lane has carried, over all terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) updates: u64,
    pub(super) keyframes: u64,
    pub(super) tops: u64,
}

impl Tally {
    /// So many updates of which nobody knows the kind: any of them may have been a keyframe, none is known to be of the
    /// top layer.
    pub(super) const fn unknown(updates: u64) -> Self {
        Self { updates, keyframes: updates, tops: 0 }
    }

    /// With these too.
    #[must_use]
    pub(super) const fn plus(self, more: Self) -> Self {
        Self {
            updates: self.updates.saturating_add(more.updates),
            keyframes: self.keyframes.saturating_add(more.keyframes),
            tops: self.tops.saturating_add(more.tops),
        }
    }

    /// What came since `before`.
    #[must_use]
    pub(super) const fn minus(self, before: Self) -> Self {
        Self {
            updates: self.updates.saturating_sub(before.updates),
            keyframes: self.keyframes.saturating_sub(before.keyframes),
            tops: self.tops.saturating_sub(before.tops),
        }
    }

    pub(super) const fn add(&mut self, keyframe: bool, top: bool) {
        self.updates += 1;
        self.keyframes += keyframe as u64;
        self.tops += top as u64;
    }

    /// As many as a lane has carried in all.
    pub(super) const fn come_to(&mut self, updates: u64) {
        if updates > self.updates {
            self.updates = updates;
        }
    }

    /// How many that pass `filter` came since `before`.
    pub(super) const fn since(self, before: Self, filter: Filter) -> u64 {
        match filter {
            Filter::Nothing => 0,
            Filter::Keyframes => self.keyframes - before.keyframes,
            Filter::WithoutTopLayer => (self.updates - before.updates) - (self.tops - before.tops),
            Filter::Everything => self.updates - before.updates,
        }
    }
}
