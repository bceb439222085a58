//! Updates: one ring of encoded records per swarm, read through cursors.
//!
//! Publishing checks the grant, numbers the update, encodes it once and appends
//! it, once for all subscribers; those who wait are woken by the feed's crier, once
//! per delivery window. A subscriber holds a cursor and not a queue: a slow one costs
//! nothing, and learns by a gap what it missed.
//!
//! Lock order: a swarm's shard, then its feed, then its audience or those who wait.
//! Nobody but the crier is woken under a lock.

mod audience;
mod budget;
mod chunks;
mod counts;
mod cursor;
mod keyframes;
mod lane;
mod memory;
mod record;
mod ring;
mod waiting;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::swarm::event::{Gate, Grant};
use crate::swarm::id::NodeId;
use crate::swarm::interest::{Channel, ChannelSet, Interests};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};

use audience::Audience;
use budget::Bucket;
use chunks::Chunks;
use lane::{Lane, Lanes, has_runs};
use record::{Place, is_top};
use ring::Ring;
use waiting::{News, Waiting};

pub use audience::{Demand, Selection};
pub use counts::{BUCKETS, Counts, bucket_bound};
pub use cursor::{Cursor, Delivery, FilterChange, Gap, GapReason, Greeting, Opening, Resume, Start};
pub use lane::{Key, Point};
pub use memory::Memory;
pub use record::{Draft, Encoded, Position, Record, Timestamp, frame};
pub use waiting::{Call, Sleeper};

/// Microseconds on a clock of the process that never goes back.
pub type Micros = u64;

/// Messages per second that one member may write to the CHAT of a livestream, and
/// how many at once.
const CHAT_QUOTA: (u64, u64) = (5, 10);

/// Beyond this number of CHAT authors those with nothing to remember are forgotten.
const AUTHORS: usize = 4_096;

/// What a feed is for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of records that the ring holds.
    pub ring_bytes: usize,
    /// The age to which it holds them.
    pub max_age: Micros,
    /// A publisher is asked for a keyframe after this time; `None` = only when
    /// somebody wants one.
    pub keyframe_interval: Option<Micros>,
    /// How old a VISUAL or SCREEN update may be when a newer keyframe is there.
    pub max_lag: Micros,
    /// Bytes per second to one subscription; `None` = any.
    pub bandwidth: Option<u64>,
    /// CHAT is one order for the swarm, open to all members.
    pub shared_chat: bool,
}

/// What is kept of a swarm's updates, and who may add to it.
#[derive(Debug)]
pub struct Feed {
    /// To enrol with the memory.
    own: Weak<Self>,
    shape: Shape,
    memory: Arc<Memory>,
    state: Mutex<State>,
    audience: Audience,
    waiting: Waiting,
    chunks: Chunks,
    producers: Arc<Notify>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct State {
    ring: Ring,
    lanes: Lanes,
    authors: HashMap<NodeId, Author>,
    enrolled: bool,
    counts: Counts,
}

/// One who writes to the CHAT of a livestream.
#[derive(Debug)]
struct Author {
    publisher_sequence: u64,
    quota: Bucket,
}

/// What became of an update that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Where it stands; for a repeat, where the newest one of its channel stands.
    pub position: Position,
    /// The publisher's number of it.
    pub publisher_sequence: u64,
    /// True when it was there already, and dropped.
    pub repeated: bool,
    /// True when the next one on VISUAL or SCREEN should be a keyframe.
    pub keyframe_wanted: bool,
}

/// Why an update was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
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
    #[error("at most {} messages per second", CHAT_QUOTA.0)]
    Quota,
    /// The process holds as many updates as it may.
    #[error("the process is out of memory for updates")]
    Memory,
}

