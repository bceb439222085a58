//! What one publisher sent, and what became of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::lane::{Lane, Point};
use super::print::Print;
use super::violation::Violation;
use starling_client::pb::swarm::v1::{ChannelAck, PublishOpened, PublishRejected, UpdateChannel, UpdateDraft};

/// The log of one publisher: which update stands at which position.
///
/// It counts as the server must: in the order sent, a rejected update takes no
/// number, a repeat neither, and each term begins at 1. What was sent and not
/// answered when the stream was cut counts as accepted as far as the next stream's
/// `last_publisher_sequence` reaches, or after joining anew its
/// `previous_publisher_sequence`; a rejection that was lost with the connection
/// is beyond this log. A log of unary calls is of one session.
///
/// 24 bytes per update until it is acknowledged, 16 after.
#[derive(Clone, Debug)]
pub struct PublisherLog {
    node: u64,
    epoch: u64,
    session: u64,
    layers: u8,
    channels: BTreeMap<UpdateChannel, ChannelLog>,
    faults: Vec<Violation>,
    /// Servers may die and take with them what they alone have acknowledged.
    servers_die: bool,
}

impl PublisherLog {
    /// An empty log; `node` is the source of its updates and the author of its chat.
    /// Until a stream opens, it belongs to whatever epoch the subscribers name; what
    /// is sent counts from the first stream or acknowledgement on.
    pub const fn new(node: u64) -> Self {
        Self {
            node,
            epoch: 0,
            session: 0,
            layers: 1,
            channels: BTreeMap::new(),
            faults: Vec::new(),
            servers_die: false,
        }
    }

    /// The same of a publisher at several servers, of which one may die and take with it what it alone has
    /// acknowledged: the next may know less. What it lacks counts as accepted, so that subscribers must have it or be
    /// told of its loss.
    #[must_use]
    pub fn at_servers_that_die(self) -> Self {
        Self { servers_die: true, ..self }
    }

    /// A publish stream has opened, for the first time or again, and declared this
    /// many temporal layers.
    pub fn opened(&mut self, opened: &PublishOpened, temporal_layers: u32) {
        let reborn = self.epoch != opened.epoch;
        let before = std::mem::replace(&mut self.session, opened.session_id);
        self.epoch = opened.epoch;
        self.layers = u8::try_from(temporal_layers.max(1)).unwrap_or(u8::MAX);
        for granted in &opened.channels {
            let lane = Lane::new(self.node, granted.channel);
            let log = self.channels.entry(lane.channel).or_default();
            // Numbers belong to a session: how far the one of before came is told apart.
            let told = if opened.session_id == before {
                Some(granted.last_publisher_sequence)
            } else {
                (granted.previous_session_id == before).then_some(granted.previous_publisher_sequence)
            };
            if let Some(told) = told.filter(|told| !self.servers_die && !reborn && *told < log.through) {
                self.faults.push(Violation::Acknowledged { publisher: self.node, lane, told, known: log.through });
            }
            if !reborn {
                log.settle_run(told.unwrap_or(log.through));
            }
            let goes_on = !reborn && opened.session_id == before;
            // What a server took with it is not sent again: who has it reads on behind it.
            let had = if self.servers_die && goes_on { log.through } else { 0 };
            log.reopen(opened.epoch, granted.term, granted.last_publisher_sequence.max(had), goes_on);
        }
    }

    /// An update was sent.
    pub fn sent(&mut self, draft: &UpdateDraft) {
        let print = Print::sent(draft, self.layers);
        self.channels.entry(draft.channel()).or_default().send(draft.publisher_sequence, print);
    }

