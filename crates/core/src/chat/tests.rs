use super::*;
use crate::command::{By, Command, CreateLivestream, Join, LivestreamCommand, SharedCommand};
use crate::config::LivestreamConfig;
use crate::error::Rejection;
use crate::hash::splitmix64;
use crate::id::Epoch;
use crate::swarm::{Rules, Swarm, apply};
use crate::wire::state::{self, StateVersion};

const NOW: u64 = 1_000_000;
const SECOND: u64 = 1_000_000;

type Slot = Option<Box<Swarm>>;

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

fn run(slot: &mut Slot, command: impl Into<Command>, at: u64) -> Result<crate::Applied, Rejection> {
    let (applied, _) = apply(slot, command.into(), at)?;
    slot.as_deref().unwrap().check();
    Ok(applied)
}

/// A livestream with viewers 2, 3, ... whose sessions have the same numbers.
fn livestream(viewers: u64) -> Slot {
    let mut slot = None;
    let (epoch, broadcaster) = (Epoch::new(1).unwrap(), node(1));
    let (config, metadata, retention_ms) = (LivestreamConfig::default(), Box::default(), 10_000);
    let create = CreateLivestream { epoch, broadcaster, config, metadata, retention_ms };
    run(&mut slot, Command::CreateLivestream(create), NOW).unwrap();
    for number in 2..2 + viewers {
        run(&mut slot, SharedCommand::Join(Join::bare(node(number), session(number), 60_000)), NOW).unwrap();
    }
    slot
}

fn write(slot: &mut Slot, author: u64, number: u64, at: u64) -> Result<(u64, bool), ChatRefusal> {
    let content: Box<[u8]> = number.to_le_bytes().into();
    let command = LivestreamCommand::Chat { by: by(author), publisher_sequence: number, content: content.clone() };
    let before = slot.as_deref().unwrap().revision();
    let applied = run(slot, command, at).unwrap();
    assert!(applied.revision == before && applied.events.is_empty(), "nobody sees it in the swarm");
    let outcome = applied.chat.unwrap();
    match outcome.result {
        Ok(ChatPosition { sequence, duplicate: false }) => {
            let message = AcceptedMessage { author: node(author), sequence, publisher_sequence: number, content };
            assert_eq!(applied.message.as_deref(), Some(&message));
        }
        Ok(_) | Err(_) => assert_eq!(applied.message, None),
    }
    outcome.result.map(|position| (position.sequence, position.duplicate))
}

fn chat(slot: &mut Slot) -> &mut Chat {
    match slot.as_deref_mut().unwrap().parts_mut().1 {
        Rules::Livestream(livestream) => livestream.chat.as_deref_mut().unwrap(),
        Rules::Group(_) => panic!("it is a livestream"),
    }
}

#[test]
fn messages_have_one_order_and_repeats_none() {
    let mut slot = livestream(2);
    assert_eq!(write(&mut slot, 2, 0, NOW), Ok((1, false)));
    assert_eq!(write(&mut slot, 3, 7, NOW), Ok((2, false)));
    assert_eq!(write(&mut slot, 2, 0, NOW), Ok((3, false)), "what has no number is no repeat");
    assert_eq!(write(&mut slot, 3, 7, NOW), Ok((3, true)), "a repeat stands where the newest one does");
    assert_eq!(write(&mut slot, 3, 6, NOW), Err(ChatRefusal::OutOfOrder));
    assert_eq!(write(&mut slot, 3, u64::MAX, NOW), Err(ChatRefusal::OutOfOrder), "nothing could follow");
    assert_eq!(write(&mut slot, 3, 8, NOW), Ok((4, false)));
}

#[test]
fn who_may_not_write_is_refused_as_ever() {
    let mut slot = livestream(2);
    let message = |by: By| LivestreamCommand::Chat { by, publisher_sequence: 1, content: Box::default() };
    let digest = slot.as_deref().unwrap().digest();
    let stale = By { session: Some(session(9)), ..by(2) };
    let replaced = Rejection::SessionReplaced { node: node(2), given: session(9) };
    for (who, why) in [(by(1), Rejection::NotAMember(node(1))), (stale, replaced)] {
        assert_eq!(run(&mut slot, message(who), NOW + 5).unwrap_err(), why);
    }
    assert_eq!(slot.as_deref().unwrap().digest(), digest, "which changes nothing");
    write(&mut slot, 2, 1, NOW).unwrap();
    let applied = run(&mut slot, SharedCommand::End(by(1)), NOW).unwrap();
    assert_eq!(applied.retired_authors.map(|authors| authors.len()), Some(1));
    assert_eq!(run(&mut slot, message(by(2)), NOW).unwrap_err(), Rejection::Ended);
}

#[test]
fn muted_author_uses_its_numbers_up() {
    let mut slot = livestream(2);
    run(&mut slot, LivestreamCommand::Mute(by(1), node(2)), NOW).unwrap();
    assert_eq!(write(&mut slot, 2, 1, NOW), Err(ChatRefusal::Muted));
    run(&mut slot, LivestreamCommand::Unmute(by(1), node(2)), NOW).unwrap();
    assert_eq!(write(&mut slot, 2, 2, NOW), Ok((1, false)));
    assert_eq!(write(&mut slot, 2, 1, NOW), Err(ChatRefusal::OutOfOrder));
}

