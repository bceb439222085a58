//! Ids that clients choose, and others are shown.
//!
//! Every id that a client can bring in is in one of the commands here. An id in any other
//! place names what is there already, or nothing.

use tonic::{Request, Status};

use super::convert::Action;
use super::fields::{InvalidField, Parsed, invalid};
use super::{Edge, Settings};
use starling_core::Command;
use starling_core::id::{NodeId, SwarmKind};

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

    /// Refuses an action that brings in an id that is too large.
    fn allows_ids(&self, action: &Action) -> Parsed<()> {
        let interests = match &action.command {
            Command::Join(join) => {
                self.allows("node_id", join.node.get())?;
                &join.interests[..]
            }
            Command::SetInterest(_, interests) => &interests[..],
            Command::AddModerator(_, node) | Command::Mute(_, node) => {
                return self.allows("viewer_node_id", node.get());
            }
            _ => return Ok(()),
        };
        interests.iter().enumerate().try_for_each(|(at, interest)| {
            self.allows(&format!("interests[{at}].source_node_id"), interest.source.map_or(0, NodeId::get))
        })
    }
}

impl Edge {
    /// Parses a request that changes a swarm.
    pub(super) fn action<R>(&self, request: Request<R>) -> Result<Action, Status>
    where
        Action: TryFrom<R, Error = InvalidField>,
    {
        let action = request.into_inner().try_into()?;
        self.settings.allows_ids(&action)?;
        Ok(action)
    }
}
