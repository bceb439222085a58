//! Lanes of one feed, taken by another.

use super::*;
use starling_core::id::PodId;

/// The pods: where the source publishes, another one where it may go on, and one that only follows.
const HOME: PodId = 1;
const OTHER: PodId = 2;
const OWN: PodId = 3;

fn grant(home: PodId, session: u64, term: u64, gate: Gate) -> Grant {
    Grant { source: source(), channel: Channel::Visual, term, session: SessionId::new(session), home, gate, key: None }
}

/// Feeds of one swarm on several pods. What one has of another goes through a reader that takes up where it was.
struct Pods {
    home: FeedFixture,
    other: FeedFixture,
    own: FeedFixture,
    readers: Vec<(PodId, PodId, LaneReader)>,
}

impl Pods {
    /// The lane has its home at [`HOME`], under term 5.
    fn new() -> Self {
        let feed = |own| {
            let fixture = FeedFixture { feed: Feed::new(shape(1 << 20), Memory::new(1 << 30)), now: SECOND * 100 };
            fixture.feed.follow_as(own);
            fixture
        };
        let pods = Self { home: feed(HOME), other: feed(OTHER), own: feed(OWN), readers: Vec::new() };
        pods.grant_all(5, &grant(HOME, SESSION, 5, Gate::Open));
        pods
    }

    fn of(&self, pod: PodId) -> &FeedFixture {
        match pod {
            HOME => &self.home,
            OTHER => &self.other,
            _ => &self.own,
        }
    }

    fn grant_all(&self, revision: u64, grant: &Grant) {
        for pod in [HOME, OTHER, OWN] {
            self.grant(pod, revision, grant);
        }
    }

    fn grant(&self, pod: PodId, revision: u64, grant: &Grant) {
        self.of(pod).feed.enforce_as(&[*grant], Granted::at(revision), &[], false);
    }

    fn publish(&self, pod: PodId, term: u64, keyframe: bool, number: u64) {
        self.of(pod).publish(term, draft(keyframe, number)).unwrap();
    }

    /// What a pod has for another one since the last call.
    fn batch(&mut self, from: PodId, to: PodId) -> LaneBatch {
        let known = self.readers.iter().position(|(of, by, _)| (*of, *by) == (from, to));
        let at = known.unwrap_or_else(|| {
            let feed = &self.of(from).feed;
            let mut reader = LaneReader::enter(feed, from, Waker::noop().clone()).unwrap();
            let after = self.of(to).feed.state.lock().lanes.get((Some(source()), Channel::Visual)).unwrap().seen();
            assert!(reader.follow(source(), Channel::Visual, after));
            self.readers.push((from, to, reader));
            self.readers.len() - 1
        });
        let now = self.of(from).now;
        self.readers[at].2.read(now)
    }

    fn ingest(&self, from: PodId, to: PodId, updates: &[LaneUpdate]) -> Vec<Ingested> {
        updates.iter().map(|update| self.of(to).feed.ingest(from, update, self.of(to).now)).collect()
    }

    /// Takes over all that a pod has for another.
    fn flow(&mut self, from: PodId, to: PodId) -> Vec<Ingested> {
        let batch = self.batch(from, to);
        let outcomes = self.ingest(from, to, &batch.updates);
        for ((_, channel), seal) in batch.seals {
            self.of(to).feed.seal(source(), channel, &seal);
        }
        outcomes
    }
}

fn visual(term: u64, sequence: u64) -> Got {
    Got::Update(Channel::Visual, term, sequence)
}

fn lost(after: TermSeq, before: Option<TermSeq>, count: Option<u64>) -> Got {
    Got::Lost(Some(after), before, GapReason::Upstream, count)
}

#[test]
fn lane_is_taken_as_at_its_home() {
    let mut pods = Pods::new();
    for number in 1..=4 {
        pods.publish(HOME, 5, number == 1, 0);
    }
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken; 4]);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1, 2, 3, 4]);
    pods.publish(HOME, 5, false, 0);
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken]);
    assert_eq!(viewer.sequences(&pods.own), [5]);
    assert_eq!(pods.own.feed.counts().published, 0, "its home has counted them");
}

