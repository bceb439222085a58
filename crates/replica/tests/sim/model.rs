//! A small state machine with leases, in place of the swarms: what the log promises shows in it as well.

use std::collections::{BTreeMap, BTreeSet};

use starling_core::hash::{FixedHasher, splitmix64};
use starling_core::id::PodId;
use starling_core::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_replica::batch::StreamSession;
use starling_replica::state::{LogTime, StateChange, Undecodable};

/// How long a session without streams lives, by the lease clock.
pub(crate) const TTL_MS: u64 = 12_000;

/// A command of the model. Each has a number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Join(u64, StreamSession),
    Touch(u64, StreamSession),
    Leave(u64, StreamSession),
    Chat(u64),
}

/// The session with a number.
pub(crate) fn session(number: u64) -> StreamSession {
    StreamSession {
        swarm: SwarmId::new(SwarmKind::Livestream, 1 + number % 5).expect("not 0"),
        node: NodeId::new(number).expect("not 0"),
        session: SessionId::new(number).expect("not 0"),
    }
}

impl Command {
    pub(crate) fn encode(self) -> Vec<u8> {
        let (tag, id, stream) = match self {
            Self::Join(id, stream) => (1, id, stream.session.get()),
            Self::Touch(id, stream) => (2, id, stream.session.get()),
            Self::Leave(id, stream) => (3, id, stream.session.get()),
            Self::Chat(id) => (4, id, 0),
        };
        [&[tag][..], &id.to_le_bytes(), &stream.to_le_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (id, stream) = rest.split_first_chunk()?;
        let (id, stream) = (u64::from_le_bytes(*id), u64::from_le_bytes(stream.try_into().ok()?));
        Some(match tag {
            1 => Self::Join(id, session(stream)),
            2 => Self::Touch(id, session(stream)),
            3 => Self::Leave(id, session(stream)),
            4 => Self::Chat(id),
            _ => return None,
        })
    }

    const fn id(self) -> u64 {
        match self {
            Self::Join(id, _) | Self::Touch(id, _) | Self::Leave(id, _) | Self::Chat(id) => id,
        }
    }
}

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done { revision: u64 },
    NoSuchSession,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Member {
    pods: BTreeSet<PodId>,
    due: Option<u64>,
}

/// A session that ended because nobody kept it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expired {
    pub(crate) stream: StreamSession,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    members: BTreeMap<StreamSession, Member>,
    due: BTreeSet<(u64, StreamSession)>,
    /// The number of each command that was applied, and the lease clock then.
    applied: BTreeMap<u64, u64>,
    applied_digest: u64,
    revision: u64,
    /// For those who watch the model; no part of the state.
    pub(crate) expired: Vec<Expired>,
    pub(crate) raised: Option<(u64, u64)>,
}

fn mixed(id: u64, at: u64) -> u64 {
    splitmix64(splitmix64(id).wrapping_add(at))
}

pub(crate) fn take_word(rest: &mut &[u8]) -> Result<u64, Undecodable> {
    let (word, after) = rest.split_first_chunk().ok_or(Undecodable)?;
    *rest = after;
    Ok(u64::from_le_bytes(*word))
}

impl Model {
    pub(crate) fn applied(&self, id: u64) -> Option<u64> {
        self.applied.get(&id).copied()
    }

    pub(crate) fn applied_count(&self) -> usize {
        self.applied.len()
    }

