//! E26 to E31: the group.

use std::collections::BTreeSet;

use elara_diffusion::{GroupSwarm, InterestDeclaration, InterestLevel, InterestMap};
use starling_core::channel::Channel;
use starling_core::interest::{Interest, InterestChange};
use starling_core::member::{Media, Role};
use starling_core::{Command, Event, GroupCommand, GroupEvent, Rejection, SharedCommand};

use crate::fixture::{SwarmFixture, by, node, seed_node};

fn media(number: u64, audio: Option<bool>, video: Option<bool>) -> Command {
    GroupCommand::SetMedia { by: by(number), audio, video }.into()
}

#[test]
fn e26_rejoin_keeps_media_and_screen_share() {
    let mut seed = GroupSwarm::new(2_000, 16);
    (1..4).for_each(|number| assert!(seed.add_participant(seed_node(number), Default::default())));
    seed.toggle_audio(seed_node(1), false);
    assert!(seed.start_screen_share(seed_node(1)));
    seed.add_participant(seed_node(1), Default::default());
    let participants = seed.participants();
    let first = participants.iter().find(|participant| participant.node == seed_node(1)).expect("it is in");
    assert_eq!((first.audio_enabled, first.screen_sharing), (true, false), "the seed forgot");

    let mut fixture = SwarmFixture::group(16);
    fixture.join_all(1..4);
    fixture.go(media(1, Some(false), None));
    fixture.go(GroupCommand::StartShare(by(1)));
    fixture.join(1);
    let view = fixture.view(1);
    assert_eq!((view.role, view.sharing), (Role::Participant(Media { audio: false, video: true }), true));
    assert_eq!(fixture.targets(Some(1)), BTreeSet::from([2, 3]));
    assert_eq!(fixture.targets(Some(2)), BTreeSet::from([1, 3]));
}

#[test]
fn e27_full_group_readmits_its_members() {
    let mut seed = GroupSwarm::new(2_000, 2);
    (1..3).for_each(|number| assert!(seed.add_participant(seed_node(number), Default::default())));
    assert!(!seed.add_participant(seed_node(1), Default::default()));

    let mut fixture = SwarmFixture::group(2);
    fixture.join_all(1..3);
    fixture.join(1);
    let third = fixture.plain_join(3);
    assert_eq!(fixture.submit(SharedCommand::Join(third)).unwrap_err(), Rejection::Full { max: 2 });
}

#[test]
fn e28_share_holder_restarts_and_others_are_refused() {
    let mut seed = GroupSwarm::new(2_000, 16);
    assert!(seed.add_participant(seed_node(1), Default::default()));
    assert!(seed.start_screen_share(seed_node(1)));
    assert!(!seed.start_screen_share(seed_node(1)));

    let mut fixture = SwarmFixture::group(16);
    fixture.join_all(1..3);
    fixture.go(GroupCommand::StartShare(by(1)));
    assert_eq!(fixture.go(GroupCommand::StartShare(by(1))).events, []);
    let refused = fixture.submit(GroupCommand::StartShare(by(2))).unwrap_err();
    assert_eq!(refused, Rejection::ScreenShareHeld { holder: node(1) });
    let left = fixture.leave(1);
    assert!(left.events.contains(&Event::Group(GroupEvent::ShareStopped { node: node(1) })), "who leaves frees it");
    fixture.go(GroupCommand::StartShare(by(2)));
}

#[test]
fn e29_media_changes_are_told_strangers_refused() {
    let mut fixture = SwarmFixture::group(16);
    fixture.join(1);
    assert_eq!(fixture.submit(media(9, Some(false), None)).unwrap_err(), Rejection::NotAMember(node(9)));
    let switched = fixture.go(media(1, None, Some(false)));
    assert!(matches!(
        switched.events[..],
        [Event::Group(GroupEvent::MediaChanged { media: Media { audio: true, video: false }, .. })]
    ));
    assert_eq!(fixture.go(media(1, None, Some(false))).events, [], "as it was");
}

#[test]
fn e30_interest_names_source_and_channel() {
    let mut seed = InterestMap::new();
    let (participant, stream) = (1_000, 1_000);
    seed.register(InterestDeclaration::new(seed_node(2), participant, InterestLevel::High));
    assert_eq!(seed.get_interest(seed_node(2), stream), InterestLevel::High, "a node is mistaken for a stream");

    let mut fixture = SwarmFixture::group(16);
    fixture.join_all([2, 3, 1_000]);
    let change =
        InterestChange { channel: Channel::Visual, source: Some(node(1_000)), level: Interest::Low, ttl_ms: None };
    fixture.go(SharedCommand::SetInterest(by(2), vec![change]));
    let interests = fixture.view(2).interests;
    assert_eq!(interests.level(Some(node(1_000)), Channel::Visual), Interest::Low);
    assert_eq!(interests.level(Some(node(1_000)), Channel::Audio), Interest::High);
    assert_eq!(interests.level(Some(node(3)), Channel::Visual), Interest::High);
}

#[test]
fn e31_group_ends_and_counts_its_life() {
    let mut seed = GroupSwarm::new(2_000, 0);
    assert!(!seed.add_participant(seed_node(1), Default::default()), "a group that nobody can ever join");

    let mut fixture = SwarmFixture::group(16);
    fixture.join_all(1..4);
    fixture.now += 1_000;
    fixture.leave(3);
    let stats = fixture.swarm().stats();
    assert_eq!((stats.joins, stats.peak, stats.leaves), (3, 3, [1, 0, 0, 0, 0]));
    assert_eq!(fixture.submit(SharedCommand::End(by(2))).unwrap_err(), Rejection::NotOwner { node: node(2) });
    let ended = fixture.go(SharedCommand::End(by(1)));
    assert!(ended.over && matches!(ended.events[..], [Event::Group(GroupEvent::Ended { .. })]));
    assert_eq!(fixture.swarm().stats().active_time(fixture.now), 1_000);
    let late = fixture.plain_join(4);
    assert_eq!(fixture.submit(SharedCommand::Join(late)).unwrap_err(), Rejection::Ended);
}
