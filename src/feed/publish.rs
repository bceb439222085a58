//! Taking updates: who may publish, what their numbers say, and what is appended.

use std::sync::Weak;

use super::authors::{AUTHOR, Author, Authors};
use super::draft::Draft;
use super::lane::{Lane, Tally, has_runs};
use super::position::Position;
use super::record::{Flags, Place, Record, is_top};
use super::ring::Ring;
use super::schedule::Appended;
use super::state::{Feed, State};
use super::upstream::Granted;
use crate::clock::Micros;
use crate::sync::atomic::Ordering;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::chat::{ChatRefusal, Judgement};
use starling_core::config::AUTHOR_CHAT_RATE;
use starling_core::event::{Gate, Grant};
use starling_core::id::{NodeId, SessionId};
use starling_core::key::BroadcasterKey;
use starling_core::numbers::{NumberVerdict, Numbers};

/// What became of an update that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands; for a repeat, where the newest one of its channel stands.
    pub position: Position,
    /// The publisher's number of it; for a repeat, the highest one accepted.
    pub publisher_sequence: u64,
    /// True when it was there already, and dropped.
    pub duplicate: bool,
    /// True when the next one on VISUAL or SCREEN should be a keyframe.
    pub keyframe_wanted: bool,
}

/// An update that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{refusal}")]
pub struct Rejected {
    /// Its number: the publisher's, or the one that it was counted as; 0 when it was not
    /// counted.
    pub publisher_sequence: u64,
    /// Why.
    pub refusal: AppendError,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The term is not in force any more.
    #[error("the right to publish has passed on")]
    StaleTerm,
    /// The channel takes nothing now.
    #[error("the channel takes no updates now")]
    Closed(Gate),
    /// The author is muted.
    #[error("the author is muted")]
    Muted,
    /// Too many messages.
    #[error("at most {} messages per second", AUTHOR_CHAT_RATE.per_second)]
    Quota,
    /// The process holds as many updates as it may.
    #[error("the process is out of memory for updates")]
    Memory,
    /// The number was rejected or left out, and a higher one was accepted since.
    #[error("an update with a higher publisher_sequence was accepted before it")]
    OutOfOrder,
    /// The number is so old that nobody knows any more whether it was accepted.
    #[error("whether this publisher_sequence was accepted is not known any more")]
    OutcomeUnknown,
    /// The broadcaster has a key, and this is not signed.
    #[error("the livestream has a key: the update must be signed")]
    Unsigned,
    /// The signature is not that of the broadcaster's key over this update, or there is no key.
    #[error("the signature is not that of the broadcaster's key over this update, for this session")]
    BadSignature,
}

impl From<ChatRefusal> for AppendError {
    fn from(refusal: ChatRefusal) -> Self {
        match refusal {
            ChatRefusal::Muted => Self::Muted,
            ChatRefusal::Quota | ChatRefusal::SwarmQuota => Self::Quota,
            ChatRefusal::OutOfOrder => Self::OutOfOrder,
            ChatRefusal::OutcomeUnknown => Self::OutcomeUnknown,
        }
    }
}

impl AppendError {
    /// Its place among the reasons that [`FeedTotals`](super::FeedTotals) counts.
    pub(super) const fn kind(self) -> usize {
        match self {
            Self::StaleTerm => 0,
            Self::Closed(_) => 1,
            Self::Muted => 2,
            Self::Quota => 3,
            Self::Memory => 4,
            Self::OutOfOrder => 5,
            Self::OutcomeUnknown => 6,
            Self::Unsigned => 7,
            Self::BadSignature => 8,
        }
    }

    /// Of an update that was not counted.
    pub const fn uncounted(self) -> Rejected {
        Rejected { publisher_sequence: 0, refusal: self }
    }
}

/// What a feed knows of a publisher on one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublisherState {
    /// The highest number accepted in its session; 0 = none.
    pub accepted: u64,
    /// Its session before, and the highest number accepted from that.
    pub previous: Option<(SessionId, u64)>,
    /// True when it should begin with a keyframe.
    pub keyframe_wanted: bool,
}

