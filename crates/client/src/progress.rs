//! How far a subscriber is, and so where it resumes.

use std::collections::BTreeMap;

use crate::pb::swarm::v1::{Gap, GapReason, SubscriptionPosition, TermSequence, UpdatePosition, delivery::Item};

/// One order of updates: source, channel and track.
type Lane = (u64, i32, u32);

const fn lane_of(position: &UpdatePosition) -> Lane {
    (position.source_node_id, position.channel, position.track)
}

/// The epoch and, for each source and channel, the last point that was delivered or
/// declared lost, and the gap whose end is not known yet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    epoch: u64,
    /// By source node and channel.
    points: BTreeMap<Lane, TermSequence>,
    open_gaps: BTreeMap<Lane, Gap>,
}

impl Progress {
    /// Takes note of an item, in the order of the stream.
    pub fn note(&mut self, item: &Item) {
        match item {
            Item::Subscribed(subscribed) => {
                if self.epoch != subscribed.epoch {
                    // Positions of another epoch mean nothing.
                    *self = Self { epoch: subscribed.epoch, ..Self::default() };
                }
                let waiting = &subscribed.waiting_for_keyframe;
                for position in &subscribed.positions {
                    // What waits for its keyframe would resume behind it, in the middle of a run:
                    // left out, it starts anew.
                    let waits = waiting
                        .iter()
                        .any(|channel| (channel.source_node_id, channel.channel, channel.track) == lane_of(position));
                    if !waits {
                        // It goes on from here, whatever was told before.
                        self.open_gaps.remove(&lane_of(position));
                        self.reach(position);
                    }
                }
            }
            Item::Update(update) => {
                if let Some(position) = &update.position {
                    self.open_gaps.remove(&lane_of(position));
                    self.reach(position);
                }
            }
            Item::Gap(gap) => {
                let lane = (gap.source_node_id, gap.channel, gap.track);
                let Some(TermSequence { term, sequence }) = gap.before else {
                    if matches!(gap.reason(), GapReason::EpochChanged | GapReason::UnknownPosition) {
                        // The server does not know the position.
                        self.points.remove(&lane);
                    }
                    self.open_gaps.insert(lane, *gap);
                    return;
                };
                self.open_gaps.remove(&lane);
                if let Some(sequence) = sequence.checked_sub(1) {
                    self.points.insert(lane, TermSequence { term, sequence });
                }
            }
            Item::Filter(_) | Item::Heartbeat(_) | Item::Goodbye(_) => {}
        }
    }

    fn reach(&mut self, position: &UpdatePosition) {
        let UpdatePosition { term, sequence, .. } = *position;
        self.points.insert(lane_of(position), TermSequence { term, sequence });
    }

    /// Where to resume; `None` before the first item.
    pub fn resume_point(&self) -> Option<SubscriptionPosition> {
        let positions = self.points.iter().map(|(&lane, &TermSequence { term, sequence })| {
            let (source_node_id, channel, track) = lane;
            UpdatePosition { source_node_id, channel, term, sequence, track }
        });
        let open_gaps = self.open_gaps.values().copied().collect();
        (self.epoch != 0).then(|| SubscriptionPosition { epoch: self.epoch, positions: positions.collect(), open_gaps })
    }

    /// True when nothing beyond this was published: every one of these positions is reached,
    /// of the same epoch.
    pub fn has_reached(&self, epoch: u64, positions: &[UpdatePosition]) -> bool {
        let reached = |position: &UpdatePosition| {
            let point = self.points.get(&lane_of(position));
            point.is_some_and(|point| (point.term, point.sequence) >= (position.term, position.sequence))
        };
        self.epoch == epoch && positions.iter().all(reached)
    }
}

