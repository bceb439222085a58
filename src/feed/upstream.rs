//! What a lane knows of updates that other pods accept: until when its terms lasted elsewhere, and what did not come.
//!
//! ```text
//!   term 5 at pod 1 ──► term 9 at pod 2           what this pod, which is neither, has of the lane
//!        │                  │
//!        │ seal (5, 12)     │ records from (9, 1)  (5, 1) .. (5, 10)
//!        └────────► former: until the seal of term 5 is here, nothing of term 9 is taken; at most a second long
//!                   seal: (5, 11) and (5, 12) are lost, a gap tells so before (9, 1)
//!                   no seal: something may be lost, and the gap says that nobody knows how much
//! ```

use super::position::TermSeq;
use super::tally::Tally;
use crate::clock::Micros;
use starling_core::id::{PodId, SessionId};

/// How long updates of a new term wait for the seal of the one before.
pub(super) const SEAL_PATIENCE: Micros = Micros::from_millis(1_000);

/// How long after a lane lost its home readers are told that its end is not known.
pub(super) const OWED_FOR: Micros = Micros::from_millis(30_000);

/// Terms of one lane that wait for their seal at most.
pub(super) const FORMER: usize = 4;

/// Sessions that a lane remembers by the terms that they had.
const TERMS: usize = 8;

/// Which revisions of a swarm may have made a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    from: u64,
    until: u64,
}

impl Default for Granted {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl Granted {
    /// Nobody knows.
    pub const UNKNOWN: Self = Self { from: 0, until: u64::MAX };

    /// This revision made it.
    pub const fn at(revision: u64) -> Self {
        Self { from: revision, until: revision }
    }

    /// It was in force at this revision.
    pub const fn by(revision: u64) -> Self {
        Self { from: 0, until: revision }
    }

    /// The first revision that may have made it.
    pub(super) const fn from(self) -> u64 {
        self.from
    }

    /// The last one; `None` = nobody knows.
    pub(super) const fn known_until(self) -> Option<u64> {
        if self.until == u64::MAX { None } else { Some(self.until) }
    }

    /// The same grant, which was in force at a later revision too.
    pub(super) const fn until(self, later: Self) -> Self {
        Self { from: self.from, until: if self.until > later.until { self.until } else { later.until } }
    }
}

/// Where a term ended, as its home knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Which pod that was.
    pub home: PodId,
    /// The term.
    pub term: u64,
    /// Its last update; 0 = it had none.
    pub last: u64,
    /// The highest number accepted from its publisher.
    pub publisher_sequence: u64,
    /// The session of its publisher.
    pub session: Option<SessionId>,
}

/// A term at another pod, whose end is not known here yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) term: u64,
    pub(super) home: PodId,
    /// The first revision whose updates count; `None` = none do: it was not open, or not of the session that goes on.
    pub(super) from: Option<u64>,
    /// Since when something waits for its seal.
    pub(super) waited_since: Option<Micros>,
}

/// What is known of the homes of a lane, and of updates that other pods accept.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    /// The pod where the term in force publishes.
    pub(super) home: PodId,
    /// Which revision of the swarm made the grant in force.
    pub(super) granted: Granted,
    /// Where the last term of a home ended.
    pub(super) seal: Option<Seal>,
    /// Terms whose end is not known yet, in order.
    pub(super) former: Vec<Former>,
    /// By term, who has published; in order.
    pub(super) sessions: Vec<(u64, SessionId)>,
    /// The newest update that came, taken or not.
    pub(super) seen: Option<TermSeq>,
    /// What came since the head and was not taken, or never came.
    pub(super) lost: Tally,
    /// A term ended, and nobody can say where.
    pub(super) owed: bool,
    /// Since when that is known, once somebody has looked.
    pub(super) owed_since: Option<Micros>,
    /// That what came after the newest record is lost was told to readers.
    pub(super) tail_told: bool,
    /// All that its home had at first is here.
    pub(super) complete: bool,
}

impl Upstream {
    /// A home is not asked any more, or has said all: terms that wait for its seal wait no longer. True when there were some.
    pub(super) fn give_up(&mut self, gone: impl Fn(&Former) -> bool) -> bool {
        let before = self.former.len();
        self.former.retain(|former| !gone(former));
        self.former.len() < before
    }

    pub(super) fn began(&mut self, term: u64, session: SessionId) {
        if self.sessions.last().is_none_or(|(newest, _)| *newest < term) {
            if self.sessions.len() == TERMS {
                self.sessions.remove(0);
            }
            self.sessions.push((term, session));
        }
    }
}
