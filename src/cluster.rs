//! The command log: the only way to change a swarm, and which tokens are refused.
//!
//! [`CommandLog::submit`] puts a command into the log and resolves when this pod has
//! applied it. In one process the log is the shard's lock: the command is applied
//! where it is submitted. On several pods it will be a replicated log per shard;
//! every pod applies every command in the same order, and nothing above this
//! module changes.

pub mod partition_state;
pub mod sweeper;

use std::sync::Arc;

use crate::clock::Clock;
use crate::store::Store;
use crate::store::entry::SessionEnd;
use crate::store::snapshot::{Outcome, Projection};
use starling_core::command::RevokeTokens;
use starling_core::id::{NodeId, PodId, SessionId, SwarmId};
use starling_core::revocations::Revocation;
use starling_core::{Command, Rejection, ServerCommand, SharedCommand, wire};

/// A single process is pod 0.
const THIS_POD: PodId = 0;

/// The only way to change a swarm. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CommandLog {
    store: Arc<Store>,
    clock: Clock,
}

impl CommandLog {
    /// The log of a single process, which stamps commands with the time of `clock`.
    pub const fn local(store: Arc<Store>, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// The swarms, for reading.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What commands are stamped with.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Submits a command. The outcome shows the swarm as the command left it, before any other
    /// command, and is the caller's: nothing of the store is borrowed.
    ///
    /// # Errors
    ///
    /// The swarm's [`Rejection`]; then nothing is changed.
    #[expect(clippy::unused_async, reason = "a replicated log answers later, and callers must be ready for it")]
    pub async fn submit(&self, id: SwarmId, command: Command, projection: Projection) -> Result<Outcome, Rejection> {
        let (id, at, command) = logged(id, self.clock.now(), command);
        self.store.apply(id, command, at, projection)
    }

    /// Refuses tokens of a node, on all pods. Answers with what is in force of it then.
    ///
    /// # Errors
    ///
    /// [`Rejection::Quota`]; then nothing is changed.
    #[expect(clippy::unused_async, reason = "a replicated log answers later, and callers must be ready for it")]
    pub async fn revoke(&self, command: RevokeTokens) -> Result<Revocation, Rejection> {
        let (at, ServerCommand::RevokeTokens(command)) = logged_for_all(self.clock.now(), command.into());
        self.store.revoked().apply(command, at)
    }

    /// Tells the swarm that a session has one more stream on this pod.
    ///
    /// # Errors
    ///
    /// When the session is not a current one, or the swarm has ended or does not exist.
    #[expect(clippy::unused_async, reason = "a replicated log answers later, and callers must be ready for it")]
    pub async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<Arc<SessionEnd>, Rejection> {
        let (id, at, attach) = logged(id, self.clock.now(), SharedCommand::Attach(node, session, THIS_POD).into());
        self.store.attach(id, session, attach, at)
    }

    /// Tells the swarm that a session has one stream less on this pod. Does not
    /// wait for the log: it is called where streams are dropped.
    pub fn detach(&self, id: SwarmId, node: NodeId, session: SessionId) {
        let (id, at, detach) = logged(id, self.clock.now(), SharedCommand::Detach(node, session, THIS_POD).into());
        self.store.detach(id, session, detach, at);
    }
}

/// The command as the log hands it back. In debug builds, and so in tests, it
/// travels through its byte form, as it would on several pods.
fn logged(id: SwarmId, at: u64, command: Command) -> (SwarmId, u64, Command) {
    if cfg!(debug_assertions) {
        let bytes = wire::encode(id, at, &command);
        let decoded = wire::decode(&bytes).expect("what was encoded can be decoded");
        debug_assert_eq!(decoded, (id, at, command));
        return decoded;
    }
    (id, at, command)
}

/// The same for a command that is about no swarm.
fn logged_for_all(at: u64, command: ServerCommand) -> (u64, ServerCommand) {
    if cfg!(debug_assertions) {
        let decoded = wire::server::decode(&wire::server::encode(at, &command));
        debug_assert_eq!(decoded, Ok((at, command)));
    }
    (at, command)
}
