//! One subscriber's history, held against what was published.

use std::collections::HashMap;

use super::MAX_VIOLATIONS;
use super::filter::Filter;
use super::lane::{Lane, Point};
use super::published::Published;
use super::reader::{Named, Reader};
use super::stretch::Notice;
use super::subscriber::{Event, History};
use super::violation::Violation;
use starling_client::pb::swarm::v1::{Subscribed, SubscriptionPosition};

/// Walks through one history. O(events + published).
pub(super) fn audit(history: &History, published: &Published<'_>, violations: &mut Vec<Violation>) {
    let mut audit =
        Audit { history, published, violations, readers: HashMap::new(), epoch: None, connection: Connection::Silent };
    for event in &history.events {
        audit.take(event);
        if audit.violations.len() >= MAX_VIOLATIONS {
            return;
        }
    }
    for lane in &history.expected {
        audit.reader(*lane);
    }
    audit.close(history.ended);
}

struct Audit<'a> {
    history: &'a History,
    published: &'a Published<'a>,
    violations: &'a mut Vec<Violation>,
    readers: HashMap<Lane, Reader<'a>>,
    epoch: Option<u64>,
    connection: Connection,
}

/// How far the subscription of now has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Connection {
    /// Nothing has come.
    Silent,
    /// Something has come, but not `Subscribed`.
    Wrong,
    /// `Subscribed` has come.
    Subscribed,
}

impl<'a> Audit<'a> {
    fn take(&mut self, event: &Event) {
        match event {
            Event::Cut(resume) => {
                self.connection = Connection::Silent;
                for (lane, reader) in &mut self.readers {
                    reader.cut(named(resume.as_deref(), *lane));
                }
                return;
            }
            Event::Subscribed(subscribed) => return self.subscribe(subscribed),
            Event::Goodbye => return,
            Event::Update(_) | Event::Gap(_) | Event::Filter(_) | Event::Other => {}
        }
        if self.connection == Connection::Silent {
            self.connection = Connection::Wrong;
            self.violations.push(Violation::NotSubscribed { subscriber: self.history.node() });
        }
        match event {
            Event::Update(got) => {
                let lane = self.history.lanes[got.lane as usize];
                // A field of its own, so that the violations can be lent as well.
                self.reader(lane);
                if let Some(reader) = self.readers.get_mut(&lane) {
                    reader.take(got, self.violations);
                }
            }
            Event::Gap(gap) => {
                let lane = Lane::new(gap.source_node_id, gap.channel);
                self.reader(lane);
                if let Some(reader) = self.readers.get_mut(&lane) {
                    reader.announce(Notice::new(gap), self.violations);
                }
            }
            Event::Filter(filter) => {
                let lane = Lane::new(filter.source_node_id, filter.channel);
                self.reader(lane).declare(Filter::declared(lane, filter));
            }
            Event::Cut(_) | Event::Subscribed(_) | Event::Goodbye | Event::Other => {}
        }
    }

    fn subscribe(&mut self, subscribed: &Subscribed) {
        if self.connection == Connection::Subscribed {
            self.violations.push(Violation::SubscribedTwice { subscriber: self.history.node() });
        }
        self.connection = Connection::Subscribed;
        if self.epoch.is_some_and(|epoch| epoch != subscribed.epoch) {
            self.close(false);
        }
        self.epoch = Some(subscribed.epoch);
        for position in &subscribed.positions {
            let lane = Lane::new(position.source_node_id, position.channel);
            self.named(lane).start(Point::of(*position));
        }
        for filter in &subscribed.filters {
            let lane = Lane::new(filter.source_node_id, filter.channel);
            let reader = self.named(lane);
            reader.declare(Filter::declared(lane, filter));
            reader.resume();
        }
        for waiting in &subscribed.waiting_for_keyframe {
            self.named(Lane::new(waiting.source_node_id, waiting.channel));
        }
    }

    /// A lane that `Subscribed` names: it starts where that says, or anywhere.
    fn named(&mut self, lane: Lane) -> &mut Reader<'a> {
        self.reader_from(lane, None)
    }

    /// A lane that appears later, and so starts at its beginning.
    fn reader(&mut self, lane: Lane) -> &mut Reader<'a> {
        self.reader_from(lane, Some(Point::default()))
    }

    fn reader_from(&mut self, lane: Lane, start: Option<Point>) -> &mut Reader<'a> {
        let (subscriber, epoch) = (self.history.node(), self.epoch.unwrap_or_default());
        let published = self.published;
        let reader = || Reader::new(subscriber, lane, published.lane(epoch, lane), start);
        self.readers.entry(lane).or_insert_with(reader)
    }

    /// The history ends, or that of another epoch begins.
    fn close(&mut self, ended: bool) {
        let mut readers: Vec<_> = self.readers.drain().collect();
        readers.sort_unstable_by_key(|(lane, _)| *lane);
        for (_, mut reader) in readers {
            reader.close(ended, self.violations);
        }
    }
}

/// What a resume told the server of a lane; nothing where that is not known.
fn named(resume: Option<&SubscriptionPosition>, lane: Lane) -> Named {
    let Some(resume) = resume else { return Named::default() };
    let position = resume.positions.iter().find(|at| Lane::new(at.source_node_id, at.channel) == lane);
    let open_gap = resume.open_gaps.iter().any(|gap| Lane::new(gap.source_node_id, gap.channel) == lane);
    Named { position: position.map(|at| Point::of(*at)), open_gap }
}
