//! Figures of what was checked.

use std::fmt;

use super::publisher::PublisherLog;
use super::subscriber::History;
use super::totals::Totals;

/// What a check has proved right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Publishers.
    pub publishers: usize,
    /// Subscribers.
    pub subscribers: usize,
    /// Updates accepted.
    pub published: u64,
    /// What came, all subscribers together.
    pub delivered: Totals,
}

impl Report {
    pub(super) fn of(logs: &[PublisherLog], histories: &[History]) -> Self {
        Self {
            publishers: logs.len(),
            subscribers: histories.len(),
            published: logs.iter().map(PublisherLog::accepted).sum(),
            delivered: histories.iter().map(History::totals).fold(Totals::default(), Totals::add),
        }
    }
}

impl fmt::Display for Report {
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
