//! Figures of what was checked.

use std::fmt;

use super::publisher::PublisherLog;
use super::subscriber::History;
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

    pub(super) const fn count_gap(&mut self, reason: GapReason) {
        self.gaps[reason as usize] += 1;
    }

    fn add(mut self, other: &Self) -> Self {
        self.updates += other.updates;
        self.bytes += other.bytes;
        self.subscriptions += other.subscriptions;
        for (sum, gaps) in self.gaps.iter_mut().zip(other.gaps) {
            *sum += gaps;
        }
        self
    }
}

/// What a check has proved right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Publishers.
    pub publishers: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Updates accepted.
    pub published: u64,
    /// What came, all subscribers together.
    pub delivered: Totals,
}

impl Summary {
    pub(super) fn of(logs: &[PublisherLog], histories: &[History]) -> Self {
        Self {
            publishers: logs.len(),
            subscribers: histories.len(),
            published: logs.iter().map(PublisherLog::accepted).sum(),
            delivered: histories.iter().map(History::totals).fold(Totals::default(), Totals::add),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { updates, bytes, subscriptions, .. } = &self.delivered;
        write!(
            f,
            "{} updates of {} publishers; {updates} deliveries ({bytes} bytes) to {} subscribers in {subscriptions} \
             subscriptions; {} gaps",
            self.published,
            self.publishers,
            self.subscribers,
            self.delivered.all_gaps(),
        )
    }
}
