//! E21, E23, E25 and E38 to E40: the path of updates.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use elara_diffusion::{
    InterestDeclaration, InterestLevel, InterestMap, LivestreamSwarm, PropagationPriority, PropagationScheduler,
    PropagationStats, PropagationTopology, StateUpdate, SwarmConfig,
};
use starling::feed::{
    AppendError, Cursor, Delivery, Draft, Feed, Gap, GapReason, Limits, Memory, Micros, NextStep, Opening, Selection,
    Settings, Timestamp, bucket_bound,
};
use starling_core::channel::Channel;
use starling_core::event::{Gate, Grant};
use starling_core::id::{NO_HOME, SessionId};
use starling_core::interest::{Interest, InterestChange, Interests};

use crate::fixture::{BROADCASTER, node, seed_node};

const SECOND: Micros = Micros::from_millis(1_000);
const TERM: u64 = 3;
const VIEWER: u64 = 2;

/// A feed on which the broadcaster has the right to VISUAL, and a clock of our own.
struct FeedFixture {
    feed: Arc<Feed>,
    now: Micros,
}

impl FeedFixture {
    fn new(bandwidth: Option<u64>) -> Self {
        let shape = Settings {
            ring_bytes: 8 << 20,
            shared_chat: true,
            limits: Limits {
                max_age: SECOND * 3_600,
                keyframe_interval: Some(SECOND * 2),
                max_lag: SECOND * 3_600,
                bandwidth,
            },
        };
        let fixture = Self { feed: Feed::new(shape, Memory::new(1 << 30)), now: SECOND * 1_700_000_000 };
        fixture.grant(TERM);
        fixture
    }

    fn grant(&self, term: u64) {
        let session = SessionId::new(1);
        let grant = Grant {
            source: node(BROADCASTER),
            channel: Channel::Visual,
            term,
            session,
            home: NO_HOME,
            gate: Gate::Open,
            key: None,
        };
        self.feed.enforce(&[grant], &[], false);
    }

    /// Publishes under a term; its sequence, and whether the next one should be a keyframe.
    fn publish(&self, term: u64, keyframe: bool, urgent: bool) -> Result<(u64, bool), AppendError> {
        let draft = Draft {
            channel: Channel::Visual,
            payload: Bytes::from_static(&[7; 1_000]),
            keyframe,
            urgent,
            temporal_layer: 0,
            publisher_sequence: 0,
            publish_time: None,
            accept_time: Timestamp::default(),
            proof: None,
        };
        let published = self.feed.publish(node(BROADCASTER), term, draft, self.now);
        let accepted = published.map_err(|rejected| rejected.refusal)?;
        Ok((accepted.position.sequence, accepted.keyframe_wanted))
    }

    fn put(&self, keyframe: bool) {
        self.publish(TERM, keyframe, false).expect("the term is in force");
    }

    fn viewer(&self, level: Interest) -> Cursor {
        let mut interests = Interests::default();
        interests.set(&[InterestChange { channel: Channel::Visual, source: None, level, ttl_ms: None }], 0);
        let channels = [Channel::Visual].into_iter().collect();
        // One node has one interest, however often it subscribes.
        let selection = Selection::new(node(VIEWER + level as u64), channels, Vec::new());
        let viewer = Cursor::enter(&self.feed, selection, interests, Waker::noop().clone(), self.now);
        let mut viewer = viewer.expect("it names no sources");
        viewer.begin(Opening { expected: vec![node(BROADCASTER)], ..Opening::default() }, self.now);
        viewer
    }

    /// What comes: updates, and the gaps.
    fn read(&self, viewer: &mut Cursor) -> (Vec<Bytes>, Vec<Gap>) {
        let (mut updates, mut gaps) = (Vec::new(), Vec::new());
        let batches = std::iter::repeat_with(|| viewer.read(self.now));
        for delivery in batches.take_while(|deliveries| !deliveries.is_empty()).flatten() {
            match delivery {
                Delivery::Update(update) => updates.push(update.message().clone()),
                Delivery::Gap(gap) => gaps.push(gap),
                Delivery::Filter(_) => {}
            }
        }
        (updates, gaps)
    }
}

/// The seed's scheduler, with a viewer and a lurker of state 100.
fn seed_scheduler() -> PropagationScheduler {
    let (mut interests, mut topology) = (InterestMap::new(), PropagationTopology::new());
    for (number, level) in [(2, InterestLevel::High), (3, InterestLevel::Low)] {
        interests.register(InterestDeclaration::new(seed_node(number), 100, level));
        topology.add_node(seed_node(number));
    }
    PropagationScheduler::new(interests, topology)
}

