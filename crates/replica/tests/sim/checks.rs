//! What must hold, after each event and at the end.

use std::collections::{BTreeMap, BTreeSet};

use starling_core::{Epoch, SwarmId};
use starling_replica::batch::{LogId, StreamSession};
use starling_replica::output::{Alarm, LogAccess, NotReady, OverReason};
use starling_replica::partition::PartitionPhase;
use starling_replica::{Batch, BatchItem, LogMessage, PodIncarnation};

use crate::clients::Fate;
use crate::cluster::Cluster;
use crate::swarms::ToldRevision;

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    /// The digest of partition and state at each history.
    digests: BTreeMap<(u64, u64), u64>,
    /// The digest of all bytes of all swarms at some of them.
    full_digests: BTreeMap<(u64, u64), u64>,
    highest_revision: u64,
    /// What each revision of a swarm has told, and in which life of the log.
    told: BTreeMap<(SwarmId, Epoch, u64), (LogId, u64)>,
    /// The lives of the log in which anything counted.
    pub(crate) lives: BTreeSet<LogId>,
    pub(crate) loses: bool,
    /// Nothing may stop.
    pub(crate) is_strict: bool,
    /// A state was changed by hand.
    pub(crate) is_tampered: bool,
}

/// How often what happened, so that a run that shows nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub(crate) entries: u64,
    pub(crate) applied: u64,
    pub(crate) unknown: u64,
    pub(crate) not_applied: u64,
    pub(crate) full: u64,
    pub(crate) barriers: u64,
    pub(crate) expired: u64,
    pub(crate) gone: u64,
    pub(crate) over: u64,
    pub(crate) replaced: u64,
    pub(crate) reseeds: u64,
    pub(crate) broken: u64,
    pub(crate) purges: u64,
    pub(crate) elections: u64,
    pub(crate) kills: u64,
    pub(crate) losses: u64,
    pub(crate) behind: u64,
    pub(crate) told: u64,
    pub(crate) left_swarms: u64,
    pub(crate) swarm_commands: u64,
    pub(crate) fetches: u64,
}

