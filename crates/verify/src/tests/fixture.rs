//! A publisher and what a subscriber gets of it, without a server.

use crate::{History, PublisherLog, Violation, check};
use pb::delivery::Item;
use starling_client::pb::swarm::v1::{self as pb, Delivery, GapReason, Interest, UpdateChannel};

pub(super) const EPOCH: u64 = 77;
pub(super) const SOURCE: u64 = 1;

/// A publisher with its log, and the server that numbers what it sends.
pub(super) struct Source {
    pub(super) log: PublisherLog,
    node: u64,
    channel: UpdateChannel,
    layers: u32,
    pub(super) term: u64,
    sequence: u64,
    pub(super) number: u64,
}

impl Source {
    pub(super) fn new(node: u64, channel: UpdateChannel, layers: u32) -> Self {
        let log = PublisherLog::new(node);
        let mut source = Self { log, node, channel, layers, term: 0, sequence: 0, number: 0 };
        source.open(EPOCH, 3, 0);
        source
    }

    /// Opens a stream, perhaps again.
    pub(super) fn open(&mut self, epoch: u64, term: u64, last_publisher_sequence: u64) {
        self.open_session(9, epoch, term, last_publisher_sequence, (0, 0));
    }

    /// Opens a stream of a session, beside the session of before and its last number.
    pub(super) fn open_session(&mut self, session_id: u64, epoch: u64, term: u64, last: u64, before: (u64, u64)) {
        let channel = pb::GrantedChannel {
            channel: self.channel.into(),
            term,
            last_publisher_sequence: last,
            previous_session_id: before.0,
            previous_publisher_sequence: before.1,
            ..Default::default()
        };
        self.log.opened(
            &pb::PublishOpened { epoch, channels: vec![channel], session_id, ..Default::default() },
            self.layers,
        );
        (self.term, self.sequence) = (term, 0);
    }

    pub(super) fn draft(&self, number: u64, keyframe: bool, temporal_layer: u32) -> pb::UpdateDraft {
        pb::UpdateDraft {
            channel: self.channel.into(),
            payload: format!("{} writes {number} on {}", self.node, self.channel.as_str_name()).into(),
            keyframe,
            temporal_layer,
            publisher_sequence: number,
            ..Default::default()
        }
    }

    pub(super) fn position(&self, sequence: u64) -> pb::UpdatePosition {
        pb::UpdatePosition {
            source_node_id: self.node,
            channel: self.channel.into(),
            term: self.term,
            sequence,
            track: 0,
        }
    }

    /// Sends the next update and has it accepted, without an acknowledgement.
    pub(super) fn send(&mut self, keyframe: bool, layer: u32) -> pb::Update {
        self.number += 1;
        let draft = self.draft(self.number, keyframe, layer);
        self.log.sent(&draft);
        self.sequence += 1;
        update(draft, self.position(self.sequence), 0)
    }

    /// Sends the next update and has it accepted.
    pub(super) fn publish(&mut self, keyframe: bool, layer: u32) -> pb::Update {
        let update = self.send(keyframe, layer);
        self.ack(self.number, self.sequence);
        update
    }

    pub(super) fn ack(&mut self, accepted_through: u64, sequence: u64) {
        let position = Some(self.position(sequence));
        self.log.acked(&pb::ChannelAck { accepted_through, position });
    }

    pub(super) fn reject(&mut self, publisher_sequence: u64) {
        let rejected = pb::PublishRejected { channel: self.channel.into(), publisher_sequence, reason: 1, track: 0 };
        self.log.rejected(&rejected);
    }

    /// Three runs of four, in two layers: `K.1 d.1 d.0 d.1`, sequences 1 to 12.
    pub(super) fn runs(&mut self) -> Vec<pb::Update> {
        (0..12).map(|at| self.publish(at % 4 == 0, at % 2)).collect()
    }
}

/// A source of VISUAL in two layers, and its three runs.
pub(super) fn video() -> (Source, Vec<pb::Update>) {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 2);
    let updates = source.runs();
    (source, updates)
}

pub(super) fn update(draft: pb::UpdateDraft, position: pb::UpdatePosition, author_node_id: u64) -> pb::Update {
    let pb::UpdateDraft { payload, keyframe, temporal_layer, .. } = draft;
    pb::Update { position: Some(position), payload, keyframe, temporal_layer, author_node_id, ..Default::default() }
}

