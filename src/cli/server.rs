//! Where the server is.

use super::error::CliError;
use super::shown_token::ShownToken;
use starling_client::{Client, parse_address};

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server: HOST:PORT, or http://HOST:PORT.
    #[arg(long = "server", value_name = "ADDRESS", env = "STARLING_SERVER", default_value = "127.0.0.1:50051", value_parser = parse_address)]
    url: String,
    #[command(flatten)]
    token: ShownToken,
}

impl Server {
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        let token = self.token.read()?;
        let client = Client::connect(&self.url).await.map_err(|error| {
            let hint = if error.is_refused() {
                "\nNo server listens there. `starling serve` starts one, and --server names another."
            } else {
                ""
            };
            CliError(format!("{error}{hint}"))
        })?;
        Ok(client.with_token(token))
    }
}
