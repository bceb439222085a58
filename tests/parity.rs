//! Parity with `elara-diffusion` 0.2.0 wherever the seed is right: the same history
//! gives the same answers. Where it is wrong, see `faults`.

#[path = "faults/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;

use elara_diffusion::{
    GroupSwarm, InterestDeclaration, InterestLevel, InterestMap, LivestreamInterest, LivestreamSwarm, MeshTopology,
    PropagationPriority, PropagationScheduler, PropagationTopology, StateUpdate, SwarmConfig,
};
use fixture::{BROADCASTER, SwarmFixture, by, node, seed_node};
use starling_core::channel::{Channel, ChannelSet, PerChannel};
use starling_core::hash::splitmix64;
use starling_core::id::SINGLE_POD;
use starling_core::interest::{Interest, Interests};
use starling_core::member::{Media, Role, ViewerMode};
use starling_core::propagation::{Filter, Priority};
use starling_core::topology::Topology;
use starling_core::{GroupCommand, LivestreamCommand, SessionId, SharedCommand, livestream};

/// Joins and leaves of numbers, always possible: who is in leaves, who is out joins.
fn churn(numbers: u64, steps: u64) -> impl Iterator<Item = (bool, u64)> {
    let mut present = BTreeSet::new();
    (0..steps).map(move |step| {
        let number = 2 + splitmix64(step) % numbers;
        let joins = present.insert(number);
        if !joins {
            present.remove(&number);
        }
        (joins, number)
    })
}

fn seed() -> LivestreamSwarm {
    LivestreamSwarm::new(1_000, seed_node(BROADCASTER), SwarmConfig::default())
}

#[test]
fn default_configuration_matches_the_seed() {
    let (ours, seeds) = (livestream::Config::default(), SwarmConfig::default());
    assert_eq!(ours.star_to_tree_threshold as usize, seeds.star_to_tree_threshold);
    assert_eq!(ours.tree_fanout as usize, seeds.tree_fanout);
    assert_eq!(ours.subscriber_bytes_per_second, u64::from(seeds.bandwidth_per_viewer));
    assert_eq!(ours.keyframe_interval_ms, seeds.keyframe_interval_ms);
}

#[test]
fn star_targets_and_count_match_the_seed() {
    let (mut seed, mut fixture) = (seed(), SwarmFixture::with_viewers(0));
    for (joins, number) in churn(50, 2_000) {
        if joins {
            seed.add_viewer(seed_node(number));
            fixture.join(number);
        } else {
            seed.remove_viewer(seed_node(number));
            fixture.leave(number);
        }
        let targets: BTreeSet<u64> = seed.get_targets().iter().map(|node| node.0).collect();
        assert_eq!(fixture.targets(None), targets);
        assert_eq!(fixture.as_livestream().viewer_count(), seed.viewer_count());
        assert_eq!(fixture.swarm().stats().peak, u64::from(seed.stats.peak_viewers));
    }
}

#[test]
fn tree_viewer_count_matches_the_seed() {
    let (mut seed, mut fixture) = (seed(), SwarmFixture::with_viewers(0));
    for (joins, number) in churn(200, 2_000) {
        if joins {
            seed.add_viewer(seed_node(number));
            fixture.join(number);
        } else {
            seed.remove_viewer(seed_node(number));
            fixture.leave(number);
        }
        assert_eq!(fixture.as_livestream().viewer_count(), seed.viewer_count());
    }
    assert_eq!(fixture.as_livestream().topology(), Topology::Tree);
}

#[test]
fn switch_from_star_to_tree_matches_the_seed() {
    let (mut seed, mut fixture) = (seed(), SwarmFixture::with_viewers(0));
    for number in 2..60 {
        seed.add_viewer(seed_node(number));
        fixture.join(number);
        assert_eq!(fixture.targets(None).len(), seed.get_targets().len(), "{} viewers", number - 1);
    }
}

#[test]
fn broadcaster_authority_and_chat_match_the_seed() {
    let mut seed = seed();
    seed.authority.add_moderator(seed_node(3));
    let mut fixture = SwarmFixture::with_viewers(3);
    fixture.go(LivestreamCommand::AddModerator(by(BROADCASTER), node(3)));
    let media: ChannelSet = [Channel::Visual, Channel::Audio].into_iter().collect();
    for number in 1..5 {
        let session = SessionId::new(100).expect("not 0");
        let claim = SharedCommand::Claim { by: by(number), channels: media, session, ttl_ms: 30_000, pod: SINGLE_POD };
        let may = fixture.submit(claim).is_ok();
        assert_eq!(may, seed.can_broadcast(seed_node(number)));
        assert_eq!(may, seed.authority.can_mutate_audio(seed_node(number)));
        assert_eq!(fixture.as_livestream().is_moderator(node(number)), seed.authority.is_moderator(seed_node(number)));
        assert!(seed.authority.can_chat(seed_node(number)));
        assert!(!fixture.as_livestream().muted().contains(&node(number)));
    }
    assert_eq!(fixture.as_livestream().broadcaster().get(), seed.broadcaster().0);
}

