//! `starling create`: a new swarm.

use super::error::{CliError, told};
use super::format::Format;
use super::selector::Selector;
use super::server::Server;
use super::settings::Settings;
use super::terminal::remark;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, SwarmRef};

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    #[command(flatten)]
    server: Server,
    /// With the id 0 the server chooses one.
    #[command(flatten)]
    swarm: Selector,
    /// The broadcaster, or the owner of the group; by default one is drawn, and told.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Opaque text that goes with it.
    #[arg(long, value_name = "TEXT", default_value = "")]
    metadata: String,
    /// Livestreams: start it at once.
    #[arg(long, conflicts_with = "group")]
    start: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let node_id = self.node.unwrap_or_else(Client::random_node);
        match self.swarm.swarm() {
            SwarmRef::Livestream(id) => self.livestream(id, node_id).await,
            SwarmRef::Group(id) => self.group(id, node_id).await,
        }
    }

    async fn livestream(self, livestream_id: u64, node_id: u64) -> Result<(), CliError> {
        let config = Some(self.settings.livestream()?);
        let mut client = self.server.connect().await?;
        let metadata = self.metadata.into_bytes().into();
        let create =
            livestream::CreateLivestreamRequest { livestream_id, node_id, config, metadata, ..Default::default() };
        let answer = client.livestreams.create_livestream(create).await;
        let mut made = answer.map_err(|status| told(&status))?.into_inner();
        if self.start {
            let livestream_id = made.livestream.as_ref().map_or(0, |made| made.livestream_id);
            let start = livestream::StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
            let answer = client.livestreams.start_livestream(start).await;
            made.livestream = answer.map_err(|status| told(&status))?.into_inner().livestream;
        }
        remark_repeat(made.created);
        self.format.print(&made)
    }

    async fn group(self, group_id: u64, node_id: u64) -> Result<(), CliError> {
        let config = Some(self.settings.group()?);
        let mut client = self.server.connect().await?;
        let metadata = self.metadata.into_bytes().into();
        let create = group::CreateGroupRequest {
            group_id,
            node_id,
            owner_node_id: node_id,
            config,
            metadata,
            request_id: String::new(),
        };
        let made = client.groups.create_group(create).await.map_err(|status| told(&status))?.into_inner();
        remark_repeat(made.created);
        self.format.print(&made)
    }
}

fn remark_repeat(created: bool) {
    if !created {
        remark!("it was there already, with the same configuration");
    }
}