#[test]
fn repeated_update_is_dropped() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 0);
    pods.publish(HOME, 5, false, 0);
    let batch = pods.batch(HOME, OWN);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates), [Ingested::Taken; 2]);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates), [Ingested::Repeat; 2]);
    assert_eq!(pods.own.viewer(Start::Keyframe).sequences(&pods.own), [1, 2]);
}

#[test]
fn what_never_came_is_an_announced_gap() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 0);
    pods.flow(HOME, OWN);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1]);
    for keyframe in [false, false, false, true] {
        pods.publish(HOME, 5, keyframe, 0);
    }
    let batch = pods.batch(HOME, OWN);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates[2..]), [Ingested::Taken; 2]);
    assert_eq!(viewer.read(&pods.own), [lost((5, 1), Some((5, 5)), Some(3)), visual(5, 5)]);
    assert_eq!(pods.own.feed.counts().dropped[GapReason::Upstream as usize], 3);
}

#[test]
fn eviction_at_the_home_is_counted_by_kind() {
    let mut pods = Pods::new();
    // What is taken here stays.
    pods.own.feed = Feed::new(shape(1 << 24), Memory::new(1 << 30));
    pods.own.feed.follow_as(OWN);
    pods.grant(OWN, 5, &grant(HOME, SESSION, 5, Gate::Open));
    pods.publish(HOME, 5, true, 0);
    pods.flow(HOME, OWN);
    // A reader of keyframes alone misses one, and not the deltas.
    let (mut low, _) = pods.own.open(&[(Channel::Visual, Interest::Low)], Start::Keyframe);
    assert_eq!(low.sequences(&pods.own), [1]);
    for number in 0..10_000 {
        pods.publish(HOME, 5, number == 10, 0);
    }
    let batch = pods.batch(HOME, OWN);
    let [first, ..] = &batch.updates[..] else { panic!("there are some left") };
    let left_out = first.left_out.unwrap();
    assert_eq!(left_out.updates, first.position.sequence - 2);
    assert_eq!(left_out.keyframes, 1);
    assert!(pods.ingest(HOME, OWN, &batch.updates).iter().all(|outcome| *outcome == Ingested::Taken));
    pods.publish(HOME, 5, true, 0);
    let mut outcomes = pods.flow(HOME, OWN);
    while !outcomes.is_empty() {
        outcomes = pods.flow(HOME, OWN);
    }
    let got = low.read(&pods.own);
    assert_eq!(got, [lost((5, 1), Some((5, 10_002)), Some(1)), visual(5, 10_002)]);
}

#[test]
fn update_of_a_grant_to_come_waits() {
    let mut pods = Pods::new();
    let reopened = grant(HOME, SESSION, 9, Gate::Open);
    pods.grant(HOME, 9, &reopened);
    pods.publish(HOME, 9, true, 0);
    let batch = pods.batch(HOME, OWN);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates), [Ingested::Ahead]);
    pods.grant(OWN, 9, &reopened);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates), [Ingested::Taken]);
    // Of the same term, and a gate that is open again.
    pods.grant(OWN, 11, &grant(HOME, SESSION, 9, Gate::Paused));
    pods.grant(HOME, 11, &grant(HOME, SESSION, 9, Gate::Paused));
    pods.grant(HOME, 12, &reopened);
    pods.publish(HOME, 9, false, 0);
    let batch = pods.batch(HOME, OWN);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates), [Ingested::Ahead]);
    pods.grant(OWN, 12, &reopened);
    assert_eq!(pods.ingest(HOME, OWN, &batch.updates), [Ingested::Taken]);
}

