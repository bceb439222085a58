//! What changes a swarm, as a client asks for it: without what the service draws.

use starling_core::command::Join;
use starling_core::id::{NodeId, SessionId};
use starling_core::interest::InterestChange;
use starling_core::member::ViewerMode;
use starling_core::request::RequestId;
use starling_core::{Command, GroupCommand, LivestreamCommand, SharedCommand};

/// A change of a swarm that is to be submitted.
#[derive(Clone, Debug)]
pub enum Mutation {
    /// A session is to begin.
    Join(NewSession),
    /// Anything else.
    Command(Command),
}

/// A session to be. Its id is drawn when it is submitted.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Who joins.
    pub node: NodeId,
    /// The client's name for the request.
    pub request: Option<RequestId>,
    /// How long a detached session lives, in milliseconds.
    pub ttl_ms: u32,
    /// Livestreams: how it watches; `None` = as before, else actively.
    pub mode: Option<ViewerMode>,
    /// Livestreams: whether it forwards; `None` = as before, else yes when it watches actively.
    pub can_relay: Option<bool>,
    /// `None` = as before, else empty.
    pub endpoint: Option<Box<[u8]>>,
    /// `None` = as before, else empty.
    pub metadata: Option<Box<[u8]>>,
    /// On top of the defaults, or of what the node wanted before.
    pub interests: Vec<InterestChange>,
    /// Groups: whether it only listens; `None` = as before, else it does not.
    pub listens: Option<bool>,
}

impl Mutation {
    /// The command that carries it out; `draw` draws the id of a session.
    pub(crate) fn into_command(self, draw: impl FnOnce() -> SessionId) -> Command {
        match self {
            Self::Command(command) => command,
            Self::Join(NewSession {
                node,
                request,
                ttl_ms,
                mode,
                can_relay,
                endpoint,
                metadata,
                interests,
                listens,
            }) => Command::Shared(SharedCommand::Join(Join {
                node,
                session: draw(),
                request,
                ttl_ms,
                mode,
                can_relay,
                endpoint,
                metadata,
                interests,
                listens,
            })),
        }
    }
}

impl From<SharedCommand> for Mutation {
    fn from(command: SharedCommand) -> Self {
        Self::Command(command.into())
    }
}

impl From<LivestreamCommand> for Mutation {
    fn from(command: LivestreamCommand) -> Self {
        Self::Command(command.into())
    }
}

impl From<GroupCommand> for Mutation {
    fn from(command: GroupCommand) -> Self {
        Self::Command(command.into())
    }
}
