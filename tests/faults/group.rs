//! E26 to E31: the group.

use std::collections::BTreeSet;

use elara_diffusion::{GroupSwarm, InterestDeclaration, InterestLevel, InterestMap};
use starling_core::interest::{Channel, Interest, InterestChange};
use starling_core::member::{Media, Role};
use starling_core::{Command, Event, GroupCommand, GroupEvent, Rejection, SharedCommand};

use crate::stage::{Stage, by, node, seed_node};

fn media(number: u64, audio: Option<bool>, video: Option<bool>) -> Command {
    GroupCommand::SetMedia { by: by(number), audio, video }.into()
}

#[test]
fn e26_who_joins_again_keeps_its_media_and_its_screen_share() {
    let mut seed = GroupSwarm::new(2_000, 16);
    (1..4).for_each(|number| assert!(seed.add_participant(seed_node(number), Default::default())));
    seed.toggle_audio(seed_node(1), false);
    assert!(seed.start_screen_share(seed_node(1)));
    seed.add_participant(seed_node(1), Default::default());
    let participants = seed.participants();
    let first = participants.iter().find(|participant| participant.node == seed_node(1)).expect("it is in");
    assert_eq!((first.audio_enabled, first.screen_sharing), (true, false), "the seed forgot");

    let mut stage = Stage::group(16);
    stage.join_all(1..4);
    stage.go(media(1, Some(false), None));
    stage.go(GroupCommand::StartShare(by(1)));
    stage.join(1);
    let view = stage.view(1);
    assert_eq!((view.role, view.sharing), (Role::Participant(Media { audio: false, video: true }), true));
    assert_eq!(stage.targets(Some(1)), BTreeSet::from([2, 3]));
    assert_eq!(stage.targets(Some(2)), BTreeSet::from([1, 3]));
}

#[test]
fn e27_a_full_group_takes_its_members_back() {
    let mut seed = GroupSwarm::new(2_000, 2);
    (1..3).for_each(|number| assert!(seed.add_participant(seed_node(number), Default::default())));
    assert!(!seed.add_participant(seed_node(1), Default::default()));

    let mut stage = Stage::group(2);
    stage.join_all(1..3);
    stage.join(1);
    let third = stage.plain_join(3);
    assert_eq!(stage.submit(SharedCommand::Join(third)).unwrap_err(), Rejection::Full { max: 2 });
}

#[test]
fn e28_the_holder_may_start_its_share_again_and_others_are_told_who_holds_it() {
    let mut seed = GroupSwarm::new(2_000, 16);
    assert!(seed.add_participant(seed_node(1), Default::default()));
    assert!(seed.start_screen_share(seed_node(1)));
    assert!(!seed.start_screen_share(seed_node(1)));

    let mut stage = Stage::group(16);
    stage.join_all(1..3);
    stage.go(GroupCommand::StartShare(by(1)));
    assert_eq!(stage.go(GroupCommand::StartShare(by(1))).events, []);
    let refused = stage.submit(GroupCommand::StartShare(by(2))).unwrap_err();
    assert_eq!(refused, Rejection::ScreenShareHeld { holder: node(1) });
    let left = stage.leave(1);
    assert!(left.events.contains(&Event::Group(GroupEvent::ShareStopped { node: node(1) })), "who leaves frees it");
    stage.go(GroupCommand::StartShare(by(2)));
}

#[test]
fn e29_switching_media_is_told_and_strangers_are_refused() {
    let mut stage = Stage::group(16);
    stage.join(1);
    assert_eq!(stage.submit(media(9, Some(false), None)).unwrap_err(), Rejection::NotAMember(node(9)));
    let switched = stage.go(media(1, None, Some(false)));
    assert!(matches!(
        switched.events[..],
        [Event::Group(GroupEvent::MediaChanged { media: Media { audio: true, video: false }, .. })]
    ));
    assert_eq!(stage.go(media(1, None, Some(false))).events, [], "as it was");
}

#[test]
fn e30_an_interest_names_a_source_and_a_channel() {
    let mut seed = InterestMap::new();
    let (participant, stream) = (1_000, 1_000);
    seed.register(InterestDeclaration::new(seed_node(2), participant, InterestLevel::High));
    assert_eq!(seed.get_interest(seed_node(2), stream), InterestLevel::High, "a node is mistaken for a stream");

    let mut stage = Stage::group(16);
    stage.join_all([2, 3, 1_000]);
    let wish =
        InterestChange { channel: Channel::Visual, source: Some(node(1_000)), level: Interest::Low, ttl_ms: None };
    stage.go(SharedCommand::SetInterest(by(2), vec![wish]));
    let interests = stage.view(2).interests;
    assert_eq!(interests.level(Some(node(1_000)), Channel::Visual), Interest::Low);
    assert_eq!(interests.level(Some(node(1_000)), Channel::Audio), Interest::High);
    assert_eq!(interests.level(Some(node(3)), Channel::Visual), Interest::High);
}

#[test]
fn e31_a_group_has_a_life_and_counts_it() {
    let mut seed = GroupSwarm::new(2_000, 0);
    assert!(!seed.add_participant(seed_node(1), Default::default()), "a group that nobody can ever join");

    let mut stage = Stage::group(16);
    stage.join_all(1..4);
    stage.now += 1_000;
    stage.leave(3);
    let stats = stage.swarm().stats();
    assert_eq!((stats.joins, stats.peak, stats.leaves), (3, 3, [1, 0, 0, 0, 0]));
    assert_eq!(stage.submit(SharedCommand::End(by(2))).unwrap_err(), Rejection::NotOwner { node: node(2) });
    let ended = stage.go(SharedCommand::End(by(1)));
    assert!(ended.over && matches!(ended.events[..], [Event::Group(GroupEvent::Ended { .. })]));
    assert_eq!(stage.swarm().stats().active_time(stage.now), 1_000);
    let late = stage.plain_join(4);
    assert_eq!(stage.submit(SharedCommand::Join(late)).unwrap_err(), Rejection::Ended);
}