impl PublisherState {
    /// What numbers say of their publisher, whose session is `session`; `None` = whichever it is.
    pub fn of(numbers: Option<&Numbers>, session: Option<SessionId>) -> Self {
        match numbers {
            // The author has written nothing yet in this session.
            Some(numbers) if session.is_some() && numbers.session() != session => {
                let previous = numbers.session().map(|before| (before, numbers.accepted()));
                Self { accepted: 0, previous, keyframe_wanted: false }
            }
            Some(numbers) => {
                Self { accepted: numbers.accepted(), previous: numbers.previous(), keyframe_wanted: false }
            }
            None => Self::default(),
        }
    }
}

/// One message to the CHAT of a livestream, by a member.
#[derive(Clone, Debug)]
pub struct Message {
    /// Who writes it.
    pub author: NodeId,
    /// Its session.
    pub session: SessionId,
    /// True when it must be silent.
    pub muted: bool,
    /// What it writes.
    pub draft: Draft,
}

impl Draft {
    /// Refuses what is not signed as it must be: with this key, if there is one, for this session.
    ///
    /// # Errors
    ///
    /// [`AppendError::Unsigned`] and [`AppendError::BadSignature`].
    pub fn check_proof(&self, key: Option<BroadcasterKey>, session: Option<SessionId>) -> Result<(), AppendError> {
        match (key, self.proof.as_deref()) {
            (None, None) => Ok(()),
            (Some(_), None) => Err(AppendError::Unsigned),
            // Nobody could verify it.
            (None, Some(_)) => Err(AppendError::BadSignature),
            (Some(key), Some(proof)) => match proof.verified {
                Some(verified) if verified.key == key && Some(verified.session) == session => Ok(()),
                _ => Err(AppendError::BadSignature),
            },
        }
    }
}

impl Accepted {
    /// A repeat of one that came on `lane` before.
    fn before(lane: &Lane, numbers: &Numbers, keyframe_wanted: bool) -> Self {
        let (term, sequence) = lane.head.unwrap_or((lane.term, 0));
        let (source, channel) = lane.id;
        let position = Position { source, channel, term, sequence };
        Self { position, publisher_sequence: numbers.accepted(), duplicate: true, keyframe_wanted }
    }
}

impl Feed {
    /// Puts a change of grants into force: when this returns, no update under an
    /// older grant can enter. Late joiners no longer start at what `gone` published.
    /// `over` closes the feed in the same step, so that whoever finds it closed finds
    /// everything that ever entered.
    pub fn enforce(&self, grants: &[Grant], gone: &[NodeId], over: bool) {
        self.enforce_as(grants, Granted::UNKNOWN, gone, over);
    }

    /// The same for grants of which it is known which revision made them.
    pub fn enforce_as(&self, grants: &[Grant], granted: Granted, gone: &[NodeId], over: bool) {
        if grants.is_empty() && gone.is_empty() && !over {
            return;
        }
        let mut state = self.state.lock();
        let State { ring, lanes, key, own, revision, .. } = &mut *state;
        *revision = granted.known_until().unwrap_or(*revision).max(*revision);
        for grant in grants {
            let lane = (Some(grant.source), grant.channel);
            if grant.term != 0 || lanes.find(lane).is_some() {
                let slot = lanes.slot(lane);
                lanes.grant(slot, grant, granted, *own);
            }
            // One source at a time has a key, and every term of the one before has ended.
            if grant.term != 0 && grant.key != key.as_deref().copied() {
                *key = grant.key.map(Box::new);
            }
        }
        for key in gone.iter().flat_map(|node| Channel::ALL.map(|channel| (Some(*node), channel))) {
            if let Some(lane) = lanes.get_mut(key) {
                ring.release(lane);
            }
        }
        if over {
            // Nobody writes any more.
            state.authors = Authors::default();
            self.settle_end(&mut state);
            self.closed.store(true, Ordering::Release);
        }
        self.book(&mut state);
    }

