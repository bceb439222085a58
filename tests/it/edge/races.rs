//! Races between an update and what takes the right to it away, each tried many times: after
//! the reply nothing under the old grant comes in or out.
//!
//! One subscriber watches all the time. Once the reply is there, a marker is published at once:
//! whatever was accepted before the reply stands before the marker, in the order that the
//! subscriber sees. So it must see exactly what was accepted, each in its place, and nothing else.

use std::collections::BTreeMap;

use bytes::Bytes;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{RejectReason, UpdateChannel, UpdateDraft, UpdatePosition, delivery::Item};
use starling_client::{
    Client, Error, PublishEvent, PublishOptions, Publisher, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef,
};
use tokio::task::{JoinSet, yield_now};
use tonic::Code::{FailedPrecondition, PermissionDenied};

use crate::edge::updates::{keyframe, publish_one};
use crate::edge::world::{
    answered, go_live_patient, join_group, join_livestream, make_group_patient, mute, pause, resume,
};
use crate::harness::{Fault, Server, soon};

const TRIES: u64 = 1_000;
const BROADCASTER: u64 = 1;
const WITNESS: u64 = 5_000;
const STREAM: SwarmRef = SwarmRef::Livestream(7);
const CALL: SwarmRef = SwarmRef::Group(7);
/// Its payload ends what the witness writes down.
const END_MARKER: u64 = i64::MAX as u64;

/// One try: which updates it publishes, how, and who goes first.
#[derive(Clone, Copy, Debug)]
struct Try(u64);

impl Try {
    fn all() -> impl Iterator<Item = Self> {
        (0..TRIES).map(Self)
    }

    /// Numbers of its updates, in order of publishing: before the race, racing, marker, after.
    const fn numbers(self) -> [u64; 4] {
        let first = self.0 * 4 + 1;
        [first, first + 1, first + 2, first + 3]
    }

    /// Every second one publishes on a stream, the others one update at a time.
    const fn streams(self) -> bool {
        self.0.is_multiple_of(2)
    }

    /// One channel or the other, by turns.
    const fn channel(self) -> UpdateChannel {
        if (self.0 / 64).is_multiple_of(2) { UpdateChannel::Visual } else { UpdateChannel::Audio }
    }

    /// True when what takes the right away goes first.
    const fn first(self) -> bool {
        (self.0 / 2).is_multiple_of(2)
    }

    /// Lets both run, one of them some steps of the scheduler later.
    fn race<A, B>(self, one: impl Future<Output = A>, other: impl Future<Output = B>) -> impl Future<Output = (A, B)> {
        let steps = self.0 / 4 % 16;
        let (hold_one, hold_other) = if self.first() { (0, steps) } else { (steps, 0) };
        // Boxed: calls are large futures.
        let (one, other) = (Box::pin(held(hold_one, one)), Box::pin(held(hold_other, other)));
        async move { tokio::join!(one, other) }
    }
}

async fn held<T>(steps: u64, future: impl Future<Output = T>) -> T {
    for _ in 0..steps {
        yield_now().await;
    }
    future.await
}

/// What became of an update.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Accepted(UpdatePosition),
    /// On a stream that lives on.
    Rejected(RejectReason),
    /// With the stream's last channel.
    Lost,
    /// Of an update that came alone.
    Refused(Fault),
}

/// One who publishes, and what became of it.
#[derive(Debug)]
enum RacingPublisher {
    Stream(Box<Publisher>, BTreeMap<u64, Option<Answer>>),
    Single { client: Box<Client>, swarm: SwarmRef, node: u64, term: u64, answers: Vec<Answer> },
}

impl RacingPublisher {
    async fn stream(client: &Client, swarm: SwarmRef, node: u64, channels: &[UpdateChannel]) -> Self {
        let publication = PublishOptions::new(swarm, node, channels.to_vec());
        Self::Stream(Box::new(soon(Publisher::open(client.clone(), publication)).await.unwrap()), BTreeMap::new())
    }

    /// Under this term, or under the current one.
    fn single(client: &Client, swarm: SwarmRef, node: u64, term: u64) -> Self {
        Self::Single { client: Box::new(client.clone()), swarm, node, term, answers: Vec::new() }
    }

