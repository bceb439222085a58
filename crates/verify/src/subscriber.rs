//! What one subscriber got.

use std::collections::{BTreeMap, HashMap};

use super::lane::{Lane, Point};
use super::print::Print;
use super::totals::Totals;
use pb::delivery::Item;
use starling_client::pb::swarm::v1::{self as pb, Delivery, GoodbyeReason};

/// All that came to one subscriber, in order, over any number of connections: 48
/// bytes per update.
#[derive(Clone, Debug)]
pub struct History {
    node: u64,
    pub(super) lanes: Vec<Lane>,
    numbers: HashMap<Lane, u32>,
    pub(super) expected: Vec<Lane>,
    pub(super) events: Vec<Event>,
    pub(super) ended: bool,
    totals: Totals,
}

/// One thing that came.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Update(Got),
    Gap(Box<pb::Gap>),
    Filter(Box<pb::Filter>),
    Subscribed(Box<pb::Subscribed>),
    /// The stream ends, perhaps before it began.
    Goodbye,
    /// Heartbeats.
    Other,
    /// The connection ended here; what follows is a resume, from there if that is known.
    Cut(Option<Box<pb::SubscriptionPosition>>),
}

/// An update as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Got {
    /// Index in the history's lanes.
    pub(super) lane: u32,
    pub(super) point: Point,
    pub(super) print: Print,
    pub(super) author: u64,
}

impl History {
    /// An empty history; `node` names the subscriber in violations.
    pub fn new(node: u64) -> Self {
        Self {
            node,
            lanes: Vec::new(),
            numbers: HashMap::new(),
            expected: Vec::new(),
            events: Vec::new(),
            ended: false,
            totals: Totals::default(),
        }
    }

    /// Says that this lane was wanted from its beginning on. Without it, a lane that
    /// the server never mentions counts as not wanted.
    pub fn expect(&mut self, lane: Lane) {
        self.expected.push(lane);
    }

    /// Notes what came. O(1), apart from the hash of the payload.
    pub fn record(&mut self, delivery: &Delivery) {
        let event = match &delivery.item {
            Some(Item::Update(update)) => Event::Update(self.update(update)),
            Some(Item::Gap(gap)) => {
                self.totals.count_gap(gap.reason());
                Event::Gap(Box::new(*gap))
            }
            Some(Item::Filter(filter)) => Event::Filter(Box::new(*filter)),
            Some(Item::Subscribed(subscribed)) => {
                self.totals.subscriptions += 1;
                Event::Subscribed(Box::new(subscribed.clone()))
            }
            Some(Item::Goodbye(goodbye)) => {
                self.ended |= goodbye.reason() == GoodbyeReason::Ended;
                Event::Goodbye
            }
            Some(Item::Heartbeat(_)) | None => Event::Other,
        };
        self.events.push(event);
    }

    /// The connection ended; what comes next belongs to a resume from the last
    /// positions that came.
    pub fn cut(&mut self) {
        self.events.push(Event::Cut(None));
    }

    /// The connection ended, and the subscriber resumes from here: what was told up to this
    /// point must not be told again.
    pub fn resume(&mut self, from: &pb::SubscriptionPosition) {
        self.events.push(Event::Cut(Some(Box::new(from.clone()))));
    }

    /// The swarm ended and the subscriber knows it: it must have had everything. The
    /// goodbye ENDED says the same when it is recorded.
    pub const fn ended(&mut self) {
        self.ended = true;
    }

    /// Whose history it is.
    pub const fn node(&self) -> u64 {
        self.node
    }

    /// What came, counted.
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// What to resume from: the last position that came of each lane; where nothing
    /// came, what the subscription named, or the end of what was declared lost. A lane
    /// of which none of these is known begins anew. O(updates).
    pub fn positions(&self) -> Vec<pb::UpdatePosition> {
        let mut last: BTreeMap<Lane, (Point, bool)> = BTreeMap::new();
        let mut epoch = None;
        for event in &self.events {
            match event {
                Event::Update(got) => {
                    last.insert(self.lanes[got.lane as usize], (got.point, true));
                }
                Event::Gap(gap) => {
                    let lane = Lane::new(gap.source_node_id, gap.channel);
                    if let Some(before) = gap.before.filter(|before| before.sequence > 0) {
                        let end = Point { term: before.term, sequence: before.sequence - 1 };
                        last.entry(lane).or_insert((end, false));
                    }
                }
                Event::Subscribed(subscribed) => {
                    if epoch.replace(subscribed.epoch).is_some_and(|before| before != subscribed.epoch) {
                        last.clear();
                    }
                    for position in &subscribed.positions {
                        let lane = Lane::new(position.source_node_id, position.channel);
                        let (point, came) = last.entry(lane).or_default();
                        if !*came {
                            *point = Point::of(*position);
                        }
                    }
                }
                Event::Filter(_) | Event::Goodbye | Event::Other | Event::Cut(_) => {}
            }
        }
        let positions = last.into_iter().map(|(lane, (point, _))| pb::UpdatePosition {
            source_node_id: lane.source,
            channel: lane.channel.into(),
            term: point.term,
            sequence: point.sequence,
            track: 0,
        });
        positions.collect()
    }

    /// Each update with its lane, and the epoch of its subscription.
    pub(super) fn updates(&self) -> impl Iterator<Item = (u64, Lane, &Got)> {
        let mut epoch = 0;
        self.events.iter().filter_map(move |event| match event {
            Event::Subscribed(subscribed) => {
                epoch = subscribed.epoch;
                None
            }
            Event::Update(got) => Some((epoch, self.lanes[got.lane as usize], got)),
            _ => None,
        })
    }

    fn update(&mut self, update: &pb::Update) -> Got {
        self.totals.updates += 1;
        self.totals.bytes += update.payload.len() as u64;
        let position = update.position.unwrap_or_default();
        Got {
            lane: self.number(Lane::new(position.source_node_id, position.channel)),
            point: Point::of(position),
            print: Print::got(update),
            author: update.author_node_id,
        }
    }

    fn number(&mut self, lane: Lane) -> u32 {
        *self.numbers.entry(lane).or_insert_with(|| {
            self.lanes.push(lane);
            u32::try_from(self.lanes.len() - 1).unwrap_or(u32::MAX)
        })
    }
}