impl From<SubscriptionPosition> for Progress {
    fn from(point: SubscriptionPosition) -> Self {
        let mut progress = Self { epoch: point.epoch, ..Self::default() };
        for position in &point.positions {
            progress.reach(position);
        }
        for gap in point.open_gaps {
            progress.open_gaps.insert((gap.source_node_id, gap.channel, gap.track), gap);
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

    fn at(channel: i32, term: u64, sequence: u64) -> UpdatePosition {
        UpdatePosition { source_node_id: 1, channel, term, sequence, track: 0 }
    }

    fn subscribed(epoch: u64, positions: Vec<UpdatePosition>) -> Item {
        Item::Subscribed(Subscribed { epoch, positions, ..Default::default() })
    }

    fn update(channel: i32, term: u64, sequence: u64) -> Item {
        Item::Update(Update { position: Some(at(channel, term, sequence)), ..Default::default() })
    }

    fn gap(channel: i32, before: Option<TermSequence>) -> Item {
        Item::Gap(Gap { source_node_id: 1, channel, before, ..Default::default() })
    }

    fn after(items: &[Item]) -> Option<SubscriptionPosition> {
        let mut progress = Progress::default();
        items.iter().for_each(|item| progress.note(item));
        assert_eq!(progress.resume_point().map(Progress::from), (progress.epoch != 0).then_some(progress.clone()));
        progress.resume_point()
    }

    #[test]
    fn resume_follows_the_last_update_per_channel() {
        assert_eq!(after(&[]), None);
        let items = [
            subscribed(9, vec![at(VISUAL, 2, 4), at(AUDIO, 2, 0)]),
            update(VISUAL, 2, 5),
            update(AUDIO, 2, 1),
            update(VISUAL, 3, 1),
        ];
        assert_eq!(
            after(&items[..1]),
            Some(SubscriptionPosition {
                epoch: 9,
                positions: vec![at(VISUAL, 2, 4), at(AUDIO, 2, 0)],
                open_gaps: vec![]
            })
        );
        let positions = vec![at(VISUAL, 3, 1), at(AUDIO, 2, 1)];
        assert_eq!(after(&items), Some(SubscriptionPosition { epoch: 9, positions, open_gaps: vec![] }));
    }

    #[test]
    fn declared_loss_is_not_requested_again() {
        let begin = [subscribed(9, vec![at(VISUAL, 2, 4)]), update(VISUAL, 2, 5)];
        let with = |gap: Item| after(&[&begin[..], &[gap]].concat()).unwrap().positions;
        assert_eq!(with(gap(VISUAL, Some(TermSequence { term: 2, sequence: 50 }))), [at(VISUAL, 2, 49)]);
        assert_eq!(with(gap(VISUAL, Some(TermSequence { term: 3, sequence: 1 }))), [at(VISUAL, 3, 0)]);
        assert_eq!(
            with(gap(VISUAL, Some(TermSequence { term: 3, sequence: 0 }))),
            [at(VISUAL, 2, 5)],
            "nothing precedes 0"
        );
        assert_eq!(with(gap(VISUAL, None)), [at(VISUAL, 2, 5)], "its end is not known yet");
    }

    #[test]
    fn an_open_gap_is_named_until_it_ends() {
        let open = Gap {
            source_node_id: 1,
            channel: VISUAL,
            after: Some(TermSequence { term: 2, sequence: 5 }),
            ..Gap::default()
        };
        let items = [subscribed(9, vec![at(VISUAL, 2, 4)]), update(VISUAL, 2, 5), Item::Gap(open)];
        let resume = after(&items).unwrap();
        assert_eq!((resume.positions, resume.open_gaps), (vec![at(VISUAL, 2, 5)], vec![open]));
        for end in
            [gap(VISUAL, Some(TermSequence { term: 3, sequence: 7 })), update(VISUAL, 3, 7), subscribed(10, vec![])]
        {
            assert_eq!(after(&[&items[..], &[end]].concat()).unwrap().open_gaps, []);
        }
    }

    #[test]
    fn reaching_all_last_positions_means_complete() {
        let mut progress = Progress::default();
        [subscribed(9, vec![at(VISUAL, 2, 4), at(AUDIO, 2, 3)]), update(VISUAL, 2, 5)]
            .iter()
            .for_each(|item| progress.note(item));
        assert!(progress.has_reached(9, &[at(VISUAL, 2, 5), at(AUDIO, 2, 3)]));
        assert!(progress.has_reached(9, &[]));
        assert!(!progress.has_reached(9, &[at(VISUAL, 2, 6)]));
        assert!(!progress.has_reached(9, &[at(3, 1, 1)]), "nothing of it came");
        assert!(!progress.has_reached(8, &[at(VISUAL, 2, 5)]));
    }

    #[test]
    fn new_epoch_resets_the_progress() {
        let items = [subscribed(9, vec![at(AUDIO, 2, 4)]), subscribed(10, vec![at(VISUAL, 1, 0)])];
        assert_eq!(
            after(&items),
            Some(SubscriptionPosition { epoch: 10, positions: vec![at(VISUAL, 1, 0)], open_gaps: vec![] })
        );
        let items = [subscribed(9, vec![at(AUDIO, 2, 4)]), subscribed(9, vec![at(VISUAL, 1, 0)])];
        assert_eq!(after(&items).unwrap().positions.len(), 2, "the same epoch does not");
    }

    #[test]
    fn lane_awaiting_keyframe_has_no_resume_position() {
        let items = [Item::Subscribed(Subscribed {
            epoch: 9,
            positions: vec![at(VISUAL, 2, 4), at(AUDIO, 2, 4)],
            waiting_for_keyframe: vec![SourceChannel { source_node_id: 1, channel: VISUAL, track: 0 }],
            ..Default::default()
        })];
        assert_eq!(after(&items).unwrap().positions, [at(AUDIO, 2, 4)]);
    }
}
