//! The pods of a run, and what is on its way between them, the log and the object store.

use std::collections::BTreeMap;

use starling_replica::batch::{LogMessage, LogPosition, PodIncarnation};
use starling_replica::memory_log::{MemoryLog, PublishFate};
use starling_replica::output::{Answer, Output, OverReason, PeerReport, SnapshotChoice};
use starling_replica::replica::{ObjectStoreUnreachable, PublishFault};
use starling_replica::{Replica, ReplicaSettings};
use starling_testkit::Rng;

use crate::checks::{Checks, Coverage};
use crate::clients::Clients;
use crate::faults::{Faults, Profile};
use crate::state::{Outcome, SimState};

/// The time of a step.
pub(crate) const STEP_MS: u64 = 50;

/// When a run begins, in milliseconds.
pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;

/// What reaches a pod.
#[derive(Debug)]
enum Input {
    Message(LogMessage),
    Fetched(Vec<LogMessage>, u64),
    Published(Result<u64, PublishFault>),
    Extent(u64, u64),
    Loaded(SnapshotChoice, Result<Option<Vec<u8>>, ObjectStoreUnreachable>),
    Stored(String, bool),
    Peer(PeerReport),
}

/// One pod, whether its process runs or not.
#[derive(Debug)]
pub(crate) struct Pod {
    /// `None` when it was killed.
    pub(crate) replica: Option<Replica<SimState>>,
    pub(crate) paused_until: u64,
    pub(crate) is_cut_from_log: bool,
    pub(crate) is_cut_from_peers: bool,
    /// How many of a hundred messages are lost on the way to it.
    pub(crate) lost_percent: u64,
    /// How often the log had lost something when the process began.
    pub(crate) losses_before: u64,
    /// The history that was looked at last.
    pub(crate) checked: LogPosition,
    inbox: BTreeMap<(u64, u64), Input>,
    reported_at: u64,
}

impl Pod {
    /// The replica of a pod that was not killed.
    pub(crate) fn replica(&self) -> &Replica<SimState> {
        self.replica.as_ref().expect("the pod was not killed")
    }

    pub(crate) fn runs(&self, now: u64) -> bool {
        self.replica.is_some() && now >= self.paused_until
    }
}

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) name: String,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) steps: u64,
    pub(crate) log: MemoryLog,
    pub(crate) pods: Vec<Pod>,
    pub(crate) clients: Clients,
    pub(crate) faults: Faults,
    pub(crate) checks: Checks,
    pub(crate) coverage: Coverage,
    /// What was answered to those who are no client.
    pub(crate) answers: BTreeMap<u64, Answer<Outcome>>,
    pub(crate) asked: u64,
    /// Why incarnations were over.
    pub(crate) ended: Vec<OverReason>,
    /// What pods that are started can apply.
    pub(crate) level: u32,
    /// Whether pods wake only when something comes or a tick is due, and not at each step.
    pub(crate) ticks_when_due: bool,
    sent: u64,
    incarnations: u64,
}

/// Short times for what is rare, so that much of it happens.
pub(crate) fn settings(level: u32) -> ReplicaSettings {
    ReplicaSettings {
        level,
        snapshot_entries: 150,
        snapshot_ms: 20_000,
        compare_ms: 7_000,
        activate_after_ms: Some(40_000),
        ahead_entries: 64,
        batch_items: 32,
        queue_items: 200,
        part_bytes: 2_048,
        ..ReplicaSettings::default()
    }
}

impl Cluster {
    pub(crate) fn new(seed: u64, profile: Profile) -> Self {
        let count = 2 + Rng::new(seed).index(6);
        Self::with_pods(seed, profile, count)
    }

    pub(crate) fn with_pods(seed: u64, profile: Profile, count: usize) -> Self {
        let mut rng = Rng::new(seed);
        let mut cluster = Self {
            name: format!("seed {seed}"),
            now: BEGIN_MS,
            steps: 0,
            log: MemoryLog::new(),
            pods: Vec::new(),
            clients: Clients::new(rng.bits()),
            faults: Faults::new(profile),
            checks: Checks::default(),
            coverage: Coverage::default(),
            answers: BTreeMap::new(),
            asked: 0,
            ended: Vec::new(),
            level: 1,
            ticks_when_due: false,
            sent: 0,
            incarnations: 0,
            rng,
        };
        for _ in 0..count {
            cluster.pods.push(Pod {
                replica: None,
                paused_until: 0,
                is_cut_from_log: false,
                is_cut_from_peers: false,
                lost_percent: 0,
                losses_before: 0,
                checked: LogPosition::default(),
                inbox: BTreeMap::new(),
                reported_at: 0,
            });
        }
        (0..cluster.pods.len()).for_each(|at| cluster.start(at));
        cluster
    }

