//! Where a watch has come to, so that it resumes there.

use std::collections::BTreeMap;

use bytes::Bytes;

use starling_client::pb::swarm::v1::{EventPosition, PartitionPosition, SetInSync, SetOpened, SetPosition};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};

/// The position of a watch of one swarm. Within a roster there is none: whoever is cut off there begins anew.
#[derive(Debug, Default)]
pub(super) struct SwarmFold {
    position: Option<EventPosition>,
    in_roster: bool,
}

/// The position of a watch of a set of swarms, which has an order in each partition.
#[derive(Debug, Default)]
pub(super) struct SetFold {
    epoch: u64,
    partitions: BTreeMap<u32, Bytes>,
}

/// What a message means for the position of a swarm.
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

macro_rules! note_swarm {
    ($name:ident, $message:ty, $Event:path) => {
        /// Notes a message; false when it says nothing but that the watch lives.
        pub(super) fn $name(&mut self, message: &$message) -> bool {
            use $Event as Event;
            let step = match &message.event {
                Some(Event::Reset(_)) => Step::Reset,
                Some(Event::SnapshotComplete(_)) => Step::Complete,
                Some(Event::Roster(_) | Event::Heartbeat(_) | Event::Goodbye(_)) => Step::Nothing,
                // What is not known yet has its revision all the same.
                Some(Event::Batch(_)) | None => Step::Event,
            };
            self.note(message.epoch, message.revision, step);
            !matches!(message.event, Some(Event::Heartbeat(_)))
        }
    };
}

impl SwarmFold {
    pub(super) const fn position(&self) -> Option<EventPosition> {
        self.position
    }

    note_swarm!(livestream, livestream::WatchLivestreamResponse, livestream::watch_livestream_response::Event);
    note_swarm!(group, group::WatchGroupResponse, group::watch_group_response::Event);

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

macro_rules! note_set {
    ($name:ident, $message:ty, $Event:path) => {
        /// Notes a message; false when it is about the watch, and not about a swarm.
        pub(super) fn $name(&mut self, message: &$message) -> bool {
            use $Event as Event;
            match &message.event {
                Some(Event::Opened(opened)) => {
                    self.open(message.epoch, opened);
                    false
                }
                Some(Event::InSync(in_sync)) => {
                    self.sync(in_sync);
                    false
                }
                Some(Event::Reset(_)) => {
                    self.partitions.remove(&message.partition);
                    true
                }
                event => {
                    self.reach(message.partition, &message.position);
                    !matches!(event, Some(Event::Heartbeat(_)))
                }
            }
        }
    };
}

impl SetFold {
    pub(super) fn position(&self) -> Option<SetPosition> {
        let partitions = self.partitions.iter();
        let partitions =
            partitions.map(|(&partition, position)| PartitionPosition { partition, position: position.clone() });
        (!self.partitions.is_empty()).then(|| SetPosition { epoch: self.epoch, partitions: partitions.collect() })
    }

    note_set!(livestreams, livestream::WatchLivestreamsResponse, livestream::watch_livestreams_response::Event);
    note_set!(groups, group::WatchGroupsResponse, group::watch_groups_response::Event);

    fn open(&mut self, epoch: u64, opened: &SetOpened) {
        if self.epoch != epoch {
            *self = Self { epoch, ..Self::default() };
        }
        for reset in &opened.resets {
            self.partitions.remove(&reset.partition);
        }
    }

    fn sync(&mut self, in_sync: &SetInSync) {
        for PartitionPosition { partition, position } in &in_sync.positions {
            self.reach(*partition, position);
        }
    }

    fn reach(&mut self, partition: u32, position: &Bytes) {
        if !position.is_empty() {
            self.partitions.insert(partition, position.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_client::pb::swarm::v1::PartitionReset;

    #[test]
    fn roster_has_no_position_until_complete() {
        let mut fold = SwarmFold::from(Some(EventPosition { epoch: 1, revision: 4 }));
        let at = |epoch, revision| Some(EventPosition { epoch, revision });
        fold.note(1, 5, Step::Event);
        assert_eq!(fold.position(), at(1, 5));
        fold.note(1, 9, Step::Nothing);
        assert_eq!(fold.position(), at(1, 5), "only events count");
        // One that is not known counts as well.
        let unknown = livestream::WatchLivestreamResponse { epoch: 1, revision: 6, event: None };
        assert!(fold.livestream(&unknown));
        assert_eq!(fold.position(), at(1, 6));
        fold.note(2, 7, Step::Reset);
        fold.note(2, 7, Step::Event);
        assert_eq!(fold.position(), None);
        fold.note(2, 8, Step::Complete);
        assert_eq!(fold.position(), at(2, 8));
    }

    #[test]
    fn each_partition_has_its_own_position() {
        let at = |partition, position| PartitionPosition { partition, position: Bytes::from_static(position) };
        let resets = |partitions: &[u32]| SetOpened {
            partitions: 3,
            resets: partitions.iter().map(|&partition| PartitionReset { partition, reason: 1 }).collect(),
        };
        let mut fold = SetFold::default();
        fold.open(1, &resets(&[1, 2, 3]));
        fold.reach(1, &Bytes::new());
        assert_eq!(fold.position(), None, "it is not told as a whole");
        fold.reach(2, &Bytes::from_static(b"b"));
        assert_eq!(fold.position(), Some(SetPosition { epoch: 1, partitions: vec![at(2, b"b")] }));
        fold.sync(&SetInSync { positions: vec![at(1, b"a"), at(2, b"b"), at(3, b"c")] });
        // What is not known has moved its partition as well.
        let unknown =
            group::WatchGroupsResponse { epoch: 1, partition: 3, position: Bytes::from_static(b"d"), event: None };
        assert!(fold.groups(&unknown));
        let all = vec![at(1, b"a"), at(2, b"b"), at(3, b"d")];
        assert_eq!(fold.position().unwrap().partitions, all);
        fold.open(1, &resets(&[2]));
        assert_eq!(fold.position().unwrap().partitions, [at(1, b"a"), at(3, b"d")]);
        fold.open(2, &resets(&[1, 2, 3]));
        assert_eq!(fold.position(), None, "another epoch");
    }
}
