//! What a replica asks of those who drive it, and what it tells them.

use crate::batch::{LogId, PodIncarnation};

/// A submission, named by whoever made it.
pub type SubmissionId = u64;

/// What a submission came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<O> {
    /// It was applied.
    Applied(O),
    /// The session had streams already: nothing was to be done.
    AlreadyAttached,
    /// A batch of this pod that was sent after the question has come back.
    Reached,
    /// It was not applied, and never will be: it may be made again.
    NotApplied,
    /// Nobody can say yet. It is settled once the life of a batch has passed by the lease clock.
    Unknown,
}

/// How far a pod is from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAccess {
    /// It follows.
    Current,
    /// Nothing comes, and no peer has seen more: everything goes on.
    Stalled,
    /// Nothing comes, and some pod cannot be asked whether it has seen more: not ready.
    Alone,
    /// The log went on without this pod: its publishers are stopped, its streams told goodbye; not ready.
    Behind,
    /// The same after too long alone.
    Stale,
}

/// Why a replica's incarnation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverReason {
    /// The others have declared it gone.
    DeclaredGone,
    /// It stopped in order.
    Stopped,
    /// Its state was of another log, which nobody goes on with.
    OtherLog,
    /// Its state differed from that of the others.
    Diverged,
}

/// Why a replica does nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// An entry that this build cannot read or apply.
    Undecodable,
    /// A level is active that this build cannot apply.
    Level,
    /// Its incarnation is over: see [`Replica::restart`](crate::Replica::restart).
    Over(OverReason),
}

/// Why a pod is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotReady {
    /// It does nothing any more.
    Stopped(StopReason),
    /// No snapshot is loaded yet, or none can be.
    Loading,
    /// What came since the snapshot is not applied yet.
    CatchingUp,
    /// The log is not born, not open, or broken.
    NothingCounts,
    /// No batch of its own has come back.
    NotHeard,
    /// The log is full.
    LogFull,
    /// It cannot reach the log.
    Away(LogAccess),
}

/// Which snapshot is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotChoice {
    /// One of those that [`SnapshotChoice::sequence_of`] knows, in the order of their age: 0 is the newest.
    Newest(usize),
    /// The one of this name.
    Named(String),
}

impl SnapshotChoice {
    /// The sequence of a snapshot to start from; `None` when a name is that of a Reseed.
    pub fn sequence_of(name: &str) -> Option<u64> {
        let (_, sequence) = name.strip_prefix("snapshot-")?.rsplit_once('-')?;
        sequence.parse().ok()
    }
}

/// What a replica asks for, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<O> {
    /// Publish these bytes; answer with `published`.
    Publish {
        /// The bytes of a batch.
        bytes: Vec<u8>,
        /// Refuse unless this is the log's last sequence.
        expect_last: Option<u64>,
    },
    /// Get the messages of these sequences, as many as there are; answer with `fetched`.
    Fetch {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// Ask the log's leader for the first and last sequence; answer with `extent`.
    AskExtent,
    /// Get a snapshot; answer with `loaded`.
    Load(SnapshotChoice),
    /// Put a snapshot into the object store and answer with `stored`.
    Store {
        /// Its name.
        name: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Delete the messages below a sequence, and then the snapshots below it ([`SnapshotChoice::sequence_of`]). Those
    /// above stay, of whichever life of the log: it may be rewound to where they lie in it. A log that ends before that
    /// sequence was lost meanwhile: nothing of it is to be deleted.
    Purge {
        /// The first that stays.
        below: u64,
    },
    /// Tell a submission its answer.
    Resolve {
        /// Which.
        id: SubmissionId,
        /// Its answer.
        answer: Answer<O>,
    },
    /// What clients read ([`Replica::readable`](crate::Replica::readable)) is another state than before: streams get
    /// resets.
    Replaced,
    /// How far the pod is from the log has changed.
    Access(LogAccess),
    /// The incarnation is over: say goodbye to all streams and call `restart`.
    Over(OverReason),
    /// A pod is gone, on all pods alike.
    PodGone(PodIncarnation),
    /// An operator has to look.
    Alarm(Alarm),
}

/// What an operator has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// The pods' states differ, and no majority says which is right. No snapshot is written, nothing is purged.
    Tie {
        /// The entry that they differ at.
        sequence: u64,
    },
    /// A snapshot that was written cannot be read.
    UnreadableSnapshot,
    /// A log takes over in which these entries are lost that this pod had applied.
    Lost {
        /// How many.
        entries: u64,
    },
}

/// What pods tell each other each second, beside the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Who tells.
    pub incarnation: PodIncarnation,
    /// The life of the log that it follows.
    pub log: LogId,
    /// The last sequence that it has applied.
    pub applied: u64,
    /// The sequence that its state is as of, if it holds one that others could go on with.
    pub holds: Option<u64>,
}
