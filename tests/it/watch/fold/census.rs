//! The set of swarms, from the events of its partitions.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use starling_client::pb::swarm::v1 as shared;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};

/// A swarm of either kind, as the watch of its set shows it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) state: i32,
    pub(crate) metadata: Bytes,
    pub(crate) created: bool,
    pub(crate) end_reason: i32,
}

/// What is in a message of either service.
#[derive(Debug)]
pub(crate) enum Content {
    Opened(shared::SetOpened),
    Reset(shared::ResetReason),
    Swarm(Summary),
    Removed { id: u64, epoch: u64, state: i32, end_reason: i32, end_time: Option<prost_types::Timestamp> },
    InSync(shared::SetInSync),
    Heartbeat(shared::WatchHeartbeat),
    Goodbye(shared::Goodbye),
}

/// A message of either service: epoch, partition, position, and what is told.
pub(crate) trait Message {
    fn parts(self) -> (u64, u32, Bytes, Content);
}

macro_rules! message {
    ($service:ident, $Response:ident, $module:ident, $Swarm:ident, $id:ident) => {
        impl Message for $service::$Response {
            fn parts(self) -> (u64, u32, Bytes, Content) {
                use $service::$module::Event;
                let Self { epoch, partition, position, event } = self;
                let content = match event.expect("every message says something") {
                    Event::Opened(opened) => Content::Opened(opened),
                    Event::Reset(reset) => Content::Reset(reset.reason()),
                    Event::$Swarm(summary) => Content::Swarm(Summary {
                        id: summary.$id,
                        epoch: summary.epoch,
                        state: summary.state,
                        metadata: summary.metadata,
                        created: summary.created,
                        end_reason: summary.end_reason,
                    }),
                    Event::Removed(removed) => Content::Removed {
                        id: removed.$id,
                        epoch: removed.epoch,
                        state: removed.state,
                        end_reason: removed.end_reason,
                        end_time: removed.end_time,
                    },
                    Event::InSync(in_sync) => Content::InSync(in_sync),
                    Event::Heartbeat(heartbeat) => Content::Heartbeat(heartbeat),
                    Event::Goodbye(goodbye) => Content::Goodbye(goodbye),
                };
                (epoch, partition, position, content)
            }
        }
    };
}

message!(livestream, WatchLivestreamsResponse, watch_livestreams_response, Livestream, livestream_id);
message!(group, WatchGroupsResponse, watch_groups_response, Group, group_id);

/// What a watch has told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct CensusFold {
    pub(crate) epoch: u64,
    /// How many there are; 0 before the first message.
    pub(crate) partitions: u32,
    /// The last position told of each partition.
    pub(crate) positions: BTreeMap<u32, Bytes>,
    pub(crate) swarms: BTreeMap<u64, Summary>,
    pub(crate) partition_of: BTreeMap<u64, u32>,
    /// Partitions whose whole state is being told.
    anew: BTreeSet<u32>,
    /// Everything is told, until a partition is reset.
    pub(crate) in_sync: bool,
    pub(crate) resets: BTreeMap<u32, shared::ResetReason>,
    pub(crate) heartbeats: usize,
    /// Messages about a swarm.
    pub(crate) told: usize,
    /// Ids that were told to be created, removed, in order.
    pub(crate) created: Vec<u64>,
    pub(crate) removed: Vec<u64>,
    /// Incarnations that were told to be created, removed.
    pub(crate) births: Vec<(u64, u64)>,
    pub(crate) deaths: Vec<(u64, u64)>,
    /// The epoch of the last incarnation that was removed, of each id.
    gone: BTreeMap<u64, u64>,
}

impl CensusFold {
    /// Goes on after the position of another watch, and knows what that knew.
    pub(crate) fn resumed(&self) -> Self {
        Self {
            in_sync: false,
            resets: BTreeMap::new(),
            created: Vec::new(),
            removed: Vec::new(),
            births: Vec::new(),
            deaths: Vec::new(),
            ..self.clone()
        }
    }

