use super::*;

fn set_interests(stage: &Stage, levels: &[(Channel, Interest)]) {
    assert_eq!(stage.feed.set_interests(reader(), &interests(levels)).len(), 1);
}

#[test]
fn low_interest_gets_keyframes_and_none_gets_nothing() {
    let stage = Stage::new(shape(1 << 20));
    let (mut low, _) = stage.open(&[(Channel::Visual, Interest::Low)], Start::Keyframe);
    let (mut none, _) = stage.open(&[(Channel::Visual, Interest::None)], Start::Keyframe);
    for keyframe in [true, false, true, false] {
        stage.visual(keyframe);
    }
    assert_eq!(low.sequences(&stage), [1, 3]);
    assert_eq!(none.read(&stage), []);
}

#[test]
fn medium_interest_gets_all_but_the_top_layer_and_every_keyframe() {
    let stage = Stage::new(shape(1 << 20));
    stage.feed.declare(source(), 3, [Channel::Visual].into_iter().collect(), 3);
    let (mut medium, greeting) = stage.open(&[(Channel::Visual, Interest::Medium)], Start::Keyframe);
    assert_eq!(greeting.filters[0].layers, 3);
    for (layer, keyframe) in [(2, true), (2, false), (1, false), (2, false), (0, false)] {
        stage.put(Channel::Visual, 3, Draft { temporal_layer: layer, ..draft(keyframe, 0) });
    }
    assert_eq!(medium.sequences(&stage), [1, 3, 5]);
}

#[test]
fn a_publisher_with_one_layer_has_nothing_to_drop() {
    let stage = Stage::new(shape(1 << 20));
    let (mut medium, _) = stage.open(&[(Channel::Visual, Interest::Medium)], Start::Keyframe);
    stage.visual(true);
    stage.visual(false);
    assert_eq!(medium.sequences(&stage), [1, 2]);
}

#[test]
fn lowering_acts_at_once_and_raising_at_the_next_keyframe() {
    let stage = Stage::new(shape(1 << 20));
    let mut reader = stage.viewer(Start::Keyframe);
    stage.visual(true);
    assert_eq!(reader.sequences(&stage), [1]);
    stage.visual(false);
    set_interests(&stage, &[(Channel::Visual, Interest::Low)]);
    assert_eq!(reader.read(&stage), [Got::Filter(Channel::Visual, Interest::Low)]);
    set_interests(&stage, &[(Channel::Visual, Interest::High)]);
    stage.visual(false);
    assert_eq!(reader.read(&stage), [], "deltas without their predecessors");
    stage.visual(true);
    stage.visual(false);
    let expected = [
        Got::Filter(Channel::Visual, Interest::High),
        Got::Update(Channel::Visual, 3, 4),
        Got::Update(Channel::Visual, 3, 5),
    ];
    assert_eq!(reader.read(&stage), expected);
}

#[test]
fn raising_from_none_starts_at_the_cached_keyframe_unless_that_has_come() {
    let stage = Stage::new(shape(1 << 20));
    let (mut reader, _) = stage.open(&[(Channel::Visual, Interest::None)], Start::Keyframe);
    stage.visual(true);
    stage.visual(false);
    assert_eq!(reader.read(&stage), []);
    set_interests(&stage, &[(Channel::Visual, Interest::High)]);
    let raised = Got::Filter(Channel::Visual, Interest::High);
    let update = |sequence| Got::Update(Channel::Visual, 3, sequence);
    assert_eq!(reader.read(&stage), [raised.clone(), update(1), update(2)]);
    set_interests(&stage, &[(Channel::Visual, Interest::None)]);
    stage.visual(false);
    assert_eq!(reader.read(&stage), [Got::Filter(Channel::Visual, Interest::None)]);
    set_interests(&stage, &[(Channel::Visual, Interest::High)]);
    stage.visual(false);
    assert_eq!(reader.read(&stage), [raised], "nothing twice");
    stage.visual(true);
    assert_eq!(reader.sequences(&stage), [5]);
}

