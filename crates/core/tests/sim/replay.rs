//! Everything that was submitted, to be submitted again elsewhere.

use starling_core::wire;
use starling_core::{Applied, Command, Rejection, SessionId, Swarm, SwarmId, SwarmKind, apply};

/// Where a swarm lives.
pub(crate) type Slot = Option<Box<Swarm>>;

/// The way of a command to a replica: through its byte form.
pub(crate) fn through(command: Command) -> Command {
    let bytes = wire::encode(SwarmId::first(SwarmKind::Livestream), 0, &command);
    wire::decode(&bytes).expect("what was encoded can be decoded").2
}

/// What a submission came to, as far as the caller can tell replicas apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(Result<(u64, Option<SessionId>, usize), Rejection>);

impl From<&Result<Applied, Rejection>> for Outcome {
    fn from(result: &Result<Applied, Rejection>) -> Self {
        let summary = result.as_ref().map(|applied| (applied.revision, applied.session, applied.events.len()));
        Self(summary.map_err(Rejection::clone))
    }
}

#[derive(Debug)]
struct Entry {
    command: Command,
    at: u64,
    outcome: Outcome,
}

/// The log of a run, with a clone of the swarm taken on the way.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    clone: Option<(usize, Slot)>,
}

impl Log {
    /// Notes a command and what it came to.
    pub(crate) fn push(&mut self, command: Command, at: u64, outcome: Outcome) {
        self.entries.push(Entry { command, at, outcome });
    }

    /// Number of commands so far.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last command, for whoever looks at a failure.
    pub(crate) fn last(&self) -> Option<&Command> {
        self.entries.last().map(|entry| &entry.command)
    }

    /// Keeps a clone of the swarm as it is now.
    pub(crate) fn fork(&mut self, slot: &Slot) {
        self.clone = Some((self.entries.len(), slot.clone()));
    }

    /// Submits all to a fresh slot, and what followed the clone to the clone. Both
    /// end as the original did, and every command comes to the same.
    pub(crate) fn check(self, original: &Slot) {
        let wanted = digest(original);
        assert_eq!(replay(None, &self.entries), wanted, "a replica that applied everything is the same");
        if let Some((from, slot)) = self.clone {
            assert_eq!(replay(slot, &self.entries[from..]), wanted, "a clone that applied the rest is the same");
        }
    }
}

fn replay(mut slot: Slot, entries: &[Entry]) -> Option<u64> {
    for entry in entries {
        let result = apply(&mut slot, through(entry.command.clone()), entry.at).map(|(applied, _)| applied);
        assert_eq!(Outcome::from(&result), entry.outcome);
    }
    digest(&slot)
}

/// The digest of what is there.
pub(crate) fn digest(slot: &Slot) -> Option<u64> {
    slot.as_deref().map(Swarm::digest)
}
