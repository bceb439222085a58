//! `starling tree`: the relay tree of a livestream, or the mesh of a group, drawn.

mod drawing;

use serde_json::json;

use self::drawing::{Drawing, Node};
use super::error::{CliError, told};
use super::format::{Format, print_json, print_text};
use super::message::Message;
use super::roster;
use super::selector::Selector;
use super::server::Server;
use starling_client::pb::swarm::v1::Placement;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, SwarmRef};

#[derive(Debug, clap::Args)]
pub(super) struct Tree {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    swarm: Selector,
    /// Draw so many levels below the broadcaster only.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
    #[command(flatten)]
    format: Format,
}

impl Tree {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut client = self.server.connect().await?;
        match self.swarm.swarm() {
            SwarmRef::Livestream(id) => self.livestream(&mut client, id).await,
            SwarmRef::Group(id) => self.group(&mut client, id).await,
        }
    }

    async fn livestream(&self, client: &mut Client, livestream_id: u64) -> Result<(), CliError> {
        let get = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
        let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?;
        let found = found.into_inner().livestream.unwrap_or_default();
        let mut viewers = Vec::new();
        // One that ended has nobody left.
        if found.state() != livestream::LivestreamState::Ended {
            roster::viewers(client, livestream_id, |viewer| {
                viewers.push(viewer);
                Ok(())
            })
            .await?;
        }
        let nodes = viewers.iter().map(|viewer| {
            let placement = viewer.placement.unwrap_or_default();
            let Placement { parent_node_id, depth, can_relay: relays, .. } = placement;
            Node { id: viewer.node_id, parent: (parent_node_id != 0).then_some(parent_node_id), depth, relays }
        });
        let drawing = Drawing::new(found.broadcaster_node_id, nodes);
        if self.format.json {
            print_json(&json!({ "livestream": Message::new(&found)?.json()? }))?;
            for level in drawing.levels() {
                print_json(&json!({ "level": {
                    "depth": level.depth, "viewers": level.viewers, "relays": level.relays,
                } }))?;
            }
            for viewer in viewers.iter().filter(|viewer| {
                let depth = viewer.placement.unwrap_or_default().depth;
                self.depth.is_none_or(|most| depth <= most)
            }) {
                self.format.print_line("viewer", viewer)?;
            }
            return Ok(());
        }
        let (state, topology) = (found.state(), found.topology());
        print_text(&format!(
            "livestream {livestream_id}: {}, {}, {} viewers, depth {}\n{}{}",
            word(state.as_str_name(), "LIVESTREAM_STATE_"),
            word(topology.as_str_name(), "TOPOLOGY_"),
            viewers.len(),
            drawing.depth(),
            drawing.summary(),
            drawing.draw(self.depth),
        ))
    }

    async fn group(&self, client: &mut Client, group_id: u64) -> Result<(), CliError> {
        let get = group::GetGroupRequest { group_id, ..Default::default() };
        let found = client.groups.get_group(get).await.map_err(|status| told(&status))?;
        let found = found.into_inner().group.unwrap_or_default();
        let mut participants = Vec::new();
        if found.state() != group::GroupState::Ended {
            roster::participants(client, group_id, |participant| {
                participants.push(participant);
                Ok(())
            })
            .await?;
        }
        if self.format.json {
            print_json(&json!({ "group": Message::new(&found)?.json()? }))?;
            return participants.iter().try_for_each(|participant| self.format.print_line("participant", participant));
        }
        let state = word(found.state().as_str_name(), "GROUP_STATE_");
        let mut text = format!(
            "group {group_id}: {state}, mesh, {} participants, each a target of all others\n",
            participants.len()
        );
        for participant in &participants {
            let is_owner = found.owner_node_id == participant.node_id;
            let owner = if is_owner { " (owner)" } else { "" };
            let shares = if participant.sharing_screen { " (shares its screen)" } else { "" };
            text += &format!("{}{owner}{shares}\n", participant.node_id);
        }
        print_text(&text)
    }
}

/// A name of the schema, as a word.
fn word(name: &str, of: &str) -> String {
    name.strip_prefix(of).unwrap_or(name).to_lowercase()
}
