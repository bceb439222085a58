//! Publishers, readers and the wake task in every order of their steps that a scheduler
//! draws. Who is never woken is found as a deadlock.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use shuttle::future::block_on;
use shuttle::thread::{self, Scope};

use super::*;
use crate::sync::model::{Task, check};

/// A feed that threads share. Its clock goes on when the wake task waits for a time.
struct SharedFeed {
    feed: Arc<Feed>,
    clock: AtomicU64,
    /// The clock stands still: the wake task waits for a change alone.
    still: bool,
    /// Wake tasks that were started.
    wake_tasks: AtomicU64,
}

impl SharedFeed {
    fn new(ring_bytes: usize) -> Self {
        let FeedFixture { feed, now } = FeedFixture::new(shape(ring_bytes));
        Self { feed, clock: AtomicU64::new(now.get()), still: false, wake_tasks: AtomicU64::new(0) }
    }

    fn still() -> Self {
        Self { still: true, ..Self::new(1 << 20) }
    }

    fn now(&self) -> Micros {
        Micros::new(self.clock.load(Ordering::Relaxed))
    }

    fn put(&self, draft: Draft) -> Result<Accepted, AppendError> {
        self.feed.publish(source(), 3, draft, self.now()).map_err(|rejected| rejected.refusal)
    }

    fn data(&self) {
        self.put(Draft { channel: Channel::Data, ..draft(false, 0) }).unwrap();
    }

    /// A reader of DATA; it brings the wake task along when it needs one.
    fn subscribe<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, level: Interest) -> TaskReader<'scope> {
        let task_reader = TaskReader::open(self, Channel::Data, &[(Channel::Data, level)]);
        self.start_wake_task(scope);
        task_reader
    }

    fn start_wake_task<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        if self.feed.needs_wake_task() {
            self.wake_tasks.fetch_add(1, Ordering::Relaxed);
            scope.spawn(|| self.run_wake_task());
        }
    }

    /// Does what the wake task does, until nobody reads.
    fn run_wake_task(&self) {
        let changed = self.feed.schedule_changed();
        loop {
            match self.feed.next_step(self.now()) {
                NextStep::Wake(parked) => parked.iter().for_each(ParkedSubscriber::wake),
                NextStep::SleepUntil(at) if !self.still => {
                    self.clock.fetch_max(at.get(), Ordering::Relaxed);
                    // What rang meanwhile is heard by the next call.
                    changed.notified().now_or_never();
                }
                NextStep::SleepUntil(_) | NextStep::AwaitChange => block_on(changed.notified()),
                NextStep::Stop => return,
            }
        }
    }

    fn end(&self) {
        self.feed.enforce(
            &[Grant {
                source: source(),
                channel: Channel::Data,
                term: 0,
                session: None,
                home: NO_HOME,
                gate: Gate::Off,
                key: None,
            }],
            &[],
            true,
        );
        self.feed.wake_all();
    }
}

/// Reads one channel, and holds what comes against what came.
struct TaskReader<'a> {
    shared: &'a SharedFeed,
    cursor: Cursor,
    task: Arc<Task>,
    channel: Channel,
    /// The last sequence that came or was told lost.
    last: u64,
    /// A loss was told whose end is not known yet.
    lost: bool,
    gaps: u64,
}

impl<'a> TaskReader<'a> {
    fn open(shared: &'a SharedFeed, channel: Channel, levels: &[(Channel, Interest)]) -> Self {
        let task = Arc::<Task>::default();
        let selection = Selection::new(reader(), [channel].into_iter().collect(), Vec::new());
        let (feed, waker) = (&shared.feed, Arc::clone(&task).into());
        let mut cursor = Cursor::enter(feed, selection, interests(levels), waker, shared.now()).unwrap();
        let opening = Opening { expected: vec![source()], ..Opening::default() };
        let greeting = cursor.begin(opening, shared.now());
        let last = greeting.positions.first().map(|position| position.sequence);
        Self { shared, cursor, task, channel, last: last.unwrap_or(0), lost: last.is_none(), gaps: 0 }
    }

    /// What is new, once there is something; `None` = the end. Looks and waits as a
    /// subscription does.
    fn next(&mut self) -> Option<Vec<Delivery>> {
        loop {
            let closed = self.shared.feed.is_closed();
            let deliveries = self.cursor.read(self.shared.now());
            if !deliveries.is_empty() {
                return Some(deliveries);
            }
            if closed {
                return None;
            }
            if self.cursor.park() && !self.shared.feed.is_closed() {
                self.task.wait();
            }
        }
    }

    /// True before the end.
    fn step(&mut self) -> bool {
        let Some(deliveries) = self.next() else { return false };
        deliveries.into_iter().for_each(|delivery| self.take(delivery));
        true
    }

