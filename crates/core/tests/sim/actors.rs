//! Who acts and how: nodes, sessions, requests and their repetition, interests.

use std::collections::{BTreeMap, VecDeque};

use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, Join, MemberUpdate, SwarmUpdate};
use starling_core::event::LeaveReason;
use starling_core::interest::{Interest, InterestChange};
use starling_core::request::RequestId;
use starling_core::{Applied, Command, GroupCommand, LivestreamCommand, NodeId, SessionId, SharedCommand};

use crate::world::{Expect, World};

/// A core remembers requests for five minutes; a minute is left to lagging clocks.
const REMEMBERED_MS: u64 = 4 * 60 * 1_000;
/// A core remembers more than this many.
const REMEMBERED: usize = 100;
/// Nodes from here on never join.
const STRANGERS: u64 = 1 << 40;

/// A request that may be repeated.
#[derive(Clone, Debug)]
struct Remembered {
    command: Command,
    at: u64,
    revision: u64,
}

/// The actors of a run: their sessions, their requests and what was accepted of them.
#[derive(Debug, Default)]
pub(crate) struct Actors {
    sessions: u64,
    requests: u64,
    remembered: VecDeque<Remembered>,
    /// Joins with a request id, and the session that each made.
    joins: BTreeMap<NodeId, Remembered>,
}

/// The node with this number.
pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(number).expect("nodes are numbered from 1")
}

impl Actors {
    /// A session that never was.
    pub(crate) fn session(&mut self) -> SessionId {
        self.sessions += 1;
        SessionId::new(self.sessions).expect("counted from 1")
    }

    /// Someone who is in; nobody when nobody is.
    pub(crate) fn member(&self, world: &mut World) -> Option<NodeId> {
        let members = &world.model.as_ref()?.members;
        let (first, last) = (members.first_key_value()?.0.get(), members.last_key_value()?.0.get());
        let from = node(world.rng.within(first, last));
        members.range(from..).next().map(|(node, _)| *node)
    }

    /// Mostly someone who is in, sometimes someone who was or might be, or a stranger.
    pub(crate) fn anyone(&self, world: &mut World) -> NodeId {
        let insider = if world.rng.chance(85) { self.member(world) } else { None };
        let outcast = world.model.as_ref().and_then(|model| model.bans.first());
        if let Some(outcast) = outcast.filter(|_| insider.is_none() && world.rng.chance(30)) {
            return outcast;
        }
        insider.unwrap_or_else(|| {
            let from = if world.rng.chance(50) { STRANGERS } else { 0 };
            node(from + world.rng.within(1, 40))
        })
    }

    /// The node as an actor: with its session or without, now and then with a stale
    /// one; sometimes with a name for the request.
    pub(crate) fn by(&mut self, world: &mut World, node: NodeId) -> By {
        let current = world.model.as_ref().and_then(|model| model.session(node));
        let session = match world.rng.below(100) {
            0..50 => None,
            50..96 => current,
            _ => SessionId::new(world.rng.within(1, self.sessions.max(1))),
        };
        By { node, session, request: self.request(world, 15) }
    }

    fn request(&mut self, world: &mut World, percent: u64) -> Option<RequestId> {
        if !world.rng.chance(percent) {
            return None;
        }
        self.requests += 1;
        Some(RequestId { name: format!("request {}", self.requests).into(), fingerprint: world.rng.bits() })
    }

    /// A Join that leaves mode and relaying to the caller.
    pub(crate) fn join(&mut self, world: &mut World, node: NodeId) -> Join {
        Join {
            node,
            session: self.session(),
            request: self.request(world, 30),
            ttl_ms: world.rng.number(1_000, 300_000),
            mode: None,
            can_relay: None,
            endpoint: bytes(world, 50),
            metadata: bytes(world, 30),
            interests: if world.rng.chance(20) { self.interest_changes(world) } else { Vec::new() },
            listens: None,
        }
    }

    /// Some interests, for sources in general and for one, for a time and for good.
    pub(crate) fn interest_changes(&self, world: &mut World) -> Vec<InterestChange> {
        (0..world.rng.within(1, 3))
            .map(|_| InterestChange {
                channel: world.rng.pick(&Channel::ALL),
                source: if world.rng.chance(40) { Some(self.anyone(world)) } else { None },
                level: world.rng.pick(&Interest::ALL),
                ttl_ms: if world.rng.chance(40) { Some(world.rng.number(1, 60_000)) } else { None },
            })
            .collect()
    }