#[test]
fn interests_of_viewers_match_the_seed() {
    let mut seed = LivestreamInterest::new(1_000);
    seed.add_viewer(seed_node(2));
    seed.add_lurker(seed_node(3));
    let mut fixture = SwarmFixture::with_viewers(1);
    fixture.join_as(3, ViewerMode::Lurker);
    let ours = |number, channel| fixture.view(number).interests.level(None, channel);
    let seeds = |number, state| level(seed.interests.get_interest(seed_node(number), state));
    assert_eq!(ours(2, Channel::Visual), seeds(2, 1_000));
    assert_eq!(ours(2, Channel::Audio), seeds(2, 1_001));
    assert_eq!(ours(3, Channel::Visual), seeds(3, 1_000));
    assert_eq!(ours(3, Channel::Audio), seeds(3, 1_001));
    assert_eq!(
        Interests::participant().levels(),
        PerChannel::new([Interest::High; 5]),
        "as the seed's groups register"
    );
}

#[test]
fn group_roster_and_mesh_match_the_seed() {
    let (mut seed, mut mesh, mut fixture) = (GroupSwarm::new(2_000, 16), MeshTopology::new(), SwarmFixture::group(16));
    for (joins, number) in churn(24, 3_000) {
        let present = fixture.members().contains(&number);
        if joins {
            let taken = seed.add_participant(seed_node(number), Default::default());
            let join = fixture.plain_join(number);
            assert_eq!(fixture.submit(SharedCommand::Join(join)).is_ok(), taken);
            if taken {
                mesh.add_node(seed_node(number));
            }
        } else if present {
            seed.remove_participant(seed_node(number));
            mesh.remove_node(seed_node(number));
            fixture.leave(number);
        }
        let participants: BTreeSet<u64> = seed.participants().iter().map(|participant| participant.node.0).collect();
        assert_eq!(fixture.members(), participants);
        assert_eq!(fixture.swarm().roster().len(), seed.participant_count());
        for number in participants {
            let fed: BTreeSet<u64> = mesh.topology.downstream(seed_node(number)).iter().map(|node| node.0).collect();
            assert_eq!(fixture.targets(Some(number)), fed);
        }
    }
}

#[test]
fn media_and_screen_share_match_the_seed() {
    let (mut seed, mut fixture) = (GroupSwarm::new(2_000, 16), SwarmFixture::group(16));
    for number in 1..6 {
        assert!(seed.add_participant(seed_node(number), Default::default()));
        fixture.join(number);
    }
    for step in 0..2_000 {
        let bits = splitmix64(step);
        let (number, on) = (1 + bits % 5, bits & 0x100 == 0);
        match (bits >> 16) % 4 {
            0 => {
                seed.toggle_audio(seed_node(number), on);
                fixture.go(GroupCommand::SetMedia { by: by(number), audio: Some(on), video: None });
            }
            1 => {
                seed.toggle_video(seed_node(number), on);
                fixture.go(GroupCommand::SetMedia { by: by(number), audio: None, video: Some(on) });
            }
            // The seed refuses the holder too; ours says it holds it already (E28).
            2 if !fixture.view(number).sharing => {
                let taken = seed.start_screen_share(seed_node(number));
                assert_eq!(fixture.submit(GroupCommand::StartShare(by(number))).is_ok(), taken);
            }
            2 => {}
            _ => {
                seed.stop_screen_share(seed_node(number));
                fixture.go(GroupCommand::StopShare(by(number)));
            }
        }
        for participant in seed.participants() {
            let view = fixture.view(participant.node.0);
            let media = Media { audio: participant.audio_enabled, video: participant.video_enabled };
            assert_eq!((view.role, view.sharing), (Role::Participant(media), participant.screen_sharing));
        }
    }
}

#[test]
fn propagation_of_each_interest_matches_the_seed() {
    for interest in Interest::ALL {
        let seeds = InterestLevel::from_number(interest as u8);
        let mut interests = InterestMap::new();
        interests.register(InterestDeclaration::new(seed_node(2), 100, seeds));
        let mut topology = PropagationTopology::new();
        topology.add_node(seed_node(2));
        let update = StateUpdate::new(100, seed_node(1), 1, Default::default());
        let decisions = PropagationScheduler::new(interests, topology).schedule(&update);
        let Some(ours) = interest.propagation() else {
            assert!(decisions.is_empty());
            continue;
        };
        assert_eq!(priority(decisions[0].priority), ours.priority);
        assert_eq!(
            (decisions[0].delay_ms, u32::from(decisions[0].quality_level)),
            (ours.delay_ms, quality(ours.pictures))
        );
    }
    let levels: Vec<_> = Interest::ALL.iter().filter_map(|interest| interest.propagation()).collect();
    assert!(levels.is_sorted_by_key(|propagation| propagation.priority), "more interest, more urgent");
}

trait FromNumber {
    fn from_number(number: u8) -> Self;
}

impl FromNumber for InterestLevel {
    fn from_number(number: u8) -> Self {
        [Self::None, Self::Low, Self::Medium, Self::High, Self::Critical][usize::from(number)]
    }
}

fn level(seeds: InterestLevel) -> Interest {
    Interest::ALL[seeds as usize]
}

/// The seed's number of what passes.
fn quality(pictures: Filter) -> u32 {
    match pictures {
        Filter::Everything => 0,
        Filter::WithoutTopLayer => 1,
        Filter::Keyframes => 2,
        Filter::Nothing => unreachable!("nothing is propagated then"),
    }
}

fn priority(seeds: PropagationPriority) -> Priority {
    match seeds {
        PropagationPriority::Background => Priority::Background,
        PropagationPriority::Normal => Priority::Normal,
        PropagationPriority::High => Priority::High,
        PropagationPriority::Urgent => Priority::Urgent,
    }
}