    pub(crate) fn start(&mut self, at: usize) {
        let incarnation = self.incarnation();
        self.pods[at].inbox.clear();
        self.pods[at].losses_before = self.faults.losses;
        self.pods[at].replica = Some(Replica::new(settings(self.level), incarnation, self.now));
        self.carry_out(at);
    }

    fn incarnation(&mut self) -> PodIncarnation {
        self.incarnations += 1;
        PodIncarnation(self.rng.bits() << 16 | self.incarnations)
    }

    pub(crate) fn kill(&mut self, at: usize) {
        self.pods[at].replica = None;
        self.pods[at].inbox.clear();
        self.pods[at].paused_until = 0;
        self.clients.pod_is_over(at);
    }

    /// One step: faults, what is on its way, clients, time.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        self.now += STEP_MS;
        Faults::happen(self);
        self.advance();
        Clients::act(self);
    }

    pub(crate) fn advance(&mut self) {
        self.log.advance(self.now);
        for message in self.log.take_written() {
            for at in 0..self.pods.len() {
                let is_lost = self.rng.chance(self.pods[at].lost_percent);
                if !self.pods[at].is_cut_from_log && !is_lost {
                    let delay = if self.rng.one_in(20) { self.rng.below(400) } else { self.rng.below(20) };
                    self.send(at, delay, Input::Message(message.clone()));
                }
            }
        }
        for (incarnation, result) in self.log.take_answers() {
            let to = |pod: &Pod| pod.replica.as_ref().is_some_and(|replica| replica.incarnation() == incarnation);
            if let Some(at) = self.pods.iter().position(to).filter(|at| !self.pods[*at].is_cut_from_log) {
                self.send(at, 0, Input::Published(result));
            }
        }
        self.report();
        let count = self.pods.len();
        let first = self.rng.index(count);
        for at in (first..first + count).map(|at| at % count) {
            if self.pods[at].runs(self.now) {
                self.deliver(at);
            }
        }
    }

    fn report(&mut self) {
        for from in 0..self.pods.len() {
            let pod = &mut self.pods[from];
            if !pod.runs(self.now) || pod.is_cut_from_peers || self.now < pod.reported_at + 1_000 {
                continue;
            }
            pod.reported_at = self.now;
            let report = pod.replica().report();
            for to in (0..self.pods.len()).filter(|to| *to != from) {
                if !self.pods[to].is_cut_from_peers {
                    let delay = self.rng.below(20);
                    self.send(to, delay, Input::Peer(report));
                }
            }
        }
    }

    fn send(&mut self, at: usize, delay: u64, input: Input) {
        self.sent += 1;
        self.pods[at].inbox.insert((self.now + delay, self.sent), input);
    }

    fn deliver(&mut self, at: usize) {
        let now = self.now;
        if !self.ticks_when_due {
            self.with_replica(at, |replica| replica.tick(now));
            return self.take_in(at);
        }
        let is_due = now >= self.pods[at].replica().next_due();
        let is_reached = self.pods[at].inbox.first_key_value().is_some_and(|((due, _), _)| *due <= now);
        if is_due || is_reached {
            self.with_replica(at, |_| {});
            self.take_in(at);
            self.with_replica(at, |_| {});
        } else if self.steps.is_multiple_of(2) {
            // Every second time the pod does not even wake.
            self.tick_in_vain(at);
        }
    }

    fn take_in(&mut self, at: usize) {
        let now = self.now;
        while let Some(due) = self.pods[at].inbox.first_entry().filter(|first| first.key().0 <= now) {
            let input = due.remove();
            self.with_replica(at, |replica| match input {
                Input::Message(message) => replica.message(message),
                Input::Fetched(messages, first) => replica.fetched(messages, first),
                Input::Published(result) => replica.published(result),
                Input::Extent(first, last) => replica.extent(first, last),
                Input::Loaded(choice, bytes) => replica.loaded(&choice, bytes),
                Input::Stored(name, is_stored) => replica.stored(&name, is_stored),
                Input::Peer(report) => replica.peer(report),
            });
        }
    }

    /// A tick that is not due asks for nothing.
    fn tick_in_vain(&mut self, at: usize) {
        let (now, replica) = (self.now, self.pods[at].replica.as_mut().expect("it runs"));
        let due = replica.next_due();
        replica.tick(now);
        let output = replica.next_output();
        assert_eq!(output, None, "{}, step {}: pod {at}, due at {due}, now {now}", self.name, self.steps);
    }

    /// Tells a replica the time, has it do something, looks whether everything holds, and carries out what it asks for.
    pub(crate) fn with_replica<T>(&mut self, at: usize, act: impl FnOnce(&mut Replica<SimState>) -> T) -> T {
        let replica = self.pods[at].replica.as_mut().expect("it runs");
        if self.ticks_when_due {
            replica.tick(self.now);
        }
        let result = act(replica);
        self.check_pod(at);
        self.carry_out(at);
        result
    }

    fn carry_out(&mut self, at: usize) {
        while let Some(output) = self.pods[at].replica.as_mut().and_then(Replica::next_output) {
            self.carry_out_one(at, output);
        }
    }

    fn carry_out_one(&mut self, at: usize, output: Output<Outcome>) {
        let is_cut = self.pods[at].is_cut_from_log;
        let is_reached = !is_cut && !self.log.is_electing();
        match output {
            Output::Publish { bytes, expect_last } => {
                let delivery = if is_cut { PublishFate::default() } else { self.faults.delivery(&mut self.rng) };
                let from = self.pods[at].replica().incarnation();
                self.log.publish(from, &bytes, expect_last, &delivery);
            }
            Output::Fetch { from, to } if !is_cut => {
                self.coverage.fetches += 1;
                // Any replica of the log answers, also without a leader.
                let is_stale = self.rng.chance(self.faults.profile.stale_percent);
                let (messages, first) = if is_stale { self.log.get_stale(from, to) } else { self.log.get(from, to) };
                if !self.rng.chance(self.faults.profile.absent_percent) {
                    let delay = self.rng.below(30);
                    self.send(at, delay, Input::Fetched(messages, first));
                }
            }
            Output::AskExtent if is_reached => {
                let extent = Input::Extent(self.log.first(), self.log.last());
                let delay = self.rng.below(30);
                self.send(at, delay, extent);
            }
            Output::Load(choice) if is_reached => {
                let bytes = if self.rng.chance(self.faults.profile.store_fault_percent) {
                    Err(ObjectStoreUnreachable)
                } else {
                    Ok(self.log.load(&choice))
                };
                let delay = self.rng.below(100);
                self.send(at, delay, Input::Loaded(choice, bytes));
            }
            Output::Store { name, bytes } if is_reached => {
                let is_stored = !self.rng.chance(self.faults.profile.store_fault_percent);
                if is_stored {
                    self.log.store(&name, bytes);
                }
                let delay = self.rng.below(100);
                self.send(at, delay, Input::Stored(name, is_stored));
            }
            Output::Purge { below } if is_reached => {
                self.check_purge(at, below);
                self.coverage.purges += 1;
                self.log.purge(below);
            }
            Output::Fetch { .. }
            | Output::AskExtent
            | Output::Load(_)
            | Output::Store { .. }
            | Output::Purge { .. } => {}
            Output::Resolve { id, answer } if id <= self.asked => drop(self.answers.insert(id, answer)),
            Output::Resolve { id, answer } => Clients::resolved(self, at, id, answer),
            Output::Over(reason) => {
                self.check_over(at, reason);
                self.ended.push(reason);
                self.clients.pod_is_over(at);
                let (incarnation, now) = (self.incarnation(), self.now);
                self.with_replica(at, |replica| replica.restart(incarnation, now));
            }
            Output::Replaced => self.coverage.replaced += 1,
            Output::Access(access) => self.check_access(at, access),
            Output::PodGone(_) => self.coverage.gone += 1,
            Output::Alarm(alarm) => self.check_alarm(alarm),
        }
    }

    /// All faults end, all pods run, and clients leave their sessions alone: time passes until everything is over.
    pub(crate) fn calm_down(&mut self) {
        Faults::end(self);
        self.clients.close_all_soon();
        for _ in 0..(90_000 / STEP_MS) {
            self.steps += 1;
            self.now += STEP_MS;
            self.advance();
            Clients::act(self);
        }
    }
}
