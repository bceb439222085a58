//! One pod's replica of one partition: what it does is a function of what it is told.
//!
//! It is told the time ([`Replica::tick`]), what the log says ([`Replica::message`], [`Replica::fetched`],
//! [`Replica::published`], [`Replica::extent`]), what the object store says ([`Replica::loaded`], [`Replica::stored`]),
//! what peers say ([`Replica::peer`]), and what clients want ([`Replica::submit`]). What it asks for in turn is taken by
//! [`Replica::next_output`]. It waits for nobody and touches nothing but its [`State`].
//!
//! The files below it: `starting` finds a snapshot that lies in the log, `following` applies entry after entry,
//! `submitting` sends batches, `reseeding` has the log go on after a loss, `snapshots` writes what others start from,
//! `access` says how far the pod is from the log, `status` tells operators, `due` when
//! the next tick is of use.

use std::collections::{BTreeMap, VecDeque};

use starling_core::hash::splitmix64;
use thiserror::Error;

use crate::ahead::Ahead;
use crate::batch::{BatchItem, LogId, LogMessage, LogPosition, PodIncarnation, StreamSession};
use crate::output::{LogAccess, Output, OverReason, PeerReport, StopReason, SubmissionId};
use crate::partition::Partition;
use crate::settings::ReplicaSettings;
use crate::state::State;
use crate::submissions::{InFlight, StreamCounts, SubmitQueue, Waiters};
use crate::world::{World, WorldEncoder};

mod access;
mod due;
mod following;
mod reseeding;
mod snapshots;
mod starting;
pub mod status;
mod submitting;

/// What a client wants of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogRequest {
    /// A command, in the byte form of the core.
    Command(Vec<u8>),
    /// The same, of CHAT: whatever is about membership goes first.
    Chat(Vec<u8>),
    /// A stream of a session has opened.
    Attach(StreamSession),
    /// A stream of a session has closed: nobody waits for it, and it is never refused.
    Detach(StreamSession),
    /// A negative answer is about to be given: it may be once this is answered.
    Barrier,
}

/// The queue is full: nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too much waits for the log")]
pub struct SubmitQueueFull;

/// Why a batch was not taken by the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PublishFault {
    /// It has no room.
    #[error("the log is full")]
    Full,
    /// It has another last sequence than was expected.
    #[error("the log has another last sequence")]
    OtherLast,
    /// It was not reached, or did not answer.
    #[error("the log cannot be reached")]
    Unreachable,
}

/// The object store did not answer: whether it has the object is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the object store cannot be reached")]
pub struct ObjectStoreUnreachable;

/// What a replica is busy with.
#[derive(Debug)]
enum Mode {
    /// The extent of the log was asked for.
    Asking { since: u64 },
    /// A snapshot was asked for, and so many newer ones are of no use.
    Loading { skipped: usize, since: u64 },
    /// Whether the snapshot's entry is in the log is being asked.
    Verifying { skipped: usize, since: u64 },
    /// Entries are applied as they come.
    Following,
    /// The snapshot of a Reseed was asked for.
    Reseeding { reseed: FoundReseed, since: u64, asked_at: u64 },
    /// Nothing is done any more.
    Stopped(StopReason),
}

/// A Reseed in the log.
#[derive(Debug)]
struct FoundReseed {
    message: LogMessage,
    replaced: LogId,
    log: LogId,
    name: String,
    digest: u64,
}

/// A Reseed that this pod wants to be the first.
#[derive(Debug)]
struct OwnReseed {
    replaced: LogId,
    log: LogId,
    name: String,
    digest: u64,
    /// When it was handed to the object store.
    handed_at: u64,
    is_stored: bool,
    sent_at: Option<u64>,
}

/// A snapshot on its way.
#[derive(Debug)]
enum Snapshotting {
    /// The applier stands still.
    Encoding { encoder: WorldEncoder, position: LogPosition, digest: u64 },
    /// It is being stored, and then loaded again.
    Storing { name: String, position: LogPosition, digest: u64, since: u64 },
}

/// A purge that is decided.
#[derive(Debug)]
struct PendingPurge {
    below: u64,
    check: Option<PurgeCheck>,
}