    async fn publish(&mut self, draft: UpdateDraft) {
        match self {
            Self::Stream(publisher, answers) => {
                answers.insert(publisher.send(draft).unwrap(), None);
            }
            Self::Single { client, swarm, node, term, answers } => {
                let receipt = soon(publish_one(client, *swarm, *node, *term, draft)).await;
                answers.push(match receipt {
                    Ok(receipt) => {
                        assert!(!receipt.duplicate);
                        Answer::Accepted(receipt.position.unwrap())
                    }
                    Err(status) => Answer::Refused(Fault::of(&status)),
                });
            }
        }
    }

    /// What became of all that was said since the last call, in order.
    async fn answers(&mut self) -> Vec<Answer> {
        let (publisher, answers) = match self {
            Self::Stream(publisher, answers) => (publisher, answers),
            Self::Single { answers, .. } => return std::mem::take(answers),
        };
        while answers.values().any(Option::is_none) {
            match soon(publisher.next()).await.unwrap().expect("the swarm goes on") {
                PublishEvent::Accepted(ack) => {
                    let (last, position) = (ack.accepted_through, ack.position.unwrap());
                    // One try has no two accepted updates on a stream, so the position is its own.
                    let open: Vec<_> = answers.range_mut(..=last).filter(|(_, answer)| answer.is_none()).collect();
                    assert_eq!(open.len(), 1, "accepted through {last}");
                    open.into_iter().for_each(|(_, answer)| *answer = Some(Answer::Accepted(position)));
                }
                PublishEvent::Rejected(rejected) => {
                    answers.insert(rejected.publisher_sequence, Some(Answer::Rejected(rejected.reason())));
                }
                PublishEvent::Revoked(_) => {
                    answers.values_mut().for_each(|answer| *answer = answer.take().or(Some(Answer::Lost)));
                    assert!(matches!(soon(publisher.next()).await, Err(Error::StaleTerm)), "with its last channel");
                }
                PublishEvent::Demand(_) | PublishEvent::KeyframeRequest(_) => {}
                other => panic!("an answer, not {other:?}"),
            }
        }
        std::mem::take(answers).into_values().flatten().collect()
    }

    fn term(&self, channel: UpdateChannel) -> u64 {
        match self {
            Self::Stream(publisher, _) => publisher.granted(channel).unwrap().term,
            Self::Single { term, .. } => *term,
        }
    }
}

/// What the witness must see, and how the races went.
#[derive(Debug, Default)]
struct Ledger {
    expected: Vec<(UpdatePosition, u64)>,
    accepted: u64,
    refused: u64,
}

impl Ledger {
    fn accepts(&mut self, answer: Answer, number: u64) {
        let Answer::Accepted(position) = answer else { panic!("{number}: {answer:?}") };
        self.expected.push((position, number));
    }

    /// Notes how a race went; how it was refused, if it was.
    fn raced(&mut self, answer: Answer, number: u64) -> Option<Answer> {
        if matches!(answer, Answer::Accepted(_)) {
            self.accepted += 1;
            self.accepts(answer, number);
            return None;
        }
        self.refused += 1;
        Some(answer)
    }

    /// Compares with what the witness saw, and asks that both sides won some races.
    async fn settle(self, name: &str, mut witness: JoinSet<Vec<(UpdatePosition, u64)>>) {
        let seen = soon(witness.join_next()).await.unwrap().unwrap();
        eprintln!("{name}: {} accepted, {} refused, {} seen", self.accepted, self.refused, seen.len());
        let differs = seen.iter().zip(&self.expected).find(|(seen, expected)| seen != expected);
        assert_eq!(differs, None, "seen, and accepted in its place");
        assert_eq!(seen.len(), self.expected.len());
        assert_eq!(self.accepted + self.refused, TRIES);
        assert!(self.accepted > 0 && self.refused > 0, "it was no race");
    }
}

