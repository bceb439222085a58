//! Where a subscription begins, and what a change of interest makes of it.

use std::sync::Arc;
use std::task::Waker;

use super::seen::{Flow, Loss, Seen};
use super::{Batch, Cursor, Delivery, FilterChange, Gap, GapReason, Reader};
use crate::feed::audience::Selection;
use crate::feed::lane::{Key, Lane, Lanes, Point};
use crate::feed::record::Position;
use crate::feed::ring::Ring;
use crate::feed::{Feed, Micros, State};
use crate::swarm::id::NodeId;
use crate::swarm::interest::{Channel, Interest, Interests};
use crate::swarm::propagation::Filter;

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
    fn open_gap(&self, lane: Key) -> Option<&Gap> {
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
    pub waiting: Vec<Key>,
}

impl Cursor {
    /// A place in the ring for a new subscription. O(lanes).
    pub fn open(feed: &Arc<Feed>, opening: Opening, now: Micros) -> (Self, Greeting) {
        let Opening { selection, interests, expected, start, resume, waker } = opening;
        let seat = feed.audience.seat(selection, interests.clone(), waker);
        feed.waiting.enter();
        let mut reader = Reader {
            version: 0,
            pace: seat.pace(),
            next: u64::MAX,
            read_at: now,
            seen: Vec::new(),
            caught_up: false,
            at_end: false,
            lapped: false,
            limits: feed.limits(),
            budget: None,
            resumed: resume.is_some(),
            opening: Vec::new(),
            seat,
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
        let sound = |lane: &Lane| lane.key.1 == Channel::Audio;
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

impl Reader {
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
        let key = lane.key;
        let wanted = self.seat.selection.contains(key);
        let mut seen = Seen::new(lane, interests.level(key.0, key.1), wanted);
        (seen.last, seen.tally) = (lane.head, Some(lane.tally));
        if !wanted {
            *self.known(slot) = Some(seen);
            return;
        }
        greeting.filters.push(FilterChange { lane: key, interest: seen.interest, layers: lane.layers });
        let given = resume.and_then(|resume| resume.positions.iter().find(|p| (p.source, p.channel) == key));
        let known = given.filter(|given| {
            resume.is_some_and(|resume| resume.same_epoch)
                && (lane.head >= Some(given.point()) || given.sequence == 0 && given.term <= lane.newest_term)
        });
        if seen.filter() == Filter::Nothing {
            // What came before does not come again with the interest.
            seen.delivered = known.map(|known| known.point());
            *self.known(slot) = Some(seen);
            return;
        }
        let open_gap = resume.and_then(|resume| resume.open_gap(key));
        if let Some(given) = known {
            if self.resume_at(ring, lanes, slot, seen, given.point(), open_gap) {
                greeting.waiting.push(key);
            }
            greeting.positions.push(*given);
            return;
        }
        let from = self.start_of(ring, lanes, lane, keyframes || given.is_some());
        let first = from.and_then(|number| ring.get(number));
        if let Some((number, record)) = from.zip(first) {
            seen.follow(record);
            self.next = self.next.min(number);
        }
        // A gap that is open stays so until what ends it is delivered.
        let named = open_gap.is_some_and(|gap| given.is_none() || resume.is_some_and(|r| r.reason() == gap.reason));
        let waits = seen.is_choosy() && (first.is_none() || named);
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
            seen.flow = match loss {
                Some((after, reason)) => Flow::broken(Loss { reason, after, lost, tally, counted: 0 }),
                None => Flow::Waiting,
            };
            if first.is_none() {
                seen.await_keyframe(&mut lanes.at_mut(slot).want);
            }
        }
        *self.known(slot) = Some(seen);
    }

    /// Number of the record at which a lane starts; `None` = live.
    fn start_of(&self, ring: &Ring, lanes: &Lanes, lane: &Lane, keyframes: bool) -> Option<u64> {
        match lane.key {
            (_, Channel::Visual | Channel::Screen | Channel::Data) if keyframes => lane.run,
            (source, Channel::Audio) => {
                let pictures = [Channel::Visual, Channel::Screen].into_iter();
                let oldest = pictures
                    .filter_map(|channel| {
                        let slot = lanes.find((source, channel))?;
                        let seen = self.seen.get(slot)?.as_ref()?;
                        // Where the picture starts: the record after the last one seen.
                        let starts = seen.wanted && seen.flow == Flow::Flowing && seen.filter() != Filter::Nothing;
                        let run = lanes.at(slot).run.filter(|_| starts && keyframes)?;
                        (ring.get(run)?.previous == seen.last).then_some(run)
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
        mut seen: Seen,
        at: Point,
        open_gap: Option<&Gap>,
    ) -> bool {
        let lane = lanes.at(slot);
        let later = |number: &u64| ring.get(*number).is_some_and(|record| record.position.point() > at);
        // From the newest back: those who resume have missed little.
        let first = lane.records().rev().take_while(later).last();
        (seen.last, seen.delivered) = (Some(at), Some(at));
        // `counted`: what the lane had carried where the reader goes on.
        let (gone, counted) = match first.and_then(|number| Some((number, ring.get(number)?))) {
            Some((number, record)) => {
                let nothing_between = record.previous == Some(at) || at.1 == 0 && record.previous < Some(at);
                seen.tally = nothing_between.then_some(record.tally);
                self.next = self.next.min(number);
                (false, record.tally)
            }
            None => {
                seen.tally = Some(lane.tally);
                (lane.head > Some(at), lane.tally)
            }
        };
        if let Some(gap) = open_gap.filter(|_| seen.is_choosy()) {
            // It goes on where the reader stopped, or with all that has gone since.
            let lost = seen.tally.filter(|_| !gone).map(|_| 0);
            // From where it is: the filter may be another one now, and what it left out then is
            // lost with the rest.
            let (reason, after, tally) = (gap.reason, Some(at), counted);
            seen.flow = Flow::broken(Loss { reason, after, lost, tally, counted: 0 });
            seen.last = lane.head.filter(|_| gone).or(seen.last);
        } else if gone {
            // Everything since is gone, and nothing may ever follow that would tell.
            let same = lane.head.filter(|(term, _)| *term == at.0);
            let lost = same.filter(|_| seen.filter() == Filter::Everything).map(|(_, head)| head - at.1);
            let reason = seen.loss_before(lane.origin);
            let mut gap = Gap { lane: seen.key, after: Some(at), before: None, reason, count: None };
            if seen.is_choosy() {
                let after = Some(at);
                seen.flow = Flow::broken(Loss { reason, after, lost, tally: lane.tally, counted: 0 });
            } else {
                (gap.before, gap.count) = (lane.head.map(|(term, sequence)| (term, sequence + 1)), lost);
            }
            self.opening.push(Delivery::Gap(gap));
            seen.last = lane.head;
        }
        let waits = seen.flow.waits();
        let run = lane.run.and_then(|run| ring.get(run));
        if waits && run.is_none_or(|keyframe| keyframe.position.point() <= at) {
            seen.await_keyframe(&mut lanes.at_mut(slot).want);
        }
        *self.known(slot) = Some(seen);
        waits
    }

    /// Positions on lanes that there never were.
    fn refuse_unknown(&mut self, lanes: &Lanes, resume: Option<&Resume>) {
        let Some(resume) = resume else { return };
        for position in resume.positions.iter().filter(|position| position.sequence > 0) {
            let key = (position.source, position.channel);
            let reason = resume.reason();
            let told = resume.open_gap(key).is_some_and(|gap| gap.reason == reason);
            if lanes.find(key).is_none() && self.seat.selection.contains(key) && !told {
                let gap = Gap { lane: key, after: None, before: None, reason, count: None };
                self.opening.push(Delivery::Gap(gap));
            }
        }
    }

    /// Takes a change of interests up. True when a keyframe is waited for from now on.
    pub(super) fn rewish(&mut self, ring: &Ring, lanes: &mut Lanes, batch: &mut Batch<'_>) -> bool {
        let version = self.seat.version();
        if version == self.version {
            return false;
        }
        (self.version, self.pace) = (version, self.seat.pace());
        let interests = self.seat.interests();
        let mut waits = false;
        for (slot, seen) in self.seen.iter_mut().enumerate() {
            let Some(seen) = seen.as_mut().filter(|seen| seen.wanted) else { continue };
            let lane = lanes.at_mut(slot);
            if lane.birth != seen.birth {
                continue;
            }
            let (channel, level) = (seen.key.1, interests.level(seen.key.0, seen.key.1));
            seen.raised = None;
            if level == seen.interest {
                continue;
            }
            let (before, after) = (seen.filter(), level.filter(channel));
            let asleep = before == Filter::Nothing;
            if seen.is_choosy() && !asleep && after > before {
                seen.raised = Some(level);
                continue;
            }
            if level == Interest::None && seen.flow.waits() {
                // A gap that is open stays so: whoever resumes from before it still needs a
                // keyframe, and whoever wants something again gets one.
                seen.flow = Flow::Flowing;
                seen.await_nothing(&mut lane.want);
            }
            seen.interest = level;
            seen.declare(lane.layers, batch);
            if !asleep || !(seen.is_choosy() || channel == Channel::Data) {
                continue;
            }
            // From nothing: the cached keyframe, unless that came before.
            let cached = lane.run.and_then(|run| Some((run, ring.get(run)?)));
            match cached.filter(|(_, record)| seen.delivered < Some(record.position.point())) {
                Some((run, record)) => {
                    seen.follow(record);
                    self.next = self.next.min(run);
                }
                None if seen.is_choosy() => {
                    seen.flow = Flow::Waiting;
                    waits |= seen.await_keyframe(&mut lane.want);
                }
                None => {}
            }
        }
        waits
    }
}
