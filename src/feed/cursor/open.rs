//! Where a subscription begins, and what a change of interest makes of it.

use std::sync::Arc;
use std::task::Waker;

use super::lane_cursor::{LaneCursor, LaneState, Loss};
use super::{Batch, Cursor, CursorState, Delivery, FilterChange, Gap, GapReason};
use crate::feed::lane::{Lane, Lanes};
use crate::feed::position::{LaneId, Position, TermSeq};
use crate::feed::ring::Ring;
use crate::feed::state::{Feed, State};
use crate::feed::subscriber::Selection;
use crate::feed::time::Micros;
use starling_core::id::NodeId;
use starling_core::interest::{Channel, Interest, Interests};
use starling_core::propagation::Filter;

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
    /// Why one of its positions is of no use.
    const fn reason(&self) -> GapReason {
        if self.same_epoch { GapReason::UnknownPosition } else { GapReason::EpochChanged }
    }

    /// The gap that is open on a lane.
    fn open_gap(&self, lane: LaneId) -> Option<&Gap> {
        self.open_gaps.iter().find(|gap| gap.lane == lane && self.same_epoch)
    }
}

/// What a subscription asks for.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Who, and which lanes.
    pub selection: Selection,
    /// What the reader wants now.
    pub interests: Interests,
    /// Sources that are expected to publish, though they may not have yet.
    pub expected: Vec<NodeId>,
    /// Where to begin.
    pub start: Start,
    /// Where an earlier one stopped.
    pub resume: Option<Resume>,
    /// Makes the subscription look for what is new.
    pub waker: Waker,
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

impl Cursor {
    /// A place in the ring for a new subscription. O(lanes).
    pub fn open(feed: &Arc<Feed>, opening: Opening, now: Micros) -> (Self, Greeting) {
        let Opening { selection, interests, expected, start, resume, waker } = opening;
        let subscriber = feed.subscribers.add(selection, interests.clone(), waker);
        feed.schedule.enter();
        let mut reader = CursorState {
            version: 0,
            class: subscriber.class(),
            next: u64::MAX,
            read_at: now,
            cursors: Vec::new(),
            caught_up: false,
            at_end: false,
            lapped: false,
            limits: feed.limits(),
            budget: None,
            resumed: resume.is_some(),
            opening: Vec::new(),
            subscriber,
        };
        reader.fill_budget(now);
        let mut greeting = Greeting::default();
        let mut state = feed.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        ring.expire(lanes, now);
        for source in expected {
            for channel in Channel::ALL {
                lanes.slot((Some(source).filter(|_| !feed.is_shared(channel)), channel));
            }
        }
        reader.next = ring.end();
        let keyframes = start == Start::Keyframe;
        // Sound begins with the picture of its source: it comes after.
        let sound = |lane: &Lane| lane.id.1 == Channel::Audio;
        let (late, early): (Vec<_>, Vec<_>) = (0..lanes.len()).partition(|slot| sound(lanes.at(*slot)));
        for slot in early.into_iter().chain(late) {
            reader.begin(ring, lanes, slot, &interests, keyframes, resume.as_ref(), &mut greeting);
        }
        reader.refuse_unknown(lanes, resume.as_ref());
        drop(state);
        feed.producers.notify_waiters();
        greeting.positions.sort_unstable_by_key(|position| (position.source, position.channel));
        greeting.filters.sort_unstable_by_key(|filter| filter.lane);
        greeting.waiting.sort_unstable();
        (Self { feed: Arc::clone(feed), reader }, greeting)
    }
}