/// What is asked to know whether the log is still the one that this pod has read.
#[derive(Debug)]
struct PurgeCheck {
    /// The entry that is read again: a batch of this pod, which has just counted.
    sequence: u64,
    asked_at: u64,
    has_entry: bool,
    has_end: bool,
}

/// A peer, as it was heard last.
#[derive(Clone, Copy, Debug)]
struct HeardPeer {
    report: PeerReport,
    at: u64,
}

/// One pod's replica of one partition.
#[derive(Debug)]
pub struct Replica<S: State> {
    settings: ReplicaSettings,
    incarnation: PodIncarnation,
    drawn: u64,
    now: u64,
    mode: Mode,
    outputs: VecDeque<Output<S::Outcome>>,

    world: World<S>,
    /// What this pod has held since it found that the log was not what it had read.
    kept: Option<World<S>>,

    /// Messages whose turn has not come.
    ahead: Ahead,
    /// The highest sequence that anybody has spoken of.
    seen: u64,
    /// How many answers since then had nothing new.
    short_answers: u32,
    fetched_at: Option<u64>,
    /// The last sequence when the extent was asked for: the replica has caught up once it is there.
    extent: Option<(u64, u64)>,
    /// The sequence of an entry that is to be compared with what the log has.
    verify: Option<u64>,
    verified_at: Option<u64>,
    progress_at: u64,
    /// While nothing comes: when the log was looked at, and where this replica stood then.
    stall_asked: Option<(u64, u64)>,
    /// How often in a row the log was said to end before that.
    short_extents: u32,

    queue: SubmitQueue,
    in_flight: Option<InFlight>,
    waiters: Waiters,
    barriers: Vec<SubmissionId>,
    counts: StreamCounts,
    /// Whether what the log says of this pod's streams is to be compared with these.
    streams_unsettled: bool,
    /// The life of the log in which a batch of this incarnation has counted last.
    registered_in: Option<LogId>,
    alive_at: Option<u64>,
    heard_at: Option<u64>,
    proof_at: Option<u64>,
    log_is_full: bool,
    stopping: bool,
    activate: Option<u32>,
    digest_due: Option<BatchItem>,
    compared_at: u64,

    peers: BTreeMap<PodIncarnation, HeardPeer>,
    access: LogAccess,

    candidate_since: Option<u64>,
    born_at: Option<u64>,
    asked_born_at: Option<u64>,
    reseed: Option<OwnReseed>,

    snapshotting: Option<Snapshotting>,
    snapshot_last: Option<LogPosition>,
    snapshot_lease: u64,
    snapshot_wanted: bool,
    /// What may be purged once the log is known to be the same still.
    purge: Option<PendingPurge>,
}

impl<S: State> Replica<S> {
    /// The replica of a pod that starts at `now`, with 64 random bits that no other life of a pod has.
    pub fn new(settings: ReplicaSettings, incarnation: PodIncarnation, now: u64) -> Self {
        let mut replica = Self {
            incarnation,
            drawn: 0,
            now,
            mode: Mode::Following,
            outputs: VecDeque::new(),
            world: World::default(),
            kept: None,
            ahead: Ahead::new(settings.ahead_entries, settings.ahead_bytes),
            seen: 0,
            short_answers: 0,
            fetched_at: None,
            extent: None,
            verify: None,
            verified_at: None,
            progress_at: now,
            stall_asked: None,
            short_extents: 0,
            queue: SubmitQueue::default(),
            in_flight: None,
            waiters: Waiters::default(),
            barriers: Vec::new(),
            counts: StreamCounts::default(),
            streams_unsettled: true,
            registered_in: None,
            alive_at: None,
            heard_at: None,
            proof_at: None,
            log_is_full: false,
            stopping: false,
            activate: None,
            digest_due: None,
            compared_at: 0,
            peers: BTreeMap::new(),
            access: LogAccess::Current,
            candidate_since: None,
            born_at: None,
            asked_born_at: None,
            reseed: None,
            snapshotting: None,
            snapshot_last: None,
            snapshot_lease: 0,
            snapshot_wanted: false,
            purge: None,
            settings,
        };
        replica.ask_extent();
        replica
    }

