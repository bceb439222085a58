//! Where the server is.

use super::error::CliError;
use starling_client::{Client, parse_address};

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server: HOST:PORT, or http://HOST:PORT.
    #[arg(long = "server", value_name = "ADDRESS", env = "STARLING_SERVER", default_value = "127.0.0.1:50051", value_parser = parse_address)]
    url: String,
}

impl Server {
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        Client::connect(&self.url).await.map_err(|error| {
            let hint = if error.is_refused() {
                "\nNo server listens there. `starling serve` starts one, and --server names another."
            } else {
                ""
            };
            CliError(format!("{error}{hint}"))
        })
    }
}