impl CursorState {
    #[expect(clippy::too_many_arguments, reason = "one step of opening, which has all of these at hand")]
    fn begin(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        slot: usize,
        interests: &Interests,
        keyframes: bool,
        resume: Option<&Resume>,
        greeting: &mut Greeting,
    ) {
        let lane = lanes.at(slot);
        let key = lane.id;
        let wanted = self.subscriber.selection.contains(key);
        let mut cursor = LaneCursor::new(lane, interests.level(key.0, key.1), wanted);
        (cursor.last, cursor.tally) = (lane.head, Some(lane.tally));
        if !wanted {
            *self.lane_cursor(slot) = Some(cursor);
            return;
        }
        greeting.filters.push(FilterChange { lane: key, interest: cursor.interest, layers: lane.layers });
        let given = resume.and_then(|resume| resume.positions.iter().find(|p| (p.source, p.channel) == key));
        let known = given.filter(|given| {
            resume.is_some_and(|resume| resume.same_epoch)
                && (lane.head >= Some(given.point()) || given.sequence == 0 && given.term <= lane.newest_term)
        });
        if cursor.filter() == Filter::Nothing {
            // What came before does not come again with the interest.
            cursor.delivered = known.map(|known| known.point());
            *self.lane_cursor(slot) = Some(cursor);
            return;
        }
        let open_gap = resume.and_then(|resume| resume.open_gap(key));
        if let Some(given) = known {
            if self.resume_at(ring, lanes, slot, cursor, given.point(), open_gap) {
                greeting.waiting.push(key);
            }
            greeting.positions.push(*given);
            return;
        }
        let from = self.start_of(ring, lanes, lane, keyframes || given.is_some());
        let first = from.and_then(|number| ring.get(number));
        if let Some((number, record)) = from.zip(first) {
            cursor.continue_at(record);
            self.next = self.next.min(number);
        }
        // A gap that is open stays so until what ends it is delivered.
        let named = open_gap.is_some_and(|gap| given.is_none() || resume.is_some_and(|r| r.reason() == gap.reason));
        let waits = cursor.has_runs() && (first.is_none() || named);
        let next = first.map(|record| record.position.point()).or_else(|| (!waits).then(|| lane.next()));
        let next = next.filter(|(term, _)| !waits && (*term != 0 || key.0.is_none()));
        if let Some((term, sequence)) = next {
            greeting.positions.push(Position { source: key.0, channel: key.1, term, sequence: sequence - 1 });
        }
        let loss = match (given, open_gap) {
            (Some(_), _) => resume.map(|resume| (None, resume.reason())),
            (None, gap) => gap.map(|gap| (gap.after, gap.reason)),
        };
        if let Some((after, reason)) = loss.filter(|_| next.is_some() || !named) {
            let gap = Gap { lane: key, after, before: next, reason, count: None };
            self.opening.push(Delivery::Gap(gap));
        }
        if waits {
            greeting.waiting.push(key);
            // Nothing was lost after all when the lane starts right there.
            let lost = first.zip(loss).filter(|(first, (after, _))| *after >= first.previous).map(|_| 0);
            let tally = first.map_or(lane.tally, |first| first.tally);
            cursor.state = match loss {
                Some((after, reason)) => LaneState::broken(Loss { reason, after, lost, tally, counted: 0 }),
                None => LaneState::AwaitingKeyframe,
            };
            if first.is_none() {
                cursor.await_keyframe(&mut lanes.at_mut(slot).requests);
            }
        }
        *self.lane_cursor(slot) = Some(cursor);
    }

    /// Number of the record at which a lane starts; `None` = live.
    fn start_of(&self, ring: &Ring, lanes: &Lanes, lane: &Lane, keyframes: bool) -> Option<u64> {
        match lane.id {
            (_, Channel::Visual | Channel::Screen | Channel::Data) if keyframes => lane.run,
            (source, Channel::Audio) => {
                let pictures = [Channel::Visual, Channel::Screen].into_iter();
                let oldest = pictures
                    .filter_map(|channel| {
                        let slot = lanes.find((source, channel))?;
                        let cursor = self.cursors.get(slot)?.as_ref()?;
                        // Where the picture starts: the record after the last one cursor.
                        let starts =
                            cursor.wanted && cursor.state == LaneState::Live && cursor.filter() != Filter::Nothing;
                        let run = lanes.at(slot).run.filter(|_| starts && keyframes)?;
                        (ring.get(run)?.previous == cursor.last).then_some(run)
                    })
                    .min()?;
                lane.first_from(oldest)
            }
            _ => None,
        }
    }

