use super::*;
use crate::feed::counts::Counts;

/// Asks all feeds, and what they have counted together.
fn sums(fixture: &FeedFixture) -> Counts {
    assert_eq!(fixture.feed.memory.sum_up(0), None, "there are few feeds");
    fixture.feed.memory.totals().counts()
}

#[test]
fn sums_are_those_of_each_feed() {
    let fixture = FeedFixture::new(shape(2_000));
    fixture.visual(true);
    let mut reader = fixture.viewer(Start::Keyframe);
    reader.read(&fixture);
    for _ in 2..=100 {
        fixture.visual(false);
    }
    reader.read(&fixture);
    fixture.visual(true);
    reader.read(&fixture);
    let counted = fixture.feed.counts();
    assert_eq!((counted.published, counted.delivered), (101, 2));
    assert_eq!(counted.gaps[GapReason::Evicted as usize], 1, "one gap, told when it opens and when it ends");
    assert_eq!(fixture.feed.memory.totals().counts(), Counts::default(), "a delivery adds nothing by itself");
    assert_eq!(sums(&fixture), counted);
    assert_eq!(sums(&fixture), counted, "asked twice it is not counted twice");
    assert_eq!(fixture.feed.memory.used(), fixture.feed.bytes());
}

#[test]
fn sums_keep_what_gone_feeds_counted() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let counted = fixture.feed.counts();
    let memory = Arc::clone(&fixture.feed.memory);
    drop(fixture);
    assert_eq!((memory.totals().counts(), memory.used()), (counted, 0));
}

#[test]
fn sums_have_what_empty_feeds_count_later() {
    let fixture = FeedFixture::new(Settings { limits: Limits { max_age: SECOND, ..LIMITS }, ..shape(1 << 20) });
    fixture.visual(true);
    let mut reader = fixture.viewer(Start::Keyframe);
    fixture.grant(Channel::Visual, 0, Gate::Off);
    fixture.feed.enforce(&[], &[source()], false);
    while fixture.feed.memory.enrolled() > 0 {
        fixture.feed.memory.age_next(fixture.now + HOUR);
    }
    reader.read(&fixture);
    reader.0.note_slow();
    let counted = fixture.feed.counts();
    assert_eq!(counted.slow_readers, 1);
    assert_eq!(fixture.feed.memory.totals().counts(), counted, "nobody asks a feed that holds nothing");
}

#[test]
fn refused_updates_are_counted_once_by_reason() {
    let fixture = FeedFixture::new(shape(1 << 20));
    assert!(fixture.publish(2, draft(true, 0)).is_err());
    fixture.grant(Channel::Visual, 3, Gate::Paused);
    assert!(fixture.publish(3, draft(true, 0)).is_err());
    for _ in 0..2 {
        let muted = Message { muted: true, ..message(5, 0) };
        assert!(
            fixture
                .feed
                .chat(
                    Message { draft: Draft { channel: Channel::Chat, ..muted.draft.clone() }, ..muted },
                    fixture.now,
                    false
                )
                .is_err()
        );
    }
    let rejected: Vec<_> = fixture.feed.memory.totals().rejected().filter(|(_, updates)| *updates > 0).collect();
    assert_eq!(rejected, [("stale_term", 1), ("closed", 1), ("muted", 2)]);
}