impl Coverage {
    fn parts(&mut self) -> [(&'static str, &mut u64); 21] {
        [
            ("entries", &mut self.entries),
            ("applied", &mut self.applied),
            ("unknown", &mut self.unknown),
            ("not applied", &mut self.not_applied),
            ("full", &mut self.full),
            ("barriers", &mut self.barriers),
            ("expired", &mut self.expired),
            ("gone", &mut self.gone),
            ("over", &mut self.over),
            ("replaced", &mut self.replaced),
            ("reseeds", &mut self.reseeds),
            ("broken", &mut self.broken),
            ("purges", &mut self.purges),
            ("elections", &mut self.elections),
            ("kills", &mut self.kills),
            ("losses", &mut self.losses),
            ("behind", &mut self.behind),
            ("told", &mut self.told),
            ("left swarms", &mut self.left_swarms),
            ("swarm commands", &mut self.swarm_commands),
            ("fetches", &mut self.fetches),
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = *other;
        for ((_, own), (_, more)) in self.parts().into_iter().zip(other.parts()) {
            *own += *more;
        }
    }

    /// Panics when something never happened.
    pub(crate) fn assert_all(&mut self) {
        let never: Vec<_> = self.parts().into_iter().filter(|(_, count)| **count == 0).map(|(name, _)| name).collect();
        assert!(never.is_empty(), "never seen: {never:?}");
    }
}

fn says_gone(message: &LogMessage, keeper: PodIncarnation) -> bool {
    let items = Batch::decode(&message.bytes).map(|batch| batch.items).unwrap_or_default();
    items.iter().any(|item| matches!(item, BatchItem::PodGone { incarnation, .. } if *incarnation == keeper))
}

impl Cluster {
    /// After each event of a pod.
    pub(crate) fn check_pod(&mut self, at: usize) {
        let place = format!("{}, step {}, pod {at}", self.name, self.steps);
        let Some(replica) = self.pods[at].replica.as_mut() else { return };
        let world = replica.world();
        let position = world.partition.position();
        if let PartitionPhase::Broken { .. } = world.partition.phase() {
            self.coverage.broken += 1;
            assert!(self.faults.losses > 0, "{place}: the log is broken, and nothing was lost");
        }
        if std::mem::replace(&mut self.pods[at].checked, position) == position {
            return;
        }
        // What a process has read that began after the last loss is what the log has, unless a replica of the log that was
        // cut off before has answered it.
        let may_be_stale = self.faults.losses > 0 && self.faults.profile.stale_percent > 0;
        // A snapshot is there before it is known whether it lies in this log.
        let is_read = self.pods[at].replica().readiness() != Err(NotReady::Loading);
        if is_read && self.pods[at].losses_before == self.faults.losses && !may_be_stale {
            let (sequence, last) = (position.sequence, self.log.last());
            assert!(sequence <= last, "{place}: it has applied {sequence}, and the log ends at {last}");
            let message = self.log.get(sequence, sequence).0.pop();
            let has = message.and_then(|message| self.pods[at].replica().world().partition.history().has(&message));
            assert_ne!(has, Some(false), "{place}: it has applied something else at {sequence}");
        }
        let replica = self.pods[at].replica.as_mut().expect("it was there");
        let world = replica.world();
        if position.sequence > 0 && !self.checks.is_tampered {
            self.coverage.entries += 1;
            let digest = world.digest();
            let known = *self.checks.digests.entry((position.hash, position.sequence)).or_insert(digest);
            assert_eq!(known, digest, "{place}: another state at the same history, {position:?}");
            if position.sequence % 32 == 0 {
                let digest = world.state.swarms.full_digest();
                let known = *self.checks.full_digests.entry((position.hash, position.sequence)).or_insert(digest);
                assert_eq!(known, digest, "{place}: other swarms at the same history, {position:?}");
            }
        }
        if world.partition.phase() == PartitionPhase::Open {
            self.checks.lives.insert(world.partition.log());
        }
        let revision = world.state.model.revision();
        let log = world.partition.log();
        let (mut expired, mut raised, mut told, mut of_swarms) = (Vec::new(), None, Vec::new(), Vec::new());
        replica.look_at_state(|state| {
            expired = std::mem::take(&mut state.model.expired);
            raised = state.model.raised.take();
            told = std::mem::take(&mut state.swarms.told);
            of_swarms = std::mem::take(&mut state.swarms.expired);
        });
        told.into_iter().for_each(|told| self.check_told(told, log, &place));
        if let Some((before, after)) = raised {
            self.coverage.reseeds += 1;
            // Later ones may go on from a state of before the last one: there, what swarms tell shows it.
            let is_above = after > self.checks.highest_revision || self.coverage.reseeds > 1;
            assert!(is_above && after > before, "{place}: {after} has two meanings");
        }
        self.checks.highest_revision = self.checks.highest_revision.max(revision);
        for expired in expired {
            self.check_expired(at, expired.stream, &place);
        }
        for (swarm, session) in of_swarms {
            let known = self.clients.sessions.keys().find(|stream| (stream.swarm, stream.session) == (swarm, session));
            if let Some(stream) = known.copied() {
                self.coverage.left_swarms += 1;
                self.check_expired(at, stream, &place);
            }
        }
    }

    /// A pod has applied what a revision of a swarm tells: it never tells anything else.
    fn check_told(&mut self, told: ToldRevision, log: LogId, place: &str) {
        self.coverage.told += 1;
        let ToldRevision { swarm, epoch, revision, digest } = told;
        let known = *self.checks.told.entry((swarm, epoch, revision)).or_insert((log, digest));
        // Until a loss is found, two pods may read two logs of one life.
        let is_of_one_life = known.0 == log && self.faults.losses > 0;
        assert!(known.1 == digest || is_of_one_life, "{place}: revision {revision} of {swarm:?} has two meanings");
    }

    /// A pod deletes only what it has read itself.
    pub(crate) fn check_purge(&self, at: usize, below: u64) {
        let history = self.pods[at].replica().world().partition.history();
        let (messages, _) = self.log.get(1, below);
        let is_other = messages.iter().any(|message| history.has(message) == Some(false));
        assert!(!is_other, "{}, step {}: pod {at} purges another log below {below}", self.name, self.steps);
    }

    /// Whether a session has a stream on a pod that is not gone, as far as any pod knows.
    pub(crate) fn is_kept(&self, stream: StreamSession) -> bool {
        let replicas = || self.pods.iter().filter_map(|pod| pod.replica.as_ref());
        let Some(newest) = replicas().max_by_key(|replica| replica.world().partition.position().sequence) else {
            return false;
        };
        let mut keepers = self.clients.keepers(stream);
        keepers.any(|keeper| {
            let keeper = self.pods[keeper].replica.as_ref().map(|replica| replica.incarnation());
            let Some(keeper) = keeper else { return false };
            // The log may say already what nobody has read yet.
            let (unread, _) = self.log.get(newest.world().partition.position().sequence + 1, u64::MAX);
            let is_said_gone = unread.iter().any(|message| says_gone(message, keeper));
            newest.world().partition.pod(keeper).is_some() && !is_said_gone
        })
    }

    /// A session has ended by its lease, on this pod.
    fn check_expired(&mut self, at: usize, stream: StreamSession, place: &str) {
        self.coverage.expired += 1;
        if self.faults.losses > 0 {
            return;
        }
        let world = self.pods[at].replica().world();
        for keeper in self.clients.keepers(stream) {
            let Some(replica) = &self.pods[keeper].replica else { continue };
            let is_registered = world.partition.pod(replica.incarnation()).is_some();
            assert!(!is_registered, "{place}: {stream:?} is over, and has a stream on pod {keeper}");
        }
        if let Some(client) = self.clients.sessions.get(&stream) {
            let forward = self.faults.forward_steps - client.forward_steps.min(self.faults.forward_steps);
            let least = (client.kept_at + client.ttl_ms).saturating_sub(3_000 * forward + 1_000);
            assert!(
                self.now >= least,
                "{place}: {stream:?} is over {} ms too early: {client:?}, {forward} steps, {}",
                least - self.now,
                self.describe()
            );
        }
    }

    pub(crate) fn check_over(&mut self, at: usize, reason: OverReason) {
        self.coverage.over += 1;
        let place = format!("{}, step {}, pod {at}", self.name, self.steps);
        assert!(reason != OverReason::Diverged || self.checks.is_tampered, "{place}: no state was changed by hand");
        assert!(reason != OverReason::OtherLog || self.faults.losses > 0, "{place}: no log was lost");
        assert!(!self.checks.is_strict, "{place}: {reason:?}");
    }

    pub(crate) fn check_access(&mut self, at: usize, access: LogAccess) {
        self.coverage.behind += u64::from(access == LogAccess::Behind);
        let is_away = matches!(access, LogAccess::Alone | LogAccess::Behind | LogAccess::Stale);
        assert!(!self.checks.is_strict || !is_away, "{}, step {}, pod {at}: {access:?}", self.name, self.steps);
    }

    pub(crate) fn check_alarm(&self, alarm: Alarm) {
        let place = format!("{}, step {}", self.name, self.steps);
        match alarm {
            Alarm::Tie { sequence } => panic!("{place}: the states differ at {sequence}"),
            Alarm::Lost { entries } => assert!(self.faults.losses > 0, "{place}: {entries} entries are lost"),
            Alarm::UnreadableSnapshot => {}
        }
    }

    /// Where everybody is, for whoever looks at a failure.
    fn describe(&self) -> String {
        let mut text = format!("log {}..={}, {:?}", self.log.first(), self.log.last(), self.log.object_names());
        for pod in &self.pods {
            let Some(replica) = &pod.replica else { continue };
            let debug = format!("{replica:?}");
            let mode = debug.split("mode: ").nth(1).and_then(|rest| rest.split(", outputs").next()).unwrap_or_default();
            let mode: String = mode.chars().take(200).collect();
            let partition = &replica.world().partition;
            let (log, position, phase) = (partition.log(), partition.position().sequence, partition.phase());
            let held = replica.readable().partition.position().sequence;
            text += &format!(
                "\n{:?} {log:?} at {position} {phase:?}, holds {held}, {:?}: {mode}",
                replica.incarnation(),
                replica.readiness()
            );
        }
        text
    }

    /// Once all is calm again.
    pub(crate) fn check_end(&mut self) {
        self.coverage.losses += self.faults.losses;
        let name = &self.name;
        let mut positions = Vec::new();
        for (at, pod) in self.pods.iter().enumerate() {
            let replica = pod.replica();
            assert_eq!(replica.readiness(), Ok(()), "{name}: pod {at} is ready once all is calm: {}", self.describe());
        }
        for (at, pod) in self.pods.iter().enumerate() {
            let replica = pod.replica();
            let world = replica.world();
            positions.push(world.partition.position().sequence);
            let members = world.state.model.members() + world.state.swarms.members();
            assert_eq!(members, 0, "{name}: pod {at} has sessions that nobody keeps");
            assert_eq!(world.state.swarms.count(), 0, "{name}: pod {at} has swarms that nobody is in");
            assert_eq!(world.partition.pods().count(), self.pods.len(), "{name}: pod {at} knows all pods");
        }
        let (least, most) = (positions.iter().min().expect("pods"), positions.iter().max().expect("pods"));
        assert!(most - least <= 50, "{name}: all pods follow: {positions:?}");
        let logs: BTreeSet<_> = self.pods.iter().map(|pod| pod.replica().world().partition.log()).collect();
        assert_eq!(logs.len(), 1, "{name}: one log");
        let world = self.pods[0].replica().world();
        for (id, fate) in &self.clients.fates {
            let applied = world.state.model.applied(*id);
            match *fate {
                Fate::Applied => {
                    assert!(applied.is_some() || self.faults.losses > 0, "{name}: {id} was acknowledged, and is lost");
                }
                Fate::NotApplied => assert_eq!(applied, None, "{name}: {id} was said not to be applied"),
                Fate::Unknown { clock } if self.faults.losses == 0 => {
                    // A pod that has just begun to load has no clock.
                    let is_settled = clock == 0 || applied.is_none_or(|at| at <= clock + 15_000);
                    assert!(is_settled, "{name}: {id} was applied at {applied:?}, and unknown at {clock}");
                }
                Fate::Unknown { .. } | Fate::Waiting => {}
            }
        }
        let known = self.clients.fates.len();
        assert!(world.state.model.applied_count() <= known, "{name}: nothing is applied that nobody asked for");
    }
}