#[test]
fn sound_starts_with_the_picture_of_its_source() {
    let stage = Stage::new(shape(1 << 20));
    let channels = [(Channel::Visual, Interest::High), (Channel::Audio, Interest::High)];
    stage.put(Channel::Audio, 3, draft(false, 0));
    stage.visual(true);
    stage.put(Channel::Audio, 3, draft(false, 0));
    stage.visual(false);
    let (mut reader, _) = stage.open(&channels, Start::Keyframe);
    let expected =
        [Got::Update(Channel::Visual, 3, 1), Got::Update(Channel::Audio, 3, 2), Got::Update(Channel::Visual, 3, 2)];
    assert_eq!(reader.read(&stage), expected);
    let (mut live, _) = stage.open(&channels, Start::Live);
    assert_eq!(live.read(&stage), []);
}

#[test]
fn chat_is_one_order_of_many_authors_who_each_have_a_quota() {
    let mut stage = Stage::new(shape(1 << 20));
    let (mut reader, _) = stage.open(&[(Channel::Chat, Interest::Medium)], Start::Keyframe);
    let chat = |stage: &Stage, author, number| {
        let outcome = stage.feed.chat(message(author, number), stage.now, true);
        outcome.map(|accepted| accepted.position.sequence).map_err(|rejected| rejected.refusal)
    };
    for number in 1..=10 {
        assert_eq!(chat(&stage, 5, 0), Ok(number));
    }
    assert_eq!(chat(&stage, 5, 0), Err(AppendError::Quota));
    assert_eq!(chat(&stage, 6, 0), Ok(11));
    stage.now += 200 * MS;
    assert_eq!(chat(&stage, 5, 0), Ok(12));
    assert_eq!(chat(&stage, 5, 0), Err(AppendError::Quota));
    assert_eq!(reader.sequences(&stage), (1..=12).collect::<Vec<_>>());
    let state = stage.feed.publisher(NodeId::new(5).unwrap(), SessionId::new(5), Channel::Chat);
    assert_eq!(state.accepted, 12, "the eleventh was over the quota");
}

#[test]
fn demand_is_the_highest_interest_and_the_number_of_those_who_have_any() {
    let stage = Stage::new(shape(1 << 20));
    let channels = [Channel::Visual, Channel::Audio].into_iter().collect();
    let (low, _) = stage.open(&[(Channel::Visual, Interest::Low), (Channel::Audio, Interest::None)], Start::Keyframe);
    let _high = stage.viewer(Start::Keyframe);
    let version = stage.feed.subscribers_version();
    let found = stage.feed.demand(source(), channels);
    assert_eq!(found[0], (Channel::Visual, Demand { highest: Interest::High, subscribers: 2 }));
    assert_eq!(found[1], (Channel::Audio, Demand::default()));
    drop(low);
    assert_ne!(stage.feed.subscribers_version(), version);
    assert_eq!(stage.feed.demand(source(), channels)[0].1.subscribers, 1);
}

#[test]
fn who_publishes_does_not_get_its_own_unless_it_asks_for_it() {
    let own = |sources| Selection { node: source(), channels: Channel::ALL.into_iter().collect(), sources };
    assert!(!own(None).contains((Some(source()), Channel::Visual)));
    assert!(own(Some(vec![source()])).contains((Some(source()), Channel::Visual)));
    assert!(!own(Some(vec![source()])).contains((Some(reader()), Channel::Visual)));
    assert!(own(None).contains((None, Channel::Chat)));
}

#[test]
fn a_source_that_appears_later_starts_at_its_first_keyframe_after_its_filter() {
    let stage = Stage::new(shape(1 << 20));
    let mut reader = stage.viewer(Start::Keyframe);
    let late = NodeId::new(55).unwrap();
    let (channel, session, gate) = (Channel::Visual, SessionId::new(55), Gate::Open);
    stage.feed.enforce(&[Grant { source: late, channel, term: 4, session, gate }], &[], false);
    for keyframe in [false, true, false] {
        stage.feed.publish(late, 4, draft(keyframe, 0), stage.now).unwrap();
    }
    let filter = Got::Filter(Channel::Visual, Interest::High);
    let expected = [filter, Got::Update(Channel::Visual, 4, 2), Got::Update(Channel::Visual, 4, 3)];
    assert_eq!(reader.read(&stage), expected);
}

#[test]
fn nobody_starts_at_what_a_source_published_that_has_gone() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let (channel, gate) = (Channel::Visual, Gate::Off);
    let revoked = Grant { source: source(), channel, term: 0, session: None, gate };
    stage.feed.enforce(&[revoked], &[source()], false);
    assert_eq!(stage.viewer(Start::Keyframe).read(&stage), []);
}