fn seed_update() -> StateUpdate {
    StateUpdate::new(100, seed_node(BROADCASTER), 1, Default::default()).with_size(1_000)
}

#[test]
fn e21_late_joiners_start_at_the_newest_keyframe() {
    let mut seed = LivestreamSwarm::new(1_000, seed_node(BROADCASTER), SwarmConfig::default());
    assert!(!seed.needs_keyframe(Default::default()), "not even for the first update");
    assert!(!seed.create_update(Default::default(), 1_000, false).is_keyframe);

    let mut fixture = FeedFixture::new(None);
    let mut early = fixture.viewer(Interest::High);
    let source = node(BROADCASTER);
    let due = |fixture: &FeedFixture| {
        let visual = [Channel::Visual].into_iter().collect();
        fixture.feed.keyframes_due(source, TERM, visual, fixture.now).0
    };
    assert_eq!(due(&fixture), [Channel::Visual], "whoever waits has one asked for");
    assert_eq!(fixture.publish(TERM, false, false), Ok((1, true)), "and the publisher is told again");
    assert_eq!(fixture.read(&mut early).0.len(), 0, "nothing that cannot be understood comes");
    fixture.put(true);
    assert_eq!(fixture.read(&mut early).0.len(), 1);
    fixture.put(false);
    let mut late = fixture.viewer(Interest::High);
    assert_eq!(fixture.read(&mut late).0.len(), 2, "the cached keyframe, and what depends on it");

    assert_eq!(due(&fixture), []);
    fixture.now = fixture.now.saturating_sub(SECOND);
    assert_eq!(due(&fixture), [], "a clock that goes back changes nothing");
    fixture.now += SECOND * 3;
    assert_eq!(due(&fixture), [Channel::Visual], "after the interval, on a clock that is no wall clock");
}

#[test]
fn e23_viewer_receives_at_most_its_bandwidth() {
    const BANDWIDTH: u64 = 20_000;
    let config = SwarmConfig { bandwidth_per_viewer: 1, ..SwarmConfig::default() };
    let mut seed = LivestreamSwarm::new(1_000, seed_node(BROADCASTER), config);
    seed.add_viewer(seed_node(VIEWER));
    let size = seed.create_update(Default::default(), 1_000_000, false).size;
    assert_eq!((size, seed.get_targets()), (1_000_000, vec![seed_node(VIEWER)]), "a megabyte at a byte per second");

    let mut fixture = FeedFixture::new(Some(BANDWIDTH));
    let mut viewer = fixture.viewer(Interest::High);
    let (mut bytes, mut lost) = (0, 0);
    for second in 0..10 {
        for number in 0..100 {
            fixture.put(number % 10 == 0);
        }
        let (updates, gaps) = fixture.read(&mut viewer);
        bytes += updates.iter().map(Bytes::len).sum::<usize>() as u64;
        assert!(bytes <= BANDWIDTH * (second + 1), "{bytes} bytes after {second} s");
        assert!(gaps.iter().all(|gap| gap.reason == GapReason::Bandwidth));
        lost += gaps.len();
        fixture.now += SECOND;
    }
    assert!(bytes > BANDWIDTH && lost > 0, "what is left out is told");
}

#[test]
fn e25_update_carries_payload_and_term() {
    let mut seed = LivestreamSwarm::new(1_000, seed_node(BROADCASTER), SwarmConfig::default());
    let first = seed.create_update(Default::default(), 9, true);
    let mut restarted = LivestreamSwarm::new(1_000, seed_node(BROADCASTER), SwarmConfig::default());
    let again = restarted.create_update(Default::default(), 9, true);
    assert_eq!((first.state_id, first.sequence), (again.state_id, again.sequence), "another update by the same name");

    let fixture = FeedFixture::new(None);
    let mut viewer = fixture.viewer(Interest::High);
    fixture.put(true);
    let (updates, _) = fixture.read(&mut viewer);
    assert!(updates[0].windows(1_000).any(|window| window == [7; 1_000]), "the payload is in it");
    fixture.grant(TERM + 1);
    assert_eq!(fixture.publish(TERM, true, false), Err(AppendError::StaleTerm));
    assert_eq!(fixture.publish(TERM + 1, true, false), Ok((1, false)), "from 1 again, in a term of its own");
}

