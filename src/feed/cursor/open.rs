//! Where a subscription begins on each lane: anew, or where an earlier one stopped.

use super::lane_cursor::LaneCursor;
use super::lane_state::{LaneState, Loss};
use super::state::CursorState;
use crate::feed::delivery::{Delivery, FilterChange};
use crate::feed::gap::{Gap, GapReason};
use crate::feed::lane::{Lane, Lanes};
use crate::feed::position::{LaneId, Position, TermSeq};
use crate::feed::ring::Ring;
use crate::feed::state::State;
use starling_core::channel::Channel;
use starling_core::id::{NO_HOME, NodeId, PodId};
use starling_core::interest::Interests;
use starling_core::propagation::Filter;
use starling_core::steps::count;

/// Where a subscription begins when it does not resume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the newest keyframe; at the next one when there is none.
    #[default]
    Keyframe,
    /// At the next update; VISUAL and SCREEN at the next keyframe.
    Live,
}

/// Where an earlier subscription stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resume {
    /// It belongs to this incarnation of the swarm; otherwise the positions say
    /// nothing.
    pub same_epoch: bool,
    /// The last position of each lane that had one.
    pub positions: Vec<Position>,
    /// Gaps that were open then: they are told again only with their end.
    pub open_gaps: Vec<Gap>,
}

impl Resume {
    /// Why one of its positions is of no use. `elsewhere`: the lane is published at another pod, and this one may lack what
    /// was read there.
    const fn reason(&self, elsewhere: bool) -> GapReason {
        match (self.same_epoch, elsewhere) {
            (false, _) => GapReason::EpochChanged,
            (true, true) => GapReason::Upstream,
            (true, false) => GapReason::UnknownPosition,
        }
    }

    /// Puts everything in the order of lanes, by which it is found.
    pub(super) fn sort(&mut self) {
        count(self.positions.len() + self.open_gaps.len());
        // Stable: of several for one lane the first one counts.
        self.positions.sort_by_key(|position| (position.source, position.channel));
        self.open_gaps.sort_by_key(|gap| gap.lane);
    }

    /// The last position on a lane, if it is given. O(log positions).
    fn position(&self, lane: LaneId) -> Option<&Position> {
        let of = |position: &Position| (position.source, position.channel);
        let at = self.positions.partition_point(|position| of(position) < lane);
        self.positions.get(at).filter(|position| of(position) == lane)
    }

    /// The gap that is open on a lane. O(log gaps).
    fn open_gap(&self, lane: LaneId) -> Option<&Gap> {
        let at = self.open_gaps.partition_point(|gap| gap.lane < lane);
        self.open_gaps.get(at).filter(|gap| gap.lane == lane && self.same_epoch)
    }
}

/// Where a subscription is to begin.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// Sources that are expected to publish, though they may not have yet.
    pub expected: Vec<NodeId>,
    /// Where to begin.
    pub start: Start,
    /// Where an earlier one stopped.
    pub resume: Option<Resume>,
}

/// Where a subscription begins, as it turned out.
#[derive(Clone, Debug, Default)]
pub struct Greeting {
    /// Before the first update to come, of each lane that does not wait.
    pub positions: Vec<Position>,
    /// What passes, on each lane.
    pub filters: Vec<FilterChange>,
    /// Lanes that wait for a keyframe.
    pub waiting: Vec<LaneId>,
}

/// What opening has at hand: parts of the feed, which is locked meanwhile, what was asked for, and
/// the answer.
struct Begin<'a> {
    ring: &'a Ring,
    lanes: &'a mut Lanes,
    interests: &'a Interests,
    start: Start,
    resume: Option<&'a Resume>,
    /// This pod, if updates of others are taken.
    own: PodId,
    greeting: Greeting,
}

impl CursorState {
    /// Finds the place of a new subscription in the ring. O(lanes * log records).
    pub(super) fn open(
        &mut self,
        state: &mut State,
        interests: &Interests,
        start: Start,
        resume: Option<&Resume>,
    ) -> Greeting {
        let State { ring, lanes, own, .. } = state;
        // Nothing of the ring, until a lane starts further back.
        self.next = ring.end();
        let greeting = Greeting::default();
        let mut begin = Begin { ring, lanes, interests, start, resume, own: *own, greeting };
        // Sound begins with the picture of its source: it comes after.
        let sound = |slot: &usize| begin.lanes.at(*slot).id.1 == Channel::Audio;
        let (late, early): (Vec<_>, Vec<_>) = (0..begin.lanes.len()).partition(sound);
        for slot in early.into_iter().chain(late) {
            self.begin_lane(slot, &mut begin);
        }
        self.refuse_unknown(&begin);
        let mut greeting = begin.greeting;
        greeting.positions.sort_unstable_by_key(|position| (position.source, position.channel));
        greeting.filters.sort_unstable_by_key(|filter| filter.lane);
        greeting.waiting.sort_unstable();
        greeting
    }