#[test]
fn revoked_grant_admits_nothing_on_a_follower() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 0);
    pods.flow(HOME, OWN);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1]);
    pods.publish(HOME, 5, false, 0);
    for revoked in [
        grant(HOME, SESSION, 5, Gate::Paused),
        grant(OTHER, 71, 8, Gate::Open),
        Grant { term: 0, ..grant(0, 1, 0, Gate::Off) },
    ] {
        let mut pods = Pods::new();
        pods.publish(HOME, 5, true, 0);
        pods.flow(HOME, OWN);
        pods.publish(HOME, 5, false, 0);
        pods.grant(OWN, 8, &revoked);
        assert_eq!(pods.flow(HOME, OWN), [Ingested::Stale], "{revoked:?}");
    }
    pods.grant_all(8, &grant(HOME, SESSION, 5, Gate::Paused));
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Stale]);
    assert_eq!(viewer.read(&pods.own), []);
    pods.grant_all(10, &grant(HOME, SESSION, 5, Gate::Open));
    pods.publish(HOME, 5, true, 0);
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken]);
    assert_eq!(viewer.read(&pods.own), [lost((5, 1), Some((5, 3)), Some(1)), visual(5, 3)]);
}

#[test]
fn reopened_lane_goes_on_without_a_loss() {
    let mut pods = Pods::new();
    for number in 1..=3 {
        pods.publish(HOME, 5, number == 1, number);
    }
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken; 3]);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1, 2, 3]);
    pods.publish(HOME, 5, false, 4);
    pods.grant_all(9, &grant(OTHER, SESSION, 9, Gate::Open));
    // The new home has read nothing of the lane so far.
    let channels: ChannelSet = [Channel::Visual].into_iter().collect();
    assert!(pods.other.feed.awaits_seal(source(), channels));
    assert_eq!(pods.flow(HOME, OTHER), [Ingested::Taken; 4]);
    assert!(!pods.other.feed.awaits_seal(source(), channels));
    assert_eq!(pods.other.feed.publisher(source(), SessionId::new(SESSION), Channel::Visual).accepted, 4);
    pods.publish(OTHER, 9, false, 5);
    // What the new home has had of the old one is there, too.
    let batch = pods.batch(OTHER, OWN);
    assert_eq!(pods.ingest(OTHER, OWN, &batch.updates[..1]), [Ingested::Taken]);
    assert!(matches!(pods.ingest(OTHER, OWN, &batch.updates[1..])[..], [Ingested::AwaitsSeal(_)]));
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Repeat]);
    assert_eq!(pods.ingest(OTHER, OWN, &batch.updates[1..]), [Ingested::Taken]);
    assert_eq!(viewer.read(&pods.own), [visual(5, 4), visual(9, 1)]);
    assert_eq!(pods.flow(OTHER, HOME), [Ingested::Taken]);
    assert_eq!(pods.home.viewer(Start::Keyframe).read(&pods.home).last(), Some(&visual(9, 1)));
}

#[test]
fn home_that_died_owes_a_gap() {
    let mut pods = Pods::new();
    for number in 1..=3 {
        pods.publish(HOME, 5, number == 1, number);
    }
    pods.flow(HOME, OWN);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1, 2, 3]);
    // Its publisher knows that 4 and 5 were taken; nobody else has them.
    pods.grant_all(8, &grant(0, SESSION, 5, Gate::Open));
    pods.grant_all(9, &grant(OTHER, SESSION, 9, Gate::Open));
    pods.publish(OTHER, 9, true, 6);
    assert_eq!(pods.flow(OTHER, OWN), [Ingested::Taken]);
    assert_eq!(viewer.read(&pods.own), [lost((5, 3), Some((9, 1)), Some(2)), visual(9, 1)]);
}

#[test]
fn owed_gap_is_told_after_thirty_seconds() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 1);
    pods.flow(HOME, OWN);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1]);
    pods.grant_all(8, &grant(0, SESSION, 5, Gate::Open));
    pods.own.feed.tend_upstream(pods.own.now);
    pods.own.feed.tend_upstream(pods.own.now + SECOND * 29);
    assert_eq!(viewer.read(&pods.own), []);
    pods.own.now += SECOND * 30;
    pods.own.feed.tend_upstream(pods.own.now);
    assert_eq!(viewer.read(&pods.own), [lost((5, 1), None, None)]);
    pods.grant_all(9, &grant(OTHER, SESSION, 9, Gate::Open));
    pods.publish(OTHER, 9, true, 2);
    assert_eq!(pods.flow(OTHER, OWN), [Ingested::Taken]);
    assert_eq!(viewer.read(&pods.own), [lost((5, 1), Some((9, 1)), Some(1)), visual(9, 1)]);
}