#[test]
fn quota_and_numbers_outlive_the_session() {
    let mut slot = livestream(2);
    for number in 1..=AUTHOR_CHAT_RATE.burst {
        assert_eq!(write(&mut slot, 2, number, NOW), Ok((number, false)));
    }
    run(&mut slot, SharedCommand::Leave(by(2)), NOW).unwrap();
    run(&mut slot, SharedCommand::Join(Join::bare(node(2), session(90), 60_000)), NOW).unwrap();
    assert_eq!(write(&mut slot, 2, 1, NOW), Err(ChatRefusal::Quota));
    let Rules::Livestream(livestream) = slot.as_deref().unwrap().rules() else { panic!("it is a livestream") };
    assert_eq!(livestream.chat_refusal(node(2), NOW), Some(ChatRefusal::Quota), "which can be asked before");
    assert_eq!((livestream.chat_refusal(node(2), NOW + 200), livestream.chat_refusal(node(3), NOW)), (None, None));
    let numbers = &livestream.chat_author(node(2)).unwrap().numbers;
    assert_eq!(numbers.previous(), Some((session(2), AUTHOR_CHAT_RATE.burst)));
    assert_eq!(write(&mut slot, 2, 1, NOW + 200), Ok((AUTHOR_CHAT_RATE.burst + 1, false)), "five in a second");
}

#[test]
fn all_authors_share_a_quota() {
    let mut slot = livestream(50);
    let mut sequence = 0;
    for author in 2..42 {
        for _ in 0..10 {
            sequence += 1;
            assert_eq!(write(&mut slot, author, 0, NOW), Ok((sequence, false)));
        }
    }
    assert_eq!(sequence, CHAT_RATE.burst);
    assert_eq!(write(&mut slot, 45, 4, NOW), Err(ChatRefusal::SwarmQuota));
    let Rules::Livestream(livestream) = slot.as_deref().unwrap().rules() else { panic!("it is a livestream") };
    assert_eq!(livestream.chat_refusal(node(46), NOW), Some(ChatRefusal::SwarmQuota));
    assert_eq!(write(&mut slot, 45, 5, NOW + 5), Ok((sequence + 1, false)), "200 in a second");
    assert_eq!(write(&mut slot, 45, 4, NOW + 10), Err(ChatRefusal::OutOfOrder));
}

#[test]
fn authors_that_wrote_first_are_forgotten_first() {
    let mut authors = Authors::default();
    for number in 1..=100 {
        authors.hear(node(number), number, 0, |author| author.numbers.begin(session(number)));
    }
    authors.hear(node(1), 101, 0, |author| (1..=40).for_each(|number| author.numbers.reject(number * 2)));
    let before = authors.heap_bytes();
    authors.forget(before);
    assert_eq!(authors.len(), 100);
    authors.forget(50 * AUTHOR_BYTES + 40 * RANGE_BYTES);
    assert_eq!(authors.len(), 50);
    let left: Vec<u64> = authors.heard_from(0).map(|(_, node, _)| node.get()).collect();
    assert!(left.iter().copied().eq((52..=100).chain([1])), "{left:?}");
    authors.forget(0);
    assert_eq!((authors.len(), authors.heap_bytes(), authors.digest()), (0, 0, 0));
}

#[test]
fn chat_goes_on_from_bytes_and_raised() {
    let mut bits = 0;
    let mut draw = |below: u64| {
        bits += 1;
        splitmix64(bits) % below
    };
    let (mut slot, mut at) = (livestream(12), NOW);
    for step in 0..1_500 {
        at += draw(120);
        let author = 2 + draw(12);
        let number = if draw(4) == 0 { 0 } else { 1 + draw(step / 20 + 3) };
        let outcome = write(&mut slot, author, number, at);
        if draw(60) == 0 {
            run(&mut slot, SharedCommand::Join(Join::bare(node(author), session(1_000 + step), 900_000)), at).unwrap();
        }
        if draw(40) == 0 {
            let bytes = state::encode(slot.as_deref().unwrap(), StateVersion::V1);
            let copy = state::decode(&bytes).unwrap();
            copy.check();
            assert_eq!(copy.digest(), slot.as_deref().unwrap().digest());
            let running = |swarm: &Swarm| state::running_digest(swarm, StateVersion::V1);
            assert_eq!(running(&copy), running(slot.as_deref().unwrap()));
            let (mut other, again) = (Some(Box::new(copy)), outcome);
            // From here on both have the same future.
            assert_eq!(write(&mut other, author, number, at), write(&mut slot, author, number, at), "{again:?}");
            slot = other;
        }
    }
    assert!(chat(&mut slot).sequence > 300 && chat(&mut slot).authors.len() == 12);
    let last = chat(&mut slot).sequence;
    slot.as_deref_mut().unwrap().raise(1 << 20);
    assert_eq!(write(&mut slot, 2, 0, at + 10_000), Ok((last + (1 << 20) + 1, false)));
    assert_eq!(micros(NOW), NOW / 1_000 * SECOND);
}

#[test]
fn chat_that_no_commands_make_is_refused() {
    /// Puts a CHAT into a state that no command makes.
    type Spoil = fn(&mut Chat);
    let spoiled: [(Spoil, &str); 5] = [
        (|chat| chat.judged = 0, "authors were heard with a message"),
        (|chat| chat.sequence = LARGEST + 1, "messages are below 2^60"),
        (|chat| chat.quota = TokenBucket::full(1, 1, u64::MAX >> 1), "nothing was written after the last command"),
        (
            |chat| chat.authors.hear(node(2), 1, 0, |author| author.numbers.highest = 0),
            "no number is above the highest",
        ),
        (
            |chat| chat.authors.hear(node(2), 1, 0, |author| author.numbers.session = None),
            "an author has written in a session",
        ),
    ];
    for (spoil, invariant) in spoiled {
        let mut slot = livestream(2);
        write(&mut slot, 2, 3, NOW).unwrap();
        spoil(chat(&mut slot));
        let error = state::decode(&state::encode(slot.as_deref().unwrap(), StateVersion::V1)).unwrap_err();
        assert_eq!(error.to_string(), format!("no commands make this state: it does not hold that {invariant}"));
    }
}
