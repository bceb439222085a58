//! Which subscribers skip what a publisher sends, so that it learns of it.

use super::gap::GapReason;

/// Why a subscriber skips updates that the publisher could send in another way: fewer
/// bytes, or more keyframes.
pub(super) const REASONS: [GapReason; 2] = [GapReason::Bandwidth, GapReason::Lagging];

/// Subscribers that skipped updates of one lane since the last report, by [`REASONS`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Skips {
    /// Number of reports taken.
    reports: u32,
    subscribers: [u64; REASONS.len()],
    updates: [u64; REASONS.len()],
}

/// The reports in which one subscriber was counted last; 0 = in none.
pub(super) type Counted = [u32; REASONS.len()];

/// What a publisher is told of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SkipReport {
    /// Why.
    pub reason: GapReason,
    /// Subscriptions that skipped since the last report.
    pub subscribers: u64,
    /// Updates that they skipped, all together.
    pub updates: u64,
}

impl Skips {
    pub(super) const fn is_empty(&self) -> bool {
        self.updates[0] == 0 && self.updates[1] == 0
    }

    /// Notes that a subscriber skips so many updates. True for the first since the last
    /// report.
    pub(super) fn note(&mut self, counted: &mut Counted, reason: GapReason, updates: u64) -> bool {
        let Some(at) = REASONS.iter().position(|known| *known == reason) else { return false };
        let first = self.is_empty();
        self.updates[at] += updates;
        if counted[at] != self.reports + 1 {
            counted[at] = self.reports + 1;
            self.subscribers[at] += 1;
        }
        first && updates > 0
    }

    /// What is to be told, and begins anew.
    pub(super) fn take(&mut self) -> impl Iterator<Item = SkipReport> {
        let Self { reports, subscribers, updates } = *self;
        *self = Self { reports: reports.wrapping_add(1), ..Self::default() };
        let report =
            move |at: usize| SkipReport { reason: REASONS[at], subscribers: subscribers[at], updates: updates[at] };
        (0..REASONS.len()).map(report).filter(|report| report.updates > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subscriber_counts_once_in_a_report() {
        let mut skips = Skips::default();
        let (mut one, mut other) = (Counted::default(), Counted::default());
        assert!(skips.note(&mut one, GapReason::Bandwidth, 3));
        assert!(!skips.note(&mut one, GapReason::Bandwidth, 4));
        assert!(!skips.note(&mut other, GapReason::Bandwidth, 1));
        assert!(!skips.note(&mut one, GapReason::Lagging, 5));
        assert!(!skips.note(&mut one, GapReason::Evicted, 5), "the publisher cannot help it");
        let report = |reason, subscribers, updates| SkipReport { reason, subscribers, updates };
        assert_eq!(
            skips.take().collect::<Vec<_>>(),
            [report(GapReason::Bandwidth, 2, 8), report(GapReason::Lagging, 1, 5)]
        );
        assert_eq!(skips.take().count(), 0);
        assert!(skips.note(&mut one, GapReason::Lagging, 1));
        assert_eq!(skips.take().collect::<Vec<_>>(), [report(GapReason::Lagging, 1, 1)]);
    }
}