    pub(crate) fn position(&self) -> shared::SetPosition {
        let position = |(partition, position): (&u32, &Bytes)| shared::PartitionPosition {
            partition: *partition,
            position: position.clone(),
        };
        shared::SetPosition { epoch: self.epoch, partitions: self.positions.iter().map(position).collect() }
    }

    /// Takes a message; a goodbye is handed back.
    pub(crate) fn take(&mut self, message: impl Message) -> Option<shared::Goodbye> {
        let (epoch, partition, position, content) = message.parts();
        if let Content::Opened(opened) = &content {
            assert!(opened.partitions > 0);
            (self.epoch, self.partitions, self.in_sync) = (epoch, opened.partitions, false);
            for reset in &opened.resets {
                self.reset(reset.partition, reset.reason());
            }
            let unknown: Vec<_> = (1..=self.partitions).filter(|one| !self.positions.contains_key(one)).collect();
            assert!(unknown.iter().all(|one| self.anew.contains(one)), "what is not known is told anew: {unknown:?}");
        } else {
            assert_eq!(epoch, self.epoch, "another incarnation begins with opened");
        }
        let about_all =
            matches!(content, Content::Opened(_) | Content::InSync(_) | Content::Heartbeat(_) | Content::Goodbye(_));
        assert_eq!(about_all, partition == 0, "partition {partition}: {content:?}");
        assert!(partition <= self.partitions && position.len() <= 64);
        assert!(!about_all || position.is_empty(), "what is about the whole set has no position in it");
        let live = !self.anew.contains(&partition);
        match content {
            Content::Opened(_) => {}
            Content::Reset(reason) => {
                assert!(live && position.is_empty());
                self.reset(partition, reason);
                return None;
            }
            Content::Swarm(summary) => {
                self.told += 1;
                assert_eq!(live, live && !position.is_empty(), "what is live has a position");
                assert_ne!(self.gone.get(&summary.id), Some(&summary.epoch), "what was removed is not told again");
                let known = self.swarms.get(&summary.id).map(|known| known.epoch);
                if summary.created {
                    assert_eq!(known, None, "the one before was removed");
                    self.created.push(summary.id);
                    self.births.push((summary.id, summary.epoch));
                } else {
                    assert!(known == Some(summary.epoch) || !live && known.is_none(), "what is new is told as created");
                }
                let before = self.partition_of.insert(summary.id, partition);
                assert!(before.is_none_or(|before| before == partition), "a swarm stays in its partition");
                self.swarms.insert(summary.id, summary);
            }
            Content::Removed { id, epoch, state, end_reason, end_time } => {
                self.told += 1;
                let known = self.swarms.remove(&id).expect("only what was told is removed");
                assert_eq!(known.epoch, epoch, "only what was told is removed");
                assert!(state != 0 && end_reason != 0 && end_time.is_some(), "it is told why and when it ended");
                assert!(known.end_reason == 0 || known.end_reason == end_reason);
                self.removed.push(id);
                self.deaths.push((id, epoch));
                self.gone.insert(id, epoch);
            }
            Content::InSync(in_sync) => {
                assert!(!self.in_sync, "it is told once");
                self.in_sync = true;
                self.anew.clear();
                let named: Vec<_> = in_sync.positions.iter().map(|position| position.partition).collect();
                assert_eq!(named, (1..=self.partitions).collect::<Vec<_>>());
                self.positions = in_sync.positions.into_iter().map(|one| (one.partition, one.position)).collect();
            }
            Content::Heartbeat(heartbeat) => {
                assert!(heartbeat.server_time.is_some());
                self.heartbeats += 1;
            }
            Content::Goodbye(goodbye) => return Some(goodbye),
        }
        if !position.is_empty() {
            let before = self.positions.insert(partition, position.clone());
            assert_ne!(before, Some(position), "each step has a position of its own");
            // The state of the partition is told as a whole.
            self.anew.remove(&partition);
        }
        None
    }

    fn reset(&mut self, partition: u32, reason: shared::ResetReason) {
        self.in_sync = false;
        self.resets.insert(partition, reason);
        self.anew.insert(partition);
        self.positions.remove(&partition);
        self.swarms.retain(|id, _| self.partition_of[id] != partition);
    }
}
