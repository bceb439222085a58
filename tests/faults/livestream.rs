//! E15 to E24: the livestream.

use std::collections::BTreeSet;

use elara_diffusion::{LivestreamSwarm, SwarmConfig, SwarmState};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::Join;
use starling_core::id::SINGLE_POD;
use starling_core::livestream::State;
use starling_core::member::ViewerMode;
use starling_core::topology::Topology;
use starling_core::{Command, Event, LivestreamCommand, LivestreamEvent, Rejection, SessionId, SharedCommand};

use crate::fixture::{BROADCASTER, SwarmFixture, by, node, seed_node};

fn seed() -> LivestreamSwarm {
    LivestreamSwarm::new(1_000, seed_node(BROADCASTER), SwarmConfig::default())
}

fn claim(number: u64) -> Command {
    let session = SessionId::new(1 << 40).expect("not 0");
    let channels: ChannelSet = [Channel::Visual, Channel::Audio].into_iter().collect();
    SharedCommand::Claim { by: by(number), channels, session, ttl_ms: 30_000, pod: SINGLE_POD }.into()
}

#[test]
fn e15_every_relay_learns_its_targets() {
    let mut seed = seed();
    (2..62).for_each(|number| seed.add_viewer(seed_node(number)));
    assert_eq!(seed.get_targets().len(), 5, "five of sixty; who feeds the others is a secret");

    let fixture = SwarmFixture::with_viewers(60);
    let mut fed = fixture.targets(None);
    fixture.members().into_iter().for_each(|number| fed.extend(fixture.targets(Some(number))));
    assert_eq!(fed, (2..62).collect());
}

#[test]
fn e16_shrinking_tree_becomes_a_star_again() {
    let mut seed = seed();
    (2..62).for_each(|number| seed.add_viewer(seed_node(number)));
    (4..62).for_each(|number| seed.remove_viewer(seed_node(number)));
    assert!(format!("{seed:?}").contains("topology: Tree"), "two viewers in a tree");

    let mut fixture = SwarmFixture::with_viewers(60);
    assert_eq!(fixture.as_livestream().topology(), Topology::Tree);
    fixture.leave_all(42..62);
    assert_eq!(fixture.as_livestream().topology(), Topology::Star);
    // With some way between the two switches.
    fixture.join_all(42..52);
    assert_eq!(fixture.as_livestream().topology(), Topology::Star);
}

#[test]
fn e17_topology_switch_is_one_event() {
    let mut fixture = SwarmFixture::with_viewers(50);
    let before = fixture.swarm().revision();
    let applied = fixture.join(52);
    assert_eq!(applied.revision, before + 1);
    let switches = applied
        .events
        .iter()
        .filter(|event| matches!(event, Event::Livestream(LivestreamEvent::TopologySwitched { .. })));
    assert_eq!(switches.count(), 1);
    assert!(applied.touched.all, "every watcher sends what is new to it");
    assert_eq!((fixture.targets(None).len(), fixture.as_livestream().depth()), (5, 3));
}

#[test]
fn e18_broadcaster_is_no_viewer_ended_refuses_joins() {
    let mut seed = seed();
    seed.add_viewer(seed_node(BROADCASTER));
    assert!(seed.get_targets().contains(&seed_node(BROADCASTER)), "the seed's broadcaster feeds itself");
    seed.end();
    seed.add_viewer(seed_node(2));
    assert_eq!(seed.viewer_count(), 2);

    let mut fixture = SwarmFixture::with_viewers(3);
    let as_viewer = Join { mode: Some(ViewerMode::Active), ..fixture.plain_join(BROADCASTER) };
    assert_eq!(fixture.submit(SharedCommand::Join(as_viewer)).unwrap_err(), Rejection::BroadcasterCannotView);
    fixture.join(BROADCASTER);
    assert_eq!((fixture.targets(None), fixture.as_livestream().viewer_count()), (BTreeSet::from([2, 3, 4]), 3));
    fixture.go(SharedCommand::End(by(BROADCASTER)));
    let late = fixture.plain_join(9);
    assert_eq!(fixture.submit(SharedCommand::Join(late)).unwrap_err(), Rejection::Ended);
}