    /// An acknowledgement came; `position` must be given, as the server does.
    pub fn acked(&mut self, ack: &ChannelAck) {
        let Some(position) = ack.position else { return };
        let lane = Lane::new(position.source_node_id, position.channel);
        let (told, point) = (ack.accepted_through, Point::of(position));
        let log = self.channels.entry(lane.channel).or_default();
        if log.runs.last().is_some_and(|run| point.term < run.term) {
            return; // of a stream that another has superseded, and settled
        }
        let accepted = log.settle(told);
        if log.through < told {
            self.faults.push(Violation::Acknowledged { publisher: self.node, lane, told, known: log.through });
        }
        let counted = log.accept(self.epoch, point, accepted);
        if lane != Lane::CHAT && counted != point.sequence {
            self.faults.push(Violation::Numbering { publisher: self.node, lane, through: told, point, counted });
        }
    }

    /// An update was rejected.
    pub fn rejected(&mut self, rejected: &PublishRejected) {
        self.channels.entry(rejected.channel()).or_default().reject(rejected.publisher_sequence);
    }

    /// Whose log it is.
    pub const fn node(&self) -> u64 {
        self.node
    }

    /// How many updates are known to be accepted.
    pub fn accepted(&self) -> u64 {
        self.channels.values().flat_map(|log| &log.runs).map(|run| run.prints.len() as u64).sum()
    }

    /// How many updates were sent and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.channels.values().map(|log| log.pending.len()).sum()
    }

    /// What the server told the publisher that cannot be.
    pub(super) fn faults(&self) -> &[Violation] {
        &self.faults
    }

    /// What was accepted, by lane and term, in order; each with what may or may not
    /// have been accepted after it.
    pub(super) fn runs(&self) -> impl Iterator<Item = (Lane, &Run, Doubtful)> {
        self.channels.iter().flat_map(|(channel, log)| {
            log.runs.iter().enumerate().map(|(at, run)| {
                let doubtful = if at + 1 == log.runs.len() { log.doubtful() } else { Doubtful::default() };
                (self.lane(*channel, run.term), run, doubtful)
            })
        })
    }

    /// CHAT without a term is that of a livestream.
    fn lane(&self, channel: UpdateChannel, term: u64) -> Lane {
        if channel == UpdateChannel::Chat && term == 0 { Lane::CHAT } else { Lane { source: self.node, channel } }
    }
}

/// What was accepted of one publisher in one term.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// 0 where no stream has named it.
    pub(super) epoch: u64,
    pub(super) term: u64,
    /// In order. Sequences count from 1, except in the CHAT of a livestream.
    pub(super) prints: Vec<Print>,
    /// The session is that of the run before.
    same_session: bool,
    /// The first one follows on the last one of the run before: the same session, with a
    /// number of its own that leaves none out.
    pub(super) goes_on: bool,
    /// CHAT of a livestream: what is known of the order.
    pub(super) anchors: Vec<Anchor>,
}

/// What may or may not have been accepted after a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Doubtful {
    pub(super) prints: Vec<Print>,
    /// The first one follows on the last one accepted; see [`Run::goes_on`].
    pub(super) goes_on: bool,
}

/// A position that an acknowledgement named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Anchor {
    /// Index in the run.
    pub(super) index: usize,
    /// The number in the order of all authors.
    pub(super) sequence: u64,
    /// The number in the words of the publisher.
    pub(super) through: u64,
}

/// One update under way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u64,
    /// The publisher gave the number.
    given: bool,
    print: Print,
}

/// What was sent on one channel.
#[derive(Clone, Debug, Default)]
struct ChannelLog {
    /// Not answered yet, repeats included.
    pending: VecDeque<Sent>,
    /// The `publisher_sequence` of the last one accepted.
    through: u64,
    /// The last `publisher_sequence` given, or counted by the server.
    counted: u64,
    /// Numbers above `through` that were rejected.
    rejected: BTreeSet<u64>,
    runs: Vec<Run>,
}

/// An update that was accepted.
#[derive(Clone, Copy, Debug)]
struct Settled {
    print: Print,
    /// It gives a number, and leaves none out.
    follows: bool,
}

impl ChannelLog {
    fn send(&mut self, number: u64, print: Print) {
        let given = number != 0;
        let number = if given { number } else { self.counted.saturating_add(1) };
        self.counted = self.counted.max(number);
        self.pending.push_back(Sent { number, given, print });
    }