impl Accepted {
    /// A repeat of one that came on `lane` before; `last` is the newest number.
    fn before(lane: &Lane, last: u64) -> Self {
        let (term, sequence) = lane.head.unwrap_or((lane.term, 0));
        let (source, channel) = lane.key;
        let position = Position { source, channel, term, sequence };
        Self { position, publisher_sequence: last, repeated: true, keyframe_wanted: false }
    }
}

impl Feed {
    /// An empty feed. Nothing is allocated before the first update.
    pub fn new(shape: Shape, memory: Arc<Memory>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            own: Weak::clone(own),
            shape,
            memory,
            state: Mutex::new(State {
                ring: Ring::new(shape.ring_bytes, shape.max_age),
                lanes: Lanes::default(),
                authors: HashMap::new(),
                enrolled: false,
                counts: Counts::default(),
            }),
            audience: Audience::default(),
            waiting: Waiting::default(),
            chunks: Chunks::default(),
            producers: Arc::default(),
            closed: AtomicBool::new(false),
        })
    }

    /// Puts a change of grants into force: when this returns, no update under an
    /// older grant can enter. Late joiners no longer start at what `gone` published.
    /// `over` closes the feed in the same step, so that whoever finds it closed finds
    /// everything that ever entered.
    pub fn enforce(&self, grants: &[Grant], gone: &[NodeId], over: bool) {
        if grants.is_empty() && gone.is_empty() && !over {
            return;
        }
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let before = ring.bytes();
        if over {
            self.closed.store(true, Ordering::Release);
        }
        for Grant { source, channel, term, gate } in grants.iter().copied() {
            let key = (Some(source), channel);
            if term != 0 || lanes.find(key).is_some() {
                let slot = lanes.slot(key);
                lanes.at_mut(slot).grant(term, gate);
            }
        }
        for key in gone.iter().flat_map(|node| Channel::ALL.map(|channel| (Some(*node), channel))) {
            if let Some(lane) = lanes.get_mut(key) {
                ring.release(lane);
            }
        }
        self.memory.book(before, ring.bytes());
    }

    /// Notes what a member wants now. When this returns, its subscriptions deliver
    /// no more than that; they are to be woken.
    pub fn rewish(&self, node: NodeId, interests: &Interests) -> Vec<Sleeper> {
        self.audience.rewish(node, interests).into_iter().map(Sleeper::new).collect()
    }

    /// The last number that the publisher gave on a channel; 0 = none.
    pub fn publisher_sequence(&self, source: NodeId, channel: Channel) -> u64 {
        let state = self.state.lock();
        if self.is_shared(channel) {
            return state.authors.get(&source).map_or(0, |author| author.publisher_sequence);
        }
        state.lanes.get((Some(source), channel)).map_or(0, |lane| lane.publisher_sequence)
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

    /// True when the channel has one order for the swarm, and many authors.
    pub fn is_shared(&self, channel: Channel) -> bool {
        self.shape.shared_chat && channel == Channel::Chat
    }

    /// Takes one update of `source` under `term`. O(1) amortised, but for reclaiming
    /// memory.
    ///
    /// `publisher_sequence` 0 counts for the publisher; a number that is not above
    /// the last one is a repeat.
    pub fn publish(&self, source: NodeId, term: u64, draft: Draft, now: Micros) -> Result<Accepted, Refusal> {
        match self.enter(source, term, draft.clone(), now) {
            Err(Refusal::Memory) if self.make_room(now) => self.enter(source, term, draft, now),
            outcome => outcome,
        }
    }

    fn enter(&self, source: NodeId, term: u64, draft: Draft, now: Micros) -> Result<Accepted, Refusal> {
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let channel = draft.channel;
        let key = (Some(source), channel);
        let slot = lanes.find(key).filter(|slot| lanes.at(*slot).term == term && term != 0);
        let slot = slot.ok_or(Refusal::StaleTerm)?;
        let lane = lanes.at(slot);
        if lane.gate != Gate::Open {
            return Err(Refusal::Closed(lane.gate));
        }
        let last = lane.publisher_sequence;
        let number = draft.number_after(last);
        let wanted = has_runs(channel) && lane.want.is_wanted(self.shape.keyframe_interval, now);
        if number <= last {
            return Ok(Accepted { keyframe_wanted: wanted, ..Accepted::before(lane, last) });
        }
        self.admit(ring, &draft)?;
        // Nobody knows what a new publisher has kept of the old one's run.
        let continues = lane.head.is_some_and(|(of, _)| of == term);
        let keyframe = draft.keyframe;
        lanes.at_mut(slot).publisher_sequence = number;
        let (position, news) = self.append(&mut state, slot, None, continues, draft, now);
        let keyframe_wanted = wanted && !keyframe;
        drop(state);
        self.waiting.announce(news, now);
        Ok(Accepted { position, publisher_sequence: number, repeated: false, keyframe_wanted })
    }

    /// Takes one message of `author` to the CHAT of a livestream. Whoever calls holds
    /// the swarm's shard, under which the author was found to be a member and not
    /// muted; for want of memory, [`Self::make_room`] without it, and once more.
    pub fn chat(&self, author: NodeId, draft: Draft, now: Micros) -> Result<Accepted, Refusal> {
        let mut state = self.state.lock();
        let State { ring, lanes, authors, .. } = &mut *state;
        if authors.len() > AUTHORS {
            authors.retain(|_, author| !author.quota.is_full(now));
        }
        let fresh = || Author { publisher_sequence: 0, quota: Bucket::full(CHAT_QUOTA.0, CHAT_QUOTA.1, now) };
        let known = authors.entry(author).or_insert_with(fresh);
        let (slot, last) = (lanes.slot((None, Channel::Chat)), known.publisher_sequence);
        let number = draft.number_after(last);
        if number <= last {
            return Ok(Accepted::before(lanes.at(slot), last));
        }
        if known.quota.balance(now) < 1 {
            return Err(Refusal::Quota);
        }
        self.admit(ring, &draft)?;
        known.quota.take(1);
        known.publisher_sequence = number;
        let (position, news) = self.append(&mut state, slot, Some(author), true, draft, now);
        drop(state);
        self.waiting.announce(news, now);
        Ok(Accepted { position, publisher_sequence: number, repeated: false, keyframe_wanted: false })
    }

    fn admit(&self, ring: &Ring, draft: &Draft) -> Result<(), Refusal> {
        self.memory.has_room_for(ring.growth(draft.payload.len())).then_some(()).ok_or(Refusal::Memory)
    }

    fn append(
        &self,
        state: &mut State,
        slot: usize,
        author: Option<NodeId>,
        continues: bool,
        draft: Draft,
        now: Micros,
    ) -> (Position, News) {
        let State { ring, lanes, enrolled, counts, .. } = state;
        let before = ring.bytes();
        let lane = lanes.at_mut(slot);
        let (term, sequence) = lane.next();
        let (source, channel) = lane.key;
        let position = Position { source, channel, term, sequence };
        let (previous, tally, layers) = (lane.head, lane.tally, lane.layers);
        lane.head = Some((term, sequence));
        lane.tally.add(draft.keyframe, is_top(draft.keyframe, draft.temporal_layer, layers));
        counts.published += 1;
        counts.published_bytes += draft.payload.len() as u64;
        let place = Place { lane: slot, previous, tally, continues, layers, author, at: now };
        let record = Record::encode(position, place, draft);
        let news = News::of(ring.end(), &record);
        ring.append(lanes, record);
        self.memory.book(before, ring.bytes());
        if !*enrolled {
            *enrolled = true;
            self.memory.enrol(Weak::clone(&self.own));
        }
        (position, news)
    }

    /// Makes every subscription look for what is new.
    pub fn rouse(&self) {
        self.waiting.rouse();
    }

    /// True for the caller who is to run the feed's crier: until [`Call::Over`] it does
    /// what [`Self::call`] says, and waits for [`Self::crier`] in between.
    pub fn needs_crier(&self) -> bool {
        self.waiting.needs_crier()
    }

    /// What the crier is to do now. O(those who are to be woken).
    pub fn call(&self, now: Micros) -> Call {
        let call = self.waiting.call(now);
        match call {
            Call::Over => self.chunks.trim(0),
            // Who is late reads without company.
            Call::Idle => self.chunks.trim(2),
            Call::Wake(_) | Call::Until(_) => {}
        }
        call
    }

    /// The bell that rings for the crier. It is remembered when nobody waits for it.
    pub fn crier(&self) -> Arc<Notify> {
        self.waiting.bell()
    }

    /// Frees what nobody reads, here and in other feeds. False when that has just
    /// been tried. O(feeds).
    pub fn make_room(&self, now: Micros) -> bool {
        self.memory.reclaim(now)
    }

    fn shrink(&self) {
        if !self.audience.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let before = ring.bytes();
        ring.shrink(lanes);
        self.memory.book(before, ring.bytes());
    }

    /// Asks the publisher of a VISUAL or SCREEN lane for a keyframe.
    pub fn request_keyframe(&self, source: NodeId, channel: Channel) {
        let mut state = self.state.lock();
        let slot = state.lanes.slot((Some(source), channel));
        state.lanes.at_mut(slot).want.ask();
        drop(state);
        self.producers.notify_waiters();
    }

    /// Those of `channels` for which the publisher of `term` is to be asked for a
    /// keyframe now, and when to look again. Whoever calls does ask.
    pub fn keyframes_due(
        &self,
        source: NodeId,
        term: u64,
        channels: ChannelSet,
        now: Micros,
    ) -> (Vec<Channel>, Option<Micros>) {
        let mut state = self.state.lock();
        let (mut ask, mut next) = (Vec::new(), None::<Micros>);
        for channel in channels.iter().filter(|channel| has_runs(*channel)) {
            let Some(lane) = state.lanes.get_mut((Some(source), channel)) else { continue };
            if lane.term != term || lane.gate != Gate::Open {
                continue;
            }
            if lane.want.due(self.shape.keyframe_interval, now).is_some_and(|due| due <= now) {
                lane.want.asked(now);
                ask.push(channel);
            }
            next = [next, lane.want.due(self.shape.keyframe_interval, now)].into_iter().flatten().min();
        }
        (ask, next)
    }

    /// What is wanted of `channels` of a source, in their order. O(subscriptions).
    pub fn demand(&self, source: NodeId, channels: ChannelSet) -> Vec<(Channel, Demand)> {
        self.audience.demand(source, channels, self.shape.shared_chat)
    }

    /// Rises when a subscription comes, goes or wants something else.
    pub fn audience_version(&self) -> u64 {
        self.audience.version()
    }

    /// True when nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The bell that rings when publishers may have to be told something.
    pub fn producers(&self) -> Arc<Notify> {
        Arc::clone(&self.producers)
    }

    /// The newest position of each lane that a subscription asked for.
    pub fn heads(&self, selection: &Selection) -> Vec<Position> {
        let state = self.state.lock();
        let lanes = state.lanes.iter().filter(|(_, lane)| selection.contains(lane.key));
        let mut heads: Vec<_> = lanes
            .filter_map(|(_, lane)| {
                let ((term, sequence), (source, channel)) = (lane.head?, lane.key);
                Some(Position { source, channel, term, sequence })
            })
            .collect();
        heads.sort_unstable_by_key(|position| (position.source, position.channel));
        heads
    }

    /// What was taken and what was handed out.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Bytes of records held.
    pub fn bytes(&self) -> usize {
        self.state.lock().ring.bytes()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.memory.book(self.state.get_mut().ring.bytes(), 0);
    }
}

#[cfg(test)]
mod tests;
