//! A swarm to try things on, by plain numbers; and the seed's nodes.

#![allow(dead_code, reason = "parity and faults each use a part")]

use std::collections::BTreeSet;

use starling_core::command::{By, CreateGroup, CreateLivestream, Join};
use starling_core::member::{MemberView, ViewerMode};
use starling_core::topology::Placement;
use starling_core::{
    Applied, Command, Epoch, Group, Livestream, NodeId, Rejection, Rules, SessionId, SharedCommand, Swarm, apply,
    group, livestream,
};

/// Who broadcasts.
pub(crate) const BROADCASTER: u64 = 1;

/// The node with this number.
pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(number).expect("nodes are numbered from 1")
}

/// The same node as the seed writes it.
pub(crate) fn seed_node(number: u64) -> elara_core::NodeId {
    elara_core::NodeId::new(number)
}

/// The node as an actor, without session and request id.
pub(crate) fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

/// A swarm at work.
#[derive(Debug)]
pub(crate) struct SwarmFixture {
    slot: Option<Box<Swarm>>,
    /// The time, in milliseconds.
    pub(crate) now: u64,
    sessions: u64,
}

impl SwarmFixture {
    /// A livestream of [`BROADCASTER`].
    pub(crate) fn livestream(config: livestream::Config) -> Self {
        Self::make(Command::CreateLivestream(CreateLivestream {
            epoch: Epoch::drawn(1),
            broadcaster: node(BROADCASTER),
            config,
            metadata: Box::default(),
            retention_ms: 300_000,
        }))
    }

    /// A livestream with the default configuration and viewers 2 to `viewers` + 1.
    pub(crate) fn with_viewers(viewers: u64) -> Self {
        let mut fixture = Self::livestream(livestream::Config::default());
        fixture.join_all(2..viewers + 2);
        fixture
    }

    /// A group that belongs to whoever comes first.
    pub(crate) fn group(max_participants: u32) -> Self {
        Self::make(Command::CreateGroup(CreateGroup {
            epoch: Epoch::drawn(1),
            owner: None,
            config: group::Config { max_participants, ..group::Config::default() },
            metadata: Box::default(),
            retention_ms: 300_000,
            empty_ms: 300_000,
        }))
    }

    fn make(create: Command) -> Self {
        let mut fixture = Self { slot: None, now: 1_700_000_000_000, sessions: 0 };
        fixture.submit(create).expect("an empty slot takes a Create");
        fixture
    }

    pub(crate) fn submit(&mut self, command: impl Into<Command>) -> Result<Applied, Rejection> {
        apply(&mut self.slot, command.into(), self.now).map(|(applied, _)| applied)
    }

    /// Submits what is to be accepted.
    pub(crate) fn go(&mut self, command: impl Into<Command>) -> Applied {
        self.submit(command).expect("a command that is accepted")
    }

    /// A Join in which the node says nothing of itself.
    pub(crate) fn plain_join(&mut self, number: u64) -> Join {
        self.sessions += 1;
        Join::bare(node(number), SessionId::new(self.sessions).expect("counted from 1"), 300_000)
    }

    pub(crate) fn join(&mut self, number: u64) -> Applied {
        let join = self.plain_join(number);
        self.go(SharedCommand::Join(join))
    }

    pub(crate) fn join_all(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.join(number);
        }
    }

    pub(crate) fn join_as(&mut self, number: u64, mode: ViewerMode) -> Applied {
        let join = Join { mode: Some(mode), ..self.plain_join(number) };
        self.go(SharedCommand::Join(join))
    }

    pub(crate) fn leave(&mut self, number: u64) -> Applied {
        self.go(SharedCommand::Leave(by(number)))
    }

    pub(crate) fn leave_all(&mut self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.leave(number);
        }
    }

    pub(crate) fn swarm(&self) -> &Swarm {
        self.slot.as_deref().expect("the swarm lives")
    }

    pub(crate) fn as_livestream(&self) -> &Livestream {
        let Rules::Livestream(livestream) = self.swarm().rules() else { panic!("it is a group") };
        livestream
    }

    pub(crate) fn as_group(&self) -> &Group {
        let Rules::Group(group) = self.swarm().rules() else { panic!("it is a livestream") };
        group
    }

    /// Whom a node forwards to; `None` stands for the broadcaster.
    pub(crate) fn targets(&self, number: Option<u64>) -> BTreeSet<u64> {
        let list = self.swarm().targets(number.map(node).into()).expect("a member has a list");
        let targets: BTreeSet<u64> = list.targets.iter().map(|target| target.node.get()).collect();
        assert_eq!(targets.len(), list.targets.len(), "nobody is listed twice");
        targets
    }

    pub(crate) fn view(&self, number: u64) -> MemberView {
        let key = self.swarm().roster().key(node(number)).expect("a member has a slot");
        self.swarm().view(key).expect("a slot has a member")
    }

    pub(crate) fn placement(&self, number: u64) -> Placement {
        self.view(number).placement.expect("a viewer stands somewhere")
    }

    pub(crate) fn members(&self) -> BTreeSet<u64> {
        self.swarm().roster().iter().map(|(_, member)| member.node.get()).collect()
    }
}
