//! The last revisions of one swarm, each with its events.
//!
//! A command appends once, whatever the number of watchers; each watcher reads
//! with a cursor of its own. Events are encoded at most once, by the first who
//! needs the bytes.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use starling_core::Event;
use starling_core::id::NodeId;

/// Where a change comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// When its command was applied, in milliseconds since the Unix epoch.
    pub at: u64,
    /// Who gave it; `None` = the server, because a time had come.
    pub actor: Option<NodeId>,
}

/// All events of one revision.
#[derive(Debug)]
pub struct Revision {
    /// Its number.
    pub number: u64,
    /// Where it comes from.
    pub origin: Origin,
    /// What happened, in order.
    pub events: Box<[Event]>,
    /// By [`View`].
    encoded: [OnceLock<Box<[Bytes]>>; 2],
}

/// How much of a member the bytes of an event hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Without endpoint, interests and lease.
    Basic,
    /// Everything.
    Full,
}

impl Revision {
    /// The events as bytes, in order; `encode` runs for the first caller of a view only.
    pub fn encoded(&self, view: View, encode: impl Fn(&Event) -> Bytes) -> &[Bytes] {
        self.encoded[view as usize].get_or_init(|| self.events.iter().map(encode).collect())
    }
}

/// What a look into the log finds.
#[derive(Debug)]
pub enum Since {
    /// What came after, oldest first; empty when nothing did.
    Events(Vec<Arc<Revision>>),
    /// The log no longer reaches back that far.
    Lapped,
    /// The log has not come that far.
    Unknown,
}

/// The last revisions of one swarm.
#[derive(Debug)]
pub struct EventLog {
    revisions: VecDeque<Arc<Revision>>,
    head: u64,
    capacity: usize,
}

impl EventLog {
    pub(super) const fn new(capacity: usize) -> Self {
        Self { revisions: VecDeque::new(), head: 0, capacity }
    }

    pub(super) fn append(&mut self, number: u64, origin: Origin, events: Vec<Event>) {
        debug_assert_eq!(number, self.head + 1, "revisions go up by one");
        if self.revisions.len() == self.capacity {
            self.revisions.pop_front();
        }
        self.head = number;
        self.revisions.push_back(Arc::new(Revision {
            number,
            origin,
            events: events.into_boxed_slice(),
            encoded: Default::default(),
        }));
    }

    /// The newest revision.
    pub const fn head(&self) -> u64 {
        self.head
    }

    /// What came after `revision`; at most `limit` revisions of it.
    pub fn since(&self, revision: u64, limit: usize) -> Since {
        if revision > self.head {
            return Since::Unknown;
        }
        let missing = usize::try_from(self.head - revision).unwrap_or(usize::MAX);
        match self.revisions.len().checked_sub(missing) {
            None => Since::Lapped,
            Some(skip) => Since::Events(self.revisions.iter().skip(skip).take(limit).map(Arc::clone).collect()),
        }
    }
}