/// Writes down all that comes, up to the end marker. The subscription is open when this returns.
async fn witness(server: &Server, swarm: SwarmRef) -> JoinSet<Vec<(UpdatePosition, u64)>> {
    let mut subscriber =
        Subscriber::open(server.client().await, SubscribeOptions::new(swarm, WITNESS, 0)).await.unwrap();
    let first = soon(subscriber.next()).await.unwrap();
    assert!(matches!(first, Some(SubscriptionEvent::Item(Item::Subscribed(_)))), "{first:?}");
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut seen = Vec::new();
        loop {
            match soon(subscriber.next()).await.unwrap().expect("the swarm goes on") {
                SubscriptionEvent::Item(Item::Update(update)) => {
                    let number = u64::from_be_bytes(update.payload[..].try_into().unwrap());
                    seen.push((update.position.unwrap(), number));
                    if number == END_MARKER {
                        return seen;
                    }
                }
                SubscriptionEvent::Item(Item::Filter(_)) => {}
                other => panic!("an update, not {other:?}"),
            }
        }
    });
    reading
}

/// Everything here stands alone: nothing waits for a keyframe.
fn on(channel: UpdateChannel, number: u64) -> UpdateDraft {
    UpdateDraft { channel: channel.into(), ..keyframe(number) }
}

/// An update that lets the server count.
fn uncounted(number: u64) -> UpdateDraft {
    UpdateDraft {
        publisher_sequence: 0,
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
        ..on(UpdateChannel::Visual, 0)
    }
}

/// Publishes what must be accepted.
async fn mark(client: &Client, swarm: SwarmRef, node: u64, draft: UpdateDraft) -> Answer {
    let mut publisher = RacingPublisher::single(client, swarm, node, 0);
    publisher.publish(draft).await;
    publisher.answers().await.remove(0)
}

fn refused(reason: &str) -> Answer {
    Answer::Refused(Fault::new(FailedPrecondition, reason))
}

