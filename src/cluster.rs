//! The command log: the only way to change a swarm, and which tokens are refused.
//!
//! [`CommandLog::submit`] puts a command into the log and resolves when this pod has
//! applied it. In one process the log is the shard's lock: the command is applied
//! where it is submitted. On several pods it is a [replicated log](ReplicatedLog) per partition of
//! the shards, which every pod applies in the same order; nothing above this module differs, but that the log
//! may not answer ([`LogFault`]), and that a pod that has not applied all of it yet asks before it says that
//! something is not there ([`CommandLog::barrier`]).

pub mod condition;
pub mod directory;
pub mod fault;
mod goodbyes;
pub mod logs;
pub mod partition_state;
pub mod replicated;
pub mod status;
pub mod sweeper;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::Store;
use crate::store::entry::SessionEnd;
use crate::store::snapshot::{Outcome, Projection};
pub use condition::PodCondition;
pub use fault::{LogError, LogFault};
pub use goodbyes::PartitionGoodbyes;
pub use logs::{ClusterLogs, SharedLogs};
pub use replicated::{LoggedStream, ReplicatedLog};
pub use starling_cluster::CALL_PATIENCE;
use starling_core::command::RevokeTokens;
use starling_core::id::{NodeId, SINGLE_POD, SessionId, SwarmId};
use starling_core::revocations::Revocation;
use starling_core::{Command, ServerCommand, SharedCommand, wire};

/// The only way to change a swarm. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CommandLog {
    store: Arc<Store>,
    clock: Clock,
    /// `None` in one process.
    replicated: Option<Arc<ReplicatedLog>>,
}

impl CommandLog {
    /// The log of a single process, which stamps commands with the time of `clock`.
    pub const fn local(store: Arc<Store>, clock: Clock) -> Self {
        Self { store, clock, replicated: None }
    }

    /// The log of a cluster, one of whose pods shows its swarms in `store`.
    pub const fn replicated(store: Arc<Store>, clock: Clock, log: Arc<ReplicatedLog>) -> Self {
        Self { store, clock, replicated: Some(log) }
    }

    /// The log of the cluster; `None` in one process.
    pub const fn cluster(&self) -> Option<&Arc<ReplicatedLog>> {
        self.replicated.as_ref()
    }

    /// The swarms, for reading.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// The clock of what is shown, and of a single process.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The time by which a swarm's leases and bans are judged: that of its next command, at most a second early.
    pub fn now(&self, id: SwarmId) -> u64 {
        self.replicated.as_ref().map_or_else(|| self.clock.now(), |log| log.lease_now(id))
    }

    /// The time by which it is judged which tokens are refused.
    pub fn server_now(&self) -> u64 {
        self.replicated.as_ref().map_or_else(|| self.clock.now(), |log| log.server_lease_now())
    }

    /// Submits a command. The outcome shows the swarm as the command left it, before any other
    /// command, and is the caller's: nothing of the store is borrowed.
    ///
    /// # Errors
    ///
    /// The swarm's rejection; then nothing is changed. Of a cluster a [`LogFault`], which says whether that is so.
    pub async fn submit(&self, id: SwarmId, command: Command, projection: Projection) -> Result<Outcome, LogError> {
        if let Some(log) = &self.replicated {
            return log.submit(id, &command, projection).await;
        }
        let (id, at, command) = logged(id, self.clock.now(), command);
        Ok(self.store.apply(id, command, at, projection)?)
    }

    /// Refuses tokens of a node, on all pods. Answers with what is in force of it then.
    ///
    /// # Errors
    ///
    /// A rejection for want of room; then nothing is changed. Of a cluster [`LogFault`].
    pub async fn revoke(&self, command: RevokeTokens) -> Result<Revocation, LogError> {
        if let Some(log) = &self.replicated {
            return log.revoke(command.into()).await;
        }
        let (at, ServerCommand::RevokeTokens(command)) = logged_for_all(self.clock.now(), command.into());
        Ok(self.store.revoked().apply(command, at)?)
    }

    /// Tells the swarm that a session has one more stream on this pod.
    ///
    /// # Errors
    ///
    /// When the session is not a current one, or the swarm has ended or does not exist. Of a cluster [`LogFault`].
    pub async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<SessionStream, LogError> {
        let (end, logged) = if let Some(log) = &self.replicated {
            let stream = Box::new(log.attach(id, node, session).await?);
            // The session may be over by now; then the log is told that the stream is, too.
            (self.store.bind(id, node, session)?, Some(stream))
        } else {
            let attach = SharedCommand::Attach(node, session, SINGLE_POD);
            let (id, at, attach) = logged(id, self.clock.now(), attach.into());
            (self.store.attach(id, session, attach, at)?, None)
        };
        Ok(SessionStream { log: self.clone(), id, node, session, end, logged })
    }

    /// Waits until this pod has applied all that any pod had answered before, so that it may say that something is not
    /// there. At once in one process.
    ///
    /// # Errors
    ///
    /// [`LogFault`]: it may not.
    pub async fn barrier(&self, id: SwarmId, patience: Duration) -> Result<(), LogFault> {
        match &self.replicated {
            Some(log) => log.barrier(id, patience).await,
            None => Ok(()),
        }
    }
}

/// A stream that keeps its session alive on this pod, until it is dropped.
#[derive(Debug)]
#[must_use = "the stream counts while this lives"]
pub struct SessionStream {
    log: CommandLog,
    id: SwarmId,
    node: NodeId,
    session: SessionId,
    end: Arc<SessionEnd>,
    /// What the log of a cluster knows of it; in a box, for a single process has none.
    logged: Option<Box<LoggedStream>>,
}

impl SessionStream {
    /// The session.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// What ends the stream with its session.
    pub const fn end(&self) -> &Arc<SessionEnd> {
        &self.end
    }
}

/// Does not wait for the log: streams are dropped anywhere.
impl Drop for SessionStream {
    fn drop(&mut self) {
        let Self { log, id, node, session, .. } = self;
        if self.logged.is_some() {
            // The log hears of it with what is dropped after this.
            log.store.unbind(*id, *session, &self.end);
            return;
        }
        let (id, at, detach) = logged(*id, log.clock.now(), SharedCommand::Detach(*node, *session, SINGLE_POD).into());
        log.store.detach(id, *session, detach, at);
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
