//! Histories of a partition, from a seed.

use starling_core::channel::Channel;
use starling_core::command::{By, CreateGroup, CreateLivestream, Join, MemberUpdate, RevokeTokens, SwarmUpdate};
use starling_core::group;
use starling_core::id::{Epoch, PodId, SINGLE_POD};
use starling_core::interest::{Interest, InterestChange};
use starling_core::livestream;
use starling_core::{
    Command, GroupCommand, LivestreamCommand, NodeId, ServerCommand, SessionId, SharedCommand, SwarmId, SwarmKind, wire,
};
use starling_replica::batch::StreamSession;
use starling_replica::state::StateChange;
use starling_testkit::Rng;

use super::super::{SERVER_PARTITION, partition_of};

/// The pod that all commands come from.
const SENDER: PodId = 2;

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Swarm(SwarmId, Command, Vec<u8>),
    Stream(StreamSession, u32, bool),
    Server(ServerCommand, Vec<u8>),
}

/// A swarm of the partition for what is about no swarm.
pub(super) fn id(kind: SwarmKind, nth: u64) -> SwarmId {
    let ids = (1..).filter_map(|number| SwarmId::new(kind, number));
    let mut here = ids.filter(|id| partition_of(*id) == SERVER_PARTITION);
    here.nth(usize::try_from(nth).unwrap()).unwrap()
}

impl Step {
    pub(super) fn of(id: SwarmId, command: impl Into<Command>) -> Self {
        let command = command.into();
        let bytes = wire::encode(id, 0, &command);
        Self::Swarm(id, command, bytes)
    }

    pub(super) fn change(&self) -> StateChange<'_> {
        match self {
            Self::Swarm(.., bytes) | Self::Server(_, bytes) => StateChange::Command(bytes, SENDER),
            Self::Stream(stream, pod, true) => StateChange::Attach(*stream, *pod),
            Self::Stream(stream, pod, false) => StateChange::Detach(*stream, *pod),
        }
    }

    pub(super) fn command(&self) -> Option<(SwarmId, Command)> {
        match self {
            Self::Swarm(id, command, _) => Some((*id, command.clone().on_pod(SENDER))),
            Self::Stream(StreamSession { swarm, node, session }, pod, opens) => {
                let attach = SharedCommand::Attach(*node, *session, *pod);
                let command = if *opens { attach } else { SharedCommand::Detach(*node, *session, *pod) };
                Some((*swarm, command.into()))
            }
            Self::Server(..) => None,
        }
    }

    pub(super) fn create_livestream(id: SwarmId) -> Self {
        let (epoch, broadcaster) = (Epoch::new(id.get() + 7).unwrap(), NodeId::new(1).unwrap());
        let config = livestream::Config { star_to_tree_threshold: 3, ..livestream::Config::default() };
        let (metadata, retention_ms) = (Box::default(), 20_000);
        Self::of(id, Command::CreateLivestream(CreateLivestream { epoch, broadcaster, config, metadata, retention_ms }))
    }

    pub(super) fn create_group(id: SwarmId) -> Self {
        let create = CreateGroup {
            epoch: Epoch::new(id.get() + 7).unwrap(),
            owner: NodeId::new(1),
            config: group::Config::default(),
            metadata: Box::default(),
            retention_ms: 20_000,
            empty_ms: 30_000,
        };
        Self::of(id, Command::CreateGroup(create))
    }

    pub(super) fn join_of(id: SwarmId, node: NodeId, session: SessionId, ttl_ms: u32) -> Self {
        Self::of(id, SharedCommand::Join(Join::bare(node, session, ttl_ms)))
    }

    pub(super) fn attach(id: SwarmId, node: NodeId, session: SessionId, pod: u32) -> Self {
        Self::Stream(StreamSession { swarm: id, node, session }, pod, true)
    }

    /// A command that is refused.
    pub(super) fn chat_of_nobody() -> Self {
        let by = By { node: NodeId::new(999).unwrap(), session: None, request: None };
        Self::of(id(SwarmKind::Group, 900), SharedCommand::Leave(by))
    }
}

/// What happens in a few swarms of both kinds.
#[derive(Debug)]
pub(super) struct History {
    rng: Rng,
    now: u64,
    sessions: u64,
    /// Who joined last, successfully or not.
    joined: Vec<StreamSession>,
}