    /// Notes that members have left, who may have written to the CHAT.
    pub fn members_left(&self, nodes: &[NodeId]) {
        if self.shared_chat && !nodes.is_empty() {
            self.state.lock().authors.leave(nodes);
        }
    }

    /// Those who have written to the CHAT, in the order of their nodes, after this one; at most `most`.
    pub fn authors_after(&self, last: Option<NodeId>, most: usize) -> Vec<NodeId> {
        self.state.lock().authors.nodes_after(last, most)
    }

    /// The newest term that was ever in force; 0 = none. O(lanes).
    pub fn newest_term(&self) -> u64 {
        let state = self.state.lock();
        state.lanes.iter().map(|(_, lane)| lane.newest_term).max().unwrap_or(0)
    }

    /// Authors of the CHAT that have left, and may be forgotten when there are many.
    #[cfg(test)]
    pub(crate) fn departed_authors(&self) -> usize {
        self.state.lock().authors.departed()
    }

    /// Whether late joiners have a keyframe of a source to start at.
    #[cfg(test)]
    pub(crate) fn has_start(&self, source: NodeId, channel: Channel) -> bool {
        self.state.lock().lanes.get((Some(source), channel)).is_some_and(|lane| lane.run.is_some())
    }

    /// What is known of a publisher whose session is `session`.
    pub fn publisher(&self, source: NodeId, session: Option<SessionId>, channel: Channel) -> PublisherState {
        let state = self.state.lock();
        let (numbers, keyframe_wanted) = if self.is_shared(channel) {
            (state.authors.get(source).map(Author::numbers), false)
        } else {
            let lane = state.lanes.get((Some(source), channel));
            (lane.map(|lane| &lane.publisher), lane.map_or_else(|| has_runs(channel), Lane::wants_keyframe_first))
        };
        PublisherState { keyframe_wanted, ..PublisherState::of(numbers, session) }
    }

    /// The term in force on a channel.
    pub fn term(&self, source: NodeId, channel: Channel) -> Option<u64> {
        self.state.lock().lanes.get((Some(source), channel)).map(|lane| lane.term).filter(|term| *term != 0)
    }

    /// Notes how many temporal layers the publisher of a term has.
    pub fn declare(&self, source: NodeId, term: u64, channels: ChannelSet, layers: u32) {
        let mut state = self.state.lock();
        for channel in channels.iter().filter(|channel| has_runs(*channel)) {
            if let Some(lane) = state.lanes.get_mut((Some(source), channel)).filter(|lane| lane.term == term) {
                lane.layers = layers;
            }
        }
    }

    /// Takes one update of `source` under `term`. O(1) amortised, but for reclaiming
    /// memory.
    ///
    /// `publisher_sequence` 0 counts for the publisher. A number that was accepted in
    /// its session is a repeat; one that was passed over is refused. A refused update
    /// may come again under its number until a higher one is accepted.
    ///
    /// # Errors
    ///
    /// Why the update was not taken, and its number.
    pub fn publish(&self, source: NodeId, term: u64, draft: Draft, now: Micros) -> Result<Accepted, Rejected> {
        let outcome = match self.enter(source, term, draft.clone(), now, false) {
            Err(Rejected { refusal: AppendError::Memory, .. }) => {
                self.make_room(draft.weight(), now);
                self.enter(source, term, draft, now, true)
            }
            outcome => outcome,
        };
        outcome.inspect_err(|rejected| self.memory.totals().reject(rejected.refusal.kind()))
    }

