//! `starling list`: the swarms of a server, or the members of one.

use super::error::CliError;
use super::format::Format;
use super::roster;
use super::selector::OptionalSelector;
use super::server::Server;
use starling_client::SwarmRef;

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    members_of: OptionalSelector,
    #[command(flatten)]
    format: Format,
}

impl List {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut client = self.server.connect().await?;
        let format = self.format;
        match self.members_of.swarm() {
            None => {
                roster::livestreams(&mut client, |found| format.print_line("livestream", &found)).await?;
                roster::groups(&mut client, |found| format.print_line("group", &found)).await
            }
            Some(SwarmRef::Livestream(id)) => {
                roster::viewers(&mut client, id, |found| format.print_line("viewer", &found)).await
            }
            Some(SwarmRef::Group(id)) => {
                roster::participants(&mut client, id, |found| format.print_line("participant", &found)).await
            }
        }
    }
}
