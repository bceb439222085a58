//! Publishers, readers and the crier in every order of their steps that a scheduler
//! draws. Who is never woken is found as a deadlock.

use std::sync::atomic::AtomicU64;

use futures_util::FutureExt;
use shuttle::future::block_on;
use shuttle::thread::{self, Scope};

use super::*;
use crate::sync::model::{Task, check};

/// A feed that threads share. Its clock goes on when the crier waits for a time.
struct Scene {
    feed: Arc<Feed>,
    clock: AtomicU64,
    /// The clock stands still: the crier waits for its bell alone.
    still: bool,
    /// Criers that were started.
    criers: AtomicU64,
}

impl Scene {
    fn new(ring_bytes: usize) -> Self {
        let Stage { feed, now } = Stage::new(shape(ring_bytes));
        Self { feed, clock: AtomicU64::new(now), still: false, criers: AtomicU64::new(0) }
    }

    fn still() -> Self {
        Self { still: true, ..Self::new(1 << 20) }
    }

    fn now(&self) -> Micros {
        self.clock.load(Ordering::Relaxed)
    }

    fn put(&self, draft: Draft) -> Result<Accepted, Refusal> {
        self.feed.publish(source(), 3, draft, self.now()).map_err(|rejected| rejected.refusal)
    }

    fn data(&self) {
        self.put(Draft { channel: Channel::Data, ..draft(false, 0) }).unwrap();
    }

    /// A reader of DATA; it brings the crier along when it needs one.
    fn subscribe<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, level: Interest) -> Listener<'scope> {
        let listener = Listener::open(self, Channel::Data, level);
        self.attend(scope);
        listener
    }

    fn attend<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) {
        if self.feed.needs_crier() {
            self.criers.fetch_add(1, Ordering::Relaxed);
            scope.spawn(|| self.cry());
        }
    }

    /// Does what the crier does, until nobody reads.
    fn cry(&self) {
        let bell = self.feed.crier();
        loop {
            match self.feed.call(self.now()) {
                Call::Wake(sleepers) => sleepers.iter().for_each(Sleeper::wake),
                Call::Until(at) if !self.still => {
                    self.clock.fetch_max(at, Ordering::Relaxed);
                    // What rang meanwhile is heard by the next call.
                    bell.notified().now_or_never();
                }
                Call::Until(_) | Call::Idle => block_on(bell.notified()),
                Call::Over => return,
            }
        }
    }

    fn end(&self) {
        self.feed.enforce(
            &[Grant { source: source(), channel: Channel::Data, term: 0, session: None, gate: Gate::Off }],
            &[],
            true,
        );
        self.feed.rouse();
    }
}

/// Reads one channel, and holds what comes against what came.
struct Listener<'a> {
    scene: &'a Scene,
    cursor: Cursor,
    task: Arc<Task>,
    channel: Channel,
    /// The last sequence that came or was told lost.
    last: u64,
    /// A loss was told whose end is not known yet.
    lost: bool,
    gaps: u64,
}

impl<'a> Listener<'a> {
    fn open(scene: &'a Scene, channel: Channel, level: Interest) -> Self {
        let task = Arc::<Task>::default();
        let opening = Opening {
            selection: Selection { node: reader(), channels: [channel].into_iter().collect(), sources: None },
            interests: interests(&[(channel, level)]),
            expected: vec![source()],
            start: Start::Keyframe,
            resume: None,
            waker: Arc::clone(&task).into(),
        };
        let (cursor, greeting) = Cursor::open(&scene.feed, opening, scene.now());
        let last = greeting.positions.first().map(|position| position.sequence);
        Self { scene, cursor, task, channel, last: last.unwrap_or(0), lost: last.is_none(), gaps: 0 }
    }

