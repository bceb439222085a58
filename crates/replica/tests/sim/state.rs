//! What the log's entries are applied to: the model, and real swarms beside it.
//!
//! Each finds what the other does not. The model is cheap, so that more happens in a second, and its commands have
//! numbers, by which it shows that each is applied once; real swarms have all rules and byte forms of the core.

use starling_core::hash::FixedHasher;
use starling_core::id::PodId;
use starling_core::{Rejection, SwarmId};
use starling_replica::batch::StreamSession;
use starling_replica::state::{LogTime, State, StateChange, Undecodable};

use crate::model::{self, Model, take_word};
use crate::swarms::{SwarmChange, Swarms};

/// The tag of a command of the core, which follows its number.
const OF_SWARMS: u8 = 9;

/// From here on the model's parts of a snapshot follow those of swarms.
const MODEL_PARTS: u64 = 1 << 60;

/// Real swarms have numbers from here on.
pub(crate) const FIRST_SWARM: u64 = 100;

/// What a change came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done(SwarmChange),
    NoSuchSession,
    Refused(Rejection),
}

impl From<model::Outcome> for Outcome {
    fn from(outcome: model::Outcome) -> Self {
        match outcome {
            model::Outcome::Done { revision } => Self::Done(SwarmChange { revision, session: None }),
            model::Outcome::NoSuchSession => Self::NoSuchSession,
        }
    }
}

impl From<Result<SwarmChange, Rejection>> for Outcome {
    fn from(result: Result<SwarmChange, Rejection>) -> Self {
        result.map_or_else(Self::Refused, Self::Done)
    }
}

#[derive(Debug, Default)]
pub(crate) struct SimState {
    pub(crate) model: Model,
    pub(crate) swarms: Swarms,
}

/// A command of the core under a number of the simulation.
pub(crate) fn numbered(number: u64, command: &[u8]) -> Vec<u8> {
    [&[OF_SWARMS][..], &number.to_le_bytes(), command].concat()
}

const fn is_real(swarm: SwarmId) -> bool {
    swarm.get() >= FIRST_SWARM
}

impl State for SimState {
    type Outcome = Outcome;

    fn apply(&mut self, change: StateChange<'_>, at: LogTime) -> Result<Outcome, Undecodable> {
        assert!(self.swarms.next_due().is_none_or(|due| due > at.lease), "what is due is carried out first");
        match change {
            StateChange::Command([OF_SWARMS, rest @ ..], pod) => {
                let mut rest = rest;
                let number = take_word(&mut rest)?;
                let outcome = self.swarms.apply(rest, pod, at)?;
                self.model.note(number, at.lease);
                Ok(outcome.into())
            }
            StateChange::Attach(stream, pod) if is_real(stream.swarm) => Ok(self.swarms.attach(stream, pod, at).into()),
            StateChange::Detach(stream, pod) if is_real(stream.swarm) => Ok(self.swarms.detach(stream, pod, at).into()),
            change => Ok(self.model.apply(change, at)?.into()),
        }
    }

    fn carry_out_due(&mut self, at: LogTime, most: usize) -> usize {
        let done = self.model.carry_out_due(at, most);
        done + self.swarms.carry_out_due(at, most - done)
    }

    fn pod_gone(&mut self, _: PodId, _: LogTime) {
        // Homes are cleared with the sessions.
    }

    fn detach_gone(&mut self, pod: PodId, gone_at: u64, at: LogTime, most: usize) -> usize {
        let done = self.model.detach_gone(pod, gone_at, most);
        done + self.swarms.detach_gone(pod, gone_at, at, most - done)
    }

    fn attached(&self, pod: PodId) -> Vec<StreamSession> {
        let mut attached: Vec<_> = self.model.attached(pod).chain(self.swarms.attached(pod)).collect();
        attached.sort_unstable();
        attached
    }

    fn raise(&mut self, steps: u64) {
        self.model.raise(steps);
        self.swarms.raise(steps);
    }

    fn digest(&self) -> u64 {
        FixedHasher::digest(&(self.model.digest(), self.swarms.digest()))
    }

    fn encode_part(&self, _: u32, from: u64, most: usize, out: &mut Vec<u8>) -> Option<u64> {
        if let Some(of_model) = from.checked_sub(MODEL_PARTS) {
            return self.model.encode_part(of_model, most, out).map(|next| MODEL_PARTS + next);
        }
        if from == 0 {
            out.extend((self.swarms.count() as u64).to_le_bytes());
        }
        let place = usize::try_from(from).expect("few swarms");
        Some(self.swarms.encode_at(place, out).map_or(MODEL_PARTS, |()| from + 1))
    }

    fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut rest = bytes;
        let mut swarms = Swarms::default();
        for _ in 0..take_word(&mut rest)? {
            swarms.take(&mut rest)?;
        }
        Ok(Self { model: Model::decode(rest)?, swarms })
    }
}
