//! Swarms that have something of everything, made by commands.

use crate::bans::MAX_BANS;
use crate::channel::Channel;
use crate::command::{
    By, Command, CreateGroup, CreateLivestream, GroupCommand, Join, LivestreamCommand, MemberUpdate, SharedCommand,
    SwarmUpdate,
};
use crate::config::{GroupConfig, LivestreamConfig};
use crate::id::{Epoch, NodeId, SessionId};
use crate::interest::{Interest, InterestChange};
use crate::key::BroadcasterKey;
use crate::request::RequestId;
use crate::role::ViewerMode;
use crate::swarm::{Swarm, apply};

/// A swarm, and what time it is there.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) slot: Option<Box<Swarm>>,
    pub(super) now: u64,
}

pub(super) fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(super) fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

pub(super) fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

/// Asked under a name.
fn named(number: u64, name: &str) -> By {
    By { request: Some(request(name)), ..by(number) }
}

fn request(name: &str) -> RequestId {
    RequestId { name: name.into(), fingerprint: name.len() as u64 }
}

pub(super) fn join(number: u64) -> Join {
    Join::bare(node(number), session(1_000 + number), 30_000)
}

fn wants(channel: Channel, source: Option<u64>, level: Interest, ttl_ms: Option<u32>) -> InterestChange {
    InterestChange { channel, source: source.map(node), level, ttl_ms }
}

impl Sample {
    pub(super) fn run(&mut self, command: impl Into<Command>) {
        self.now += 1;
        apply(&mut self.slot, command.into(), self.now).unwrap();
    }

    pub(super) fn swarm(&self) -> &Swarm {
        self.slot.as_deref().unwrap()
    }

    pub(super) fn livestream(key: Option<BroadcasterKey>) -> Self {
        let mut sample = Self { slot: None, now: 1_000 };
        let create = CreateLivestream {
            epoch: Epoch::new(77).unwrap(),
            broadcaster: node(1),
            config: LivestreamConfig { star_to_tree_threshold: 3, tree_fanout: 2, ..LivestreamConfig::default() },
            metadata: b"title".as_slice().into(),
            retention_ms: 60_000,
        };
        sample.run(match key {
            Some(key) => Command::CreateSignedLivestream(create, key),
            None => Command::CreateLivestream(create),
        });
        sample
    }

    /// A signed livestream on air that is a tree, was handed over and reconfigured, with free slots, bans, mutes,
    /// moderators, members of all kinds, and requests that it remembers.
    pub(super) fn full_livestream() -> Self {
        let mut sample = Self::livestream(Some(BroadcasterKey::new([5; 32])));
        sample.run(SharedCommand::Join(Join { request: Some(request("first")), ..join(1) }));
        for number in [12, 300, 14, 15, 16, 17, 18] {
            sample.run(SharedCommand::Join(Join {
                mode: (number == 15).then_some(ViewerMode::Lurker),
                can_relay: (number == 14).then_some(false),
                endpoint: (number != 17).then(|| b"203.0.113.7:5".as_slice().into()),
                metadata: (number == 300).then(|| b"m".as_slice().into()),
                request: (number == 16).then(|| request("join-16")),
                ..join(number)
            }));
        }
        sample.run(SharedCommand::Attach(node(12), session(1_012), 2));
        sample.run(SharedCommand::Attach(node(12), session(1_012), 0));
        sample.run(SharedCommand::Attach(node(300), session(1_300), 1));
        sample.run(SharedCommand::Touch(node(14), session(1_014)));
        sample.run(SharedCommand::SetInterest(
            named(16, "interests"),
            vec![
                wants(Channel::Audio, None, Interest::Low, None),
                wants(Channel::Visual, None, Interest::Critical, Some(5_000)),
                wants(Channel::Data, None, Interest::None, Some(9_000)),
            ],
        ));
        sample.run(LivestreamCommand::Start(named(1, "go")));
        sample.run(LivestreamCommand::AddModerator(by(1), node(14)));
        sample.run(LivestreamCommand::AddModerator(by(1), node(300)));
        sample.run(LivestreamCommand::Mute(by(14), node(15)));
        for (number, publisher_sequence) in [(16, 3), (14, 0), (15, 2), (16, 9), (300, 1), (16, 5)] {
            let (by, content) = (by(number), b"hi".as_slice().into());
            sample.run(LivestreamCommand::Chat { by, publisher_sequence, content });
        }
        sample.run(SharedCommand::Leave(by(18)));
        sample.run(SharedCommand::Ban { by: by(14), node: node(17), ttl_ms: 40_000 });
        sample.run(SharedCommand::Ban { by: by(1), node: node(400), ttl_ms: 50_000 });
        sample.run(SharedCommand::ReportPeer(by(12), node(14)));
        sample.run(SharedCommand::UpdateSwarm(by(1), SwarmUpdate { max_lag_ms: Some(900), ..SwarmUpdate::default() }));
        sample.run(LivestreamCommand::Pause(by(1)));
        sample.run(LivestreamCommand::Resume(by(1)));
        sample.run(LivestreamCommand::TransferSigned(by(1), node(12), BroadcasterKey::new([6; 32])));
        sample.run(SharedCommand::Claim {
            by: by(12),
            channels: [Channel::Visual, Channel::Audio].into_iter().collect(),
            session: session(9),
            ttl_ms: 20_000,
            pod: 2,
        });
        sample
    }

