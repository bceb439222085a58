//! How far a subscriber is, and so where it resumes.

use std::collections::BTreeMap;

use crate::pb::swarm::v1::{Point, Position, ResumePoint, delivery::Item};

/// The epoch and, for each source and channel, the last point that was delivered or
/// declared lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    epoch: u64,
    /// By source node and channel.
    points: BTreeMap<(u64, i32), Point>,
}

impl Progress {
    /// Takes note of an item, in the order of the stream.
    pub fn note(&mut self, item: &Item) {
        match item {
            Item::Subscribed(subscribed) => {
                if self.epoch != subscribed.epoch {
                    // Positions of another epoch mean nothing.
                    *self = Self { epoch: subscribed.epoch, points: BTreeMap::new() };
                }
                let waiting = &subscribed.waiting_for_keyframe;
                for position in &subscribed.positions {
                    // What waits for its keyframe would resume behind it, in the middle of a run:
                    // left out, it starts anew.
                    let waits = waiting.iter().any(|channel| {
                        (channel.source_node_id, channel.channel) == (position.source_node_id, position.channel)
                    });
                    if !waits {
                        self.reach(position);
                    }
                }
            }
            Item::Update(update) => {
                if let Some(position) = &update.position {
                    self.reach(position);
                }
            }
            Item::Gap(gap) => {
                if let Some(Point { term, sequence }) = gap.before
                    && let Some(sequence) = sequence.checked_sub(1)
                {
                    self.points.insert((gap.source_node_id, gap.channel), Point { term, sequence });
                }
            }
            Item::Filter(_) | Item::Heartbeat(_) | Item::Goodbye(_) => {}
        }
    }

    fn reach(&mut self, position: &Position) {
        let Position { source_node_id, channel, term, sequence } = *position;
        self.points.insert((source_node_id, channel), Point { term, sequence });
    }

    /// Where to resume; `None` before the first item.
    pub fn resume_point(&self) -> Option<ResumePoint> {
        let positions = self.points.iter().map(|(&(source_node_id, channel), &Point { term, sequence })| Position {
            source_node_id,
            channel,
            term,
            sequence,
        });
        (self.epoch != 0).then(|| ResumePoint { epoch: self.epoch, positions: positions.collect() })
    }
}

impl From<ResumePoint> for Progress {
    fn from(point: ResumePoint) -> Self {
        let mut progress = Self { epoch: point.epoch, points: BTreeMap::new() };
        for position in &point.positions {
            progress.reach(position);
        }
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::swarm::v1::{Gap, SourceChannel, Subscribed, Update};

    const VISUAL: i32 = 1;
    const AUDIO: i32 = 2;

    fn at(channel: i32, term: u64, sequence: u64) -> Position {
        Position { source_node_id: 1, channel, term, sequence }
    }

    fn subscribed(epoch: u64, positions: Vec<Position>) -> Item {
        Item::Subscribed(Subscribed { epoch, positions, ..Default::default() })
    }

    fn update(channel: i32, term: u64, sequence: u64) -> Item {
        Item::Update(Update { position: Some(at(channel, term, sequence)), ..Default::default() })
    }

    fn gap(channel: i32, before: Option<Point>) -> Item {
        Item::Gap(Gap { source_node_id: 1, channel, before, ..Default::default() })
    }

    fn after(items: &[Item]) -> Option<ResumePoint> {
        let mut progress = Progress::default();
        items.iter().for_each(|item| progress.note(item));
        assert_eq!(progress.resume_point().map(Progress::from), (progress.epoch != 0).then_some(progress.clone()));
        progress.resume_point()
    }

    #[test]
    fn it_resumes_after_the_last_update_of_each_channel() {
        assert_eq!(after(&[]), None);
        let items = [
            subscribed(9, vec![at(VISUAL, 2, 4), at(AUDIO, 2, 0)]),
            update(VISUAL, 2, 5),
            update(AUDIO, 2, 1),
            update(VISUAL, 3, 1),
        ];
        assert_eq!(
            after(&items[..1]),
            Some(ResumePoint { epoch: 9, positions: vec![at(VISUAL, 2, 4), at(AUDIO, 2, 0)] })
        );
        assert_eq!(after(&items), Some(ResumePoint { epoch: 9, positions: vec![at(VISUAL, 3, 1), at(AUDIO, 2, 1)] }));
    }

    #[test]
    fn what_was_declared_lost_is_not_asked_for_again() {
        let begin = [subscribed(9, vec![at(VISUAL, 2, 4)]), update(VISUAL, 2, 5)];
        let with = |gap: Item| after(&[&begin[..], &[gap]].concat()).unwrap().positions;
        assert_eq!(with(gap(VISUAL, Some(Point { term: 2, sequence: 50 }))), [at(VISUAL, 2, 49)]);
        assert_eq!(with(gap(VISUAL, Some(Point { term: 3, sequence: 1 }))), [at(VISUAL, 3, 0)]);
        assert_eq!(with(gap(VISUAL, Some(Point { term: 3, sequence: 0 }))), [at(VISUAL, 2, 5)], "nothing precedes 0");
        assert_eq!(with(gap(VISUAL, None)), [at(VISUAL, 2, 5)], "its end is not known yet");
    }

    #[test]
    fn another_epoch_makes_it_forget() {
        let items = [subscribed(9, vec![at(AUDIO, 2, 4)]), subscribed(10, vec![at(VISUAL, 1, 0)])];
        assert_eq!(after(&items), Some(ResumePoint { epoch: 10, positions: vec![at(VISUAL, 1, 0)] }));
        let items = [subscribed(9, vec![at(AUDIO, 2, 4)]), subscribed(9, vec![at(VISUAL, 1, 0)])];
        assert_eq!(after(&items).unwrap().positions.len(), 2, "the same epoch does not");
    }

    #[test]
    fn what_waits_for_a_keyframe_starts_anew() {
        let items = [Item::Subscribed(Subscribed {
            epoch: 9,
            positions: vec![at(VISUAL, 2, 4), at(AUDIO, 2, 4)],
            waiting_for_keyframe: vec![SourceChannel { source_node_id: 1, channel: VISUAL }],
            ..Default::default()
        })];
        assert_eq!(after(&items).unwrap().positions, [at(AUDIO, 2, 4)]);
    }
}
