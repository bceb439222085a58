//! What the server counts of itself, as OpenMetrics text.
//!
//! Nothing is counted here. Each part keeps its own figures where it works, as plain numbers under a lock that it
//! holds anyway, or as atomics that nobody touches for a delivery: calls in `grpc`, connections and budgets in
//! `transport`, swarms in `store`, updates in `feed`. A scrape copies them, O(shards + feeds that hold records), and
//! writes them down. `docs/metrics.md` has each family; a test compares.

mod calls;
mod families;
mod process;
mod resources;
mod swarms;

use std::sync::Arc;

use tokio::task::yield_now;

use crate::grpc::call_counts::CallCounts;
use crate::limits::Clients;
use crate::store::Store;
use crate::transport::Monitor;
use families::Families;

/// What the body of a scrape is.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the figures are.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Swarms and updates.
    pub store: Arc<Store>,
    /// Calls.
    pub calls: Arc<CallCounts>,
    /// Connections of each listener, by its name; the one for everybody first.
    pub listeners: Vec<(&'static str, Arc<Monitor>)>,
    /// Clients and their limits.
    pub clients: Arc<Clients>,
}

impl Sources {
    /// All figures as they are now. No lock is held for longer than it takes to copy some numbers, and others run
    /// between feeds.
    pub async fn scrape(&self, is_ready: bool) -> String {
        let memory = self.store.feed_memory();
        let mut from = Some(0);
        while let Some(next) = from {
            from = memory.sum_up(next);
            yield_now().await;
        }
        let mut families = Families::default();
        process::about(&mut families, is_ready);
        calls::calls(&mut families, &self.calls);
        resources::connections(&mut families, &self.listeners);
        swarms::swarms(&mut families, &self.store.counts());
        swarms::updates(&mut families, memory.totals());
        resources::budgets(&mut families, &self.store, &self.listeners);
        resources::limits(&mut families, self);
        process::runtime(&mut families);
        process::process(&mut families);
        families.into_text()
    }
}