    pub(crate) fn contains(&self, stream: StreamSession) -> bool {
        self.members.contains_key(&stream)
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// Makes it another state than that of its history.
    pub(crate) fn tamper(&mut self) {
        self.applied.pop_first();
    }

    /// Notes that a command is applied: for the first time.
    pub(crate) fn note(&mut self, id: u64, at: u64) {
        assert_eq!(self.applied.insert(id, at), None, "{id} is applied at most once");
        self.applied_digest ^= mixed(id, at);
    }

    fn done(&mut self) -> Outcome {
        self.revision += 1;
        Outcome::Done { revision: self.revision }
    }

    fn set_due(&mut self, stream: StreamSession, due: Option<u64>) {
        let member = self.members.get_mut(&stream).expect("it is a member");
        if let Some(old) = std::mem::replace(&mut member.due, due) {
            self.due.remove(&(old, stream));
        }
        self.due.extend(due.map(|due| (due, stream)));
    }

    fn remove(&mut self, stream: StreamSession) {
        self.set_due(stream, None);
        self.members.remove(&stream);
        self.revision += 1;
    }

    fn detach(&mut self, stream: StreamSession, pod: PodId, at: u64) {
        let Some(member) = self.members.get_mut(&stream) else { return };
        if member.pods.remove(&pod) && member.pods.is_empty() {
            self.set_due(stream, Some(at + TTL_MS));
        }
    }
}

/// As [`State`](starling_replica::State) has it.
impl Model {
    pub(crate) fn apply(&mut self, change: StateChange<'_>, at: LogTime) -> Result<Outcome, Undecodable> {
        let left = self.due.first().filter(|(due, _)| *due <= at.lease);
        assert_eq!(left, None, "what is due is carried out first");
        match change {
            StateChange::Command(bytes, _) => {
                let command = Command::decode(bytes).ok_or(Undecodable)?;
                self.note(command.id(), at.lease);
                match command {
                    Command::Join(_, stream) => {
                        self.members.insert(stream, Member { pods: BTreeSet::new(), due: None });
                        self.set_due(stream, Some(at.lease + TTL_MS));
                    }
                    Command::Touch(_, stream) | Command::Leave(_, stream) if !self.contains(stream) => {
                        return Ok(Outcome::NoSuchSession);
                    }
                    Command::Touch(_, stream) => {
                        if self.members[&stream].pods.is_empty() {
                            self.set_due(stream, Some(at.lease + TTL_MS));
                        }
                    }
                    Command::Leave(_, stream) => self.remove(stream),
                    Command::Chat(_) => {}
                }
            }
            StateChange::Attach(stream, pod) => {
                let Some(member) = self.members.get_mut(&stream) else { return Ok(Outcome::NoSuchSession) };
                member.pods.insert(pod);
                self.set_due(stream, None);
            }
            StateChange::Detach(stream, pod) => self.detach(stream, pod, at.lease),
        }
        Ok(self.done())
    }

    pub(crate) fn carry_out_due(&mut self, at: LogTime, most: usize) -> usize {
        let mut carried_out = 0;
        while let Some((_, stream)) =
            self.due.first().copied().filter(|(due, _)| *due <= at.lease && carried_out < most)
        {
            self.remove(stream);
            self.expired.push(Expired { stream });
            carried_out += 1;
        }
        carried_out
    }

    pub(crate) fn detach_gone(&mut self, pod: PodId, gone_at: u64, most: usize) -> usize {
        let of_pod = self.members.iter().filter(|(_, member)| member.pods.contains(&pod));
        let slice: Vec<_> = of_pod.map(|(stream, _)| *stream).take(most).collect();
        slice.iter().for_each(|stream| self.detach(*stream, pod, gone_at));
        slice.len()
    }

    pub(crate) fn attached(&self, pod: PodId) -> impl Iterator<Item = StreamSession> {
        self.members.iter().filter(move |(_, member)| member.pods.contains(&pod)).map(|(stream, _)| *stream)
    }

    pub(crate) fn raise(&mut self, steps: u64) {
        let before = self.revision;
        self.revision += steps << 20;
        self.raised = Some((before, self.revision));
    }

    pub(crate) fn digest(&self) -> u64 {
        FixedHasher::digest(&(&self.members, self.applied_digest, self.applied.len(), self.revision))
    }

    pub(crate) fn encode_part(&self, from: u64, most: usize, out: &mut Vec<u8>) -> Option<u64> {
        if from == 0 {
            out.extend(self.revision.to_le_bytes());
            out.extend((self.members.len() as u64).to_le_bytes());
            for (stream, member) in &self.members {
                out.extend(stream.session.get().to_le_bytes());
                out.extend(member.due.unwrap_or(0).to_le_bytes());
                out.extend((member.pods.len() as u64).to_le_bytes());
                member.pods.iter().for_each(|pod| out.extend(u64::from(*pod).to_le_bytes()));
            }
        }
        let end = out.len() + most;
        for (id, at) in self.applied.range(from..) {
            if out.len() >= end {
                return Some(*id);
            }
            out.extend(id.to_le_bytes());
            out.extend(at.to_le_bytes());
        }
        None
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut rest = bytes;
        let mut model = Self { revision: take_word(&mut rest)?, ..Self::default() };
        for _ in 0..take_word(&mut rest)? {
            let stream = session(take_word(&mut rest)?);
            let (due, pods) = (take_word(&mut rest)?, take_word(&mut rest)?);
            let pods = (0..pods).map(|_| take_word(&mut rest).map(|pod| PodId::try_from(pod).expect("32 bits")));
            let pods = pods.collect::<Result<_, Undecodable>>()?;
            model.members.insert(stream, Member { pods, due: None });
            model.set_due(stream, (due != 0).then_some(due));
        }
        while !rest.is_empty() {
            let (id, at) = (take_word(&mut rest)?, take_word(&mut rest)?);
            model.applied.insert(id, at);
            model.applied_digest ^= mixed(id, at);
        }
        Ok(model)
    }
}
