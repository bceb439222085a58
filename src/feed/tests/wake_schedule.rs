use super::*;
use crate::sync::woken::Woken;

/// A subscription of VISUAL that has read everything and is parked.
struct ParkedReader {
    cursor: Cursor,
    woken: Arc<Woken>,
}

impl ParkedReader {
    fn new(fixture: &FeedFixture, level: Interest) -> Self {
        let woken = Arc::<Woken>::default();
        let node = reader_with(&[(Channel::Visual, level)]);
        let selection = Selection::new(node, [Channel::Visual].into_iter().collect(), Vec::new());
        let (wanted, waker) = (interests(&[(Channel::Visual, level)]), Arc::clone(&woken).into());
        let mut cursor = Cursor::enter(&fixture.feed, selection, wanted, waker, fixture.now).unwrap();
        let opening = Opening { expected: vec![source()], ..Opening::default() };
        cursor.begin(opening, fixture.now);
        let mut parked = Self { cursor, woken };
        parked.park(fixture);
        parked
    }

    fn park(&mut self, fixture: &FeedFixture) {
        while !self.cursor.read(fixture.now).is_empty() {}
        assert!(self.cursor.park());
    }

    fn was_woken(&self) -> bool {
        self.woken.take() > 0
    }
}

/// Does what the wake task does; when it looks again.
fn next_wake_up(fixture: &FeedFixture) -> Option<Micros> {
    loop {
        match fixture.feed.next_step(fixture.now) {
            NextStep::Wake(parked) => parked.iter().for_each(ParkedSubscriber::wake),
            NextStep::SleepUntil(at) => return Some(at.saturating_sub(fixture.now)),
            NextStep::AwaitChange => return None,
            NextStep::Stop => panic!("somebody reads"),
        }
    }
}

#[test]
fn each_class_wakes_when_its_window_ends() {
    let mut fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let levels = [Interest::Critical, Interest::High, Interest::Medium, Interest::Low];
    let parked = levels.map(|level| ParkedReader::new(&fixture, level));
    assert_eq!(next_wake_up(&fixture), None);
    fixture.visual(true);
    let mut order = Vec::new();
    for window in [0, 10, 50, 200] {
        fixture.now += (MS * window).saturating_sub(order.last().map_or(Micros::ZERO, |(_, at)| *at));
        let next = next_wake_up(&fixture);
        order.extend(parked.iter().zip(levels).filter(|(one, _)| one.was_woken()).map(|(_, l)| (l, MS * window)));
        assert_eq!(next.is_none(), window == 200);
    }
    let windows = [0, 10, 50, 200].map(|window| MS * window);
    assert_eq!(order, levels.into_iter().zip(windows).collect::<Vec<_>>());
}

#[test]
fn many_updates_in_a_window_wake_once() {
    let mut fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let mut high = ParkedReader::new(&fixture, Interest::High);
    for _ in 0..10 {
        fixture.visual(false);
        fixture.now += MS;
    }
    next_wake_up(&fixture);
    assert_eq!(high.woken.take(), 1);
    fixture.visual(false);
    fixture.now += SECOND;
    assert_eq!(next_wake_up(&fixture), None, "nobody is parked");
    assert!(!high.was_woken());
    high.park(&fixture);
}

#[test]
fn filtered_updates_wake_nobody() {
    let mut fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let (low, none) = (ParkedReader::new(&fixture, Interest::Low), ParkedReader::new(&fixture, Interest::None));
    fixture.visual(false);
    fixture.put(Channel::Audio, 3, draft(false, 0));
    assert_eq!(next_wake_up(&fixture), None);
    fixture.visual(true);
    assert_eq!(next_wake_up(&fixture), Some(MS * 200));
    fixture.now += MS * 200;
    next_wake_up(&fixture);
    assert_eq!([low.was_woken(), none.was_woken()], [true, false]);
}

#[test]
fn an_urgent_update_waits_for_no_window() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let low = ParkedReader::new(&fixture, Interest::Low);
    fixture.put(Channel::Visual, 3, Draft { urgent: true, ..draft(true, 0) });
    next_wake_up(&fixture);
    assert!(low.was_woken());
}

#[test]
fn an_update_before_parking_is_not_missed() {
    let mut fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let (mut critical, mut medium) = (fixture.open(&[(Channel::Visual, Interest::Critical)], Start::Keyframe).0, {
        let mut medium = ParkedReader::new(&fixture, Interest::Medium);
        medium.cursor.read(fixture.now);
        medium
    });
    critical.sequences(&fixture);
    fixture.visual(false);
    assert!(!critical.0.park(), "it looks again at once");
    assert!(medium.cursor.park());
    assert_eq!(next_wake_up(&fixture), Some(MS * 50));
    fixture.now += MS * 50;
    next_wake_up(&fixture);
    assert!(medium.was_woken());
    medium.park(&fixture);
}

#[test]
fn urgent_update_before_parking_is_not_delayed() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let (mut low, _) = fixture.open(&[(Channel::Visual, Interest::Low)], Start::Keyframe);
    low.sequences(&fixture);
    fixture.put(Channel::Visual, 3, Draft { urgent: true, ..draft(true, 0) });
    assert!(!low.0.park(), "it looks again at once");
    assert_eq!(low.sequences(&fixture), [2]);
    assert!(low.0.park());
}

#[test]
fn end_and_interest_change_wake_at_once() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let parked = ParkedReader::new(&fixture, Interest::Low);
    let now = interests(&[(Channel::Visual, Interest::High)]);
    fixture.feed.set_interests(parked.cursor.selection().node, &now).iter().for_each(ParkedSubscriber::wake);
    assert!(parked.was_woken());
    assert!(!parked.cursor.park(), "it has to look first");
    fixture.feed.enforce(&[], &[], true);
    fixture.feed.wake_all();
    next_wake_up(&fixture);
    assert!(parked.was_woken());
}

#[test]
fn a_parked_subscriber_may_leave() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    assert!(!fixture.feed.needs_wake_task(), "nobody reads");
    let [one, two, three] = [(); 3].map(|()| ParkedReader::new(&fixture, Interest::High));
    assert!(fixture.feed.needs_wake_task());
    assert!(!fixture.feed.needs_wake_task(), "one is enough");
    drop(one);
    fixture.feed.wake_all();
    next_wake_up(&fixture);
    assert!(two.was_woken() && three.was_woken());
    drop((two, three));
    assert!(matches!(fixture.feed.next_step(fixture.now), NextStep::Stop));
    let _four = ParkedReader::new(&fixture, Interest::High);
    assert!(fixture.feed.needs_wake_task(), "the last one stopped");
}

#[test]
fn subscribers_of_equal_updates_share_one_chunk() {
    let fixture = FeedFixture::new(shape(1 << 20));
    for number in 0..5 {
        fixture.visual(number == 0);
    }
    let chunk = |level| {
        let (mut reader, _) = fixture.open(&[(Channel::Visual, level)], Start::Keyframe);
        let updates: Vec<_> = reader.0.read(fixture.now).into_iter().filter_map(Delivery::into_update).collect();
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