impl History {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), now: 1_800_000_000_000, sessions: 0, joined: Vec::new() }
    }

    pub(super) const fn now(&self) -> u64 {
        self.now
    }

    fn swarm(&mut self) -> SwarmId {
        let kind = self.rng.pick(&[SwarmKind::Livestream, SwarmKind::Group]);
        id(kind, self.rng.below(4))
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(self.rng.within(1, 24)).unwrap()
    }

    /// Somebody who joined lately, with the session of then.
    fn stream(&mut self) -> Option<StreamSession> {
        let len = self.joined.len();
        (len > 0).then(|| self.joined[self.rng.index(len)])
    }

    pub(super) fn join(&mut self) -> Step {
        self.sessions += 1;
        let (id, node) = (self.swarm(), self.node());
        let session = SessionId::new(self.sessions).unwrap();
        let mut join = Join::bare(node, session, self.rng.number(1_000, 60_000));
        self.joined.push(StreamSession { swarm: id, node, session });
        if self.joined.len() > 40 {
            self.joined.remove(0);
        }
        join.endpoint = self.rng.chance(30).then(|| Box::from(&b"endpoint"[..]));
        Step::of(id, SharedCommand::Join(join))
    }

    pub(super) fn next(&mut self) -> (Step, u64) {
        let step = self.rng.pick(&[0, 0, 1, 20, 300]);
        self.now += step + if self.rng.one_in(60) { 20_000 } else { 0 };
        let (id, node, other) = (self.swarm(), self.node(), self.node());
        let broadcaster = NodeId::new(1).unwrap();
        let by = |node| By { node, session: None, request: None };
        let leader = if self.rng.chance(80) { broadcaster } else { node };
        let step = match self.rng.below(100) {
            0..8 if id.kind == SwarmKind::Livestream => Step::create_livestream(id),
            0..8 => Step::create_group(id),
            8..38 => self.join(),
            38..52 => match self.stream() {
                Some(stream) => Step::Stream(stream, self.rng.number(1, 3), self.rng.chance(70)),
                None => self.join(),
            },
            52..58 => Step::of(id, SharedCommand::Leave(by(node))),
            58..63 => match self.stream() {
                Some(StreamSession { swarm, node, session }) => Step::of(swarm, SharedCommand::Touch(node, session)),
                None => self.join(),
            },
            63..68 => {
                let (channel, level) = (self.rng.pick(&Channel::ALL), self.rng.pick(&Interest::ALL));
                let (source, ttl_ms) = (self.rng.chance(40).then_some(other), self.rng.chance(50).then_some(4_000));
                Step::of(
                    id,
                    SharedCommand::SetInterest(by(node), vec![InterestChange { channel, source, level, ttl_ms }]),
                )
            }
            68..72 => {
                let metadata = Some(Box::from([self.rng.number(0, 3).to_le_bytes()[0]]));
                Step::of(
                    id,
                    SharedCommand::UpdateMember(by(node), MemberUpdate { metadata, ..MemberUpdate::default() }),
                )
            }
            72..75 => {
                let metadata = Some(Box::from([self.rng.number(0, 3).to_le_bytes()[0]]));
                Step::of(id, SharedCommand::UpdateSwarm(by(leader), SwarmUpdate { metadata, ..SwarmUpdate::default() }))
            }
            75..79 => Step::of(id, SharedCommand::Ban { by: by(leader), node: other, ttl_ms: 3_000 }),
            79..81 => Step::of(id, SharedCommand::Remove(by(leader), other)),
            81..88 => {
                let channels = [self.rng.pick(&Channel::ALL)].into_iter().collect();
                self.sessions += 1;
                let session = SessionId::new(self.sessions).unwrap();
                Step::of(id, SharedCommand::Claim { by: by(leader), channels, session, ttl_ms: 9_000, pod: SINGLE_POD })
            }
            88..93 if id.kind == SwarmKind::Livestream => {
                let by = by(leader);
                let command = match self.rng.below(8) {
                    0 => LivestreamCommand::Pause(by),
                    1 => LivestreamCommand::Mute(by, other),
                    2 => LivestreamCommand::AddModerator(by, other),
                    3 => LivestreamCommand::Resume(by),
                    4..=6 => {
                        let by = By { node, session: None, request: None };
                        let (publisher_sequence, content) = (self.rng.below(6), Box::from([0, 0, b'!']));
                        LivestreamCommand::Chat { by, publisher_sequence, content }
                    }
                    _ => LivestreamCommand::Start(by),
                };
                Step::of(id, command)
            }
            88..93 => Step::of(id, GroupCommand::SetMedia { by: by(node), audio: Some(true), video: Some(false) }),
            93..95 => Step::of(id, SharedCommand::End(by(leader))),
            95..97 => Step::of(id, SharedCommand::ReportPeer(by(node), other)),
            _ => {
                let revoke = RevokeTokens { node, issued_before: self.now, forget_at: self.now + 5_000 };
                let command = ServerCommand::from(revoke);
                Step::Server(command, wire::server::encode(0, &command))
            }
        };
        (step, self.now)
    }
}