#[test]
fn seal_tells_how_much_is_missing() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 0);
    pods.flow(HOME, OWN);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1]);
    pods.publish(HOME, 5, false, 0);
    pods.publish(HOME, 5, false, 0);
    for pod in [HOME, OTHER, OWN] {
        let over = Grant { term: 0, session: None, ..grant(0, 1, 0, Gate::NotActive) };
        pods.of(pod).feed.enforce_as(&[over], Granted::at(9), &[], true);
    }
    assert!(pods.home.feed.is_over() && pods.own.feed.is_closed());
    assert!(!pods.own.feed.is_over(), "where the lane ended is still to come");
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Stale; 2]);
    assert!(pods.own.feed.is_over());
    assert_eq!(viewer.read(&pods.own), [lost((5, 1), None, None)]);
    let finished: Vec<_> = viewer.0.finish();
    let [Delivery::Gap(Gap { before: Some((5, 4)), count: Some(2), reason: GapReason::Upstream, .. })] = finished[..]
    else {
        panic!("{finished:?}")
    };
}

#[test]
fn late_joiner_starts_with_what_the_home_has() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 0);
    pods.publish(HOME, 5, false, 0);
    // Before this pod took anything, the lane was on hold for a while.
    pods.grant_all(7, &grant(HOME, SESSION, 5, Gate::Paused));
    pods.grant_all(8, &grant(HOME, SESSION, 5, Gate::Open));
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken; 2]);
    assert_eq!(pods.own.viewer(Start::Keyframe).sequences(&pods.own), [1, 2]);
}

#[test]
fn resume_ahead_of_a_follower_goes_back_nowhere() {
    let mut pods = Pods::new();
    for number in 1..=2 {
        pods.publish(HOME, 5, number == 1, number);
    }
    pods.flow(HOME, OWN);
    for number in 3..=5 {
        pods.publish(HOME, 5, number == 3, number);
    }
    // It has read 4 at the home.
    let mut resumed = pods.own.resumed(Channel::Visual, (5, 4));
    assert_eq!(resumed.read(&pods.own), []);
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken; 3]);
    assert_eq!(resumed.read(&pods.own), [visual(5, 5)]);
    // The home dies, and nobody here knows whether 5 was the last.
    pods.grant_all(8, &grant(0, SESSION, 5, Gate::Open));
    let mut resumed = pods.own.resumed(Channel::Visual, (5, 7));
    pods.grant_all(9, &grant(OTHER, SESSION, 9, Gate::Open));
    pods.publish(OTHER, 9, true, 8);
    assert_eq!(pods.flow(OTHER, OWN), [Ingested::Taken]);
    assert_eq!(resumed.read(&pods.own), [lost((5, 7), Some((9, 1)), None), visual(9, 1)]);
    // Of what is published here, nobody has more.
    let mut unknown = pods.other.resumed(Channel::Visual, (9, 2));
    assert!(matches!(unknown.read(&pods.other)[..], [Got::Lost(None, _, GapReason::UnknownPosition, _), ..]));
}

#[test]
fn fresh_follower_tells_what_it_never_had() {
    for at in [(5, 0), (5, 2)] {
        let mut pods = Pods::new();
        for number in 1..=3 {
            pods.publish(HOME, 5, number == 1, number);
        }
        // It is told where it goes on before anything is here.
        let mut resumed = pods.own.resumed(Channel::Visual, at);
        pods.grant_all(8, &grant(0, SESSION, 5, Gate::Open));
        pods.grant_all(9, &grant(OTHER, 71, 9, Gate::Open));
        pods.publish(OTHER, 9, true, 1);
        assert_eq!(pods.flow(OTHER, OWN), [Ingested::Taken]);
        assert_eq!(resumed.read(&pods.own), [lost(at, Some((9, 1)), None), visual(9, 1)]);
    }
}