    /// What is new, once there is something; `None` = the end. Looks and waits as a
    /// subscription does.
    fn next(&mut self) -> Option<Vec<Delivery>> {
        loop {
            let closed = self.scene.feed.is_closed();
            let deliveries = self.cursor.read(self.scene.now());
            if !deliveries.is_empty() {
                return Some(deliveries);
            }
            if closed {
                return None;
            }
            if self.cursor.park() && !self.scene.feed.is_closed() {
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
fn no_wake_up_is_lost_between_a_look_and_parking() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        thread::scope(|scope| {
            for level in [Interest::Critical, Interest::Low] {
                scope.spawn(move || scene.subscribe(scope, level).read_to(3));
            }
            (0..3).for_each(|_| scene.data());
        });
    });
}

#[test]
fn two_publishers_who_announce_out_of_order_wake_everybody() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        thread::scope(|scope| {
            let mut listener = scene.subscribe(scope, Interest::High);
            scope.spawn(move || listener.read_to(2));
            scope.spawn(|| scene.data());
            scene.data();
        });
    });
}

#[test]
fn an_urgent_update_is_held_back_by_no_window_wherever_the_reader_is() {
    check(|| {
        let scene = &Scene::still();
        thread::scope(|scope| {
            let mut listener = scene.subscribe(scope, Interest::Low);
            scope.spawn(move || listener.read_to(2));
            scene.data();
            scene.put(Draft { channel: Channel::Data, urgent: true, ..draft(false, 0) }).unwrap();
        });
    });
}

/// Publishes more than the ring holds to one reader, who reads to the end.
fn check_laps(ring_bytes: usize, channel: Channel, level: Interest, publish: fn(&Scene), judge: fn(&Listener<'_>)) {
    let gaps: &AtomicU64 = Box::leak(Box::default());
    check(move || {
        let scene = &Scene::new(ring_bytes);
        thread::scope(|scope| {
            let mut listener = Listener::open(scene, channel, level);
            scene.attend(scope);
            scope.spawn(move || {
                listener.read_to_the_end();
                judge(&listener);
                gaps.fetch_add(listener.gaps, Ordering::Relaxed);
            });
            publish(scene);
            scene.end();
        });
    });
    assert!(gaps.load(Ordering::Relaxed) > 0, "nobody was lapped");
}

#[test]
fn a_reader_that_is_lapped_is_told_before_what_follows() {
    let publish = |scene: &Scene| {
        for _ in 0..12 {
            scene.data();
            assert!(scene.feed.bytes() <= 600);
        }
    };
    check_laps(600, Channel::Data, Interest::Critical, publish, |listener| {
        assert_eq!((listener.last, listener.lost), (12, false));
    });
}

#[test]
fn what_is_lost_is_told_though_nothing_follows_on_its_channel() {
    let publish = |scene: &Scene| {
        (0..2).for_each(|_| scene.data());
        for _ in 0..8 {
            scene.put(Draft { channel: Channel::Audio, ..draft(false, 0) }).unwrap();
        }
    };
    check_laps(600, Channel::Data, Interest::Critical, publish, |listener| {
        assert_eq!((listener.last, listener.lost), (2, false));
    });
}

#[test]
fn a_lapped_reader_of_pictures_goes_on_at_a_keyframe() {
    let publish = |scene: &Scene| {
        for number in 0..18 {
            scene.put(draft(number % 3 == 0, 0)).unwrap();
            assert!(scene.feed.bytes() <= 1_200);
        }
    };
    check_laps(1_200, Channel::Visual, Interest::High, publish, |listener| {
        assert!(listener.last == 18 || listener.lost, "{}", listener.last);
    });
}

#[test]
fn everybody_finds_the_end_after_the_last_update_that_was_taken() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        thread::scope(|scope| {
            let listeners =
                [Interest::Critical, Interest::Low, Interest::Low].map(|level| scene.subscribe(scope, level));
            let listeners = listeners.map(|mut listener| {
                scope.spawn(move || {
                    listener.read_to_the_end();
                    listener.last
                })
            });
            scope.spawn(|| scene.end());
            let taken = (0..3).map_while(|_| scene.put(Draft { channel: Channel::Data, ..draft(false, 0) }).ok());
            let taken = taken.last().map_or(0, |accepted| accepted.position.sequence);
            assert_eq!(listeners.map(|listener| listener.join().unwrap()), [taken; 3]);
        });
    });
}