    fn begin_lane(&mut self, slot: usize, begin: &mut Begin<'_>) {
        let lane = begin.lanes.at(slot);
        let wanted = self.subscriber.selection.contains(lane.id);
        let mut cursor = LaneCursor::new(lane, begin.interests.level(lane.id.0, lane.id.1), wanted);
        // At the newest one, until something older is found to start from.
        (cursor.last, cursor.tally) = (lane.head, Some(lane.tally));
        let given = begin.resume.and_then(|resume| resume.position(lane.id));
        // A position counts if the lane has come so far. One before the first update of a term
        // (sequence 0) need not be on the lane: a grant leaves no update. Nor need one of a term that lasts or
        // lasted at another pod: what was read there may not be here.
        let is_ours = |term| begin.own == NO_HOME || term == lane.term && lane.home == begin.own;
        let known = given.filter(|given| {
            let may_be = given.term <= lane.newest_term && (given.sequence == 0 || !is_ours(given.term));
            begin.resume.is_some_and(|resume| resume.same_epoch) && (lane.head >= Some(given.point()) || may_be)
        });
        if wanted {
            let (lane, interest, layers) = (lane.id, cursor.interest, lane.layers);
            begin.greeting.filters.push(FilterChange { lane, interest, layers });
        }
        match cursor.state {
            LaneState::Unwanted => {}
            // What came before does not come again with the interest.
            LaneState::Silent => cursor.delivered = known.map(Position::point),
            LaneState::Live | LaneState::AwaitingKeyframe { .. } | LaneState::Broken { .. } => match known {
                Some(known) => {
                    self.resume_at(slot, &mut cursor, known.point(), begin);
                    begin.greeting.positions.push(*known);
                }
                None => self.start_at(slot, &mut cursor, given.is_some(), begin),
            },
        }
        *self.lane_cursor(slot) = Some(cursor);
    }

    /// Starts a lane anew. `refused`: the position that was given for it is of no use.
    fn start_at(&mut self, slot: usize, cursor: &mut LaneCursor, refused: bool, begin: &mut Begin<'_>) {
        let (ring, resume, key) = (begin.ring, begin.resume, cursor.lane);
        let lane = begin.lanes.at(slot);
        let open_gap = resume.and_then(|resume| resume.open_gap(key));
        let elsewhere = lane.is_elsewhere(begin.own);
        // Whoever had something of the lane gets the keyframe also with `Start::Live`.
        let from = self.start_of(lane, refused || begin.start == Start::Keyframe, begin);
        let first = from.and_then(|number| ring.get(number));
        if let Some((number, record)) = from.zip(first) {
            cursor.continue_at(record);
            self.next = self.next.min(number);
        }
        // A gap that is open stays so until what ends it is delivered.
        let named = open_gap.is_some_and(|gap| !refused || resume.is_some_and(|r| r.reason(elsewhere) == gap.reason));
        let waits = cursor.has_runs() && (first.is_none() || named);
        let next = first.map(|record| record.position.point()).or_else(|| (!waits).then(|| lane.next()));
        let next = next.filter(|(term, _)| !waits && (*term != 0 || key.0.is_none()));
        if let Some((term, sequence)) = next {
            let position = Position { source: key.0, channel: key.1, term, sequence: sequence - 1 };
            begin.greeting.positions.push(position);
        }
        let loss = if refused {
            resume.map(|resume| (None, resume.reason(elsewhere)))
        } else {
            open_gap.map(|gap| (gap.after, gap.reason))
        };
        // A gap that the subscriber has named is told again only with its end.
        if let Some((after, reason)) = loss.filter(|_| next.is_some() || !named) {
            let gap = Gap { lane: key, after, before: next, reason, count: None };
            self.opening.push(Delivery::Gap(gap));
        }
        if waits {
            begin.greeting.waiting.push(key);
            match loss {
                Some((after, reason)) => {
                    // Nothing was lost after all when the lane starts right there.
                    let lost = first.filter(|first| after >= first.previous()).map(|_| 0);
                    let tally = first.map_or(lane.tally, |first| first.tally);
                    cursor.state.on_run_lost(Loss { reason, after, lost, tally, counted: 0 });
                }
                None => cursor.state.on_no_keyframe(),
            }
            // With `first` the keyframe is in the ring: nobody need be asked.
            if first.is_none() {
                cursor.state.request_keyframe(&mut begin.lanes.at_mut(slot).requests);
            }
        }
    }

