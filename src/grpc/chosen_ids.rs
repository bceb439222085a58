//! Ids that clients choose, and others are shown.
//!
//! Every id that a client can bring in is in one of the changes here. An id in any other
//! place names what is there already, or nothing.

use super::Settings;
use super::fields::{Parsed, invalid};
use crate::service::mutation::Mutation;
use starling_core::id::{NodeId, SwarmKind};
use starling_core::{Command, GroupCommand, LivestreamCommand, SharedCommand};

impl Settings {
    /// Refuses an id that is too large, by its field.
    pub(super) fn allows(&self, field: &str, id: u64) -> Parsed<()> {
        if id <= self.max_id { Ok(()) } else { invalid(field, format!("must be at most {}, not {id}", self.max_id)) }
    }

    /// Refuses a new swarm whose ids are too large.
    pub(super) fn allows_new(
        &self,
        kind: SwarmKind,
        swarm: Option<u64>,
        nodes: &[(&str, Option<NodeId>)],
    ) -> Parsed<()> {
        let swarm_field = match kind {
            SwarmKind::Livestream => "livestream_id",
            SwarmKind::Group => "group_id",
        };
        self.allows(swarm_field, swarm.unwrap_or_default())?;
        nodes.iter().try_for_each(|(field, node)| self.allows(field, node.map_or(0, NodeId::get)))
    }

    /// Refuses a change that brings in an id that is too large.
    pub(super) fn allows_ids(&self, kind: SwarmKind, mutation: &Mutation) -> Parsed<()> {
        let interests = match mutation {
            Mutation::Join(session) => {
                self.allows("node_id", session.node.get())?;
                &session.interests[..]
            }
            Mutation::Command(Command::Shared(SharedCommand::SetInterest(_, interests))) => &interests[..],
            Mutation::Command(Command::Livestream(
                LivestreamCommand::AddModerator(_, node) | LivestreamCommand::Mute(_, node),
            )) => return self.allows("viewer_node_id", node.get()),
            Mutation::Command(Command::Shared(SharedCommand::Ban { node, .. })) => {
                let field = match kind {
                    SwarmKind::Livestream => "viewer_node_id",
                    SwarmKind::Group => "participant_node_id",
                };
                return self.allows(field, node.get());
            }
            Mutation::Command(
                Command::CreateLivestream(_)
                | Command::CreateSignedLivestream(..)
                | Command::CreateGroup(_)
                | Command::Shared(
                    // A Join is a mutation of its own.
                    SharedCommand::Join(_)
                    | SharedCommand::Leave(_)
                    | SharedCommand::Touch(..)
                    | SharedCommand::Attach(..)
                    | SharedCommand::Detach(..)
                    | SharedCommand::PodGone(_)
                    | SharedCommand::Expire
                    | SharedCommand::Forget
                    | SharedCommand::UpdateMember(..)
                    | SharedCommand::UpdateSwarm(..)
                    | SharedCommand::End(_)
                    | SharedCommand::Remove(..)
                    | SharedCommand::Unban(..)
                    | SharedCommand::ReportPeer(..)
                    | SharedCommand::Claim { .. }
                    | SharedCommand::Acquire { .. },
                )
                | Command::Livestream(
                    LivestreamCommand::Start(_)
                    | LivestreamCommand::Pause(_)
                    | LivestreamCommand::Resume(_)
                    | LivestreamCommand::RemoveModerator(..)
                    | LivestreamCommand::Unmute(..)
                    | LivestreamCommand::Transfer(..)
                    | LivestreamCommand::TransferSigned(..)
                    | LivestreamCommand::Chat { .. },
                )
                | Command::Group(
                    GroupCommand::SetMedia { .. } | GroupCommand::StartShare(_) | GroupCommand::StopShare(_),
                ),
            ) => return Ok(()),
        };
        interests.iter().enumerate().try_for_each(|(at, interest)| {
            self.allows(&format!("interests[{at}].source_node_id"), interest.source.map_or(0, NodeId::get))
        })
    }
}