    /// With `last`, an update for which there is no memory is counted as rejected.
    fn enter(&self, source: NodeId, term: u64, draft: Draft, now: Micros, last: bool) -> Result<Accepted, Rejected> {
        let mut state = self.state.lock();
        let State { ring, lanes, limits, key, own, .. } = &mut *state;
        let channel = draft.channel;
        let slot = lanes.find((Some(source), channel)).filter(|slot| lanes.at(*slot).term == term && term != 0);
        let slot = slot.ok_or_else(|| AppendError::StaleTerm.uncounted())?;
        let lane = lanes.at_mut(slot);
        // What a stranger sends leaves no trace, also not in the numbers.
        draft
            .check_proof(key.as_deref().copied(), lane.publisher.session())
            .map_err(|refusal| Rejected { publisher_sequence: draft.publisher_sequence, refusal })?;
        let wanted = has_runs(channel) && lane.requests.is_wanted(limits.keyframe_interval, now);
        let given = draft.given_number();
        let number = given.unwrap_or_else(|| lane.publisher.next());
        match lane.publisher.judge(number) {
            NumberVerdict::Fresh => {}
            NumberVerdict::Repeat => return Ok(Accepted::before(lane, &lane.publisher, wanted)),
            NumberVerdict::OutOfOrder => {
                return Err(Rejected { publisher_sequence: number, refusal: AppendError::OutOfOrder });
            }
            NumberVerdict::Unknown => {
                return Err(Rejected { publisher_sequence: number, refusal: AppendError::OutcomeUnknown });
            }
        }
        let refusal = match lane.gate {
            Gate::Open => (!self.has_room(ring, lane, &draft, 0)).then_some(AppendError::Memory),
            gate => Some(AppendError::Closed(gate)),
        };
        if let Some(refusal) = refusal {
            if last || refusal != AppendError::Memory {
                lanes.reject(slot, number);
                self.book(&mut state);
            }
            return Err(Rejected { publisher_sequence: number, refusal });
        }
        let continues = lane.continues_at(given);
        if !continues {
            lane.origin = lane.term;
        }
        // The end of a former term is awaited no longer than until its successor begins.
        lane.begin_here(*own);
        // Whoever goes on without leaving a number out has sent again what did not come here.
        let lost = if continues { Tally::default() } else { lane.missing_before_next(given) };
        lanes.accept(slot, number);
        let keyframe_wanted = wanted && !draft.keyframe;
        let numbered = PublisherNumber { number, counted: given.is_none() };
        let entry = NewEntry { slot, author: None, numbered, lost, at: now };
        let (position, appended) = self.append(&mut state, entry, &draft);
        drop(state);
        self.schedule.on_append(appended, now);
        Ok(Accepted { position, publisher_sequence: number, duplicate: false, keyframe_wanted })
    }

    /// Takes one message to the CHAT of a livestream. Whoever calls holds the swarm's
    /// shard, under which the author was found to be a member. For want of memory, call
    /// [`Self::make_room`] without it, and once more with `last`: then the message counts
    /// as rejected.
    ///
    /// # Errors
    ///
    /// Why the message was not taken, and its number.
    pub fn chat(&self, message: Message, now: Micros, last: bool) -> Result<Accepted, Rejected> {
        self.write(message, now, last).inspect_err(|rejected| {
            // For want of memory it comes once more.
            if last || rejected.refusal != AppendError::Memory {
                self.memory.totals().reject(rejected.refusal.kind());
            }
        })
    }

    fn write(&self, message: Message, now: Micros, last: bool) -> Result<Accepted, Rejected> {
        let Message { author, session, muted, draft } = message;
        // Many authors, of whom none has a key.
        draft
            .check_proof(None, None)
            .map_err(|refusal| Rejected { publisher_sequence: draft.publisher_sequence, refusal })?;
        let mut state = self.state.lock();
        let State { ring, lanes, authors, .. } = &mut *state;
        let slot = lanes.slot((None, Channel::Chat));
        let new = if authors.get(author).is_some() { 0 } else { AUTHOR };
        let has_room = self.has_room(ring, lanes.at(slot), &draft, new);
        if new > 0 && !has_room {
            // Nothing is noted of whom nothing is known.
            return Err(Rejected {
                publisher_sequence: draft.given_number().unwrap_or(1),
                refusal: AppendError::Memory,
            });
        }
        let known = authors.author(author, session, now);
        let (number, judgement) = known.judge(draft.publisher_sequence, muted, now);
        let refusal = match judgement {
            Judgement::Repeat => return Ok(Accepted::before(lanes.at(slot), known.numbers(), false)),
            Judgement::Refused(refusal) => Some(refusal.into()),
            Judgement::Fresh => (!has_room).then_some(AppendError::Memory),
        };
        if let Some(refusal) = refusal {
            let counts = match refusal {
                AppendError::OutOfOrder | AppendError::OutcomeUnknown => false,
                AppendError::Memory => last,
                _ => true,
            };
            if counts {
                authors.note(author, number, false);
                self.book(&mut state);
            }
            return Err(Rejected { publisher_sequence: number, refusal });
        }
        known.pay();
        authors.note(author, number, true);
        let numbered = PublisherNumber { number, counted: false };
        let entry = NewEntry { slot, author: Some(author), numbered, lost: Tally::default(), at: now };
        let (position, appended) = self.append(&mut state, entry, &draft);
        drop(state);
        self.schedule.on_append(appended, now);
        Ok(Accepted { position, publisher_sequence: number, duplicate: false, keyframe_wanted: false })
    }