#[test]
fn fresh_follower_goes_on_after_a_reopening() {
    let mut pods = Pods::new();
    for number in 1..=3 {
        pods.publish(HOME, 5, number == 1, number);
    }
    pods.grant_all(9, &grant(OTHER, SESSION, 9, Gate::Open));
    assert_eq!(pods.flow(HOME, OTHER), [Ingested::Taken; 3]);
    pods.publish(OTHER, 9, false, 4);
    pods.publish(OTHER, 9, true, 5);
    // What the term before had is not here.
    let batch = pods.batch(OTHER, OWN);
    pods.own.feed.give_up_seals(source(), [Channel::Visual].into_iter().collect());
    assert_eq!(pods.ingest(OTHER, OWN, &batch.updates[3..]), [Ingested::Taken; 2]);
    let mut resumed = pods.own.resumed(Channel::Visual, (5, 3));
    assert_eq!(resumed.read(&pods.own), [visual(9, 1), visual(9, 2)]);
}

#[test]
fn followers_add_to_the_demand() {
    let pods = Pods::new();
    let channels: ChannelSet = [Channel::Visual].into_iter().collect();
    let _viewer = pods.home.viewer(Start::Keyframe);
    let reader = LaneReader::enter(&pods.home.feed, HOME, Waker::noop().clone()).unwrap();
    let version = pods.home.feed.subscribers_version();
    reader.want(source(), Channel::Visual, Demand { highest: Interest::Critical, subscribers: 7 });
    let demand = Demand { highest: Interest::Critical, subscribers: 8 };
    assert_eq!(pods.home.feed.demand(source(), channels), [(Channel::Visual, demand)]);
    assert_ne!(pods.home.feed.subscribers_version(), version);
    drop(reader);
    let demand = Demand { highest: Interest::High, subscribers: 1 };
    assert_eq!(pods.home.feed.demand(source(), channels), [(Channel::Visual, demand)]);
}

#[test]
fn followers_of_a_feed_are_bounded() {
    let pods = Pods::new();
    let enter = || LaneReader::enter(&pods.home.feed, HOME, Waker::noop().clone());
    let mut readers: Vec<_> = (0..MAX_FOLLOWERS).map(|_| enter().unwrap()).collect();
    assert!(enter().is_none());
    readers.pop();
    assert_eq!(pods.home.feed.followers.len(), MAX_FOLLOWERS - 1);
    assert!(enter().is_some());
}

#[test]
fn update_without_memory_is_told_as_a_gap() {
    let mut pods = Pods::new();
    pods.own.feed = Feed::new(shape(1 << 20), Memory::new(12_000));
    pods.own.feed.follow_as(OWN);
    pods.grant(OWN, 5, &grant(HOME, SESSION, 5, Gate::Open));
    pods.publish(HOME, 5, true, 0);
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken]);
    let mut viewer = pods.own.viewer(Start::Keyframe);
    assert_eq!(viewer.sequences(&pods.own), [1]);
    let large = Draft { payload: Bytes::from(vec![1; 20_000]), ..draft(false, 0) };
    pods.home.publish(5, large).unwrap();
    assert_eq!(pods.flow(HOME, OWN), [Ingested::NoMemory]);
    pods.publish(HOME, 5, true, 0);
    assert_eq!(pods.flow(HOME, OWN), [Ingested::Taken]);
    assert_eq!(viewer.read(&pods.own), [lost((5, 1), Some((5, 3)), Some(1)), visual(5, 3)]);
}

#[test]
fn what_is_no_update_is_refused() {
    let mut pods = Pods::new();
    pods.publish(HOME, 5, true, 0);
    let update = pods.batch(HOME, OWN).updates.remove(0);
    for length in [0, 4, 5, 6, update.message.len() - 1] {
        let message = update.message.slice(..length);
        let cut = LaneUpdate { message, ..update.clone() };
        assert_eq!(pods.ingest(HOME, OWN, &[cut]), [Ingested::Malformed]);
    }
    assert_eq!(pods.ingest(HOME, OWN, &[update]), [Ingested::Taken]);
}