#[test]
fn e19_livestream_states_follow_their_order() {
    let mut seed = seed();
    seed.resume();
    assert_eq!(seed.state, SwarmState::Active, "resumed before it began");
    seed.end();
    seed.start();
    assert_eq!(seed.state, SwarmState::Active, "and started after its end");

    let mut fixture = SwarmFixture::with_viewers(0);
    let refused = |fixture: &mut SwarmFixture, command| fixture.submit(command).unwrap_err();
    assert_eq!(
        refused(&mut fixture, Command::Livestream(LivestreamCommand::Resume(by(1)))),
        Rejection::WrongState(State::Initializing)
    );
    assert_eq!(
        refused(&mut fixture, Command::Livestream(LivestreamCommand::Pause(by(1)))),
        Rejection::WrongState(State::Initializing)
    );
    fixture.go(LivestreamCommand::Start(by(1)));
    assert_eq!(fixture.go(LivestreamCommand::Start(by(1))).events, [], "a repeat is fine and changes nothing");
    fixture.go(LivestreamCommand::Pause(by(1)));
    assert_eq!(
        refused(&mut fixture, Command::Livestream(LivestreamCommand::Start(by(1)))),
        Rejection::WrongState(State::Paused)
    );
    fixture.go(LivestreamCommand::Resume(by(1)));
    fixture.go(SharedCommand::End(by(1)));
    assert_eq!(refused(&mut fixture, Command::Livestream(LivestreamCommand::Start(by(1)))), Rejection::Ended);
    assert_eq!(refused(&mut fixture, Command::Livestream(LivestreamCommand::Resume(by(1)))), Rejection::Ended);
}

#[test]
fn e20_only_broadcaster_publishes_and_only_on_air() {
    let mut seed = seed();
    seed.end();
    assert_eq!(seed.create_update(Default::default(), 100, false).sequence, 1, "anyone, and after the end");

    let mut fixture = SwarmFixture::with_viewers(3);
    assert_eq!(fixture.submit(claim(2)).unwrap_err(), Rejection::NotBroadcaster { node: node(2) });
    assert!(fixture.swarm().grants().is_empty());
    fixture.go(claim(BROADCASTER));
    let grants = fixture.swarm().grants();
    assert!(grants.iter().all(|grant| grant.source == node(BROADCASTER) && grant.term > 0 && !grant.is_open()));
    let started = fixture.go(LivestreamCommand::Start(by(1)));
    assert!(started.grants.iter().all(|grant| grant.is_open()));
    assert_eq!(started.grants.len(), 2);
    fixture.go(SharedCommand::End(by(1)));
    assert!(fixture.swarm().grants().is_empty());
}

#[test]
fn e22_statistics_are_counted() {
    let mut seed = seed();
    (2..12).for_each(|number| seed.add_viewer(seed_node(number)));
    for _ in 0..10 {
        seed.create_update(Default::default(), 1_000, false);
    }
    assert_eq!((seed.stats.updates_sent, seed.stats.bytes_sent, seed.stats.total_viewers), (0, 0, 0));

    let mut fixture = SwarmFixture::with_viewers(10);
    fixture.go(LivestreamCommand::Start(by(1)));
    fixture.now += 5_000;
    fixture.leave(2);
    fixture.join(3);
    let stats = fixture.swarm().stats();
    assert_eq!((stats.joins, stats.peak, stats.unique.count()), (11, 10, 10));
    assert_eq!(stats.leaves, [1, 1, 0, 0, 0], "one left, one was replaced");
    assert_eq!(stats.active_time(fixture.now), 5_000);
    assert_eq!(stats.interests[Channel::Visual], [0, 0, 0, 9, 0]);
}

#[test]
fn e24_lurker_is_a_viewer_with_low_interest() {
    let mut seed = seed();
    seed.interest.add_lurker(seed_node(2));
    assert_eq!((seed.viewer_count(), seed.get_targets().len()), (1, 0), "counted and never served");

    let mut fixture = SwarmFixture::with_viewers(1);
    fixture.join_as(3, ViewerMode::Lurker);
    assert_eq!(fixture.targets(None), BTreeSet::from([2, 3]));
    assert!(!fixture.placement(3).can_relay);
    // In the tree it hangs below others and feeds nobody.
    fixture.join_all(4..80);
    assert!(fixture.placement(3).parent.is_some());
    assert!(fixture.targets(Some(3)).is_empty());
}
