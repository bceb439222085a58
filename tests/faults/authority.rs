//! E32 to E37 and E41 to E43: interests, and who may do what.

use elara_diffusion::{
    AuthorityProof, AuthoritySet, InterestDeclaration, InterestLevel, InterestMap, LivestreamAuthority,
    LivestreamInterest,
};
use starling_core::channel::{Channel, ChannelSet, PerChannel};
use starling_core::id::SINGLE_POD;
use starling_core::interest::{Interest, InterestChange};
use starling_core::member::ViewerMode;
use starling_core::propagation::Filter;
use starling_core::{
    Command, Event, LivestreamCommand, Rejection, SessionId, SharedCommand, SharedEvent, SwarmId, SwarmKind,
};

use crate::fixture::{BROADCASTER, SwarmFixture, by, node, seed_node};

fn change(channel: Channel, level: Interest, ttl_ms: Option<u32>) -> InterestChange {
    InterestChange { channel, source: None, level, ttl_ms }
}

fn claim(number: u64) -> Command {
    let session = SessionId::new(1 << 40).expect("not 0");
    let channels: ChannelSet = [Channel::Visual].into_iter().collect();
    SharedCommand::Claim { by: by(number), channels, session, ttl_ms: 30_000, pod: SINGLE_POD }.into()
}

#[test]
fn e32_interest_lasts_as_long_as_its_ttl() {
    let brief = InterestDeclaration::new(seed_node(2), 100, InterestLevel::High).with_ttl(10_000);
    assert!(brief.is_expired(1_700_000_000_000), "over before it began, on any wall clock");
    let mut seed = InterestMap::new();
    seed.register(brief);
    assert_eq!(seed.get_interest(seed_node(2), 100), InterestLevel::High, "and kept for ever");

    let mut fixture = SwarmFixture::with_viewers(1);
    fixture.go(SharedCommand::SetInterest(by(2), vec![change(Channel::Visual, Interest::Critical, Some(10_000))]));
    fixture.now += 9_999;
    fixture.go(SharedCommand::Expire);
    assert_eq!(fixture.view(2).interests.level(None, Channel::Visual), Interest::Critical);
    fixture.now += 1;
    assert_eq!(fixture.swarm().next_expiry(), Some(fixture.now));
    let expired = fixture.go(SharedCommand::Expire);
    assert!(matches!(expired.events[..], [Event::Shared(SharedEvent::InterestChanged { .. })]));
    assert_eq!(fixture.view(2).interests.level(None, Channel::Visual), Interest::High);
}

#[test]
fn e33_lurker_lurks_on_every_channel() {
    let mut seed = LivestreamInterest::new(1_000);
    seed.add_viewer(seed_node(2));
    seed.add_lurker(seed_node(2));
    assert_eq!(seed.interests.get_interest(seed_node(2), 1_001), InterestLevel::High, "audio at full interest");

    let mut fixture = SwarmFixture::with_viewers(1);
    fixture.join_as(2, ViewerMode::Lurker);
    let levels = fixture.view(2).interests.levels();
    assert_eq!(
        levels,
        PerChannel::new([Interest::Low, Interest::None, Interest::None, Interest::None, Interest::None])
    );
}

#[test]
fn e34_interest_none_takes_no_memory() {
    let mut seed = InterestMap::new();
    for number in 1..1_001 {
        seed.register(InterestDeclaration::new(seed_node(number), 100, InterestLevel::None));
    }
    assert!(format!("{seed:?}").len() > 10_000, "a thousand entries that say nothing");

    let mut fixture = SwarmFixture::with_viewers(1);
    fixture.go(SharedCommand::SetInterest(by(2), vec![change(Channel::Visual, Interest::None, Some(1))]));
    fixture.now += 1;
    fixture.go(SharedCommand::Expire);
    assert!(fixture.view(2).interests.overrides().is_empty());
    fixture.go(SharedCommand::SetInterest(by(2), vec![change(Channel::Chat, Interest::None, None)]));
    assert!(fixture.view(2).interests.overrides().is_empty());
}

#[test]
fn e35_leaving_removes_the_nodes_interests() {
    let mut fixture = SwarmFixture::with_viewers(2);
    fixture.go(SharedCommand::SetInterest(by(2), vec![change(Channel::Visual, Interest::Critical, Some(60_000))]));
    fixture.leave(2);
    fixture.leave(3);
    assert_eq!(fixture.swarm().stats().interests, Default::default());
    let due = fixture.as_livestream().config().broadcaster_timeout_ms;
    assert_eq!(fixture.swarm().next_expiry(), Some(fixture.now + due), "only the broadcaster is waited for");
}