/// What tells a filter: everything, without the top layer of two, keyframes, nothing.
pub(super) fn filter(channel: UpdateChannel, interest: Interest) -> pb::Filter {
    pb::Filter {
        source_node_id: if channel == UpdateChannel::Chat { 0 } else { SOURCE },
        channel: channel.into(),
        interest: interest.into(),
        max_temporal_layer: u32::from(interest >= Interest::High),
        keyframes_only: interest == Interest::Low,
        track: 0,
    }
}

/// A gap in VISUAL, within term 3; 0 leaves an end open.
pub(super) fn gap(after: u64, before: u64, reason: GapReason, count: Option<u64>) -> pb::Gap {
    let point = |sequence: u64| (sequence > 0).then_some(pb::TermSequence { term: 3, sequence });
    pb::Gap {
        source_node_id: SOURCE,
        channel: UpdateChannel::Visual.into(),
        after: point(after),
        before: point(before),
        reason: reason.into(),
        count,
        track: 0,
    }
}

/// What a subscriber got, told in short.
pub(super) struct Received(pub(super) History);

impl Received {
    /// A subscription to one channel of term 3, from after `sequence` on.
    pub(super) fn from(channel: UpdateChannel, sequence: u64, interest: Interest) -> Self {
        Self(History::new(50)).subscribed(EPOCH, channel, sequence, interest)
    }

    /// A subscription to VISUAL from its first update on, with everything.
    pub(super) fn video() -> Self {
        Self::from(UpdateChannel::Visual, 0, Interest::High)
    }

    pub(super) fn item(mut self, item: Item) -> Self {
        self.0.record(&Delivery { item: Some(item) });
        self
    }

    pub(super) fn subscribed(self, epoch: u64, channel: UpdateChannel, sequence: u64, interest: Interest) -> Self {
        let filter = filter(channel, interest);
        let term = if channel == UpdateChannel::Chat { 0 } else { 3 };
        let position = pb::UpdatePosition {
            source_node_id: filter.source_node_id,
            channel: channel.into(),
            term,
            sequence,
            track: 0,
        };
        let (positions, filters) = (vec![position], vec![filter]);
        self.item(Item::Subscribed(pb::Subscribed {
            epoch,
            positions,
            filters,
            waiting_for_keyframe: Vec::new(),
            ..Default::default()
        }))
    }

    pub(super) fn updates<'a>(self, updates: impl IntoIterator<Item = &'a pb::Update>) -> Self {
        updates.into_iter().fold(self, |told, update| told.item(Item::Update(update.clone())))
    }

    /// The updates of these sequences.
    pub(super) fn some(self, updates: &[pb::Update], sequences: impl IntoIterator<Item = usize>) -> Self {
        self.updates(sequences.into_iter().map(|sequence| &updates[sequence - 1]))
    }

    pub(super) fn gap(self, after: u64, before: u64, reason: GapReason, count: Option<u64>) -> Self {
        self.item(Item::Gap(gap(after, before, reason, count)))
    }

    pub(super) fn filter(self, interest: Interest) -> Self {
        self.item(Item::Filter(filter(UpdateChannel::Visual, interest)))
    }

    /// Cut off and back again, with everything.
    pub(super) fn resumed(self, sequence: u64) -> Self {
        self.cut().subscribed(EPOCH, UpdateChannel::Visual, sequence, Interest::High)
    }

    pub(super) fn cut(mut self) -> Self {
        self.0.cut();
        self
    }

    pub(super) fn ended(mut self) -> Self {
        self.0.ended();
        self
    }

    #[track_caller]
    pub(super) fn passes(self, source: &Source) {
        if let Err(violations) = check(std::slice::from_ref(&source.log), &[self.0]) {
            panic!("{}", told(&violations));
        }
    }

    #[track_caller]
    pub(super) fn fails_any(self, source: &Source) -> Vec<Violation> {
        check(std::slice::from_ref(&source.log), &[self.0]).expect_err("a violation")
    }

    /// The only violation.
    #[track_caller]
    pub(super) fn fails(self, source: &Source) -> Violation {
        let violations = self.fails_any(source);
        assert_eq!(violations.len(), 1, "{}", told(&violations));
        violations[0].clone()
    }
}

pub(super) fn told(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
