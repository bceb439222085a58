use super::*;

#[test]
fn low_interest_gets_keyframes_and_none_gets_nothing() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let (mut low, _) = fixture.open(&[(Channel::Visual, Interest::Low)], Start::Keyframe);
    let (mut none, _) = fixture.open(&[(Channel::Visual, Interest::None)], Start::Keyframe);
    for keyframe in [true, false, true, false] {
        fixture.visual(keyframe);
    }
    assert_eq!(low.sequences(&fixture), [1, 3]);
    assert_eq!(none.read(&fixture), []);
}

#[test]
fn medium_interest_drops_only_the_top_layer() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.feed.declare(source(), 3, [Channel::Visual].into_iter().collect(), 3);
    let (mut medium, greeting) = fixture.open(&[(Channel::Visual, Interest::Medium)], Start::Keyframe);
    assert_eq!(greeting.filters[0].layers, 3);
    for (layer, keyframe) in [(2, true), (2, false), (1, false), (2, false), (0, false)] {
        fixture.put(Channel::Visual, 3, Draft { temporal_layer: layer, ..draft(keyframe, 0) });
    }
    assert_eq!(medium.sequences(&fixture), [1, 3, 5]);
}

#[test]
fn single_layer_is_not_dropped_at_medium_interest() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let (mut medium, _) = fixture.open(&[(Channel::Visual, Interest::Medium)], Start::Keyframe);
    fixture.visual(true);
    fixture.visual(false);
    assert_eq!(medium.sequences(&fixture), [1, 2]);
}

#[test]
fn lowering_applies_at_once_raising_at_a_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let mut reader = fixture.viewer(Start::Keyframe);
    fixture.visual(true);
    assert_eq!(reader.sequences(&fixture), [1]);
    fixture.visual(false);
    reader.set_interests(&fixture, &[(Channel::Visual, Interest::Low)]);
    assert_eq!(reader.read(&fixture), [Got::Filter(Channel::Visual, Interest::Low)]);
    reader.set_interests(&fixture, &[(Channel::Visual, Interest::High)]);
    fixture.visual(false);
    assert_eq!(reader.read(&fixture), [], "deltas without their predecessors");
    fixture.visual(true);
    fixture.visual(false);
    let expected = [
        Got::Filter(Channel::Visual, Interest::High),
        Got::Update(Channel::Visual, 3, 4),
        Got::Update(Channel::Visual, 3, 5),
    ];
    assert_eq!(reader.read(&fixture), expected);
}

#[test]
fn raising_from_none_starts_at_undelivered_cached_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let (mut reader, _) = fixture.open(&[(Channel::Visual, Interest::None)], Start::Keyframe);
    fixture.visual(true);
    fixture.visual(false);
    assert_eq!(reader.read(&fixture), []);
    reader.set_interests(&fixture, &[(Channel::Visual, Interest::High)]);
    let raised = Got::Filter(Channel::Visual, Interest::High);
    let update = |sequence| Got::Update(Channel::Visual, 3, sequence);
    assert_eq!(reader.read(&fixture), [raised.clone(), update(1), update(2)]);
    reader.set_interests(&fixture, &[(Channel::Visual, Interest::None)]);
    fixture.visual(false);
    assert_eq!(reader.read(&fixture), [Got::Filter(Channel::Visual, Interest::None)]);
    reader.set_interests(&fixture, &[(Channel::Visual, Interest::High)]);
    fixture.visual(false);
    assert_eq!(reader.read(&fixture), [raised], "nothing twice");
    fixture.visual(true);
    assert_eq!(reader.sequences(&fixture), [5]);
}

#[test]
fn audio_starts_with_the_picture_of_its_source() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let channels = [(Channel::Visual, Interest::High), (Channel::Audio, Interest::High)];
    fixture.put(Channel::Audio, 3, draft(false, 0));
    fixture.visual(true);
    fixture.put(Channel::Audio, 3, draft(false, 0));
    fixture.visual(false);
    let (mut reader, _) = fixture.open(&channels, Start::Keyframe);
    let expected =
        [Got::Update(Channel::Visual, 3, 1), Got::Update(Channel::Audio, 3, 2), Got::Update(Channel::Visual, 3, 2)];
    assert_eq!(reader.read(&fixture), expected);
    let (mut live, _) = fixture.open(&channels, Start::Live);
    assert_eq!(live.read(&fixture), []);
}