    fn read_to(&mut self, sequence: u64) {
        while self.last < sequence {
            assert!(self.step(), "the end came after {}", self.last);
        }
    }

    fn read_to_the_end(&mut self) {
        while self.step() {}
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Update(update) => {
                let Got::Update(channel, _, sequence) = position_of(update.delivery()) else { unreachable!() };
                assert_eq!(channel, self.channel);
                assert!(
                    sequence == self.last + 1 || self.lost && sequence > self.last,
                    "{sequence} after {}",
                    self.last
                );
                (self.last, self.lost) = (sequence, false);
            }
            Delivery::Gap(gap) => {
                assert_eq!(gap.after.map_or(0, |(_, sequence)| sequence), self.last, "{gap:?}");
                let missing = gap.before.map(|(_, sequence)| sequence - self.last - 1);
                assert!(missing != Some(0) && (gap.count.is_none() || gap.count == missing), "{gap:?}");
                self.gaps += 1;
                match gap.before {
                    Some((_, sequence)) => (self.last, self.lost) = (sequence - 1, false),
                    None => self.lost = true,
                }
            }
            Delivery::Filter(_) => {}
        }
    }
}

#[test]
fn no_wake_up_is_lost_before_parking() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        thread::scope(|scope| {
            for level in [Interest::Critical, Interest::Low] {
                scope.spawn(move || shared.subscribe(scope, level).read_to(3));
            }
            (0..3).for_each(|_| shared.data());
        });
    });
}

#[test]
fn updates_appended_out_of_order_wake_everybody() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        thread::scope(|scope| {
            let mut task_reader = shared.subscribe(scope, Interest::High);
            scope.spawn(move || task_reader.read_to(2));
            scope.spawn(|| shared.data());
            shared.data();
        });
    });
}

#[test]
fn urgent_update_is_never_held_by_a_window() {
    check(|| {
        let shared = &SharedFeed::still();
        thread::scope(|scope| {
            let mut task_reader = shared.subscribe(scope, Interest::Low);
            scope.spawn(move || task_reader.read_to(2));
            shared.data();
            shared.put(Draft { channel: Channel::Data, urgent: true, ..draft(false, 0) }).unwrap();
        });
    });
}

/// Publishes more than the ring holds to one reader, who reads to the end.
fn check_laps(
    ring_bytes: usize,
    channel: Channel,
    level: Interest,
    publish: fn(&SharedFeed),
    judge: fn(&TaskReader<'_>),
) {
    let gaps: &AtomicU64 = Box::leak(Box::default());
    check(move || {
        let shared = &SharedFeed::new(ring_bytes);
        thread::scope(|scope| {
            let mut task_reader = TaskReader::open(shared, channel, &[(channel, level)]);
            shared.start_wake_task(scope);
            scope.spawn(move || {
                task_reader.read_to_the_end();
                judge(&task_reader);
                gaps.fetch_add(task_reader.gaps, Ordering::Relaxed);
            });
            publish(shared);
            shared.end();
        });
    });
    assert!(gaps.load(Ordering::Relaxed) > 0, "nobody was lapped");
}

#[test]
fn lapped_reader_gets_gap_before_later_updates() {
    let publish = |shared: &SharedFeed| {
        for _ in 0..12 {
            shared.data();
            assert!(shared.feed.ring_bytes() <= 2_000);
        }
    };
    check_laps(2_000, Channel::Data, Interest::Critical, publish, |task_reader| {
        assert_eq!((task_reader.last, task_reader.lost), (12, false));
    });
}

#[test]
fn loss_is_reported_without_a_later_update() {
    let publish = |shared: &SharedFeed| {
        (0..2).for_each(|_| shared.data());
        for _ in 0..8 {
            shared.put(Draft { channel: Channel::Audio, ..draft(false, 0) }).unwrap();
        }
    };
    check_laps(2_000, Channel::Data, Interest::Critical, publish, |task_reader| {
        assert_eq!((task_reader.last, task_reader.lost), (2, false));
    });
}

#[test]
fn lapped_video_reader_continues_at_a_keyframe() {
    let publish = |shared: &SharedFeed| {
        for number in 0..18 {
            shared.put(draft(number % 3 == 0, 0)).unwrap();
            assert!(shared.feed.ring_bytes() <= 4_000);
        }
    };
    check_laps(4_000, Channel::Visual, Interest::High, publish, |task_reader| {
        assert!(task_reader.last == 18 || task_reader.lost, "{}", task_reader.last);
    });
}

#[test]
fn end_follows_the_last_accepted_update() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        thread::scope(|scope| {
            let task_readers =
                [Interest::Critical, Interest::Low, Interest::Low].map(|level| shared.subscribe(scope, level));
            let task_readers = task_readers.map(|mut task_reader| {
                scope.spawn(move || {
                    task_reader.read_to_the_end();
                    task_reader.last
                })
            });
            scope.spawn(|| shared.end());
            let taken = (0..3).map_while(|_| shared.put(Draft { channel: Channel::Data, ..draft(false, 0) }).ok());
            let taken = taken.last().map_or(0, |accepted| accepted.position.sequence);
            assert_eq!(task_readers.map(|task_reader| task_reader.join().unwrap()), [taken; 3]);
        });
    });
}