    /// Goes on as another incarnation once this one is over. Whoever waits is answered, and no session has streams.
    pub fn restart(&mut self, incarnation: PodIncarnation, now: u64) {
        self.now = now;
        self.answer_all();
        self.incarnation = incarnation;
        self.counts.clear();
        (self.alive_at, self.heard_at, self.proof_at) = (None, None, None);
        (self.stopping, self.activate, self.digest_due, self.registered_in) = (false, None, None, None);
        match self.mode {
            Mode::Stopped(StopReason::Over(OverReason::DeclaredGone | OverReason::Stopped)) => {
                self.mode = Mode::Following;
                self.drain();
            }
            Mode::Stopped(StopReason::Over(OverReason::OtherLog | OverReason::Diverged)) => self.start_over(),
            // An incarnation that ends in another partition ends here too.
            Mode::Asking { .. }
            | Mode::Loading { .. }
            | Mode::Verifying { .. }
            | Mode::Following
            | Mode::Reseeding { .. }
            | Mode::Stopped(StopReason::Undecodable | StopReason::Level) => {}
        }
    }

    /// Tells the time, in milliseconds of the pod's own clock, which only goes forward. To be called at
    /// [`Replica::next_due`], before anything else that happens then, and after it.
    pub fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
        self.answer_due();
        self.step_snapshot();
        self.drive_start();
        self.fetch_missing();
        self.drive_reseed();
        self.drive_snapshots();
        self.settle_streams();
        self.pump();
        self.judge_access();
    }

    /// What is asked for next.
    pub fn next_output(&mut self) -> Option<Output<S::Outcome>> {
        self.outputs.pop_front()
    }

    /// The partition and its swarms as far as entries are applied.
    pub const fn world(&self) -> &World<S> {
        &self.world
    }

    /// Has whoever holds the state take what it notes beside it. What is part of the digest must stay as it is.
    pub fn look_at_state(&mut self, look: impl FnOnce(&mut S)) {
        look(&mut self.world.state);
    }

    /// Has whoever holds the state show what clients read ([`Replica::readable`]). What is part of the digest must stay as
    /// it is.
    pub fn show(&mut self, show: impl FnOnce(&mut S)) {
        show(&mut self.kept.as_mut().unwrap_or(&mut self.world).state);
    }

    /// What clients read: while the log is being read again after a loss, what was held before.
    pub fn readable(&self) -> &World<S> {
        self.kept.as_ref().unwrap_or(&self.world)
    }

    /// This life of the pod.
    pub const fn incarnation(&self) -> PodIncarnation {
        self.incarnation
    }

    /// Why nothing is done any more, if that is so.
    pub const fn stopped(&self) -> Option<StopReason> {
        match self.mode {
            Mode::Stopped(reason) => Some(reason),
            _ => None,
        }
    }

    /// 64 bits that no other pod has.
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        splitmix64(splitmix64(self.incarnation.0).wrapping_add(self.drawn)) | 1
    }

    fn output(&mut self, output: Output<S::Outcome>) {
        self.outputs.push_back(output);
    }

    fn is_following(&self) -> bool {
        matches!(self.mode, Mode::Following)
    }

    fn over(&mut self, reason: OverReason) {
        if self.stopped().is_none() {
            self.mode = Mode::Stopped(StopReason::Over(reason));
            self.output(Output::Over(reason));
        }
    }

    fn stop(&mut self, reason: StopReason) {
        self.mode = Mode::Stopped(reason);
    }

    /// Whether this pod comes first among those that are registered: one is enough to write snapshots.
    fn is_first(&self) -> bool {
        let rank = |incarnation: PodIncarnation| splitmix64(incarnation.0 ^ self.world.partition.log().0);
        let first = self.world.partition.pods().map(|(incarnation, _)| incarnation).min_by_key(|pod| rank(*pod));
        first == Some(self.incarnation)
    }

    /// How many registered pods come before this one.
    fn rank(&self) -> u64 {
        self.world.partition.pods().filter(|(incarnation, _)| *incarnation < self.incarnation).count() as u64
    }

    /// Has everything that was read been applied?
    fn has_caught_up(&self) -> bool {
        let position = self.world.partition.position().sequence;
        self.is_following() && self.extent.is_some_and(|(_, last)| position >= last)
    }

    fn partition(&self) -> &Partition {
        &self.world.partition
    }
}