    /// Goes on after a point. True when a keyframe is waited for.
    fn resume_at(
        &mut self,
        ring: &Ring,
        lanes: &mut Lanes,
        slot: usize,
        mut cursor: LaneCursor,
        at: TermSeq,
        open_gap: Option<&Gap>,
    ) -> bool {
        let lane = lanes.at(slot);
        let later = |number: &u64| ring.get(*number).is_some_and(|record| record.position.point() > at);
        // From the newest back: those who resume have missed little.
        let first = lane.records().rev().take_while(later).last();
        (cursor.last, cursor.delivered) = (Some(at), Some(at));
        // `counted`: what the lane had carried where the reader goes on.
        let (gone, counted) = match first.and_then(|number| Some((number, ring.get(number)?))) {
            Some((number, record)) => {
                let nothing_between = record.previous == Some(at) || at.1 == 0 && record.previous < Some(at);
                cursor.tally = nothing_between.then_some(record.tally);
                self.next = self.next.min(number);
                (false, record.tally)
            }
            None => {
                cursor.tally = Some(lane.tally);
                (lane.head > Some(at), lane.tally)
            }
        };
        if let Some(gap) = open_gap.filter(|_| cursor.has_runs()) {
            // It goes on where the reader stopped, or with all that has gone since.
            let lost = cursor.tally.filter(|_| !gone).map(|_| 0);
            // From where it is: the filter may be another one now, and what it left out then is
            // lost with the rest.
            let (reason, after, tally) = (gap.reason, Some(at), counted);
            cursor.state = LaneState::broken(Loss { reason, after, lost, tally, counted: 0 });
            cursor.last = lane.head.filter(|_| gone).or(cursor.last);
        } else if gone {
            // Everything since is gone, and nothing may ever follow that would tell.
            let same = lane.head.filter(|(term, _)| *term == at.0);
            let lost = same.filter(|_| cursor.filter() == Filter::Everything).map(|(_, head)| head - at.1);
            let reason = cursor.loss_before(lane.origin);
            let mut gap = Gap { lane: cursor.lane, after: Some(at), before: None, reason, count: None };
            if cursor.has_runs() {
                let after = Some(at);
                cursor.state = LaneState::broken(Loss { reason, after, lost, tally: lane.tally, counted: 0 });
            } else {
                (gap.before, gap.count) = (lane.head.map(|(term, sequence)| (term, sequence + 1)), lost);
            }
            self.opening.push(Delivery::Gap(gap));
            cursor.last = lane.head;
        }
        let waits = cursor.state.waits();
        let run = lane.run.and_then(|run| ring.get(run));
        if waits && run.is_none_or(|keyframe| keyframe.position.point() <= at) {
            cursor.await_keyframe(&mut lanes.at_mut(slot).requests);
        }
        *self.lane_cursor(slot) = Some(cursor);
        waits
    }

    /// Positions on lanes that there never were.
    fn refuse_unknown(&mut self, lanes: &Lanes, resume: Option<&Resume>) {
        let Some(resume) = resume else { return };
        for position in resume.positions.iter().filter(|position| position.sequence > 0) {
            let key = (position.source, position.channel);
            let reason = resume.reason();
            let told = resume.open_gap(key).is_some_and(|gap| gap.reason == reason);
            if lanes.find(key).is_none() && self.subscriber.selection.contains(key) && !told {
                let gap = Gap { lane: key, after: None, before: None, reason, count: None };
                self.opening.push(Delivery::Gap(gap));
            }
        }
    }

    /// Applies changed interests. True when a keyframe request is pending from now on.
    pub(super) fn apply_interests(&mut self, ring: &Ring, lanes: &mut Lanes, batch: &mut Batch<'_>) -> bool {
        let version = self.subscriber.version();
        if version == self.version {
            return false;
        }
        (self.version, self.class) = (version, self.subscriber.class());
        let interests = self.subscriber.interests();
        let mut waits = false;
        for (slot, cursor) in self.cursors.iter_mut().enumerate() {
            let Some(cursor) = cursor.as_mut().filter(|cursor| cursor.wanted) else { continue };
            let lane = lanes.at_mut(slot);
            if lane.birth != cursor.birth {
                continue;
            }
            let (channel, level) = (cursor.lane.1, interests.level(cursor.lane.0, cursor.lane.1));
            cursor.raised = None;
            if level == cursor.interest {
                continue;
            }
            let (before, after) = (cursor.filter(), level.filter(channel));
            let asleep = before == Filter::Nothing;
            if cursor.has_runs() && !asleep && after > before {
                cursor.raised = Some(level);
                continue;
            }
            if level == Interest::None && cursor.state.waits() {
                // A gap that is open stays so: whoever resumes from before it still needs a
                // keyframe, and whoever wants something again gets one.
                cursor.state = LaneState::Live;
                cursor.stop_waiting(&mut lane.requests);
            }
            cursor.interest = level;
            cursor.declare(lane.layers, batch);
            if !asleep || !(cursor.has_runs() || channel == Channel::Data) {
                continue;
            }
            // From nothing: the cached keyframe, unless that came before.
            let cached = lane.run.and_then(|run| Some((run, ring.get(run)?)));
            match cached.filter(|(_, record)| cursor.delivered < Some(record.position.point())) {
                Some((run, record)) => {
                    cursor.continue_at(record);
                    self.next = self.next.min(run);
                }
                None if cursor.has_runs() => {
                    cursor.state = LaneState::AwaitingKeyframe;
                    waits |= cursor.await_keyframe(&mut lane.requests);
                }
                None => {}
            }
        }
        waits
    }
}
