//! Taking updates that another pod accepted, as they lie in its ring.

use bytes::Bytes;

use super::lane::{Lane, Tally, has_runs};
use super::position::{LaneId, Position, TermSeq};
use super::record::{Flags, Place, Record};
use super::state::{Feed, State};
use super::upstream::{SEAL_PATIENCE, Seal};
use super::wire::Encoded;
use crate::clock::Micros;
use crate::sync::atomic::Ordering;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::event::Gate;
use starling_core::id::{NO_HOME, NodeId, PodId, SessionId};

/// How many updates were left out between two of a lane, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// All of them.
    pub updates: u64,
    /// Keyframes.
    pub keyframes: u64,
    /// Those of the top temporal layer.
    pub tops: u64,
}

/// An update as it lies at its home.
#[derive(Clone, Debug)]
pub struct LaneUpdate {
    /// Where it stands.
    pub position: Position,
    /// The session of its publisher.
    pub session: Option<SessionId>,
    /// The publisher's number of it.
    pub publisher_sequence: u64,
    /// The home counted for the publisher.
    pub counted: bool,
    /// The update before it on its lane at the home, in whatever term.
    pub previous: Option<TermSeq>,
    /// The revision of the grant under which it was accepted.
    pub granted_at: u64,
    /// Temporal layers of its publisher, from 1.
    pub layers: u32,
    /// Its publisher began anew in its term.
    pub begins_anew: bool,
    /// Needs no earlier update.
    pub keyframe: bool,
    /// On the top one of several temporal layers.
    pub top: bool,
    /// To be flushed at once.
    pub urgent: bool,
    /// What was left out since the update before it in the same stream, or since the point where the stream began;
    /// `None` = not known.
    pub left_out: Option<LeftOut>,
    /// It lay in the ring when its lane was asked for, of which nothing was known.
    pub history: bool,
    /// How long ago it was accepted.
    pub age: Micros,
    /// As it goes over the wire: a whole gRPC message.
    pub message: Bytes,
}

/// What became of an update of another pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// It is taken.
    Taken,
    /// It is here already.
    Repeat,
    /// It was accepted under a grant that is over here; whoever reads is told of it.
    Stale,
    /// There is no memory; whoever reads is told of it.
    NoMemory,
    /// It is no update.
    Malformed,
    /// It was accepted under a grant that is not in force here yet: to be tried again when the grants have changed.
    Ahead,
    /// The end of the term before it is awaited: to be tried again when the lane changes, at this time at the latest.
    AwaitsSeal(Micros),
}

/// What an update is to its lane.
enum Judgement {
    Take { lost: Tally, continues: bool },
    Duplicate,
    Not(Ingested),
}

impl Feed {
    /// Takes an update that pod `home` accepted. O(1) amortised, but for reclaiming memory.
    pub fn ingest(&self, home: PodId, update: &LaneUpdate, now: Micros) -> Ingested {
        let Some(encoded) = Encoded::copied(&update.message) else { return Ingested::Malformed };
        match self.take_in(home, update, encoded.clone(), now, false) {
            Ingested::NoMemory => {
                self.make_room(update.message.len(), now);
                self.take_in(home, update, encoded, now, true)
            }
            outcome => outcome,
        }
    }

    fn take_in(&self, home: PodId, update: &LaneUpdate, encoded: Encoded, now: Micros, last: bool) -> Ingested {
        let mut state = self.state.lock();
        let State { ring, lanes, revision, own, .. } = &mut *state;
        let position = update.position;
        let key: LaneId = (position.source, position.channel);
        let Some(slot) = lanes.find(key) else {
            return if update.granted_at > *revision { Ingested::Ahead } else { Ingested::Stale };
        };
        let lane = lanes.at_mut(slot);
        let (lost, continues) = match lane.judge(home, *own, update, *revision, now) {
            Judgement::Take { lost, continues } => (lost, continues),
            Judgement::Duplicate => {
                lane.head = Some(position.point());
                return Ingested::Repeat;
            }
            Judgement::Not(Ingested::Stale) => {
                lane.note_not_taken(update);
                return Ingested::Stale;
            }
            Judgement::Not(outcome) => return outcome,
        };
        if !self.memory.has_room_for(ring.growth(Record::cost_of(update.message.len()), lane)) {
            if last {
                lane.note_not_taken(update);
            }
            return Ingested::NoMemory;
        }
        let (point, term) = (position.point(), position.term);
        if !continues {
            lane.origin = term;
        }
        lane.layers = update.layers;
        lane.tally = lane.tally.plus(lost);
        let previous = match update.previous {
            // Of a lane of which nothing was here its home knows more.
            before if lane.head.is_none() => before,
            _ if lost.updates == 0 => lane.head,
            // What is lost stands between: a point that no reader has.
            Some(previous) if Some(previous) != lane.head => Some(previous),
            Some(_) | None => Some((term, position.sequence - 1)),
        };
        let flags = Flags::INGESTED
            .with(Flags::TOP, update.top)
            .with(Flags::URGENT, update.urgent)
            .with(Flags::COUNTED, update.counted)
            .with(Flags::AFTER_LOSS, lost.updates > 0);
        let place = Place {
            lane: slot,
            previous,
            tally: lane.tally,
            origin: lane.origin,
            layers: update.layers,
            author: None,
            publisher_sequence: update.publisher_sequence,
            granted: u32::try_from(update.granted_at.saturating_sub(term)).unwrap_or(u32::MAX),
            flags,
            at: now.saturating_sub(update.age),
        };
        lane.head = Some(point);
        lane.tally.add(update.keyframe, update.top);
        lane.caught_up();
        if update.publisher_sequence > lane.publisher.accepted() {
            lanes.accept(slot, update.publisher_sequence);
        }
        let appended = self.keep(&mut state, Box::new(Record::new(position, place, update.keyframe, encoded)));
        drop(state);
        self.schedule.on_append(appended, now);
        Ingested::Taken
    }