    /// Number of the record at which a lane starts; `None` = live.
    fn start_of(&self, lane: &Lane, keyframes: bool, begin: &Begin<'_>) -> Option<u64> {
        let Begin { ring, lanes, .. } = begin;
        match lane.id {
            (_, Channel::Visual | Channel::Screen | Channel::Data) if keyframes => lane.run,
            (source, Channel::Audio) => {
                let pictures = [Channel::Visual, Channel::Screen].into_iter();
                let oldest = pictures
                    .filter_map(|channel| {
                        let slot = lanes.find((source, channel))?;
                        let cursor = self.cursors.get(slot)?.as_ref()?;
                        let starts = matches!(cursor.state, LaneState::Live);
                        let run = lanes.at(slot).run.filter(|_| starts && keyframes)?;
                        // Only where the picture starts at its keyframe: after a resume it goes on
                        // elsewhere, and so does the sound.
                        (ring.get(run)?.previous() == cursor.last).then_some(run)
                    })
                    .min()?;
                lane.first_from(oldest)
            }
            _ => None,
        }
    }

    /// Goes on after a point.
    fn resume_at(&mut self, slot: usize, cursor: &mut LaneCursor, at: TermSeq, begin: &mut Begin<'_>) {
        let (ring, lane) = (begin.ring, begin.lanes.at(slot));
        let open_gap = begin.resume.and_then(|resume| resume.open_gap(cursor.lane));
        let first = lane.first_that(|number| ring.get(number).is_some_and(|record| record.position.point() > at));
        (cursor.last, cursor.delivered) = (Some(at), Some(at));
        let one_of_several = begin.own != NO_HOME;
        // `counted`: what the lane had carried where the reader goes on.
        let (gone, counted) = match first.and_then(|number| Some((number, ring.get(number)?))) {
            Some((number, record)) => {
                // A point alone does not say what the lane had carried with it: that is known only
                // when the record after it is there.
                // Nor does the first record of a lane that was elsewhere before.
                let is_first = one_of_several && record.previous().is_none();
                let nothing_before = at.1 == 0 && !is_first && record.previous() < Some(at);
                let nothing_between = record.previous() == Some(at) || nothing_before;
                cursor.tally = nothing_between.then_some(record.tally);
                cursor.from_elsewhere = is_first;
                self.next = self.next.min(number);
                (false, record.tally)
            }
            None => {
                // What is not here yet is not counted here either.
                cursor.from_elsewhere = one_of_several && lane.head < Some(at);
                cursor.tally = (!cursor.from_elsewhere).then_some(lane.tally);
                (lane.head > Some(at), lane.tally)
            }
        };
        if let Some(gap) = open_gap.filter(|_| cursor.has_runs()) {
            // It goes on where the reader stopped, or with all that has gone since.
            let lost = cursor.tally.filter(|_| !gone).map(|_| 0);
            // From where it is: the filter may be another one now, and what it left out then is
            // lost with the rest.
            let (reason, after, tally) = (gap.reason, Some(at), counted);
            cursor.state.on_run_lost(Loss { reason, after, lost, tally, counted: 0 });
            cursor.last = lane.head.filter(|_| gone).or(cursor.last);
        } else if gone {
            // Everything since is gone, and nothing may ever follow that would tell.
            let same = lane.head.filter(|(term, _)| *term == at.0);
            // Sequences count updates of all kinds, in one term: they say how many were lost only to
            // whoever gets everything.
            let lost = same.filter(|_| cursor.filter() == Filter::Everything).map(|(_, head)| head - at.1);
            let reason = if lane.lost_its_tail() { GapReason::Upstream } else { cursor.loss_before(lane.origin) };
            let mut gap = Gap { lane: cursor.lane, after: Some(at), before: None, reason, count: None };
            if cursor.has_runs() {
                let after = Some(at);
                cursor.state.on_run_lost(Loss { reason, after, lost, tally: lane.tally, counted: 0 });
            } else {
                (gap.before, gap.count) = (lane.head.map(|(term, sequence)| (term, sequence + 1)), lost);
            }
            self.opening.push(Delivery::Gap(gap));
            cursor.last = lane.head;
        }
        if cursor.state.awaits_keyframe() {
            begin.greeting.waiting.push(cursor.lane);
            // One after the point is ahead of the cursor, and is no more to be asked for.
            let run = lane.run.and_then(|run| ring.get(run));
            if run.is_none_or(|keyframe| keyframe.position.point() <= at) {
                cursor.state.request_keyframe(&mut begin.lanes.at_mut(slot).requests);
            }
        }
    }

    /// Positions on lanes that there never were.
    fn refuse_unknown(&mut self, begin: &Begin<'_>) {
        let Some(resume) = begin.resume else { return };
        // Sequence 0 claims to know no update.
        for position in resume.positions.iter().filter(|position| position.sequence > 0) {
            let key = (position.source, position.channel);
            let reason = resume.reason(false);
            let told = resume.open_gap(key).is_some_and(|gap| gap.reason == reason);
            if begin.lanes.find(key).is_none() && self.subscriber.selection.contains(key) && !told {
                let gap = Gap { lane: key, after: None, before: None, reason, count: None };
                self.opening.push(Delivery::Gap(gap));
            }
        }
    }
}
