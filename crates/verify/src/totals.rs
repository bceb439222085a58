//! What came to subscribers, in numbers.

use starling_client::pb::swarm::v1::GapReason;

/// What came to subscribers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Updates.
    pub updates: u64,
    /// Bytes of payload.
    pub bytes: u64,
    /// Subscriptions, resumes included.
    pub subscriptions: u64,
    /// By number of the reason.
    gaps: [u64; 8],
}

impl Totals {
    /// Gaps announced for one reason.
    pub fn gaps(&self, reason: GapReason) -> u64 {
        self.gaps[reason as usize]
    }

    /// Gaps announced.
    pub fn all_gaps(&self) -> u64 {
        self.gaps.iter().sum()
    }

    pub(crate) const fn count_gap(&mut self, reason: GapReason) {
        self.gaps[reason as usize] += 1;
    }

    pub(crate) fn add(mut self, other: &Self) -> Self {
        self.updates += other.updates;
        self.bytes += other.bytes;
        self.subscriptions += other.subscriptions;
        for (sum, gaps) in self.gaps.iter_mut().zip(other.gaps) {
            *sum += gaps;
        }
        self
    }
}
