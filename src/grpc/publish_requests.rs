//! What publishers ask for, in the form that both services share.

use super::fields::{self, Parsed};
use crate::pb::{group, livestream, swarm::v1 as shared};
use starling_core::channel::ChannelSet;
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};

/// A message of a publish stream.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Who publishes what; first.
    Open(RawOpen),
    /// An update.
    Update(shared::UpdateDraft),
    /// Another token for the stream.
    Renew(shared::RenewToken),
    /// A message without content.
    Nothing,
}

impl Inbound {
    /// How long its payload is, in bytes.
    pub(super) fn payload_bytes(&self) -> usize {
        match self {
            Self::Update(update) => update.payload.len(),
            Self::Open(_) | Self::Renew(_) | Self::Nothing => 0,
        }
    }
}

/// An opening message as it came.
#[derive(Debug)]
pub(super) struct RawOpen {
    pub(super) kind: SwarmKind,
    pub(super) swarm: u64,
    pub(super) node_id: u64,
    session_id: u64,
    pub(super) channels: Vec<i32>,
    temporal_layers: u32,
}

/// An opening message, parsed.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: SwarmId,
    pub(super) node: NodeId,
    pub(super) session: Option<SessionId>,
    pub(super) channels: ChannelSet,
    pub(super) layers: u32,
}

impl RawOpen {
    pub(super) fn parse(self) -> Parsed<Open> {
        let Self { kind, swarm, node_id, session_id, channels, temporal_layers } = self;
        let id = fields::swarm_id(kind, swarm).map_err(|invalid| invalid.below("open"))?;
        let node = fields::node("open.node_id", node_id)?;
        if channels.is_empty() {
            return fields::invalid("open.channels", "must not be empty");
        }
        let channels = fields::channels("open.channels", &channels)?;
        let layers = fields::within("open.temporal_layers", temporal_layers.max(1), 1, 8)?;
        Ok(Open { id, node, session: SessionId::new(session_id), channels, layers })
    }
}

impl From<livestream::v1::PublishUpdatesRequest> for Inbound {
    fn from(request: livestream::v1::PublishUpdatesRequest) -> Self {
        use livestream::v1::{PublishOpen, publish_updates_request::Message};
        match request.message {
            Some(Message::Open(PublishOpen { livestream_id, node_id, session_id, channels, temporal_layers })) => {
                let (kind, swarm) = (SwarmKind::Livestream, livestream_id);
                Self::Open(RawOpen { kind, swarm, node_id, session_id, channels, temporal_layers })
            }
            Some(Message::Update(update)) => Self::Update(update),
            Some(Message::Renew(renewal)) => Self::Renew(renewal),
            None => Self::Nothing,
        }
    }
}

impl From<group::v1::PublishUpdatesRequest> for Inbound {
    fn from(request: group::v1::PublishUpdatesRequest) -> Self {
        use group::v1::{PublishOpen, publish_updates_request::Message};
        match request.message {
            Some(Message::Open(PublishOpen { group_id, node_id, session_id, channels, temporal_layers })) => {
                let (kind, swarm) = (SwarmKind::Group, group_id);
                Self::Open(RawOpen { kind, swarm, node_id, session_id, channels, temporal_layers })
            }
            Some(Message::Update(update)) => Self::Update(update),
            Some(Message::Renew(renewal)) => Self::Renew(renewal),
            None => Self::Nothing,
        }
    }
}