#[test]
fn e36_interest_none_is_sent_nothing() {
    let mut seed = InterestMap::new();
    seed.register(InterestDeclaration::new(seed_node(2), 100, InterestLevel::None));
    assert_eq!(seed.nodes_with_interest(100, InterestLevel::None).len(), 1);

    assert_eq!(Interest::None.propagation(), None);
    assert!(Channel::ALL.iter().all(|channel| Interest::None.filter(*channel) == Filter::Nothing));
}

#[test]
fn e37_channels_are_separate_from_each_other() {
    let one = LivestreamAuthority::new(seed_node(1), 1_000);
    let next = LivestreamAuthority::new(seed_node(9), 1_001);
    assert_eq!(one.audio_authority.state_id, next.visual_authority.state_id, "the sound of one is the other's picture");

    let livestream = SwarmId::new(SwarmKind::Livestream, u64::MAX);
    assert_ne!(livestream, SwarmId::new(SwarmKind::Group, u64::MAX));
    let mut fixture = SwarmFixture::with_viewers(0);
    fixture.go(claim(BROADCASTER));
    let rights: Vec<_> = fixture.swarm().grants().iter().map(|grant| (grant.source, grant.channel)).collect();
    assert_eq!(rights, [(node(BROADCASTER), Channel::Visual)], "a claim of VISUAL is none of AUDIO");
}

#[test]
fn e41_authority_is_enforced_by_terms() {
    assert!(AuthorityProof::new(seed_node(66), 1_000, 0).signature.is_empty(), "a proof that proves nothing");

    let mut fixture = SwarmFixture::with_viewers(0);
    let first = fixture.go(claim(BROADCASTER)).grants[0];
    let second = fixture.go(claim(BROADCASTER)).grants[0];
    assert!(second.term > first.term);
    assert_eq!(fixture.swarm().grants(), [second], "the older term is worth nothing");
}

#[test]
fn e42_exclusive_authority_can_be_handed_over() {
    let mut seed = AuthoritySet::exclusive(1_000, seed_node(1));
    assert!(!seed.grant(seed_node(1), seed_node(2)));

    let mut fixture = SwarmFixture::with_viewers(3);
    fixture.go(claim(BROADCASTER));
    let handed = fixture.go(LivestreamCommand::Transfer(by(BROADCASTER), node(3)));
    assert!(handed.grants.iter().all(|grant| grant.source == node(BROADCASTER) && grant.term == 0));
    assert!(fixture.swarm().grants().is_empty(), "nothing of the old authority is left");
    assert_eq!(fixture.submit(claim(BROADCASTER)).unwrap_err(), Rejection::NotBroadcaster { node: node(BROADCASTER) });
    fixture.go(claim(3));
    assert_eq!(fixture.as_livestream().broadcaster(), node(3));
}

#[test]
fn e43_moderators_mute_and_only_broadcaster_names_them() {
    let mut seed = LivestreamAuthority::new(seed_node(1), 1_000);
    seed.add_moderator(seed_node(66));
    assert!(seed.can_chat(seed_node(2)) && seed.is_moderator(seed_node(66)), "who asked; and nobody can be muted");

    let mut fixture = SwarmFixture::with_viewers(3);
    let by_viewer = fixture.submit(LivestreamCommand::AddModerator(by(2), node(2))).unwrap_err();
    assert_eq!(by_viewer, Rejection::NotBroadcaster { node: node(2) });
    assert_eq!(
        fixture.submit(LivestreamCommand::Mute(by(2), node(3))).unwrap_err(),
        Rejection::NotModerator { node: node(2) }
    );
    fixture.go(LivestreamCommand::AddModerator(by(BROADCASTER), node(2)));
    fixture.go(LivestreamCommand::Mute(by(2), node(3)));
    assert!(fixture.view(3).muted);
    fixture.leave(3);
    fixture.join(3);
    assert!(fixture.view(3).muted, "leaving does not help");
    fixture.go(LivestreamCommand::RemoveModerator(by(BROADCASTER), node(2)));
    assert_eq!(
        fixture.submit(LivestreamCommand::Unmute(by(2), node(3))).unwrap_err(),
        Rejection::NotModerator { node: node(2) }
    );
    fixture.go(LivestreamCommand::Unmute(by(BROADCASTER), node(3)));
    assert!(!fixture.view(3).muted);
}
