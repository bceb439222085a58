//! `starling get`: a swarm as it is.

use super::error::{CliError, told};
use super::format::Format;
use super::selector::Selector;
use super::server::Server;
use starling_client::SwarmRef;
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    swarm: Selector,
    #[command(flatten)]
    format: Format,
}

impl Get {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut client = self.server.connect().await?;
        match self.swarm.swarm() {
            SwarmRef::Livestream(livestream_id) => {
                let get = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
                let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?.into_inner();
                self.format.print(&found)
            }
            SwarmRef::Group(group_id) => {
                let get = group::GetGroupRequest { group_id, ..Default::default() };
                let found = client.groups.get_group(get).await.map_err(|status| told(&status))?.into_inner();
                self.format.print(&found)
            }
        }
    }
}