    fn reject(&mut self, number: u64) {
        if let Some(at) = self.pending.iter().position(|sent| sent.number == number) {
            self.pending.remove(at);
        }
        if number > self.through {
            self.rejected.insert(number);
        }
    }

    /// True when every number since the last one accepted was rejected.
    fn leaves_none_out(&self, through: u64, number: u64) -> bool {
        through > 0 && self.rejected.range(through + 1..number).count() as u64 == number - 1 - through
    }

    /// Takes what an acknowledgement covers; repeats among it come to nothing.
    fn settle(&mut self, through: u64) -> Vec<Settled> {
        let mut accepted = Vec::new();
        while let Some(sent) = self.pending.front().copied().filter(|sent| sent.number <= through) {
            self.pending.pop_front();
            if sent.number > self.through {
                let follows = sent.given && self.leaves_none_out(self.through, sent.number);
                self.through = sent.number;
                self.rejected = self.rejected.split_off(&(sent.number + 1));
                accepted.push(Settled { print: sent.print, follows });
            }
        }
        accepted
    }

    /// The same, all of it in the run of now.
    fn settle_run(&mut self, through: u64) {
        let accepted = self.settle(through);
        if let Some(run) = self.runs.last_mut() {
            run.extend(accepted);
        }
    }

    /// Numbers what was accepted, up to `point`. Returns the last number in the term
    /// by our own count.
    fn accept(&mut self, epoch: u64, point: Point, mut accepted: Vec<Settled>) -> u64 {
        let fresh = self.runs.last().is_none_or(|run| run.term != point.term);
        if fresh {
            // Nobody told of the new term; what does not fit in belongs to the old one.
            let own = usize::try_from(point.sequence).unwrap_or(usize::MAX).min(accepted.len());
            let rest = accepted.split_off(accepted.len() - own);
            if let Some(old) = self.runs.last_mut() {
                old.extend(accepted);
            }
            accepted = rest;
        }
        let progressed = !accepted.is_empty();
        let through = self.through;
        let run = self.run(epoch, point.term);
        run.extend(accepted);
        let count = run.prints.len();
        if progressed && point.term == 0 {
            run.anchors.push(Anchor { index: count - 1, sequence: point.sequence, through });
        }
        count as u64
    }

    /// A stream has opened; what was sent before it is settled.
    fn reopen(&mut self, epoch: u64, term: u64, last: u64, same_session: bool) {
        self.pending.clear();
        if !same_session {
            self.rejected.clear();
        }
        let highest = self.rejected.last().copied().unwrap_or(last);
        (self.through, self.counted) = (last, last.max(highest));
        self.run(epoch, term).same_session = same_session;
    }

    fn run(&mut self, epoch: u64, term: u64) -> &mut Run {
        let at = match self.runs.last() {
            Some(run) if (run.epoch, run.term) == (epoch, term) => self.runs.len() - 1,
            _ => {
                let (prints, anchors) = (Vec::new(), Vec::new());
                self.runs.push(Run { epoch, term, prints, same_session: true, goes_on: false, anchors });
                self.runs.len() - 1
            }
        };
        &mut self.runs[at]
    }

    /// What would be accepted if all that is pending was.
    fn doubtful(&self) -> Doubtful {
        let mut through = self.through;
        let mut doubtful = Doubtful::default();
        for sent in &self.pending {
            if sent.number > through {
                if doubtful.prints.is_empty() {
                    doubtful.goes_on = sent.given
                        && self.leaves_none_out(through, sent.number)
                        && self.runs.last().is_some_and(|run| run.same_session);
                }
                through = sent.number;
                doubtful.prints.push(sent.print);
            }
        }
        doubtful
    }
}

impl Run {
    fn extend(&mut self, accepted: Vec<Settled>) {
        if let Some(first) = accepted.first().filter(|_| self.prints.is_empty()) {
            self.goes_on = self.same_session && first.follows;
        }
        self.prints.extend(accepted.into_iter().map(|settled| settled.print));
    }
}