    /// From now on updates of other pods are taken; this one is `own`.
    pub fn follow_as(&self, own: PodId) {
        let mut state = self.state.lock();
        if state.own == own {
            return;
        }
        state.own = own;
        for (_, lane) in state.lanes.iter_mut() {
            // What ended here is whole.
            if let Some(upstream) = lane.upstream.as_deref_mut() {
                upstream.give_up(|former| former.home == own);
            }
        }
    }

    /// Takes the word of a home for where a term of it ended.
    pub fn seal(&self, source: NodeId, channel: Channel, seal: &Seal) {
        self.change_upstream(|lane| {
            if lane.id == (Some(source), channel) {
                lane.seal_by(seal);
            }
        });
    }

    /// A home says nothing any more of terms that have ended.
    pub fn abandon(&self, home: PodId) {
        self.change_upstream(|lane| {
            lane.give_up(|former| former.home == home);
        });
    }

    /// Nobody waits any longer for where former terms of a source ended.
    pub fn give_up_seals(&self, source: NodeId, channels: ChannelSet) {
        self.change_upstream(|lane| {
            if lane.id.0 == Some(source) && channels.contains(lane.id.1) {
                lane.give_up(|_| true);
            }
        });
    }

    /// True while the end of a former term of one of these lanes is awaited.
    pub fn awaits_seal(&self, source: NodeId, channels: ChannelSet) -> bool {
        let state = self.state.lock();
        channels.iter().any(|channel| state.lanes.get((Some(source), channel)).is_some_and(Lane::awaits_seal))
    }

    /// Gives up what was awaited for too long, and has readers told of ends that nobody knows. True while there is
    /// something that falls due with time: then it is to be called each second. O(lanes).
    pub fn tend_upstream(&self, now: Micros) -> bool {
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let (mut told, mut waits, closed) = (false, false, self.closed.load(Ordering::Acquire));
        for (_, lane) in lanes.iter_mut() {
            if closed && lane.awaits_seal() {
                lane.wait_for_seals(now);
                lane.give_up(|former| former.waited_since.is_some_and(|since| since + SEAL_PATIENCE <= now));
            }
            if lane.is_tail_due(now) {
                told |= lane.lose_tail();
            }
            waits |= lane.may_lose_tail();
        }
        if told {
            ring.note_lost_tail();
        }
        let settled = closed && self.settle_end(&mut state);
        drop(state);
        if told || settled {
            self.wake_all();
        }
        waits
    }

    /// Changes what is known of the ends of terms, and wakes who waits for it.
    fn change_upstream(&self, mut change: impl FnMut(&mut Lane)) {
        let mut state = self.state.lock();
        state.lanes.iter_mut().for_each(|(_, lane)| change(lane));
        let settled = self.closed.load(Ordering::Acquire) && self.settle_end(&mut state);
        drop(state);
        if settled {
            self.wake_all();
        }
        self.producers.notify_waiters();
    }

    /// The feed is closed, or is about to be: once the ends of all lanes are known, readers are told what of them did not
    /// come. True when that is so now and was not before.
    pub(super) fn settle_end(&self, state: &mut State) -> bool {
        let State { ring, lanes, own, .. } = state;
        let unsettled = *own != NO_HOME && lanes.iter().any(|(_, lane)| lane.awaits_seal());
        let before = self.unsettled.swap(unsettled, Ordering::AcqRel);
        if unsettled {
            return false;
        }
        let mut told = false;
        for (_, lane) in lanes.iter_mut() {
            told |= lane.lose_tail();
        }
        if told {
            ring.note_lost_tail();
        }
        before
    }
}

impl Lane {
    fn wait_for_seals(&mut self, now: Micros) {
        for former in self.upstream.iter_mut().flat_map(|upstream| upstream.former.iter_mut()) {
            former.waited_since.get_or_insert(now);
        }
    }

