//! What the outcomes of commands are to show that are on their way through the log.
//!
//! An entry is applied on every pod, and only the one that submitted it needs to be shown anything. The log does not say
//! what: it is noted here, by the bytes of the command.

use std::hash::Hasher;
use std::sync::Arc;

use crate::store::snapshot::Projection;
use crate::sync::Mutex;
use starling_core::counted::Map;
use starling_core::hash::FixedHasher;

/// What is to be shown, by the bytes of commands. Of two whose bytes are the same, both show what either is to.
#[derive(Debug, Default)]
pub struct Projections {
    by_command: Mutex<Map<u64, (Projection, usize)>>,
}

/// An outcome that is waited for: until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct ExpectedOutcome {
    projections: Arc<Projections>,
    command: u64,
}

impl Projections {
    /// Has the outcome of a command, in the byte form that is submitted, show this.
    pub fn expect(self: &Arc<Self>, command: &[u8], projection: Projection) -> ExpectedOutcome {
        let command = key(command);
        let mut all = self.by_command.lock();
        let (shown, waiting) = all.entry(command).or_insert((Projection::NOTHING, 0));
        *shown = shown.and(projection);
        *waiting += 1;
        ExpectedOutcome { projections: Arc::clone(self), command }
    }

    pub(super) fn of(&self, command: &[u8]) -> Projection {
        let all = self.by_command.lock();
        if all.is_empty() {
            return Projection::NOTHING;
        }
        all.get(&key(command)).map_or(Projection::NOTHING, |(projection, _)| *projection)
    }
}

impl Drop for ExpectedOutcome {
    fn drop(&mut self) {
        let mut all = self.projections.by_command.lock();
        if let Some((_, waiting)) = all.get_mut(&self.command) {
            *waiting -= 1;
            if *waiting == 0 {
                all.remove(&self.command);
            }
        }
    }
}

fn key(command: &[u8]) -> u64 {
    let mut hasher = FixedHasher::default();
    hasher.write(command);
    hasher.finish()
}
