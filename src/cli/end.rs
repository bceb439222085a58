//! `starling end`: ends a swarm for good.

use super::error::{CliError, told};
use super::format::Format;
use super::selector::Selector;
use super::server::Server;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, SwarmRef};

#[derive(Debug, clap::Args)]
pub(super) struct End {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    swarm: Selector,
    /// Who ends it; by default its broadcaster, or its owner.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    #[command(flatten)]
    format: Format,
}

impl End {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut client = self.server.connect().await?;
        match self.swarm.swarm() {
            SwarmRef::Livestream(livestream_id) => {
                let node_id = match self.node {
                    Some(node) => node,
                    None => broadcaster(&mut client, livestream_id).await?,
                };
                let end = livestream::EndLivestreamRequest { livestream_id, node_id, ..Default::default() };
                let ended = client.livestreams.end_livestream(end).await.map_err(|status| told(&status))?.into_inner();
                self.format.print(&ended)
            }
            SwarmRef::Group(group_id) => {
                let node_id = match self.node {
                    Some(node) => node,
                    None => owner(&mut client, group_id).await?,
                };
                let end = group::EndGroupRequest { group_id, node_id, ..Default::default() };
                let ended = client.groups.end_group(end).await.map_err(|status| told(&status))?.into_inner();
                self.format.print(&ended)
            }
        }
    }
}

async fn broadcaster(client: &mut Client, livestream_id: u64) -> Result<u64, CliError> {
    let get = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
    let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?.into_inner();
    Ok(found.livestream.unwrap_or_default().broadcaster_node_id)
}

async fn owner(client: &mut Client, group_id: u64) -> Result<u64, CliError> {
    let get = group::GetGroupRequest { group_id, ..Default::default() };
    let found = client.groups.get_group(get).await.map_err(|status| told(&status))?.into_inner();
    match found.group.unwrap_or_default().owner_node_id {
        0 => Err(CliError(format!("group {group_id} has no owner yet: name one with --node"))),
        owner => Ok(owner),
    }
}