#[test]
fn chat_has_one_order_and_quotas_per_author() {
    let mut fixture = FeedFixture::new(shape(1 << 20));
    let (mut reader, _) = fixture.open(&[(Channel::Chat, Interest::Medium)], Start::Keyframe);
    let chat = |fixture: &FeedFixture, author, number| {
        let outcome = fixture.feed.chat(message(author, number), fixture.now, true);
        outcome.map(|accepted| accepted.position.sequence).map_err(|rejected| rejected.refusal)
    };
    for number in 1..=10 {
        assert_eq!(chat(&fixture, 5, 0), Ok(number));
    }
    assert_eq!(chat(&fixture, 5, 0), Err(AppendError::Quota));
    assert_eq!(chat(&fixture, 6, 0), Ok(11));
    fixture.now += MS * 200;
    assert_eq!(chat(&fixture, 5, 0), Ok(12));
    assert_eq!(chat(&fixture, 5, 0), Err(AppendError::Quota));
    assert_eq!(reader.sequences(&fixture), (1..=12).collect::<Vec<_>>());
    let state = fixture.feed.publisher(NodeId::new(5).unwrap(), SessionId::new(5), Channel::Chat);
    assert_eq!(state.accepted, 12, "the eleventh was over the quota");
}

#[test]
fn demand_is_highest_interest_and_subscriber_count() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let channels = [Channel::Visual, Channel::Audio].into_iter().collect();
    let (low, _) = fixture.open(&[(Channel::Visual, Interest::Low), (Channel::Audio, Interest::None)], Start::Keyframe);
    let _high = fixture.viewer(Start::Keyframe);
    let version = fixture.feed.subscribers_version();
    let found = fixture.feed.demand(source(), channels);
    assert_eq!(found[0], (Channel::Visual, Demand { highest: Interest::High, subscribers: 2 }));
    assert_eq!(found[1], (Channel::Audio, Demand::default()));
    drop(low);
    assert_ne!(fixture.feed.subscribers_version(), version);
    assert_eq!(fixture.feed.demand(source(), channels)[0].1.subscribers, 1);
}

#[test]
fn own_updates_are_delivered_only_on_request() {
    let own = |sources| Selection { node: source(), channels: Channel::ALL.into_iter().collect(), sources };
    assert!(!own(None).contains((Some(source()), Channel::Visual)));
    assert!(own(Some(vec![source()])).contains((Some(source()), Channel::Visual)));
    assert!(!own(Some(vec![source()])).contains((Some(reader()), Channel::Visual)));
    assert!(own(None).contains((None, Channel::Chat)));
}

#[test]
fn later_source_sends_filter_then_first_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let mut reader = fixture.viewer(Start::Keyframe);
    let late = NodeId::new(55).unwrap();
    let (channel, session, gate) = (Channel::Visual, SessionId::new(55), Gate::Open);
    fixture.feed.enforce(
        &[Grant { source: late, channel, term: 4, session, home: NO_HOME, gate, key: None }],
        &[],
        false,
    );
    for keyframe in [false, true, false] {
        fixture.feed.publish(late, 4, draft(keyframe, 0), fixture.now).unwrap();
    }
    let filter = Got::Filter(Channel::Visual, Interest::High);
    let expected = [filter, Got::Update(Channel::Visual, 4, 2), Got::Update(Channel::Visual, 4, 3)];
    assert_eq!(reader.read(&fixture), expected);
}

#[test]
fn nobody_starts_at_updates_of_departed_source() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let (channel, gate) = (Channel::Visual, Gate::Off);
    let revoked = Grant { source: source(), channel, term: 0, session: None, home: NO_HOME, gate, key: None };
    fixture.feed.enforce(&[revoked], &[source()], false);
    assert_eq!(fixture.viewer(Start::Keyframe).read(&fixture), []);
}