fn not_broadcaster() -> Answer {
    Answer::Refused(Fault::new(PermissionDenied, "NOT_BROADCASTER"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfer_stops_the_old_broadcaster_at_once() {
    let server = Server::start().await;
    let (control, publishing) = (server.client().await, server.client().await);
    go_live_patient(&control, 7).await;
    for node in [BROADCASTER, 2, WITNESS] {
        join_livestream(&control, 7, node).await;
    }
    let witness = witness(&server, STREAM).await;
    let mut ledger = Ledger::default();
    let (mut old, mut new) = (BROADCASTER, 2);
    for turn in Try::all() {
        let [before, racing, marker, after] = turn.numbers();
        let mut publisher = match turn.0 % 4 {
            0 | 2 => RacingPublisher::stream(&publishing, STREAM, old, &[UpdateChannel::Visual]).await,
            // Fenced by a term that it had before, or claiming one in the race.
            1 => {
                let had = mark(&publishing, STREAM, old, on(UpdateChannel::Visual, before)).await;
                let Answer::Accepted(UpdatePosition { term, .. }) = had else { panic!("{had:?}") };
                ledger.accepts(had, before);
                RacingPublisher::single(&publishing, STREAM, old, term)
            }
            _ => RacingPublisher::single(&publishing, STREAM, old, 0),
        };
        let transfer =
            pb::TransferBroadcastRequest { livestream_id: 7, node_id: old, viewer_node_id: new, ..Default::default() };
        let hand_over = async {
            answered(control.clone().livestreams.transfer_broadcast(transfer).await);
            mark(&control, STREAM, new, on(UpdateChannel::Visual, marker)).await
        };
        let (marked, ()) = turn.race(hand_over, publisher.publish(on(UpdateChannel::Visual, racing))).await;
        publisher.publish(on(UpdateChannel::Visual, after)).await;
        let [raced, late] = publisher.answers().await.try_into().unwrap();
        let lost = if turn.streams() { Answer::Lost } else { not_broadcaster() };
        assert_eq!(late, lost, "{turn:?}");
        if let Some(raced) = ledger.raced(raced, racing) {
            // Whoever was let in by the old right finds it gone at the feed.
            let fenced = publisher.term(UpdateChannel::Visual) != 0 && raced == refused("STALE_TERM");
            assert!(raced == lost || fenced, "{turn:?}: {raced:?}");
        }
        ledger.accepts(marked, marker);
        (old, new) = (new, old);
    }
    ledger.accepts(mark(&control, STREAM, old, on(UpdateChannel::Visual, END_MARKER)).await, END_MARKER);
    ledger.settle("transfer", witness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mute_stops_the_muted_member_at_once() {
    let server = Server::start().await;
    let (control, publishing) = (server.client().await, server.client().await);
    go_live_patient(&control, 7).await;
    join_livestream(&control, 7, WITNESS).await;
    join_livestream(&control, 7, 2).await;
    let witness = witness(&server, STREAM).await;
    let mut ledger = Ledger::default();
    // Members may write so many messages only: another one in each try.
    for turn in Try::all() {
        let [_, racing, marker, after] = turn.numbers();
        let (author, next) = (2 + turn.0, 3 + turn.0);
        join_livestream(&control, 7, next).await;
        let mut publisher = match turn.streams() {
            true => RacingPublisher::stream(&publishing, STREAM, author, &[UpdateChannel::Chat]).await,
            false => RacingPublisher::single(&publishing, STREAM, author, 0),
        };
        let silence = async {
            mute(&control, 7, author).await;
            mark(&control, STREAM, next, on(UpdateChannel::Chat, marker)).await
        };
        let (marked, ()) = turn.race(silence, publisher.publish(on(UpdateChannel::Chat, racing))).await;
        publisher.publish(on(UpdateChannel::Chat, after)).await;
        let [raced, late] = publisher.answers().await.try_into().unwrap();
        let muted = if turn.streams() { Answer::Rejected(RejectReason::Muted) } else { refused("MUTED") };
        assert_eq!(late, muted, "{turn:?}");
        if let Some(raced) = ledger.raced(raced, racing) {
            assert_eq!(raced, muted, "{turn:?}");
        }
        ledger.accepts(marked, marker);
    }
    ledger.accepts(mark(&control, STREAM, 2 + TRIES, on(UpdateChannel::Chat, END_MARKER)).await, END_MARKER);
    ledger.settle("mute", witness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_stops_the_paused_channels_at_once() {
    let server = Server::start().await;
    let (control, publishing) = (server.client().await, server.client().await);
    go_live_patient(&control, 7).await;
    for node in [BROADCASTER, WITNESS] {
        join_livestream(&control, 7, node).await;
    }
    let witness = witness(&server, STREAM).await;
    let mut stream =
        RacingPublisher::stream(&publishing, STREAM, BROADCASTER, &[UpdateChannel::Visual, UpdateChannel::Audio]).await;
    let mut single = RacingPublisher::single(&publishing, STREAM, BROADCASTER, stream.term(UpdateChannel::Visual));
    let mut ledger = Ledger::default();
    for turn in Try::all() {
        let [_, racing, marker, after] = turn.numbers();
        let channel = turn.channel();
        let publisher = if turn.streams() { &mut stream } else { &mut single };
        let hold = async {
            answered(control.clone().livestreams.pause_livestream(pause(7)).await);
            mark(&control, STREAM, BROADCASTER, on(UpdateChannel::Data, marker)).await
        };
        let (marked, ()) = turn.race(hold, publisher.publish(on(channel, racing))).await;
        publisher.publish(on(channel, after)).await;
        let [raced, late] = publisher.answers().await.try_into().unwrap();
        let paused = if turn.streams() { Answer::Rejected(RejectReason::WrongState) } else { refused("WRONG_STATE") };
        assert_eq!(late, paused, "{turn:?}");
        if let Some(raced) = ledger.raced(raced, racing) {
            assert_eq!(raced, paused, "{turn:?}");
        }
        ledger.accepts(marked, marker);
        answered(control.clone().livestreams.resume_livestream(resume(7)).await);
    }
    ledger.accepts(mark(&control, STREAM, BROADCASTER, on(UpdateChannel::Data, END_MARKER)).await, END_MARKER);
    ledger.settle("pause", witness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disabled_media_stops_at_once() {
    let server = Server::start().await;
    let (control, publishing) = (server.client().await, server.client().await);
    make_group_patient(&control, 7).await;
    for node in [2, WITNESS] {
        join_group(&control, 7, node).await;
    }
    let witness = witness(&server, CALL).await;
    let mut stream =
        RacingPublisher::stream(&publishing, CALL, 2, &[UpdateChannel::Visual, UpdateChannel::Audio]).await;
    let mut single = RacingPublisher::single(&publishing, CALL, 2, stream.term(UpdateChannel::Visual));
    let mut ledger = Ledger::default();
    for turn in Try::all() {
        let [_, racing, marker, after] = turn.numbers();
        let channel = turn.channel();
        let switch = async |on: bool| {
            let (video, audio) = if channel == UpdateChannel::Visual { (Some(on), None) } else { (None, Some(on)) };
            let media = group::SetMediaRequest {
                group_id: 7,
                node_id: 2,
                audio_enabled: audio,
                video_enabled: video,
                ..Default::default()
            };
            answered(control.clone().groups.set_media(media).await);
        };
        let publisher = if turn.streams() { &mut stream } else { &mut single };
        let switch_off = async {
            switch(false).await;
            mark(&control, CALL, 2, on(UpdateChannel::Data, marker)).await
        };
        let (marked, ()) = turn.race(switch_off, publisher.publish(on(channel, racing))).await;
        publisher.publish(on(channel, after)).await;
        let [raced, late] = publisher.answers().await.try_into().unwrap();
        let streams = turn.streams();
        let off = if streams { Answer::Rejected(RejectReason::ChannelDisabled) } else { refused("CHANNEL_DISABLED") };
        assert_eq!(late, off, "{turn:?}");
        if let Some(raced) = ledger.raced(raced, racing) {
            assert_eq!(raced, off, "{turn:?}");
        }
        ledger.accepts(marked, marker);
        switch(true).await;
    }
    ledger.accepts(mark(&control, CALL, 2, on(UpdateChannel::Data, END_MARKER)).await, END_MARKER);
    ledger.settle("media off", witness).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn later_claim_stops_the_earlier_publisher() {
    let server = Server::start().await;
    let clients = [server.client().await, server.client().await];
    go_live_patient(&clients[0], 7).await;
    for node in [BROADCASTER, WITNESS] {
        join_livestream(&clients[0], 7, node).await;
    }
    let witness = witness(&server, STREAM).await;
    let mut ledger = Ledger::default();
    let mut wins = [0; 2];
    for turn in Try::all() {
        let [one, other, after, _] = turn.numbers();
        let claim = async |client: &Client, number: u64| {
            let mut stream = RacingPublisher::stream(client, STREAM, BROADCASTER, &[UpdateChannel::Visual]).await;
            let term = stream.term(UpdateChannel::Visual);
            let mut single = RacingPublisher::single(client, STREAM, BROADCASTER, term);
            let publisher = if turn.streams() { &mut stream } else { &mut single };
            publisher.publish(uncounted(number)).await;
            (term, number, stream, single)
        };
        let (one, other) = turn.race(claim(&clients[0], one), claim(&clients[1], other)).await;
        wins[usize::from(one.0 < other.0)] += 1;
        let (first, second) = if one.0 < other.0 { (one, other) } else { (other, one) };
        let (term, racing, mut stream, mut single) = first;
        let publisher = if turn.streams() { &mut stream } else { &mut single };
        publisher.publish(uncounted(after)).await;
        let [raced, late] = publisher.answers().await.try_into().unwrap();
        let stale = if turn.streams() { Answer::Lost } else { refused("STALE_TERM") };
        assert_eq!(late, stale, "{turn:?}");
        if let Some(raced) = ledger.raced(raced, racing) {
            assert_eq!(raced, stale, "{turn:?}");
        }
        let (newer, number, mut stream, mut single) = second;
        let publisher = if turn.streams() { &mut stream } else { &mut single };
        let [won] = publisher.answers().await.try_into().unwrap();
        assert!(matches!(won, Answer::Accepted(position) if position.term == newer && newer > term), "{won:?}");
        ledger.accepts(won, number);
    }
    ledger.accepts(mark(&clients[0], STREAM, BROADCASTER, uncounted(END_MARKER)).await, END_MARKER);
    ledger.settle("claims", witness).await;
    assert!(wins.iter().all(|wins| *wins > 0), "both came first at times: {wins:?}");
}