    /// A livestream whose broadcaster is away, and that ended with others in it.
    pub(super) fn ended_livestream() -> Self {
        let mut sample = Self::livestream(None);
        for number in [9, 4] {
            sample.run(SharedCommand::Join(Join {
                interests: vec![wants(Channel::Chat, None, Interest::High, Some(700)); 2],
                ..join(number)
            }));
        }
        sample.run(SharedCommand::End(named(1, "over")));
        sample
    }

    /// A group in which one shares its screen and one only listens, with terms, and interests in single sources.
    pub(super) fn full_group() -> Self {
        let mut sample = Self { slot: None, now: 1_000 };
        sample.run(Command::CreateGroup(CreateGroup {
            epoch: Epoch::new(78).unwrap(),
            owner: Some(node(2)),
            config: GroupConfig::default(),
            metadata: Box::default(),
            retention_ms: 60_000,
            empty_ms: 30_000,
        }));
        for number in [2, 6, 3, 8, 5] {
            let listens = (number == 3).then_some(true);
            sample.run(SharedCommand::Join(Join { listens, ..join(number) }));
        }
        sample.run(SharedCommand::Leave(by(2)));
        sample.run(SharedCommand::Leave(by(5)));
        sample.run(SharedCommand::Join(join(8)));
        sample.run(GroupCommand::SetMedia { by: by(6), audio: Some(false), video: None });
        sample.run(GroupCommand::StartShare(named(8, "share")));
        for (number, channels) in [(6, [Channel::Audio, Channel::Chat]), (8, [Channel::Screen, Channel::Visual])] {
            let (by, channels) = (by(number), channels.into_iter().collect());
            sample.run(SharedCommand::Claim { by, channels, session: session(9), ttl_ms: 20_000, pod: 3 });
        }
        sample.run(SharedCommand::SetInterest(
            by(3),
            vec![
                wants(Channel::Screen, Some(8), Interest::Critical, None),
                wants(Channel::Visual, Some(6), Interest::Low, Some(4_000)),
                wants(Channel::Visual, None, Interest::Medium, Some(3_000)),
            ],
        ));
        let update = MemberUpdate { metadata: Some(b"camera".as_slice().into()), ..MemberUpdate::default() };
        sample.run(SharedCommand::UpdateMember(named(8, "say"), update));
        sample.run(SharedCommand::Ban { by: by(6), node: node(u64::MAX), ttl_ms: 100 });
        sample
    }

    /// A livestream of so many viewers with drawn ids, of whom some have left again.
    pub(super) fn large(viewers: u64) -> Self {
        let mut sample = Self::livestream(None);
        let ids = |number| (NodeId::drawn(crate::hash::splitmix64(number)), crate::hash::splitmix64(!number));
        for number in 0..viewers {
            let (node, session) = ids(number);
            let session = SessionId::drawn(session);
            sample.run(SharedCommand::Join(Join::bare(node, session, 30_000)));
            sample.run(SharedCommand::Attach(node, session, 0));
        }
        for (node, _) in (0..viewers).filter(|number| number % 5 == 1).map(ids) {
            sample.run(SharedCommand::Leave(By { node, session: None, request: None }));
        }
        sample
    }

    /// A livestream with as many bans as there may be, and the largest node among them.
    pub(super) fn banning() -> Self {
        let mut sample = Self::livestream(None);
        for number in 2..=u64::from(MAX_BANS) {
            sample.run(SharedCommand::Ban { by: by(1), node: node(number * 3), ttl_ms: 1_000_000 });
        }
        sample.run(SharedCommand::Ban { by: by(1), node: node(u64::MAX), ttl_ms: u32::MAX });
        sample
    }

    /// Those that are pinned by their bytes.
    pub(super) fn pinned() -> Vec<Self> {
        vec![Self::livestream(None), Self::full_livestream(), Self::ended_livestream(), Self::full_group()]
    }
}
