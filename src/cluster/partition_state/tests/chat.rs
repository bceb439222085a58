//! Messages to the CHAT of a livestream, which go through the log.

use super::*;
use crate::feed::{Accepted, AppendError, Draft, Rejected, Timestamp};
use bytes::Bytes;
use starling_core::LivestreamCommand;
use starling_core::channel::Channel;

fn content(text: &'static [u8]) -> Box<[u8]> {
    let draft = Draft {
        channel: Channel::Chat,
        payload: Bytes::from_static(text),
        keyframe: false,
        urgent: false,
        temporal_layer: 0,
        publisher_sequence: 0,
        publish_time: None,
        accept_time: Timestamp::default(),
        proof: None,
    };
    draft.chat_content()
}

/// Has node 2 write, and tells what became of it.
fn write(state: &mut PartitionState, number: u64, content: Box<[u8]>, at: u64) -> Result<Accepted, Rejected> {
    let by = starling_core::command::By { node: NodeId::new(2).unwrap(), session: None, request: None };
    let id = history::id(SwarmKind::Livestream, 0);
    let step = Step::of(id, LivestreamCommand::Chat { by, publisher_sequence: number, content });
    let LogOutcome::Swarm(Ok(outcome)) = enter(state, &step, time_of(at)) else { panic!("it is judged") };
    Accepted::of_chat(outcome.chat.unwrap())
}

fn sequence(accepted: Result<Accepted, Rejected>) -> (u64, bool) {
    accepted.map(|accepted| (accepted.position.sequence, accepted.duplicate)).unwrap()
}

/// How far the feed of the livestream has come.
fn in_feed(state: &PartitionState) -> u64 {
    let id = history::id(SwarmKind::Livestream, 0);
    state.store.read(id, |entry| entry.feed().chat_sequence()).unwrap()
}

#[test]
fn messages_stand_at_the_same_positions_everywhere() {
    let (mut state, place) = shown();
    let id = history::id(SwarmKind::Livestream, 0);
    enter(&mut state, &Step::create_livestream(id), time_of(1_000));
    let (node, session) = (NodeId::new(2).unwrap(), SessionId::new(2).unwrap());
    enter(&mut state, &Step::join_of(id, node, session, 60_000), time_of(1_000));
    for number in 1..=10 {
        assert_eq!(sequence(write(&mut state, number, content(b"hello"), 1_000)), (number, false));
    }
    assert_eq!(sequence(write(&mut state, 10, content(b"hello"), 1_000)), (10, true));
    let refused = Rejected { publisher_sequence: 11, refusal: AppendError::Quota };
    assert_eq!(write(&mut state, 11, content(b"hello"), 1_000), Err(refused));
    assert_eq!(in_feed(&state), 10);
    let mut read = PartitionState::decode(&bytes(&state, 100)).unwrap();
    let other = ShownPartition::new(Arc::new(Store::new(LIVE)), SERVER_PARTITION).unwrap();
    read.show(&other);
    for state in [&mut state, &mut read] {
        assert_eq!(
            (in_feed(state), write(state, 12, content(b"hello"), 1_000)),
            (10, Err(Rejected { publisher_sequence: 12, refusal: AppendError::Quota }))
        );
        assert_eq!(sequence(write(state, 12, [0xff].into(), 2_000)), (11, false), "whatever it says");
        assert_eq!(sequence(write(state, 13, content(b"hello"), 2_000)), (12, false));
        assert_eq!(in_feed(state), 12);
    }
    assert_eq!(state.digest(), read.digest());
    state.raise(1);
    assert_eq!(in_feed(&state), 12 + (1 << 20), "no position has two meanings");
    // Another state takes the place of the one that is further: its positions will come a second time.
    let readers = place.store.read(id, |entry| entry.feed()).unwrap();
    let mut third = PartitionState::decode(&bytes(&read, 100)).unwrap();
    third.show(&place);
    assert!(readers.is_closed() && in_feed(&third) == 12);
}