    /// A ban of somebody, for a while that ends within the run or at once.
    pub(crate) fn ban(&self, world: &mut World, by: By, node: NodeId) -> Command {
        let longest = world.rng.pick(&[1, 1_000, 60_000, 300_000]);
        SharedCommand::Ban { by, node, ttl_ms: world.rng.number(1, longest) }.into()
    }

    /// Mostly somebody who is banned, to let back in.
    pub(crate) fn unban(&self, world: &mut World, by: By, otherwise: NodeId) -> Command {
        let banned = world.model.as_ref().and_then(|model| model.bans.first());
        let node = if world.rng.chance(80) { banned.unwrap_or(otherwise) } else { otherwise };
        SharedCommand::Unban(by, node).into()
    }

    /// Some channels, not none.
    pub(crate) fn channels(&self, world: &mut World) -> ChannelSet {
        let first = world.rng.pick(&Channel::ALL);
        Channel::ALL.into_iter().filter(|channel| *channel == first || world.rng.chance(30)).collect()
    }

    /// What keeps sessions alive: streams that open and close, heartbeats, pods that
    /// vanish.
    pub(crate) fn liveness(&mut self, world: &mut World) {
        let node = self.anyone(world);
        let current = world.model.as_ref().and_then(|model| model.session(node));
        let stale = SessionId::new(world.rng.within(1, self.sessions.max(1)));
        let Some(session) = current.filter(|_| world.rng.chance(95)).or(stale) else { return };
        let pod = world.rng.number(0, 2);
        let command: Command = match world.rng.below(100) {
            0..65 => SharedCommand::Attach(node, session, pod).into(),
            65..85 => SharedCommand::Detach(node, session, pod).into(),
            85..99 => SharedCommand::Touch(node, session).into(),
            _ => SharedCommand::PodGone(pod).into(),
        };
        self.submit(world, command);
    }

    /// Submits a command, and remembers it if it may be repeated. True when it was
    /// accepted.
    pub(crate) fn submit(&mut self, world: &mut World, command: impl Into<Command>) -> bool {
        let command = command.into();
        let result = world.submit(command.clone(), Expect::Verdict);
        if let Ok(applied) = &result {
            self.remember(world, command, applied);
        }
        result.is_ok()
    }

    fn remember(&mut self, world: &World, command: Command, applied: &Applied) {
        if applied.created || applied.removed {
            self.remembered.clear();
            self.joins.clear();
        }
        let remembered = Remembered { command, at: world.now, revision: applied.revision };
        if let Command::Shared(SharedCommand::Join(join)) = &remembered.command {
            let replaced = applied.ended.iter().all(|(_, reason)| *reason == LeaveReason::Replaced);
            assert!(replaced, "a join ends no session but that of its node");
            self.joins.remove(&join.node);
            if join.request.is_some() {
                self.joins.insert(join.node, remembered);
            }
            return;
        }
        let is_kept = !matches!(
            remembered.command,
            Command::Shared(
                SharedCommand::Claim { .. } | SharedCommand::Acquire { .. } | SharedCommand::ReportPeer(..)
            ) | Command::Livestream(LivestreamCommand::Chat { .. })
        );
        if is_kept && remembered.command.by().is_some_and(|by| by.request.is_some()) {
            self.remembered.push_back(remembered);
            if self.remembered.len() > REMEMBERED {
                self.remembered.pop_front();
            }
        }
    }

    /// Submits something again, or another request under a name that is taken.
    pub(crate) fn repeat(&mut self, world: &mut World) {
        if world.slot.is_none() {
            return;
        }
        if world.rng.chance(40) {
            return self.repeat_join(world);
        }
        let fresh: Vec<&Remembered> =
            self.remembered.iter().filter(|remembered| remembered.at + REMEMBERED_MS >= world.now).collect();
        if fresh.is_empty() {
            return;
        }
        let remembered = fresh[world.rng.index(fresh.len())].clone();
        let mut command = remembered.command;
        // An End of what has ended is fine under any name.
        if world.rng.chance(25) && !matches!(command, Command::Shared(SharedCommand::End(_))) {
            reuse(&mut command);
            world.submit(command, Expect::Reused).expect_err("its name is taken");
        } else {
            world.submit(command, Expect::Repeat { revision: remembered.revision }).expect("a repeat is accepted");
        }
    }

