use super::*;
use crate::sync::woken::Woken;

/// A subscription of VISUAL that has read everything and is parked.
struct Sleeping {
    cursor: Cursor,
    woken: Arc<Woken>,
}

impl Sleeping {
    fn new(stage: &Stage, level: Interest) -> Self {
        let woken = Arc::<Woken>::default();
        let opening = Opening {
            selection: Selection { node: reader(), channels: [Channel::Visual].into_iter().collect(), sources: None },
            interests: interests(&[(Channel::Visual, level)]),
            expected: vec![source()],
            start: Start::Keyframe,
            resume: None,
            waker: Arc::clone(&woken).into(),
        };
        let mut sleeping = Self { cursor: Cursor::open(&stage.feed, opening, stage.now).0, woken };
        sleeping.rest(stage);
        sleeping
    }

    fn rest(&mut self, stage: &Stage) {
        while !self.cursor.read(stage.now).is_empty() {}
        assert!(self.cursor.park());
    }

    fn was_woken(&self) -> bool {
        self.woken.take() > 0
    }
}

/// Does what the wake task does; when it looks again.
fn next_look(stage: &Stage) -> Option<Micros> {
    loop {
        match stage.feed.next_step(stage.now) {
            NextStep::Wake(parked) => parked.iter().for_each(ParkedSubscriber::wake),
            NextStep::SleepUntil(at) => return Some(at - stage.now),
            NextStep::AwaitChange => return None,
            NextStep::Stop => panic!("somebody reads"),
        }
    }
}

#[test]
fn each_class_is_woken_when_its_window_is_over() {
    let mut stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let levels = [Interest::Critical, Interest::High, Interest::Medium, Interest::Low];
    let sleeping = levels.map(|level| Sleeping::new(&stage, level));
    assert_eq!(next_look(&stage), None);
    stage.visual(true);
    let mut order = Vec::new();
    for window in [0, 10, 50, 200] {
        stage.now += window * MS - order.last().map_or(0, |(_, at)| *at);
        let next = next_look(&stage);
        order.extend(sleeping.iter().zip(levels).filter(|(one, _)| one.was_woken()).map(|(_, l)| (l, window * MS)));
        assert_eq!(next.is_none(), window == 200);
    }
    let windows = [0, 10, 50, 200].map(|window| window * MS);
    assert_eq!(order, levels.into_iter().zip(windows).collect::<Vec<_>>());
}

#[test]
fn many_updates_in_a_window_wake_once() {
    let mut stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let mut high = Sleeping::new(&stage, Interest::High);
    for _ in 0..10 {
        stage.visual(false);
        stage.now += MS;
    }
    next_look(&stage);
    assert_eq!(high.woken.take(), 1);
    stage.visual(false);
    stage.now += SECOND;
    assert_eq!(next_look(&stage), None, "nobody is parked");
    assert!(!high.was_woken());
    high.rest(&stage);
}

#[test]
fn what_does_not_pass_wakes_nobody() {
    let mut stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let (low, none) = (Sleeping::new(&stage, Interest::Low), Sleeping::new(&stage, Interest::None));
    stage.visual(false);
    stage.put(Channel::Audio, 3, draft(false, 0));
    assert_eq!(next_look(&stage), None);
    stage.visual(true);
    assert_eq!(next_look(&stage), Some(200 * MS));
    stage.now += 200 * MS;
    next_look(&stage);
    assert_eq!([low.was_woken(), none.was_woken()], [true, false]);
}

#[test]
fn an_urgent_update_waits_for_no_window() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let low = Sleeping::new(&stage, Interest::Low);
    stage.put(Channel::Visual, 3, Draft { urgent: true, ..draft(true, 0) });
    next_look(&stage);
    assert!(low.was_woken());
}

#[test]
fn an_update_before_parking_is_not_missed() {
    let mut stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let (mut critical, mut medium) = (stage.open(&[(Channel::Visual, Interest::Critical)], Start::Keyframe).0, {
        let mut medium = Sleeping::new(&stage, Interest::Medium);
        medium.cursor.read(stage.now);
        medium
    });
    critical.sequences(&stage);
    stage.visual(false);
    assert!(!critical.0.park(), "it looks again at once");
    assert!(medium.cursor.park());
    assert_eq!(next_look(&stage), Some(50 * MS));
    stage.now += 50 * MS;
    next_look(&stage);
    assert!(medium.was_woken());
    medium.rest(&stage);
}

#[test]
fn an_urgent_update_before_parking_is_not_held_back() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let (mut low, _) = stage.open(&[(Channel::Visual, Interest::Low)], Start::Keyframe);
    low.sequences(&stage);
    stage.put(Channel::Visual, 3, Draft { urgent: true, ..draft(true, 0) });
    assert!(!low.0.park(), "it looks again at once");
    assert_eq!(low.sequences(&stage), [2]);
    assert!(low.0.park());
}

#[test]
fn the_end_and_a_change_of_interest_wake_at_once() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let sleeping = Sleeping::new(&stage, Interest::Low);
    let now = interests(&[(Channel::Visual, Interest::High)]);
    stage.feed.set_interests(reader(), &now).iter().for_each(ParkedSubscriber::wake);
    assert!(sleeping.was_woken());
    assert!(!sleeping.cursor.park(), "it has to look first");
    stage.feed.enforce(&[], &[], true);
    stage.feed.wake_all();
    next_look(&stage);
    assert!(sleeping.was_woken());
}

#[test]
fn a_parked_subscriber_may_leave() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    assert!(!stage.feed.needs_wake_task(), "nobody reads");
    let [one, two, three] = [(); 3].map(|()| Sleeping::new(&stage, Interest::High));
    assert!(stage.feed.needs_wake_task());
    assert!(!stage.feed.needs_wake_task(), "one is enough");
    drop(one);
    stage.feed.wake_all();
    next_look(&stage);
    assert!(two.was_woken() && three.was_woken());
    drop((two, three));
    assert!(matches!(stage.feed.next_step(stage.now), NextStep::Stop));
    let _four = Sleeping::new(&stage, Interest::High);
    assert!(stage.feed.needs_wake_task(), "the last one stopped");
}

#[test]
fn those_who_get_the_same_updates_share_one_chunk() {
    let stage = Stage::new(shape(1 << 20));
    for number in 0..5 {
        stage.visual(number == 0);
    }
    let chunk = |level| {
        let (mut reader, _) = stage.open(&[(Channel::Visual, level)], Start::Keyframe);
        let updates: Vec<_> = reader.0.read(stage.now).into_iter().filter_map(Delivery::into_update).collect();
        (reader.0.join(&updates), updates)
    };
    let (one, updates) = chunk(Interest::High);
    let (two, _) = chunk(Interest::High);
    assert_eq!(one.as_ptr(), two.as_ptr());
    let items: usize = updates.iter().map(|update| update.item().len()).sum();
    assert_eq!(one.len(), 5 + items);
    assert_eq!(one[..5], [0, 0, 0, u8::try_from(items >> 8).unwrap(), u8::try_from(items & 0xff).unwrap()]);
    let (alone, updates) = chunk(Interest::Low);
    assert_eq!(alone.as_ptr(), updates[0].message().as_ptr(), "one is not copied");
}
