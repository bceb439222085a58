//! `starling healthcheck`.

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::error::{CliError, told};
use super::format::{Format, print_json};
use super::server::Server;

#[derive(Debug, clap::Args)]
pub(super) struct Healthcheck {
    #[command(flatten)]
    server: Server,
    /// The service to ask for; the server as a whole if not given.
    #[arg(long, default_value = "")]
    service: String,
    #[command(flatten)]
    format: Format,
}

impl Healthcheck {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.server.connect().await?;
        let request = HealthCheckRequest { service: self.service };
        let answer = HealthClient::new(client.channel).check(request).await.map_err(|status| told(&status))?;
        let status = answer.into_inner().status();
        if self.format.json {
            print_json(&serde_json::json!({ "status": status.as_str_name() }))?;
        }
        match status {
            ServingStatus::Serving => Ok(()),
            other => Err(CliError(format!("the server is {}", other.as_str_name()))),
        }
    }
}
