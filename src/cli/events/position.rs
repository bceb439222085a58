//! Where a watch has come to, so that it resumes there.

use std::collections::{BTreeMap, BTreeSet};

use crate::pb::swarm::v1::{EventPosition, ResetReason, SetPosition, ShardPosition};
use crate::pb::{group::v1 as group, livestream::v1 as livestream};

/// The position of a watch of one swarm. Within a roster there is none: whoever is cut off there begins anew.
#[derive(Debug, Default)]
pub(super) struct SwarmFold {
    position: Option<EventPosition>,
    in_roster: bool,
}

/// The position of a watch of a set of swarms, which has an order in each shard.
#[derive(Debug, Default)]
pub(super) struct SetFold {
    epoch: u64,
    shards: BTreeMap<u32, u64>,
    in_snapshot: BTreeSet<u32>,
}

/// What a message means for the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Reset,
    Complete,
    Event,
    Nothing,
}

impl From<Option<EventPosition>> for SwarmFold {
    fn from(position: Option<EventPosition>) -> Self {
        Self { position, in_roster: false }
    }
}

impl SwarmFold {
    pub(super) const fn position(&self) -> Option<EventPosition> {
        self.position
    }

    /// Notes a message; false when it says nothing but that the watch lives.
    pub(super) fn livestream(&mut self, message: &livestream::WatchLivestreamResponse) -> bool {
        use livestream::watch_livestream_response::Control;
        let step = match &message.control {
            Some(Control::Reset(_)) => Step::Reset,
            Some(Control::SnapshotComplete(_)) => Step::Complete,
            Some(Control::Roster(_) | Control::Heartbeat(_) | Control::Goodbye(_)) => Step::Nothing,
            None => Step::Event,
        };
        self.note(message.epoch, message.revision, step);
        !matches!(message.control, Some(Control::Heartbeat(_)))
    }

    /// Notes a message; false when it says nothing but that the watch lives.
    pub(super) fn group(&mut self, message: &group::WatchGroupResponse) -> bool {
        use group::watch_group_response::Control;
        let step = match &message.control {
            Some(Control::Reset(_)) => Step::Reset,
            Some(Control::SnapshotComplete(_)) => Step::Complete,
            Some(Control::Roster(_) | Control::Heartbeat(_) | Control::Goodbye(_)) => Step::Nothing,
            None => Step::Event,
        };
        self.note(message.epoch, message.revision, step);
        !matches!(message.control, Some(Control::Heartbeat(_)))
    }

    fn note(&mut self, epoch: u64, revision: u64, step: Step) {
        match step {
            Step::Reset => *self = Self { position: None, in_roster: true },
            Step::Complete => self.in_roster = false,
            Step::Event => {}
            Step::Nothing => return,
        }
        if !self.in_roster {
            self.position = Some(EventPosition { epoch, revision });
        }
    }
}

impl SetFold {
    pub(super) fn position(&self) -> Option<SetPosition> {
        let shards = self.shards.iter().map(|(&shard, &revision)| ShardPosition { shard, revision }).collect();
        (!self.shards.is_empty()).then_some(SetPosition { epoch: self.epoch, shards })
    }

    /// Notes a message; false when it is about the watch, and not about a swarm.
    pub(super) fn livestreams(&mut self, message: &livestream::WatchLivestreamsResponse) -> bool {
        use livestream::watch_livestreams_response::Event;
        let step = match &message.event {
            Some(Event::Reset(_)) => Step::Reset,
            Some(Event::SnapshotComplete(_)) => Step::Complete,
            Some(Event::Livestream(_) | Event::Removed(_)) => Step::Event,
            Some(Event::Heartbeat(_) | Event::Goodbye(_)) | None => Step::Nothing,
        };
        self.note(message.epoch, message.shard, message.revision, step);
        match &message.event {
            Some(Event::Heartbeat(_) | Event::SnapshotComplete(_)) => false,
            Some(Event::Reset(reset)) => reset.reason() != ResetReason::Fresh,
            _ => true,
        }
    }

    /// Notes a message; false when it is about the watch, and not about a swarm.
    pub(super) fn groups(&mut self, message: &group::WatchGroupsResponse) -> bool {
        use group::watch_groups_response::Event;
        let step = match &message.event {
            Some(Event::Reset(_)) => Step::Reset,
            Some(Event::SnapshotComplete(_)) => Step::Complete,
            Some(Event::Group(_) | Event::Removed(_)) => Step::Event,
            Some(Event::Heartbeat(_) | Event::Goodbye(_)) | None => Step::Nothing,
        };
        self.note(message.epoch, message.shard, message.revision, step);
        match &message.event {
            Some(Event::Heartbeat(_) | Event::SnapshotComplete(_)) => false,
            Some(Event::Reset(reset)) => reset.reason() != ResetReason::Fresh,
            _ => true,
        }
    }

    fn note(&mut self, epoch: u64, shard: u32, revision: u64, step: Step) {
        if step == Step::Nothing {
            return;
        }
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
        match step {
            Step::Reset => {
                self.shards.remove(&shard);
                self.in_snapshot.insert(shard);
            }
            Step::Complete => {
                self.in_snapshot.remove(&shard);
                self.shards.insert(shard, revision);
            }
            Step::Event if !self.in_snapshot.contains(&shard) => drop(self.shards.insert(shard, revision)),
            Step::Event | Step::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_has_no_position_until_it_is_complete() {
        let mut fold = SwarmFold::from(Some(EventPosition { epoch: 1, revision: 4 }));
        let at = |epoch, revision| Some(EventPosition { epoch, revision });
        fold.note(1, 5, Step::Event);
        assert_eq!(fold.position(), at(1, 5));
        fold.note(1, 9, Step::Nothing);
        assert_eq!(fold.position(), at(1, 5), "only events count");
        fold.note(2, 7, Step::Reset);
        fold.note(2, 7, Step::Event);
        assert_eq!(fold.position(), None);
        fold.note(2, 8, Step::Complete);
        assert_eq!(fold.position(), at(2, 8));
    }

    #[test]
    fn each_shard_of_a_set_has_its_own_position() {
        let mut fold = SetFold::default();
        fold.note(1, 0, 3, Step::Reset);
        fold.note(1, 0, 3, Step::Event);
        fold.note(1, 1, 0, Step::Nothing);
        assert_eq!(fold.position(), None);
        fold.note(1, 0, 3, Step::Complete);
        fold.note(1, 2, 5, Step::Event);
        let shard = |shard, revision| ShardPosition { shard, revision };
        assert_eq!(fold.position(), Some(SetPosition { epoch: 1, shards: vec![shard(0, 3), shard(2, 5)] }));
        fold.note(1, 2, 9, Step::Reset);
        assert_eq!(fold.position().unwrap().shards, [shard(0, 3)]);
        fold.note(2, 7, 1, Step::Event);
        assert_eq!(fold.position(), Some(SetPosition { epoch: 2, shards: vec![shard(7, 1)] }), "another epoch");
    }
}
