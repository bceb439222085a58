//! The server of the demo.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

use super::ids::{GROUP, LIVESTREAM};
use super::meters::Meters;
use super::progress::soon;
use super::targets::sorted;
use super::verdict::Verdict;
use crate::app::App;
use crate::cli::error::{CliError, told};
use crate::config::{Config, Overrides};
use crate::shutdown::Shutdown;
use starling_client::Client;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as pb;

/// The server, on a free port.
pub(super) struct DemoServer {
    pub(super) url: String,
    pub(super) meters: Arc<Meters>,
    shutdown: Shutdown,
    server: JoinSet<()>,
    /// Measures beside it, until the server stops.
    _monitor: JoinSet<()>,
}

impl DemoServer {
    pub(super) async fn start() -> Result<Self, CliError> {
        let overrides = Overrides { listen: Some(([127, 0, 0, 1], 0).into()), ..Overrides::default() };
        let mut config = Config::load(None, std::collections::HashMap::new(), overrides)?;
        config.drain.spread = Duration::ZERO;
        config.admin.listen = None;
        let app = App::bind(config).await?;
        let (url, shutdown) = (format!("http://{}", app.address()), Shutdown::new());
        let mut server = JoinSet::new();
        server.spawn(app.run(shutdown.clone()));
        let meters = Arc::new(Meters::new());
        let mut monitor = JoinSet::new();
        let timers = Arc::clone(&meters);
        monitor.spawn(async move { timers.watch_timers().await });
        Ok(Self { url, meters, shutdown, server, _monitor: monitor })
    }

    /// Stops the server; what was left over on it.
    pub(super) async fn stop(mut self) -> Result<Vec<String>, CliError> {
        self.meters.release();
        let mut leaks = Vec::new();
        if soon("the streams to end", self.shutdown.idle()).await.is_err() {
            leaks.push(format!("{} streams", self.shutdown.open_streams()));
        }
        let mut client = Client::connect(&self.url).await?;
        let get = pb::GetLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() };
        let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?.into_inner();
        let viewers = found.livestream.unwrap_or_default().viewer_count;
        let get = group::GetGroupRequest { group_id: GROUP, ..Default::default() };
        let found = client.groups.get_group(get).await.map_err(|status| told(&status))?.into_inner();
        let participants = found.group.unwrap_or_default().participant_count;
        if viewers > 0 || participants > 0 {
            leaks.push(format!("{viewers} viewers, {participants} participants"));
        }
        drop(client);
        self.shutdown.begin();
        while let Some(served) = self.server.join_next().await {
            served?;
        }
        Ok(leaks)
    }
}

/// Compares what the viewers have folded with what the server answers, and the shape of
/// the tree with what it must be.
pub(super) async fn judge_tree(
    client: &mut Client,
    livestream_id: u64,
    meters: &Meters,
    verdict: &mut Verdict,
) -> Result<(), CliError> {
    let mut folded = meters.folded.subscribe();
    let nodes: Vec<u64> = meters.targets.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect();
    let (mut equal, mut most) = (0, 0);
    for node in &nodes {
        let get = pb::GetTargetsRequest { livestream_id, of_node_id: *node, ..Default::default() };
        let answer = client.livestreams.get_targets(get).await.map_err(|status| told(&status))?.into_inner();
        let wanted = answer.targets.unwrap_or_default();
        most = most.max(wanted.targets.len());
        // A delta may still be on its way.
        let same = || {
            let targets = meters.targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets.get(node).is_some_and(|(_, list)| sorted(list) == sorted(&wanted))
        };
        equal += usize::from(soon("the targets", folded.wait_for(|_| same())).await.is_ok_and(|found| found.is_ok()));
    }
    verdict.check(
        "every node's folded targets equal GetTargets",
        equal == nodes.len() && equal > 0,
        format!("{equal} of {}", nodes.len()),
    );
    let get = pb::GetStatsRequest { livestream_id, ..Default::default() };
    let stats = client.livestreams.get_stats(get).await.map_err(|status| told(&status))?.into_inner();
    let stats = stats.stats.unwrap_or_default();
    // The least depth that holds so many with a fan-out of 5.
    let viewers = nodes.len() as u64;
    let best = (1_u32..).scan((0, 1), |(sum, row), depth| {
        *row *= 5;
        *sum += *row;
        Some((depth, *sum))
    });
    let best = best.into_iter().find(|(_, room)| *room >= viewers).map_or(0, |(depth, _)| depth);
    let fits = most <= 5 && stats.tree_depth == best;
    verdict.check("fan-out and depth are right", fits, format!("at most {most} targets, depth {}", stats.tree_depth));
    Ok(())
}
