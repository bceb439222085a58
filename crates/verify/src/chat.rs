//! CHAT of a livestream: one order of many authors, none of whom knows it whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::MAX_VIOLATIONS;
use super::lane::{Lane, Point};
use super::print::Print;
use super::publisher::{Anchor, PublisherLog, Run};
use super::subscriber::History;
use super::violation::Violation;

/// What is known of each epoch's order.
#[derive(Debug)]
pub(super) struct Chat {
    orders: BTreeMap<u64, Order>,
}

/// The messages of one epoch, sequence 1 first. Nobody may have seen some of them.
/// 32 bytes per message sent.
#[derive(Debug)]
struct Order(Vec<Option<Message>>);

#[derive(Clone, Copy, Debug)]
struct Message {
    author: u64,
    print: Print,
}

/// What one author sent, and how much of it has been found in the order.
#[derive(Debug, Default)]
struct Author {
    prints: Vec<Print>,
    anchors: Vec<Anchor>,
    found: usize,
    passed: usize,
}

impl Chat {
    /// Puts together what subscribers and acknowledgements saw, and looks for each
    /// message in its author's log. O(sent + delivered).
    pub(super) fn gather(logs: &[PublisherLog], histories: &[History], violations: &mut Vec<Violation>) -> Self {
        let runs = || {
            let all = logs
                .iter()
                .flat_map(|log| log.runs().map(|(lane, run, doubtful)| (log.node(), lane, run, doubtful.prints)));
            all.filter(|(_, lane, ..)| *lane == Lane::CHAT)
        };
        let delivered = || histories.iter().flat_map(History::updates).filter(|(_, lane, _)| *lane == Lane::CHAT);
        let mut epochs: BTreeSet<u64> = runs().map(|(_, _, run, _)| run.epoch).collect();
        epochs.extend(delivered().map(|(epoch, ..)| epoch));
        if epochs.len() > 1 {
            epochs.remove(&0); // what no stream has opened is of any epoch
        }
        let mut orders = BTreeMap::new();
        for epoch in epochs {
            let mut authors: HashMap<u64, Author> = HashMap::new();
            for (node, _, run, doubtful) in runs().filter(|(_, _, run, _)| run.epoch == epoch || run.epoch == 0) {
                authors.entry(node).or_default().add(run, &doubtful);
            }
            let sent = authors.values().map(|author| author.prints.len()).sum();
            let mut order = Order(vec![None; sent]);
            for (node, author) in &authors {
                order.place_acknowledged(*node, author, violations);
            }
            for (_, _, got) in delivered().filter(|(of, ..)| *of == epoch) {
                order.place(got.point.sequence, Message { author: got.author, print: got.print }, violations);
            }
            order.attribute(&mut authors, violations);
            orders.insert(epoch, order);
        }
        Self { orders }
    }

    /// Each epoch's order and how far it is known to reach. What nobody saw has an
    /// empty print.
    pub(super) fn into_orders(self) -> impl Iterator<Item = (u64, Vec<Print>, usize)> {
        self.orders.into_iter().map(|(epoch, Order(messages))| {
            let head = messages.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            let prints = messages.into_iter().map(|message| message.map(|message| message.print).unwrap_or_default());
            (epoch, prints.collect(), head)
        })
    }
}

impl Order {
    fn place_acknowledged(&mut self, node: u64, author: &Author, violations: &mut Vec<Violation>) {
        for anchor in &author.anchors {
            let message = Message { author: node, print: author.prints[anchor.index] };
            if !self.place(anchor.sequence, message, violations) {
                violations.push(Violation::Numbering {
                    publisher: node,
                    lane: Lane::CHAT,
                    through: anchor.through,
                    point: Point { term: 0, sequence: anchor.sequence },
                    counted: self.0.len() as u64,
                });
            }
        }
    }

    /// Notes who wrote a message; false when more than all that was sent would have
    /// to come before it. Whether its content is the same everywhere is for the audit.
    fn place(&mut self, sequence: u64, message: Message, violations: &mut Vec<Violation>) -> bool {
        let index = sequence.checked_sub(1).and_then(|index| usize::try_from(index).ok());
        let Some(slot) = index.and_then(|index| self.0.get_mut(index)) else { return false };
        let (one, other) = (slot.get_or_insert(message).author, message.author);
        if one != other && violations.len() < MAX_VIOLATIONS {
            violations.push(Violation::Author { sequence, one, other });
        }
        true
    }

    /// Finds each message in what its author sent, in order.
    fn attribute(&self, authors: &mut HashMap<u64, Author>, violations: &mut Vec<Violation>) {
        for (message, sequence) in self.0.iter().zip(1..) {
            let Some(Message { author, print }) = *message else { continue };
            if !authors.get_mut(&author).is_some_and(|author| author.find(sequence, print)) {
                violations.push(Violation::NotSent { author, sequence });
                if violations.len() >= MAX_VIOLATIONS {
                    return;
                }
            }
        }
    }
}

impl Author {
    fn add(&mut self, run: &Run, doubtful: &[Print]) {
        let before = self.prints.len();
        self.prints.extend_from_slice(&run.prints);
        self.prints.extend_from_slice(doubtful);
        self.anchors.extend(run.anchors.iter().map(|anchor| Anchor { index: before + anchor.index, ..*anchor }));
    }

    /// Looks for a message among those that are left: at its place if an
    /// acknowledgement named it, else the first that is alike before the next such
    /// place.
    fn find(&mut self, sequence: u64, print: Print) -> bool {
        while let Some(anchor) = self.anchors.get(self.passed).filter(|anchor| anchor.sequence < sequence) {
            self.found = self.found.max(anchor.index + 1);
            self.passed += 1;
        }
        let next = self.anchors.get(self.passed);
        let (first, end) = match next {
            Some(anchor) if anchor.sequence == sequence => (anchor.index.max(self.found), anchor.index + 1),
            Some(anchor) => (self.found, anchor.index),
            None => (self.found, self.prints.len()),
        };
        let left = self.prints.get(first..end).unwrap_or_default();
        let at = left.iter().position(|sent| print.difference(*sent).is_none());
        at.is_some_and(|at| {
            self.found = first + at + 1;
            true
        })
    }
}