    /// What is to become of an update that `home` accepted.
    fn judge(&mut self, home: PodId, own: PodId, update: &LaneUpdate, revision: u64, now: Micros) -> Judgement {
        let point = update.position.point();
        let (term, sequence) = point;
        let ahead = self.granted().known_until().is_some_and(|until| update.granted_at > until.max(revision));
        if ahead || term > self.newest_term && update.granted_at > revision {
            return Judgement::Not(Ingested::Ahead);
        }
        if sequence == 0 || self.seen() >= Some(point) {
            return Judgement::Not(Ingested::Repeat);
        }
        if !self.admits(update) {
            return Judgement::Not(Ingested::Stale);
        }
        // What its home sends comes in order: terms before this one have said all that they had there.
        if let Some(upstream) = self.upstream.as_deref_mut() {
            upstream.give_up(|former| former.term < term && (former.home == home || former.home == own));
        }
        let awaited = self.upstream.as_deref_mut().and_then(|upstream| {
            let former = upstream.former.iter_mut().find(|former| former.term < term)?;
            Some(*former.waited_since.get_or_insert(now) + SEAL_PATIENCE)
        });
        if let Some(until) = awaited {
            if now < until {
                return Judgement::Not(Ingested::AwaitsSeal(until));
            }
            self.give_up(|former| former.term < term);
        }
        let given = (!update.counted).then_some(update.publisher_sequence);
        if given.is_some_and(|number| number <= self.publisher.accepted()) {
            // The home has not had what came here before from the one before it, and has taken it again.
            return Judgement::Duplicate;
        }
        let same_term = self.head.is_some_and(|(newest, _)| newest == term);
        // Its home has judged it behind the same update, or behind one that nobody misses here.
        let as_there = !update.begins_anew && (self.head.is_none() || update.previous == self.head);
        let continues = same_term || as_there || given.is_some_and(|number| self.publisher.continues_at(number));
        Judgement::Take { lost: self.lost_before(update, continues), continues }
    }

    /// Whether the grant in force admits an update, or one before it whose session goes on.
    fn admits(&self, update: &LaneUpdate) -> bool {
        let term = update.position.term;
        if self.term == 0 || update.session.is_none() || update.session != self.publisher.session() {
            return false;
        }
        // Of a lane of which nothing was here, what its home had already is no change to anybody.
        if update.history && self.head.is_none_or(|(newest, _)| newest <= term) {
            return true;
        }
        if term == self.term {
            return self.gate == Gate::Open && update.granted_at >= self.granted().from();
        }
        let former = self.upstream.iter().flat_map(|upstream| &upstream.former);
        let of_term = former.into_iter().find(|former| former.term == term);
        let from = of_term.and_then(|former| former.from);
        self.gate == Gate::Open && from.is_some_and(|from| update.granted_at >= from)
    }

    /// What is missing before an update that is to be taken.
    fn lost_before(&self, update: &LaneUpdate, continues: bool) -> Tally {
        let (Some((head_term, head)), (term, sequence)) = (self.head, update.position.point()) else {
            return Tally::default();
        };
        let known = update.left_out.map(|LeftOut { updates, keyframes, tops }| Tally { updates, keyframes, tops });
        let not_taken = self.upstream.as_ref().map(|upstream| upstream.lost).unwrap_or_default();
        if head_term == term {
            // Sequences count all of a term.
            let missing = sequence.saturating_sub(head + 1);
            let kinds = known.map(|known| known.plus(not_taken)).filter(|kinds| kinds.updates == missing);
            return kinds.unwrap_or_else(|| Tally::unknown(missing));
        }
        if continues {
            return Tally::default();
        }
        let given = (!update.counted).then_some(update.publisher_sequence);
        let before = self.missing_before_next(given);
        let missing = sequence - 1;
        let within = known.filter(|known| known.updates == missing).unwrap_or_else(|| Tally::unknown(missing));
        // Numbers count what is missing of both terms.
        let owed = self.upstream.as_ref().is_some_and(|upstream| upstream.owed);
        if owed && given.is_some() && self.publisher.accepted() > 0 { before } else { before.plus(within) }
    }

    /// Notes that an update came and was not taken.
    fn note_not_taken(&mut self, update: &LaneUpdate) {
        // Of a lane of which nothing was here nobody misses anything.
        let (Some((head_term, _)), (term, _)) = (self.head, update.position.point()) else { return };
        let seen = self.seen();
        let missing = update.left_out.filter(|_| head_term == term).unwrap_or_default();
        let upstream = self.upstream_mut();
        let LeftOut { updates, keyframes, tops } = missing;
        upstream.lost = upstream.lost.plus(Tally { updates, keyframes, tops });
        upstream.lost.add(update.keyframe, update.top);
        upstream.seen = seen.max(Some(update.position.point()));
    }

    /// True when a keyframe may be asked for at its home.
    pub(super) fn asks_elsewhere(&self, own: PodId) -> bool {
        has_runs(self.id.1) && self.is_elsewhere(own) && matches!(self.gate, Gate::Open)
    }
}