#[test]
fn a_change_of_interest_reaches_who_is_about_to_park() {
    check(|| {
        // Under LOW alone nothing would be due: the clock stands still.
        let scene = &Scene::still();
        thread::scope(|scope| {
            let mut low = scene.subscribe(scope, Interest::Low);
            let mut none = Listener::open(scene, Channel::Visual, Interest::None);
            scope.spawn(move || low.read_to(2));
            scope.spawn(move || none.read_to(2));
            scope.spawn(|| {
                let levels = [(Channel::Data, Interest::Critical), (Channel::Visual, Interest::Critical)];
                scene.feed.rewish(reader(), &interests(&levels)).iter().for_each(Sleeper::wake);
            });
            for keyframe in [true, false] {
                scene.put(draft(keyframe, 0)).unwrap();
                scene.data();
            }
        });
    });
}

#[test]
fn who_leaves_while_the_crier_calls_is_forgotten_and_nobody_else_is() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        let mut tasks = Vec::new();
        thread::scope(|scope| {
            let [mut one, mut two, mut three] = [(); 3].map(|()| scene.subscribe(scope, Interest::High));
            tasks.extend([&one, &two, &three].map(|listener| Arc::clone(&listener.task)));
            // They leave parked, or while they are called.
            for listener in [&mut one, &mut two] {
                assert!(listener.cursor.read(scene.now()).is_empty() && listener.cursor.park());
            }
            scope.spawn(move || drop(one));
            scope.spawn(move || drop(two));
            scope.spawn(move || three.read_to(2));
            (0..2).for_each(|_| scene.data());
        });
        assert_eq!(scene.criers.load(Ordering::Relaxed), 1);
        assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1), "a seat is left");
    });
}

#[test]
fn the_crier_stops_after_the_last_reader_and_the_next_one_starts_another() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        thread::scope(|scope| {
            let last = Listener::open(scene, Channel::Data, Interest::High);
            assert!(scene.feed.needs_crier());
            let first = scope.spawn(|| scene.cry());
            scope.spawn(move || drop(last));
            let mut next = Listener::open(scene, Channel::Data, Interest::High);
            if scene.feed.needs_crier() {
                first.join().unwrap();
                scope.spawn(|| scene.cry());
            }
            assert!(!scene.feed.needs_crier(), "one is enough");
            scope.spawn(|| scene.data());
            next.read_to(1);
        });
    });
}

#[test]
fn one_of_those_who_come_together_starts_the_crier() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        thread::scope(|scope| {
            let listeners = [(); 2].map(|()| scope.spawn(|| scene.subscribe(scope, Interest::High)));
            let listeners = listeners.map(|listener| listener.join().unwrap());
            assert_eq!(scene.criers.load(Ordering::Relaxed), 1);
            drop(listeners);
        });
    });
}

#[test]
fn readers_in_step_share_one_chunk_while_the_crier_trims() {
    check(|| {
        let scene = &Scene::new(1 << 20);
        thread::scope(|scope| {
            let listeners = [(); 2].map(|()| Listener::open(scene, Channel::Data, Interest::High));
            (0..3).for_each(|_| scene.data());
            let chunks = listeners.map(|mut listener| {
                scope.spawn(move || {
                    let updates = listener.next().unwrap().into_iter().filter_map(Delivery::into_update);
                    let updates: Vec<_> = updates.collect();
                    assert_eq!(updates.len(), 3);
                    (listener.cursor.join(&updates), frame(updates.iter().map(Encoded::item)))
                })
            });
            assert!(matches!(scene.feed.call(scene.now()), Call::Idle | Call::Over));
            let [(one, whole), (two, _)] = chunks.map(|chunk| chunk.join().unwrap());
            assert_eq!((&one, one.as_ptr()), (&whole, two.as_ptr()));
        });
    });
}
