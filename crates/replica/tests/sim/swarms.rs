//! Real swarms behind the log: the core's commands, rules and byte forms, as every pod of a cluster applies them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use starling_core::hash::FixedHasher;
use starling_core::id::PodId;
use starling_core::state::LeaveReason;
use starling_core::wire::{self, state::StateVersion};
use starling_core::{
    Command, Epoch, Rejection, SessionId, SharedCommand, Swarm, SwarmId, SwarmKind, Upkeep, apply, upkeep,
};
use starling_replica::batch::StreamSession;
use starling_replica::state::{LogTime, Undecodable};

/// One command in so many has every invariant of its swarm looked at.
const CHECKED_ONE_IN: u64 = 8;

/// What a command did that was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwarmChange {
    pub(crate) revision: u64,
    pub(crate) session: Option<SessionId>,
}

/// A revision with all that it told: it never stands for anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldRevision {
    pub(crate) swarm: SwarmId,
    pub(crate) epoch: Epoch,
    pub(crate) revision: u64,
    /// Of its events.
    pub(crate) digest: u64,
}

/// A swarm with its digest, until it changes.
#[derive(Debug)]
struct Kept {
    swarm: Box<Swarm>,
    digest: Cell<Option<u64>>,
}

/// The swarms of a partition.
#[derive(Debug, Default)]
pub(crate) struct Swarms {
    by_id: BTreeMap<SwarmId, Kept>,
    due: BTreeSet<(u64, SwarmId)>,
    /// For those who watch; no part of the state: what was told, and sessions that ended because nobody kept them.
    pub(crate) told: Vec<ToldRevision>,
    pub(crate) expired: Vec<(SwarmId, SessionId)>,
}

impl Swarms {
    /// How many swarms there are.
    pub(crate) fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Sessions of all swarms.
    pub(crate) fn members(&self) -> usize {
        self.by_id.values().map(|kept| kept.swarm.roster().len()).sum()
    }

    /// When the next thing falls due.
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Has something done to a slot, and notes what came of it.
    fn with_slot<T>(
        &mut self,
        id: SwarmId,
        act: impl FnOnce(&mut Option<Box<Swarm>>) -> (T, Option<starling_core::Applied>),
    ) -> T {
        let mut slot = self.by_id.remove(&id).map(|kept| kept.swarm);
        if let Some(due) = slot.as_ref().and_then(|swarm| swarm.next_expiry()) {
            self.due.remove(&(due, id));
        }
        let (result, applied) = act(&mut slot);
        if let Some(swarm) = slot {
            let (epoch, revision) = (swarm.epoch(), swarm.revision());
            if revision % CHECKED_ONE_IN == 0 {
                swarm.check();
            }
            if let Some(applied) = &applied
                && !applied.events.is_empty()
            {
                let digest = FixedHasher::digest(&format!("{:?}", applied.events));
                self.told.push(ToldRevision { swarm: id, epoch, revision, digest });
            }
            self.due.extend(swarm.next_expiry().map(|due| (due, id)));
            self.by_id.insert(id, Kept { swarm, digest: Cell::new(None) });
        }
        let ended = applied.into_iter().flat_map(|applied| applied.ended);
        self.expired
            .extend(ended.filter(|(_, reason)| *reason == LeaveReason::Timeout).map(|(session, _)| (id, session)));
        result
    }

    /// Carries out a command in the byte form of the core that came from a pod.
    pub(crate) fn apply(
        &mut self,
        bytes: &[u8],
        pod: PodId,
        at: LogTime,
    ) -> Result<Result<SwarmChange, Rejection>, Undecodable> {
        let (id, _, command) = wire::decode(bytes).map_err(|_| Undecodable)?;
        Ok(self.command(id, command.on_pod(pod), at))
    }

    pub(crate) fn command(&mut self, id: SwarmId, command: Command, at: LogTime) -> Result<SwarmChange, Rejection> {
        self.with_slot(id, |slot| match apply(slot, command, at.lease) {
            Ok((applied, _)) => {
                let (revision, session) = (applied.revision, applied.session);
                (Ok(SwarmChange { revision, session }), Some(applied))
            }
            Err(rejection) => (Err(rejection), None),
        })
    }

    pub(crate) fn attach(&mut self, stream: StreamSession, pod: PodId, at: LogTime) -> Result<SwarmChange, Rejection> {
        let attach = SharedCommand::Attach(stream.node, stream.session, pod);
        self.command(stream.swarm, attach.into(), at)
    }