#[test]
fn e38_interest_and_priority_decide_delivery() {
    let mut seed = seed_scheduler();
    seed.set_bandwidth_budget(1);
    let decisions = seed.schedule(&seed_update().with_priority(PropagationPriority::Background));
    let sent: Vec<_> = decisions.iter().map(|decision| (decision.should_send, decision.priority)).collect();
    let all = [(true, PropagationPriority::High), (true, PropagationPriority::Background)];
    assert_eq!(sent, all, "over budget, a delta to who wants keyframes, and its own priority forgotten");

    let fixture = FeedFixture::new(None);
    fixture.put(true);
    let (mut high, mut low) = (fixture.viewer(Interest::High), fixture.viewer(Interest::Low));
    let mut nobody = fixture.viewer(Interest::None);
    let at_once = |viewer: &mut Cursor| fixture.read(viewer).0.len();
    assert_eq!([at_once(&mut high), at_once(&mut low), at_once(&mut nobody)], [1, 1, 0]);
    let rest = |viewers: [&Cursor; 3]| assert!(viewers.iter().all(|viewer| viewer.park()));
    assert!(low.park() && nobody.park());
    fixture.put(false);
    assert!(
        matches!(fixture.feed.next_step(fixture.now), NextStep::AwaitChange),
        "a delta is nothing to who wants keyframes"
    );
    assert_eq!([at_once(&mut high), at_once(&mut low), at_once(&mut nobody)], [1, 0, 0]);
    rest([&high, &low, &nobody]);
    fixture.put(false);
    assert!(
        matches!(fixture.feed.next_step(fixture.now), NextStep::SleepUntil(at) if at == fixture.now + Micros::from_millis(10)),
        "in the window of HIGH"
    );
    fixture.publish(TERM, true, true).expect("the term is in force");
    assert!(
        matches!(fixture.feed.next_step(fixture.now), NextStep::Wake(woken) if woken.len() == 2),
        "urgent is at once"
    );
}

#[test]
fn e39_byte_sums_never_overflow_and_budgets_refill() {
    let mut seed = seed_scheduler();
    seed.record_send(seed_node(VIEWER), u32::MAX);
    let asked = std::panic::catch_unwind(|| seed.has_bandwidth(seed_node(VIEWER), 2));
    assert!(asked.is_err() || asked.is_ok_and(|has| has), "it panics, or takes the largest sum for a small one");

    // Rates and times at the far end of their types.
    for bandwidth in [1, u64::MAX] {
        let mut fixture = FeedFixture::new(Some(bandwidth));
        let mut viewer = fixture.viewer(Interest::High);
        for _ in 0..3 {
            fixture.put(true);
            let (updates, gaps) = fixture.read(&mut viewer);
            assert_eq!((updates.len(), gaps.len()), (1, 0), "after so long there is a whole second to spend");
            fixture.now = Micros::new(fixture.now.get().saturating_add(u64::MAX / 4));
        }
    }
    let mut fixture = FeedFixture::new(Some(20_000));
    let mut viewer = fixture.viewer(Interest::High);
    for _ in 0..40 {
        fixture.put(true);
    }
    fixture.read(&mut viewer);
    fixture.put(true);
    assert_eq!(fixture.read(&mut viewer).0.len(), 0, "the second is spent");
    fixture.now += SECOND;
    fixture.put(true);
    assert_eq!(fixture.read(&mut viewer).0.len(), 1, "and another one has come");
}

#[test]
fn e40_latencies_are_counted_one_by_one() {
    const BEFORE: u32 = 1 << 30;
    let mut seed = PropagationStats { updates_sent: BEFORE.into(), avg_latency_ms: 10.0, ..PropagationStats::new() };
    (0..60).for_each(|_| seed.record_send(1, 500));
    assert_eq!(seed.avg_latency_ms, 10.0, "sixty of half a second leave no trace in its mean");

    let mut fixture = FeedFixture::new(None);
    let mut viewer = fixture.viewer(Interest::High);
    fixture.read(&mut viewer);
    for latency in [0, 100, 100, 5_000] {
        fixture.put(true);
        fixture.now += Micros::new(latency);
        fixture.read(&mut viewer);
    }
    let counts = fixture.feed.counts();
    let told: Vec<_> = (0..).map_while(bucket_bound).zip(counts.latency).filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        told,
        [(64, 1), (128, 2), (8_192, 1)].map(|(bound, count)| (Micros::new(bound), count)),
        "by powers of two, in microseconds"
    );
    assert_eq!((counts.published, counts.delivered), (4, 4));
}
