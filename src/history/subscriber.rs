//! What one subscriber got.

use std::collections::HashMap;

use super::lane::{Lane, Point};
use super::print::Print;
use super::summary::Totals;
use crate::pb::swarm::v1::{self as pb, Delivery, GoodbyeReason};
use pb::delivery::Item;

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
    /// Heartbeats and farewells.
    Other,
    /// The connection ended here; what follows is a resume.
    Cut,
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
                Event::Other
            }
            Some(Item::Heartbeat(_)) | None => Event::Other,
        };
        self.events.push(event);
    }

    /// The connection ended; what comes next belongs to a resume from the last
    /// positions that came.
    pub fn cut(&mut self) {
        self.events.push(Event::Cut);
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

    /// The last position that came of each lane: what to resume from. O(updates).
    pub fn positions(&self) -> Vec<pb::Position> {
        let mut last: Vec<Option<Point>> = vec![None; self.lanes.len()];
        for event in &self.events {
            if let Event::Update(got) = event {
                last[got.lane as usize] = Some(got.point);
            }
        }
        let came = self.lanes.iter().zip(last).filter_map(|(lane, point)| Some((lane, point?)));
        came.map(|(lane, point)| pb::Position {
            source_node_id: lane.source,
            channel: lane.channel.into(),
            term: point.term,
            sequence: point.sequence,
        })
        .collect()
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
