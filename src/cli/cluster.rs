//! `starling cluster`: how the servers do that share one log.

use super::error::{CliError, told};
use super::format::{Format, print_text};
use super::server::Server;
use starling_client::pb::swarm::v1 as pb;
use starling_client::pb::swarm::v1::server_service_client::ServerServiceClient;

#[derive(Debug, clap::Args)]
pub(super) struct Cluster {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ClusterCommand {
    /// Show the pods of a cluster, and how far one of them is in each partition of the log.
    Status(Status),
    /// Go over to a newer level of the log, which older builds cannot apply: there is no way back.
    Activate(Activate),
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    format: Format,
}

#[derive(Debug, clap::Args)]
struct Activate {
    /// The level, from 1.
    #[arg(value_name = "LEVEL", value_parser = clap::value_parser!(u32).range(1..))]
    level: u32,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    format: Format,
}

impl Cluster {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.command {
            ClusterCommand::Status(Status { server, format }) => {
                let mut services = ServerServiceClient::new(server.connect().await?.channel);
                let get = pb::GetClusterStatusRequest {};
                let found = services.get_cluster_status(get).await.map_err(|status| told(&status))?.into_inner();
                if format.json { format.print(&found) } else { print_text(&table(&found)) }
            }
            ClusterCommand::Activate(Activate { level, server, format }) => {
                let mut services = ServerServiceClient::new(server.connect().await?.channel);
                let activate = pb::ActivateLevelRequest { level };
                let done = services.activate_level(activate).await.map_err(|status| told(&status))?.into_inner();
                format.print(&done)
            }
        }
    }
}

/// Pods, then partitions, a line for each.
fn table(status: &pb::GetClusterStatusResponse) -> String {
    let mut rows = vec![["pod", "address", "level", "partitions", "silent for", ""].map(str::to_owned)];
    for pod in &status.pods {
        let this = if pod.pod_id == status.pod_id { "answers" } else { "" };
        rows.push([
            pod.pod_id.clone(),
            if pod.address.is_empty() { "-".to_owned() } else { pod.address.clone() },
            pod.level.to_string(),
            pod.partitions.to_string(),
            seconds(pod.silent_for.as_ref()),
            this.to_owned(),
        ]);
    }
    let mut text = aligned(&rows);
    text.push('\n');
    let head = ["partition", "log", "level", "sequence", "behind", "snapshot", "snapshot age", "state"];
    let mut rows = vec![head.map(str::to_owned)];
    for partition in &status.partitions {
        let state = match (partition.not_ready.as_str(), partition.disputed) {
            ("", false) => "ready",
            ("", true) => "ready; the pods' states differ",
            (reason, _) => reason,
        };
        rows.push([
            partition.partition.to_string(),
            partition.log_id.clone(),
            partition.level.to_string(),
            partition.applied_sequence.to_string(),
            partition.last_sequence.saturating_sub(partition.applied_sequence).to_string(),
            partition.snapshot_sequence.to_string(),
            seconds(partition.snapshot_age.as_ref()),
            state.to_owned(),
        ]);
    }
    text + &aligned(&rows)
}

fn seconds(time: Option<&prost_types::Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{}.{} s", time.seconds, time.nanos / 100_000_000))
}

/// Rows whose columns begin below each other.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
