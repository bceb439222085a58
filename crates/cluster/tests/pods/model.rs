//! A small state in place of the swarms: what was applied, in order, and which sessions have streams where.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use starling_cluster::ReadableState;
use starling_core::hash::FixedHasher;
use starling_core::id::PodId;
use starling_core::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_replica::State;
use starling_replica::batch::StreamSession;
use starling_replica::state::{LogTime, StateChange, Undecodable};

/// Commands at which the first state that applies one panics.
static PANICS: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The first state that applies this command will panic.
pub(crate) fn panic_once_at(id: u64) {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
}

/// A command: its number, and bytes that are only kept.
pub(crate) fn command(id: u64) -> Vec<u8> {
    padded_command(id, 0)
}

pub(crate) fn padded_command(id: u64, padding: usize) -> Vec<u8> {
    [&id.to_le_bytes()[..], &vec![7; padding]].concat()
}

/// The session with a number.
pub(crate) fn session(number: u64) -> StreamSession {
    StreamSession {
        swarm: SwarmId::new(SwarmKind::Group, 1).expect("not 0"),
        node: NodeId::new(number).expect("not 0"),
        session: SessionId::new(number).expect("not 0"),
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Contents {
    /// The numbers of all commands, in order.
    pub(crate) applied: Vec<u64>,
    pub(crate) padding: BTreeMap<u64, Vec<u8>>,
    pub(crate) attached: BTreeSet<(StreamSession, PodId)>,
}

/// A handle to the contents, with a lock of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model(Arc<Mutex<Contents>>);

impl Model {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Contents> {
        // A panic is what some tests want.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadableState for Model {
    type Reader = Self;
    type Place = ();

    fn reader(&self) -> Self {
        self.clone()
    }

    fn show(&mut self, (): &()) {}
}

fn word(bytes: &mut &[u8]) -> Result<u64, Undecodable> {
    let (word, rest) = bytes.split_first_chunk().ok_or(Undecodable)?;
    *bytes = rest;
    Ok(u64::from_le_bytes(*word))
}

impl State for Model {
    /// How many commands were applied with this one; 0 for streams.
    type Outcome = usize;

    fn apply(&mut self, change: StateChange<'_>, _: LogTime) -> Result<usize, Undecodable> {
        let mut contents = self.lock();
        match change {
            StateChange::Command(mut bytes, _) => {
                let id = word(&mut bytes)?;
                let is_panic = PANICS.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                assert!(!is_panic, "command {id} panics once");
                contents.applied.push(id);
                if !bytes.is_empty() {
                    contents.padding.insert(id, bytes.to_vec());
                }
                Ok(contents.applied.len())
            }
            StateChange::Attach(stream, pod) => {
                contents.attached.insert((stream, pod));
                Ok(0)
            }
            StateChange::Detach(stream, pod) => {
                contents.attached.remove(&(stream, pod));
                Ok(0)
            }
        }
    }

    fn carry_out_due(&mut self, _: LogTime, _: usize) -> usize {
        0
    }

    fn pod_gone(&mut self, _: PodId, _: LogTime) {}

    fn detach_gone(&mut self, pod: PodId, _: u64, _: LogTime, most: usize) -> usize {
        let mut contents = self.lock();
        let gone: Vec<_> = contents.attached.iter().filter(|(_, own)| *own == pod).take(most).copied().collect();
        contents.attached.retain(|attached| !gone.contains(attached));
        gone.len()
    }

    fn attached(&self, pod: PodId) -> Vec<StreamSession> {
        self.lock().attached.iter().filter(|(_, own)| *own == pod).map(|(stream, _)| *stream).collect()
    }

    fn raise(&mut self, _: u64) {}

    fn digest(&self) -> u64 {
        FixedHasher::digest(&*self.lock())
    }

    fn encode_part(&self, _: u32, from: u64, most: usize, out: &mut Vec<u8>) -> Option<u64> {
        let contents = self.lock();
        if from == 0 {
            out.extend((contents.attached.len() as u64).to_le_bytes());
            for (stream, pod) in &contents.attached {
                out.extend(stream.session.get().to_le_bytes());
                out.extend(u64::from(*pod).to_le_bytes());
            }
        }
        let end = out.len() + most;
        let first = usize::try_from(from).expect("an index");
        for (at, id) in contents.applied.iter().enumerate().skip(first) {
            if out.len() >= end {
                return Some(at as u64);
            }
            let padding = contents.padding.get(id).map(Vec::as_slice).unwrap_or_default();
            out.extend(id.to_le_bytes());
            out.extend((padding.len() as u64).to_le_bytes());
            out.extend(padding);
        }
        None
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut contents = Contents::default();
        for _ in 0..word(&mut bytes)? {
            let (number, pod) = (word(&mut bytes)?, word(&mut bytes)?);
            contents.attached.insert((session(number), PodId::try_from(pod).map_err(|_| Undecodable)?));
        }
        while !bytes.is_empty() {
            let (id, length) = (word(&mut bytes)?, word(&mut bytes)?);
            let length = usize::try_from(length).map_err(|_| Undecodable)?;
            let (padding, rest) = bytes.split_at_checked(length).ok_or(Undecodable)?;
            contents.applied.push(id);
            if !padding.is_empty() {
                contents.padding.insert(id, padding.to_vec());
            }
            bytes = rest;
        }
        Ok(Self(Arc::new(Mutex::new(contents))))
    }
}
