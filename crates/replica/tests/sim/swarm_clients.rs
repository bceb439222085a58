//! Who wants something of real swarms: nodes that make them, join, lead, moderate and go, each time on any pod.

use std::collections::BTreeMap;

use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, CreateGroup, CreateLivestream, Join, MemberUpdate, SwarmUpdate};
use starling_core::config::{GroupConfig, LivestreamConfig};
use starling_core::id::SINGLE_POD;
use starling_core::interest::{Interest, InterestChange};
use starling_core::request::RequestId;
use starling_core::role::ViewerMode;
use starling_core::{
    Command, Epoch, GroupCommand, LivestreamCommand, NodeId, SessionId, SharedCommand, SwarmId, SwarmKind, wire,
};
use starling_replica::batch::StreamSession;
use starling_replica::{Answer, LogRequest};
use starling_testkit::Rng;

use crate::clients::{Asked, Client, Clients};
use crate::cluster::Cluster;
use crate::state::{FIRST_SWARM, Outcome, numbered};

/// How long sessions live without a stream, in milliseconds.
const TTLS_MS: [u32; 3] = [8_000, 12_000, 20_000];

const NODES: u64 = 14;
const LIVESTREAMS: u64 = 3;
const GROUPS: u64 = 2;

/// What was asked of a swarm.
#[derive(Clone, Debug)]
pub(crate) struct SwarmAsk {
    swarm: SwarmId,
    node: NodeId,
    /// What the client may say again on another pod when it hears no answer.
    command: Command,
    asked_at: u64,
    forward_steps: u64,
}

/// What clients of swarms know.
#[derive(Debug, Default)]
pub(crate) struct SwarmClients {
    /// The session that each node had last in a swarm.
    current: BTreeMap<(SwarmId, NodeId), StreamSession>,
    /// What had no answer.
    unanswered: Vec<SwarmAsk>,
}

fn node(rng: &mut Rng) -> NodeId {
    NodeId::new(rng.within(1, NODES)).expect("not 0")
}

fn swarm(rng: &mut Rng) -> SwarmId {
    let number = rng.below(LIVESTREAMS + GROUPS);
    let kind = if number < LIVESTREAMS { SwarmKind::Livestream } else { SwarmKind::Group };
    SwarmId::new(kind, FIRST_SWARM + number).expect("not 0")
}

fn bytes(rng: &mut Rng) -> Box<[u8]> {
    rng.bits().to_le_bytes()[..rng.index(8)].into()
}

fn create(swarm: SwarmId, node: NodeId, rng: &mut Rng) -> Command {
    let epoch = Epoch::new(rng.bits() >> 1 | 1).expect("not 0");
    let (metadata, retention_ms) = (bytes(rng), 4_000);
    match swarm.kind {
        SwarmKind::Livestream => {
            let config = LivestreamConfig {
                star_to_tree_threshold: 4,
                tree_fanout: 2,
                broadcaster_timeout_ms: 15_000,
                ..LivestreamConfig::default()
            };
            Command::CreateLivestream(CreateLivestream { epoch, broadcaster: node, config, metadata, retention_ms })
        }
        SwarmKind::Group => {
            let (owner, config) = (Some(node), GroupConfig::default());
            Command::CreateGroup(CreateGroup { epoch, owner, config, metadata, retention_ms, empty_ms: 5_000 })
        }
    }
}

/// Who asks again asks a pod, and that draws what the command makes: it may have been made the first time, and be over
/// since. A session that was over and began again would have kept its name, which no pod does.
fn drawn_anew(mut command: Command, number: u64) -> Command {
    let epoch = Epoch::new(1 << 62 | number).expect("not 0");
    let drawn = SessionId::new(number).expect("not 0");
    match &mut command {
        Command::CreateLivestream(create) | Command::CreateSignedLivestream(create, _) => create.epoch = epoch,
        Command::CreateGroup(create) => create.epoch = epoch,
        Command::Shared(SharedCommand::Join(join)) => join.session = drawn,
        Command::Shared(SharedCommand::Claim { session, .. } | SharedCommand::Acquire { session, .. }) => {
            *session = drawn;
        }
        Command::Shared(_) | Command::Livestream(_) | Command::Group(_) => {}
    }
    command
}

#[test]
fn what_is_asked_again_is_drawn_anew() {
    let mut rng = Rng::new(1);
    let (first, again) = (SessionId::new(7).expect("not 0"), SessionId::new(8).expect("not 0"));
    let command = join(NodeId::new(1).expect("not 0"), first, None, true, &mut rng);
    let Command::Shared(SharedCommand::Join(join)) = drawn_anew(command, 8) else { panic!("it was a Join") };
    assert_eq!(join.session, again);
}

fn join(node: NodeId, session: SessionId, request: Option<RequestId>, is_group: bool, rng: &mut Rng) -> Command {
    let mut join = Join::bare(node, session, rng.pick(&TTLS_MS));
    join.request = request;
    join.metadata = rng.one_in(3).then(|| bytes(rng));
    join.endpoint = rng.one_in(3).then(|| bytes(rng));
    if is_group {
        join.listens = rng.one_in(4).then_some(true);
    } else if rng.one_in(4) {
        join.mode = Some(ViewerMode::Lurker);
    }
    SharedCommand::Join(join).into()
}

