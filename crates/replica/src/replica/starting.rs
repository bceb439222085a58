//! How a replica finds a state that lies in the log: the newest snapshot whose entry the log still has.

use super::access::STALLED_MS;
use super::{Mode, ObjectStoreUnreachable, Replica};
use crate::output::{Output, SnapshotChoice};
use crate::state::State;
use crate::world::World;

/// After so long what was asked for is asked for again.
pub(super) const RETRY_MS: u64 = 1_000;

/// After so long without an answer about a snapshot's entry, the start begins anew.
pub(super) const VERIFY_MS: u64 = 5_000;

/// A log that is said to end too early so often, a second apart, does so: a leader that is cut off is one no longer.
const SHORT_EXTENTS: u32 = 12;

impl<S: State> Replica<S> {
    pub(super) fn ask_extent(&mut self) {
        self.mode = Mode::Asking { since: self.now };
        self.extent = None;
        self.output(Output::AskExtent);
    }

    /// Drops what is there, and finds a state in the log.
    pub(super) fn start_over(&mut self) {
        self.world = World::default();
        self.ahead.clear();
        (self.verify, self.snapshotting, self.fetched_at) = (None, None, None);
        (self.snapshot_last, self.born_at, self.reseed) = (None, None, None);
        (self.purge, self.streams_unsettled) = (None, true);
        (self.seen, self.stall_asked, self.short_extents) = (0, None, 0);
        self.ask_extent();
    }

    /// The first and the last sequence of the log, as its leader says: (1, 0) for an empty one.
    pub fn extent(&mut self, first: u64, last: u64) {
        self.purge_end_read(last);
        if self.stall_asked.is_none() && self.has_caught_up() {
            // It was asked for a purge, or twice.
            return;
        }
        self.extent = Some((first, last));
        self.see(last);
        if matches!(self.mode, Mode::Asking { .. }) {
            self.load_newest(0);
        } else if self.is_following() {
            let is_short = self.stall_asked.is_some_and(|(_, position)| last < position);
            self.short_extents = if is_short { self.short_extents + 1 } else { 0 };
            if self.short_extents >= SHORT_EXTENTS {
                self.suspect();
            }
        }
    }

    fn load_newest(&mut self, skipped: usize) {
        self.mode = Mode::Loading { skipped, since: self.now };
        self.output(Output::Load(SnapshotChoice::Newest(skipped)));
    }

    /// A snapshot that was asked for: `Ok(None)` when there is none, an error when it cannot be read now.
    pub fn loaded(&mut self, choice: &SnapshotChoice, bytes: Result<Option<Vec<u8>>, ObjectStoreUnreachable>) {
        match (choice, &self.mode) {
            (SnapshotChoice::Newest(at), Mode::Loading { skipped, .. }) if at == skipped => {
                let skipped = *skipped;
                match bytes {
                    Ok(Some(bytes)) => match World::decode(&bytes) {
                        Ok(world) => self.begin_verifying(world, skipped),
                        Err(_) => self.load_newest(skipped + 1),
                    },
                    Ok(None) => self.start_from_nothing(),
                    Err(ObjectStoreUnreachable) => {}
                }
            }
            (SnapshotChoice::Named(name), _) => {
                let bytes = bytes.ok().flatten();
                self.loaded_reseed(name, bytes.as_deref());
                self.loaded_own_snapshot(name, bytes.as_deref());
            }
            _ => {}
        }
    }

    fn begin_verifying(&mut self, world: World<S>, skipped: usize) {
        let sequence = world.partition.position().sequence;
        let lies_in_log = self.extent.is_some_and(|(first, last)| (first..=last).contains(&sequence));
        if !lies_in_log {
            return self.load_newest(skipped + 1);
        }
        self.world = world;
        self.mode = Mode::Verifying { skipped, since: self.now };
        self.fetched_at = Some(self.now);
        self.output(Output::Fetch { from: sequence, to: sequence });
    }

    /// The log's message of the snapshot's sequence has come.
    pub(super) fn verify_snapshot(&mut self, is_same: bool, skipped: usize) {
        if !is_same {
            self.world = World::default();
            return self.load_newest(skipped + 1);
        }
        let partition = &self.world.partition;
        self.snapshot_last = Some(partition.position());
        self.snapshot_lease = partition.clock().now();
        self.after_load();
        self.begin_following();
    }

    fn start_from_nothing(&mut self) {
        // What was purged is in a snapshot, and that will be found or written again.
        if self.extent.is_none_or(|(first, _)| first > 1) {
            self.mode = Mode::Asking { since: self.now };
            return;
        }
        self.world = World::default();
        self.output(Output::Replaced);
        self.begin_following();
    }

    pub(super) fn begin_following(&mut self) {
        if self.stopped().is_none() {
            self.mode = Mode::Following;
            self.fetched_at = None;
            self.drain();
        }
    }

    /// Asks again for what did not come.
    pub(super) fn drive_start(&mut self) {
        let now = self.now;
        match self.mode {
            Mode::Asking { since } if now >= since + RETRY_MS => self.ask_extent(),
            Mode::Loading { since, .. } if now >= since + RETRY_MS => self.ask_extent(),
            Mode::Verifying { since, .. } if now >= since + VERIFY_MS => self.ask_extent(),
            Mode::Verifying { .. } if self.fetched_at.is_none_or(|at| now >= at + self.settings.fetch_retry_ms) => {
                let sequence = self.world.partition.position().sequence;
                self.fetched_at = Some(now);
                self.output(Output::Fetch { from: sequence, to: sequence });
            }
            Mode::Following => self.look_at_stalled_log(),
            _ => {}
        }
    }

    /// Where nothing comes and this pod writes nothing, only asking tells whether the log is still what it was.
    fn look_at_stalled_log(&mut self) {
        let (now, position) = (self.now, self.partition().position().sequence);
        if now < self.progress_at + STALLED_MS {
            (self.stall_asked, self.short_extents) = (None, 0);
            return;
        }
        if self.is_encoding() || self.stall_asked.is_some_and(|(at, _)| now < at + RETRY_MS) {
            return;
        }
        self.stall_asked = Some((now, position));
        self.output(Output::AskExtent);
        self.output(Output::Fetch { from: position.max(1), to: position + 1 });
    }
}
