//! What a pod gathers of a log: what it hears, and what it fetches because it did not hear it.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use starling_cluster::{JetStreamLog, JetStreamMessages, PartitionLog};
use starling_replica::LogMessage;
use tokio::time::interval;

/// A reader of a log.
pub(crate) struct LogFollower {
    log: JetStreamLog,
    messages: JetStreamMessages,
    /// Everything up to here is in `gathered`.
    pub(crate) gathered: Vec<LogMessage>,
    ahead: BTreeMap<u64, LogMessage>,
    /// How many of them were fetched.
    pub(crate) fetched: usize,
}

impl LogFollower {
    pub(crate) async fn new(log: &JetStreamLog) -> Self {
        let messages = log.follow().await.unwrap();
        Self { log: log.clone(), messages, gathered: Vec::new(), ahead: BTreeMap::new(), fetched: 0 }
    }

    fn last(&self) -> u64 {
        self.gathered.len() as u64
    }

    fn take(&mut self, message: LogMessage) {
        if message.sequence <= self.last() {
            let known = &self.gathered[usize::try_from(message.sequence - 1).unwrap()];
            assert_eq!(*known, message, "a sequence has one message, whichever way it came");
            return;
        }
        self.ahead.insert(message.sequence, message);
        while let Some(next) = self.ahead.remove(&(self.last() + 1)) {
            self.gathered.push(next);
        }
    }

    /// Gathers until this sequence.
    pub(crate) async fn reach(&mut self, last: u64) {
        let mut looks = interval(Duration::from_millis(100));
        while self.last() < last {
            tokio::select! {
                message = self.messages.next() => self.take(message.expect("it never ends")),
                _ = looks.tick() => {
                    let Ok(fetched) = self.log.fetch(self.last().max(1), last).await else { continue };
                    let before = self.gathered.len();
                    fetched.messages.into_iter().for_each(|message| self.take(message));
                    self.fetched += self.gathered.len() - before;
                }
            }
        }
    }
}