/// What is asked of a swarm of the kind that is in `by`, and of another node.
fn of_both(by: By, other: NodeId, session: SessionId, rng: &mut Rng) -> Command {
    let channels: ChannelSet = [rng.pick(&Channel::ALL), rng.pick(&Channel::ALL)].into_iter().collect();
    let ttl_ms = rng.pick(&TTLS_MS);
    match rng.weighted(&[3, 2, 2, 1, 2, 2, 1, 1, 1, 1]) {
        0 => SharedCommand::Claim { by, channels, session, ttl_ms, pod: SINGLE_POD },
        1 => SharedCommand::Acquire { by, channels, session, ttl_ms, pod: SINGLE_POD },
        2 => {
            let ttl_ms = rng.one_in(2).then_some(3_000);
            let (channel, level) = (rng.pick(&Channel::ALL), rng.pick(&Interest::ALL));
            SharedCommand::SetInterest(by, vec![InterestChange { channel, source: None, level, ttl_ms }])
        }
        3 => SharedCommand::Ban { by, node: other, ttl_ms: rng.number(500, 8_000) },
        4 => SharedCommand::Unban(by, other),
        5 => {
            let update = MemberUpdate { metadata: Some(bytes(rng)), endpoint: None, can_relay: None };
            SharedCommand::UpdateMember(by, update)
        }
        6 => SharedCommand::UpdateSwarm(by, SwarmUpdate { metadata: Some(bytes(rng)), ..SwarmUpdate::default() }),
        7 => SharedCommand::Remove(by, other),
        8 => SharedCommand::ReportPeer(by, other),
        _ if rng.one_in(4) => SharedCommand::End(by),
        _ => SharedCommand::Leave(by),
    }
    .into()
}

fn of_livestreams(by: By, other: NodeId, rng: &mut Rng) -> Command {
    match rng.below(11) {
        8..=10 => LivestreamCommand::Chat { by, publisher_sequence: rng.below(5), content: bytes(rng) },
        0 | 1 => LivestreamCommand::Start(by),
        2 => LivestreamCommand::Pause(by),
        3 => LivestreamCommand::Resume(by),
        4 => LivestreamCommand::AddModerator(by, other),
        5 => LivestreamCommand::Mute(by, other),
        6 => LivestreamCommand::Unmute(by, other),
        _ => LivestreamCommand::Transfer(by, other),
    }
    .into()
}

fn of_groups(by: By, rng: &mut Rng) -> Command {
    match rng.below(4) {
        0 | 1 => {
            let (audio, video) = (Some(rng.chance(50)), rng.one_in(2).then_some(true));
            GroupCommand::SetMedia { by, audio, video }
        }
        2 => GroupCommand::StartShare(by),
        _ => GroupCommand::StopShare(by),
    }
    .into()
}

impl SwarmClients {
    /// A client does something on a pod.
    pub(crate) fn act_on(cluster: &mut Cluster, at: usize) {
        let number = cluster.clients.number();
        let Clients { rng, of_swarms, sessions, .. } = &mut cluster.clients;
        if !of_swarms.unanswered.is_empty() && rng.one_in(3) {
            let mut again = of_swarms.unanswered.swap_remove(0);
            again.command = drawn_anew(again.command, number);
            return Self::ask(cluster, at, number, again);
        }
        let (swarm, node, other) = (swarm(rng), node(rng), node(rng));
        let current = of_swarms.current.get(&(swarm, node)).copied().filter(|stream| sessions.contains_key(stream));
        let drawn = SessionId::new(number).expect("not 0");
        let request = rng.one_in(2).then(|| RequestId { name: format!("{}", number).into(), fingerprint: rng.bits() });
        let session = current.map(|stream| stream.session).filter(|_| rng.chance(70));
        let by = By { node, session, request: request.clone() };
        let command = match (rng.weighted(&[2, 7, 6, 3, 2, 8, 4]), current) {
            (0, _) => create(swarm, node, rng),
            (2, Some(stream)) => return Clients::open(cluster, at, stream),
            (3, Some(stream)) => SharedCommand::Touch(node, stream.session).into(),
            (4, Some(stream)) => return Clients::close(cluster, stream),
            (5, _) => of_both(by, other, drawn, rng),
            (6, _) if swarm.kind == SwarmKind::Group => of_groups(by, rng),
            (6, _) => of_livestreams(by, other, rng),
            _ => join(node, drawn, request, swarm.kind == SwarmKind::Group, rng),
        };
        let (asked_at, forward_steps) = (cluster.now, cluster.faults.forward_steps);
        Self::ask(cluster, at, number, SwarmAsk { swarm, node, command, asked_at, forward_steps });
    }

    fn ask(cluster: &mut Cluster, at: usize, number: u64, ask: SwarmAsk) {
        // The time of a command is replaced by that of the log: one that is far off must not matter.
        let bytes = wire::encode(ask.swarm, cluster.now / 3, &ask.command);
        let request = LogRequest::Command(numbered(number, &bytes));
        Clients::ask(cluster, at, number, Asked::OfSwarm(ask), request);
    }

    pub(crate) fn resolved(cluster: &mut Cluster, ask: SwarmAsk, answer: Answer<Outcome>) {
        let clients = &mut cluster.clients;
        let SwarmAsk { swarm, node, ref command, asked_at, forward_steps } = ask;
        match (answer, command) {
            (Answer::Unknown | Answer::NotApplied, _) if clients.of_swarms.unanswered.len() < 20 => {
                clients.of_swarms.unanswered.push(ask);
            }
            (Answer::Applied(Outcome::Done(change)), Command::Shared(command)) => {
                cluster.coverage.swarm_commands += 1;
                let stream = |session| StreamSession { swarm, node, session };
                match (command, change.session) {
                    (SharedCommand::Join(join), Some(session)) => {
                        clients.of_swarms.current.insert((swarm, node), stream(session));
                        let client = Client::new(join.ttl_ms.into(), asked_at, forward_steps);
                        clients.sessions.entry(stream(session)).or_insert(client);
                    }
                    (SharedCommand::Touch(_, session), _) => clients.touched(stream(*session), asked_at),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}
