//! Updates: one ring of encoded records per swarm, read through cursors.
//!
//! Publishing checks the grant, numbers the update, encodes it once and appends
//! it, once for all subscribers; those who wait are woken after, one by one. A
//! subscriber holds a cursor and not a queue: a slow one costs nothing, and learns
//! by a gap what it missed.
//!
//! Lock order: a swarm's shard, then its feed. Nothing is woken under the lock.

mod cursor;
mod record;
mod ring;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::swarm::event::Grant;
use crate::swarm::id::NodeId;
use crate::swarm::interest::Channel;

pub use cursor::{Batch, Cursor, Delivery, Gap, GapReason, Start};
pub use record::{Draft, Position, Record, Timestamp};
use ring::Ring;

/// What is kept of a swarm's updates, and who may add to it.
#[derive(Debug)]
pub struct Feed {
    state: Mutex<State>,
    news: Arc<Notify>,
    closed: AtomicBool,
    delivered: AtomicU64,
    delivered_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    grants: HashMap<(NodeId, Channel), Row>,
    published: u64,
    published_bytes: u64,
}

/// What a feed counts, on this pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Updates taken.
    pub published: u64,
    /// Their payloads, in bytes.
    pub published_bytes: u64,
    /// Updates handed to subscribers.
    pub delivered: u64,
    /// Their records, in bytes.
    pub delivered_bytes: u64,
}

/// One row of the grant table.
#[derive(Clone, Copy, Debug)]
struct Row {
    term: u64,
    enabled: bool,
    /// The last sequence given in this term.
    sequence: u64,
    /// The last number that the publisher gave.
    publisher_sequence: u64,
}

/// What became of an update that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands; for a repeat, where the newest one of its channel stands.
    pub position: Position,
    /// The publisher's number of it.
    pub publisher_sequence: u64,
    /// True when it was there already, and dropped.
    pub repeated: bool,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The term is not in force any more.
    #[error("the term is not in force any more")]
    StaleTerm,
    /// The channel takes nothing now.
    #[error("the channel takes no updates now")]
    Disabled,
}

impl Feed {
    /// An empty feed whose ring holds at most `ring_bytes` of records. Nothing is
    /// allocated before the first update.
    pub fn new(ring_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                ring: Ring::new(ring_bytes),
                grants: HashMap::new(),
                published: 0,
                published_bytes: 0,
            }),
            news: Arc::new(Notify::new()),
            closed: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            delivered_bytes: AtomicU64::new(0),
        }
    }

    /// Puts a change of grants into force: when this returns, no update under an
    /// older grant can enter. `over` closes the feed in the same step, so that
    /// whoever finds it closed finds everything that ever entered.
    pub fn enforce(&self, grants: &[Grant], over: bool) {
        if grants.is_empty() && !over {
            return;
        }
        let mut state = self.state.lock();
        if over {
            self.closed.store(true, Ordering::Release);
        }
        for grant in grants {
            let key = (grant.source, grant.channel);
            if grant.term == 0 {
                // The row stays: it knows the publisher's last number.
                if let Some(row) = state.grants.get_mut(&key) {
                    (row.term, row.enabled) = (0, false);
                }
                continue;
            }
            let row = state.grants.entry(key).or_insert(Row {
                term: grant.term,
                enabled: grant.enabled,
                sequence: 0,
                publisher_sequence: 0,
            });
            row.enabled = grant.enabled;
            if row.term != grant.term {
                (row.term, row.sequence) = (grant.term, 0);
            }
        }
    }

    /// The last number that the publisher gave on a channel; 0 = none.
    pub fn publisher_sequence(&self, source: NodeId, channel: Channel) -> u64 {
        self.state.lock().grants.get(&(source, channel)).map_or(0, |row| row.publisher_sequence)
    }

    /// The term in force on a channel.
    pub fn term(&self, source: NodeId, channel: Channel) -> Option<u64> {
        self.state.lock().grants.get(&(source, channel)).map(|row| row.term).filter(|term| *term != 0)
    }

    /// Takes one update of `source` under `term`. O(1) amortised.
    ///
    /// `publisher_sequence` 0 counts for the publisher; a number that is not
    /// above the last one is a repeat.
    pub fn publish(&self, source: NodeId, term: u64, draft: Draft) -> Result<Accepted, Refusal> {
        let accepted = {
            let mut state = self.state.lock();
            let State { ring, grants, published, published_bytes } = &mut *state;
            let channel = draft.channel;
            let row = grants
                .get_mut(&(source, channel))
                .filter(|row| row.term == term && term != 0)
                .ok_or(Refusal::StaleTerm)?;
            if !row.enabled {
                return Err(Refusal::Disabled);
            }
            let number = match draft.publisher_sequence {
                0 => row.publisher_sequence.saturating_add(1),
                given => given,
            };
            let repeated = number <= row.publisher_sequence;
            if !repeated {
                *published += 1;
                *published_bytes += draft.payload.len() as u64;
                row.publisher_sequence = number;
                row.sequence += 1;
            }
            let position = Position { source, channel, term, sequence: row.sequence };
            if !repeated {
                ring.append(Record::encode(position, draft));
            }
            Accepted { position, publisher_sequence: row.publisher_sequence, repeated }
        };
        if !accepted.repeated {
            self.news.notify_waiters();
        }
        Ok(accepted)
    }

    /// True when nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The bell that rings after each update.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// The newest position of each source and channel.
    pub fn heads(&self) -> Vec<Position> {
        let state = self.state.lock();
        let mut heads: Vec<_> = state
            .grants
            .iter()
            .filter(|(_, row)| row.term != 0 && row.sequence > 0)
            .map(|(&(source, channel), row)| Position { source, channel, term: row.term, sequence: row.sequence })
            .collect();
        heads.sort_unstable_by_key(|position| (position.source, position.channel));
        heads
    }

    /// What was taken and what was handed out.
    pub fn counts(&self) -> Counts {
        let (published, published_bytes) = {
            let state = self.state.lock();
            (state.published, state.published_bytes)
        };
        let (delivered, delivered_bytes) =
            (self.delivered.load(Ordering::Relaxed), self.delivered_bytes.load(Ordering::Relaxed));
        Counts { published, published_bytes, delivered, delivered_bytes }
    }

    /// Bytes of records in the ring.
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }
}

#[cfg(test)]
mod tests;