#[test]
fn interest_change_reaches_a_parking_reader() {
    check(|| {
        // Under LOW alone nothing would be due: the clock stands still.
        let shared = &SharedFeed::still();
        thread::scope(|scope| {
            let mut low = shared.subscribe(scope, Interest::Low);
            let mut none = TaskReader::open(shared, Channel::Visual, &[(Channel::Data, Interest::Low)]);
            scope.spawn(move || low.read_to(2));
            scope.spawn(move || none.read_to(2));
            scope.spawn(|| {
                let levels = [(Channel::Data, Interest::Critical), (Channel::Visual, Interest::Critical)];
                shared.feed.set_interests(reader(), &interests(&levels)).iter().for_each(ParkedSubscriber::wake);
            });
            for keyframe in [true, false] {
                shared.put(draft(keyframe, 0)).unwrap();
                shared.data();
            }
        });
    });
}

#[test]
fn a_reader_leaves_while_the_wake_task_runs() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        let mut tasks = Vec::new();
        thread::scope(|scope| {
            let [mut one, mut two, mut three] = [(); 3].map(|()| shared.subscribe(scope, Interest::High));
            tasks.extend([&one, &two, &three].map(|task_reader| Arc::clone(&task_reader.task)));
            // They leave parked, or while they are called.
            for task_reader in [&mut one, &mut two] {
                assert!(task_reader.cursor.read(shared.now()).is_empty() && task_reader.cursor.park());
            }
            scope.spawn(move || drop(one));
            scope.spawn(move || drop(two));
            scope.spawn(move || three.read_to(2));
            (0..2).for_each(|_| shared.data());
        });
        assert_eq!(shared.wake_tasks.load(Ordering::Relaxed), 1);
        assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1), "a subscriber is left");
    });
}

#[test]
fn the_wake_task_ends_and_another_one_starts() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        thread::scope(|scope| {
            let last = TaskReader::open(shared, Channel::Data, &[(Channel::Data, Interest::High)]);
            assert!(shared.feed.needs_wake_task());
            let first = scope.spawn(|| shared.run_wake_task());
            scope.spawn(move || drop(last));
            let mut next = TaskReader::open(shared, Channel::Data, &[(Channel::Data, Interest::High)]);
            if shared.feed.needs_wake_task() {
                first.join().unwrap();
                scope.spawn(|| shared.run_wake_task());
            }
            assert!(!shared.feed.needs_wake_task(), "one is enough");
            scope.spawn(|| shared.data());
            next.read_to(1);
        });
    });
}

#[test]
fn two_new_readers_start_one_wake_task() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        thread::scope(|scope| {
            let task_readers = [(); 2].map(|()| scope.spawn(|| shared.subscribe(scope, Interest::High)));
            let task_readers = task_readers.map(|task_reader| task_reader.join().unwrap());
            assert_eq!(shared.wake_tasks.load(Ordering::Relaxed), 1);
            drop(task_readers);
        });
    });
}

#[test]
fn readers_share_chunks_during_cache_trimming() {
    check(|| {
        let shared = &SharedFeed::new(1 << 20);
        thread::scope(|scope| {
            let task_readers =
                [(); 2].map(|()| TaskReader::open(shared, Channel::Data, &[(Channel::Data, Interest::High)]));
            (0..3).for_each(|_| shared.data());
            let chunks = task_readers.map(|mut task_reader| {
                scope.spawn(move || {
                    let updates = task_reader.next().unwrap().into_iter().filter_map(Delivery::into_update);
                    let updates: Vec<_> = updates.collect();
                    assert_eq!(updates.len(), 3);
                    (task_reader.cursor.join(&updates), frame(updates.iter().map(Encoded::item)))
                })
            });
            assert!(matches!(shared.feed.next_step(shared.now()), NextStep::AwaitChange | NextStep::Stop));
            let [(one, whole), (two, _)] = chunks.map(|chunk| chunk.join().unwrap());
            assert_eq!((&one, one.as_ptr()), (&whole, two.as_ptr()));
        });
    });
}