    /// Whether there is memory for an update on a lane, and for so many bytes more.
    pub(super) fn has_room(&self, ring: &Ring, lane: &Lane, draft: &Draft, more: usize) -> bool {
        self.memory.has_room_for(more + ring.growth(Record::cost_at_most(draft.weight()), lane))
    }

    pub(super) fn append(&self, state: &mut State, entry: NewEntry, draft: &Draft) -> (Position, Appended) {
        let State { lanes, counts, .. } = state;
        let NewEntry { slot, author, numbered, lost, at } = entry;
        let lane = lanes.at_mut(slot);
        let (term, sequence) = lane.next();
        let (source, channel) = lane.id;
        let position = Position { source, channel, term, sequence };
        lane.tally = lane.tally.plus(lost);
        // What is lost stands between: a point that no reader has.
        let previous = if lost.updates > 0 { Some((term, sequence - 1)) } else { lane.head };
        let (tally, layers, origin) = (lane.tally, lane.layers, lane.origin);
        let granted = granted_after(lane.granted().from(), term);
        lane.head = Some((term, sequence));
        lane.caught_up();
        lane.tally.add(draft.keyframe, is_top(draft.keyframe, draft.temporal_layer, layers));
        counts.published += 1;
        counts.published_bytes += draft.payload.len() as u64;
        let PublisherNumber { number: publisher_sequence, counted } = numbered;
        let flags = Flags::default().with(Flags::COUNTED, counted).with(Flags::AFTER_LOSS, lost.updates > 0);
        let place =
            Place { lane: slot, previous, tally, origin, layers, author, publisher_sequence, granted, flags, at };
        let appended = self.keep(state, Box::new(Record::encode(position, place, draft)));
        (position, appended)
    }

    /// Puts a record into the ring.
    pub(super) fn keep(&self, state: &mut State, record: Box<Record>) -> Appended {
        let State { ring, lanes, enrolled, summed, .. } = state;
        let appended = Appended::new(ring.end(), &record);
        ring.append(lanes, record);
        if !*enrolled {
            *enrolled = true;
            // Now, so that it is booked with the record: whoever asks for the sums takes no memory.
            summed.get_or_insert_default();
            let own = Weak::clone(&self.own);
            self.memory.enrol(own);
        }
        self.book(state);
        appended
    }
}

/// An update that is to be appended, beside what its publisher said of it.
pub(super) struct NewEntry {
    pub(super) slot: usize,
    pub(super) author: Option<NodeId>,
    pub(super) numbered: PublisherNumber,
    /// What is missing right before it.
    pub(super) lost: Tally,
    pub(super) at: Micros,
}

/// Which number an update has by its publisher's count.
pub(super) struct PublisherNumber {
    pub(super) number: u64,
    /// The server counted.
    pub(super) counted: bool,
}

/// How many revisions after its term a grant was made.
fn granted_after(revision: u64, term: u64) -> u32 {
    u32::try_from(revision.saturating_sub(term)).unwrap_or(u32::MAX)
}