    fn repeat_join(&mut self, world: &mut World) {
        let Some(member) = self.member(world) else { return };
        let current = world.model.as_ref().and_then(|model| model.session(member));
        let Some(remembered) = self.joins.get(&member).cloned() else { return };
        let Command::Shared(SharedCommand::Join(mut join)) = remembered.command else {
            unreachable!("joins are kept here")
        };
        if current != Some(join.session) {
            return;
        }
        join.session = self.session();
        if world.rng.chance(25) {
            join.request.iter_mut().for_each(|request| request.fingerprint ^= 1);
            world.submit(SharedCommand::Join(join), Expect::Reused).expect_err("its name is taken");
        } else {
            let repeat = world.submit(SharedCommand::Join(join), Expect::Repeat { revision: remembered.revision });
            assert_eq!(
                repeat.expect("a repeat is accepted").session,
                current,
                "a repeat finds the session of the original"
            );
        }
    }
}

/// Makes a command another request under the same name.
fn reuse(command: &mut Command) {
    let (Command::Shared(SharedCommand::Leave(by))
    | Command::Shared(SharedCommand::SetInterest(by, _))
    | Command::Shared(SharedCommand::UpdateMember(by, _))
    | Command::Shared(SharedCommand::UpdateSwarm(by, _))
    | Command::Shared(SharedCommand::Remove(by, _))
    | Command::Shared(SharedCommand::Ban { by, .. })
    | Command::Shared(SharedCommand::Unban(by, _))
    | Command::Livestream(LivestreamCommand::Start(by))
    | Command::Livestream(LivestreamCommand::Pause(by))
    | Command::Livestream(LivestreamCommand::Resume(by))
    | Command::Livestream(LivestreamCommand::AddModerator(by, _))
    | Command::Livestream(LivestreamCommand::RemoveModerator(by, _))
    | Command::Livestream(LivestreamCommand::Mute(by, _))
    | Command::Livestream(LivestreamCommand::Unmute(by, _))
    | Command::Livestream(LivestreamCommand::Transfer(by, _))
    | Command::Livestream(LivestreamCommand::TransferSigned(by, ..))
    | Command::Group(GroupCommand::SetMedia { by, .. })
    | Command::Group(GroupCommand::StartShare(by))
    | Command::Group(GroupCommand::StopShare(by))) = command
    else {
        panic!("{command:?} is not remembered")
    };
    by.request.iter_mut().for_each(|request| request.fingerprint ^= 1);
}

/// A few bytes, or nothing said.
pub(crate) fn bytes(world: &mut World, percent: u64) -> Option<Box<[u8]>> {
    world.rng.chance(percent).then(|| (0..world.rng.below(4)).map(|_| world.rng.pick(&[0, 1, 2])).collect())
}

/// What a member may say of itself.
pub(crate) fn member_update(world: &mut World) -> MemberUpdate {
    let can_relay = world.rng.pick(&[None, None, None, Some(true), Some(false)]);
    MemberUpdate { metadata: bytes(world, 60), endpoint: bytes(world, 40), can_relay }
}

/// What may be changed of a swarm for so many.
pub(crate) fn swarm_update(world: &mut World, capacity: u32) -> SwarmUpdate {
    SwarmUpdate {
        metadata: bytes(world, 60),
        subscriber_bytes_per_second: world.rng.pick(&[None, None, Some(1_000), Some(500_000)]),
        keyframe_interval_ms: world.rng.pick(&[None, None, Some(100), Some(2_000)]),
        max_lag_ms: world.rng.pick(&[None, None, Some(100), Some(2_000)]),
        // More or fewer than there are; whoever is in stays.
        capacity: world.rng.pick(&[None, None, Some(capacity), Some(capacity.saturating_sub(1).max(1))]),
        broadcaster_timeout_ms: None,
    }
}
