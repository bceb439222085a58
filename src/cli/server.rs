//! Where the server is, and how to connect to it.

use std::path::PathBuf;

use super::error::CliError;
use super::shown_token::ShownToken;
use starling_client::{Client, ClientCertificate, ConnectOptions, parse_address};

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server: https://HOST:PORT, or without TLS HOST:PORT or http://HOST:PORT. Several of one cluster, divided by
    /// commas, are tried in turn.
    #[arg(long = "server", value_name = "ADDRESS", env = "STARLING_SERVER", default_value = "127.0.0.1:50051", value_parser = parse_address)]
    url: String,
    /// With https: the authorities that may vouch for the server, in PEM; those of the system if not given.
    #[arg(long, value_name = "FILE", env = "STARLING_CA")]
    ca: Option<PathBuf>,
    /// With https: the certificate to show to a server that asks for one, in PEM.
    #[arg(long, value_name = "FILE", env = "STARLING_CERT", requires = "key")]
    cert: Option<PathBuf>,
    /// With https: the private key of that certificate, in PEM.
    #[arg(long, value_name = "FILE", env = "STARLING_KEY", requires = "cert", hide_env_values = true)]
    key: Option<PathBuf>,
    #[command(flatten)]
    token: ShownToken,
}

impl Server {
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        let token = self.token.read()?;
        let certificate = self.cert.clone().zip(self.key.clone());
        let certificate = certificate.map(|(cert_file, key_file)| ClientCertificate { cert_file, key_file });
        let options = ConnectOptions { ca_file: self.ca.clone(), certificate };
        let client = Client::connect_with(&self.url, options).await.map_err(|error| {
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
