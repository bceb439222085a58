//! The ring: the newest records of a swarm, bounded by bytes.
//!
//! Records are numbered from 0 in the order in which they were appended; a number
//! never comes again. Invariant: `bytes` is the sum over the records, and above
//! the bound only while a single record is.

use std::collections::{HashMap, VecDeque};

use super::record::Record;
use crate::swarm::id::NodeId;
use crate::swarm::interest::Channel;

/// The newest records of a swarm.
#[derive(Debug)]
pub(super) struct Ring {
    records: VecDeque<Record>,
    /// Number of the oldest record.
    first: u64,
    bytes: usize,
    limit: usize,
    /// Number of the newest keyframe of each source and channel.
    keyframes: HashMap<(NodeId, Channel), u64>,
}

impl Ring {
    pub(super) fn new(limit: usize) -> Self {
        Self { records: VecDeque::new(), first: 0, bytes: 0, limit, keyframes: HashMap::new() }
    }

    pub(super) fn append(&mut self, record: Record) {
        self.bytes += record.message().len();
        if record.keyframe {
            self.keyframes.insert((record.position.source, record.position.channel), self.end());
        }
        self.records.push_back(record);
        while self.bytes > self.limit && self.records.len() > 1 {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(oldest) = self.records.pop_front() else { return };
        self.bytes -= oldest.message().len();
        let key = (oldest.position.source, oldest.position.channel);
        if self.keyframes.get(&key) == Some(&self.first) {
            self.keyframes.remove(&key);
        }
        self.first += 1;
    }

    /// Number of the oldest record.
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    /// Number of the record to come.
    pub(super) fn end(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    pub(super) fn get(&self, number: u64) -> Option<&Record> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.records.get(index)
    }

    /// Number of the newest keyframe of a source on a channel.
    pub(super) fn keyframe(&self, source: NodeId, channel: Channel) -> Option<u64> {
        self.keyframes.get(&(source, channel)).copied()
    }

    /// Number of the newest keyframe of any source on a channel.
    pub(super) fn newest_keyframe(&self, channel: Channel) -> Option<u64> {
        self.keyframes.iter().filter(|((_, of), _)| *of == channel).map(|(_, number)| *number).max()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