    pub(crate) fn detach(&mut self, stream: StreamSession, pod: PodId, at: LogTime) -> Result<SwarmChange, Rejection> {
        let detach = SharedCommand::Detach(stream.node, stream.session, pod);
        self.command(stream.swarm, detach.into(), at)
    }

    pub(crate) fn carry_out_due(&mut self, at: LogTime, most: usize) -> usize {
        let mut done = 0;
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= at.lease && done < most) {
            let work = Upkeep::Expire { most: most - done };
            let (is_there, carried_out) = self.with_slot(id, |slot| {
                let (upkept, _) = upkeep(slot, work, at.lease);
                ((slot.is_some(), upkept.done), Some(upkept.applied))
            });
            assert!(carried_out > 0 || !is_there, "what is due is carried out");
            done += carried_out.max(1);
        }
        done
    }

    pub(crate) fn detach_gone(&mut self, pod: PodId, gone_at: u64, at: LogTime, most: usize) -> usize {
        let of_pod = self.by_id.iter().filter(|(_, kept)| kept.swarm.pods().contains(&pod));
        let ids: Vec<_> = of_pod.map(|(id, _)| *id).collect();
        let mut done = 0;
        for id in ids {
            if done < most {
                let work = Upkeep::DetachGone { pod, gone_at, most: most - done };
                done += self.with_slot(id, |slot| {
                    let (upkept, _) = upkeep(slot, work, at.lease);
                    (upkept.done, Some(upkept.applied))
                });
            }
        }
        done
    }

    pub(crate) fn attached(&self, pod: PodId) -> impl Iterator<Item = StreamSession> {
        self.by_id.iter().flat_map(move |(swarm, kept)| {
            let members = kept.swarm.roster().iter().filter(move |(_, member)| member.lease.is_attached_to(pod));
            members.map(|(_, member)| StreamSession { swarm: *swarm, node: member.node, session: member.session })
        })
    }

    pub(crate) fn raise(&mut self, steps: u64) {
        for kept in self.by_id.values_mut() {
            kept.swarm.raise(steps << 20);
            kept.digest.set(None);
        }
        // What was told before it was told in another life of the log.
        self.told.clear();
    }

    pub(crate) fn digest(&self) -> u64 {
        let digests = self.by_id.iter().map(|(id, kept)| {
            let running = || wire::state::running_digest(&kept.swarm, StateVersion::V1);
            let digest = kept.digest.get().unwrap_or_else(running);
            kept.digest.set(Some(digest));
            (*id, digest)
        });
        FixedHasher::digest(&digests.collect::<Vec<_>>())
    }

    /// The byte form of the swarm at a place; `None` when there is none.
    pub(crate) fn encode_at(&self, place: usize, out: &mut Vec<u8>) -> Option<()> {
        let (id, kept) = self.by_id.iter().nth(place)?;
        let bytes = wire::state::encode(&kept.swarm, StateVersion::V1);
        out.push(u8::from(id.kind == SwarmKind::Group));
        out.extend(id.get().to_le_bytes());
        out.extend((bytes.len() as u64).to_le_bytes());
        out.extend(bytes);
        Some(())
    }

    /// Takes the next swarm of a byte form.
    pub(crate) fn take(&mut self, rest: &mut &[u8]) -> Result<(), Undecodable> {
        let (kind, after) = rest.split_first().ok_or(Undecodable)?;
        *rest = after;
        let kind = if *kind == 0 { SwarmKind::Livestream } else { SwarmKind::Group };
        let id = SwarmId::new(kind, crate::model::take_word(rest)?).ok_or(Undecodable)?;
        let length = usize::try_from(crate::model::take_word(rest)?).map_err(|_| Undecodable)?;
        let (bytes, after) = rest.split_at_checked(length).ok_or(Undecodable)?;
        *rest = after;
        let swarm = Box::new(wire::state::decode(bytes).map_err(|_| Undecodable)?);
        swarm.check();
        self.due.extend(swarm.next_expiry().map(|due| (due, id)));
        self.by_id.insert(id, Kept { swarm, digest: Cell::new(None) });
        Ok(())
    }

    /// A digest of all bytes of all swarms: what the running one must agree with.
    pub(crate) fn full_digest(&self) -> u64 {
        let digests = self.by_id.iter().map(|(id, kept)| (*id, wire::state::digest(&kept.swarm, StateVersion::V1)));
        FixedHasher::digest(&digests.collect::<Vec<_>>())
    }
}
