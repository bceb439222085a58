//! The set of swarms, from the events of its shards.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use starling::pb::swarm::v1 as shared;
use starling::pb::{group::v1 as group, livestream::v1 as livestream};

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
pub(crate) enum News {
    Reset(shared::ResetReason),
    Swarm(Summary),
    Removed { id: u64, epoch: u64, end_reason: i32, end_time: Option<prost_types::Timestamp> },
    Complete(u64),
    Heartbeat(shared::Heartbeat),
    Goodbye(shared::Goodbye),
}

/// A message of either service.
pub(crate) trait Message {
    fn parts(self) -> (u64, u32, u64, News);
}

macro_rules! message {
    ($service:ident, $Response:ident, $module:ident, $Swarm:ident, $id:ident) => {
        impl Message for $service::$Response {
            fn parts(self) -> (u64, u32, u64, News) {
                use $service::$module::Event;
                let Self { epoch, shard, revision, event } = self;
                let news = match event.expect("every message says something") {
                    Event::Reset(reset) => News::Reset(reset.reason()),
                    Event::$Swarm(summary) => News::Swarm(Summary {
                        id: summary.$id,
                        epoch: summary.epoch,
                        state: summary.state,
                        metadata: summary.metadata,
                        created: summary.created,
                        end_reason: summary.end_reason,
                    }),
                    Event::Removed(removed) => News::Removed {
                        id: removed.$id,
                        epoch: removed.epoch,
                        end_reason: removed.end_reason,
                        end_time: removed.end_time,
                    },
                    Event::SnapshotComplete(complete) => News::Complete(complete.revision),
                    Event::Heartbeat(heartbeat) => News::Heartbeat(heartbeat),
                    Event::Goodbye(goodbye) => News::Goodbye(goodbye),
                };
                (epoch, shard, revision, news)
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
    /// The last revision told of each shard.
    pub(crate) positions: BTreeMap<u32, u64>,
    pub(crate) swarms: BTreeMap<u64, Summary>,
    pub(crate) shard_of: BTreeMap<u64, u32>,
    pub(crate) complete: BTreeSet<u32>,
    pub(crate) resets: BTreeMap<u32, shared::ResetReason>,
    pub(crate) heartbeats: usize,
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
            resets: BTreeMap::new(),
            created: Vec::new(),
            removed: Vec::new(),
            births: Vec::new(),
            deaths: Vec::new(),
            ..self.clone()
        }
    }

    pub(crate) fn position(&self) -> shared::SetPosition {
        let shards =
            self.positions.iter().map(|(shard, revision)| shared::ShardPosition { shard: *shard, revision: *revision });
        shared::SetPosition { epoch: self.epoch, shards: shards.collect() }
    }

    /// Takes a message; a goodbye is handed back.
    pub(crate) fn take(&mut self, message: impl Message) -> Option<shared::Goodbye> {
        let (epoch, shard, revision, news) = message.parts();
        if let News::Reset(reason) = news {
            self.epoch = epoch;
            self.resets.insert(shard, reason);
            self.complete.remove(&shard);
            self.positions.insert(shard, revision);
            self.swarms.retain(|id, _| self.shard_of[id] != shard);
            return None;
        }
        assert_eq!(epoch, self.epoch, "another incarnation begins with a reset");
        if let News::Heartbeat(_) | News::Goodbye(_) = news {
            assert_eq!((shard, revision), (0, 0), "what is about the whole set names no place in it");
        }
        let news = match news {
            News::Heartbeat(heartbeat) => {
                assert_eq!((heartbeat.epoch, heartbeat.revision), (epoch, 0));
                self.heartbeats += 1;
                return None;
            }
            News::Goodbye(goodbye) => return Some(goodbye),
            news => news,
        };
        let told = self.positions.get(&shard).copied().expect("a shard begins with a reset");
        assert!(revision >= told, "a shard is told in order");
        let live = self.complete.contains(&shard);
        match news {
            News::Swarm(summary) => {
                assert!(!live || revision > told, "a live shard tells each revision once");
                assert_ne!(self.gone.get(&summary.id), Some(&summary.epoch), "what was removed is not told again");
                let known = self.swarms.get(&summary.id).map(|known| known.epoch);
                if summary.created {
                    assert_eq!(known, None, "the one before was removed");
                    self.created.push(summary.id);
                    self.births.push((summary.id, summary.epoch));
                } else {
                    assert!(known == Some(summary.epoch) || !live && known.is_none(), "what is new is told as created");
                }
                let before = self.shard_of.insert(summary.id, shard);
                assert!(before.is_none_or(|before| before == shard), "a swarm stays in its shard");
                self.swarms.insert(summary.id, summary);
            }
            News::Removed { id, epoch, end_reason, end_time } => {
                let known = self.swarms.remove(&id).expect("only what was told is removed");
                assert_eq!(known.epoch, epoch, "only what was told is removed");
                assert!(end_reason != 0 && end_time.is_some(), "it is told why and when it ended");
                assert!(known.end_reason == 0 || known.end_reason == end_reason);
                self.removed.push(id);
                self.deaths.push((id, epoch));
                self.gone.insert(id, epoch);
            }
            News::Complete(at) => {
                assert_eq!(at, revision);
                assert!(self.complete.insert(shard), "a shard is complete once");
            }
            News::Reset(_) | News::Heartbeat(_) | News::Goodbye(_) => unreachable!("taken above"),
        }
        self.positions.insert(shard, revision);
        None
    }
}
