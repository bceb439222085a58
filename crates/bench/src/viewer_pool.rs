//! All viewers of a run.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::go_viewer;
use super::viewer::{Behaviour, Protocol, ViewerConfig, ViewerContext};
use crate::error::BenchError;

/// All viewers of a run, gone when dropped.
#[derive(Debug)]
pub(crate) struct ViewerPool {
    connections: JoinSet<Result<(), BenchError>>,
    ready: Arc<Semaphore>,
    late: CancellationToken,
}

impl ViewerPool {
    /// Opens the connections, each with its configs, and waits until everybody is in who does not
    /// come later.
    pub(crate) async fn open(context: ViewerContext, connections: Vec<Vec<ViewerConfig>>) -> Result<Self, BenchError> {
        let first = connections.iter().flatten().filter(|config| !config.late).count();
        let mut pool =
            Self { connections: JoinSet::new(), ready: Arc::clone(&context.ready), late: context.late.clone() };
        for configs in connections {
            let context = context.clone();
            pool.connections.spawn(async move {
                match context.protocol {
                    Protocol::Grpc { greets, behaviour: Behaviour::Lean } => context.grpc(configs, greets).await,
                    Protocol::Grpc { greets, behaviour: Behaviour::GrpcGo } => {
                        let tcp = context.connect().await?;
                        go_viewer::view(context, tcp, configs, greets).await
                    }
                    Protocol::Raw(_) | Protocol::Nats(_) => context.tcp(configs).await,
                }
            });
        }
        pool.ready(first).await?;
        Ok(pool)
    }

    /// Fails when a viewer has failed.
    pub(crate) fn check(&mut self) -> Result<(), BenchError> {
        while let Some(ended) = self.connections.try_join_next() {
            ended??;
        }
        Ok(())
    }

    /// Lets those in who come later, and waits until they are.
    pub(crate) async fn start_late(&mut self, late: usize) -> Result<(), BenchError> {
        self.late.cancel();
        self.ready(late).await
    }

    /// Waits until so many more are in.
    async fn ready(&mut self, viewers: usize) -> Result<(), BenchError> {
        let viewers = u32::try_from(viewers).map_err(|_| BenchError("too many viewers".into()))?;
        tokio::select! {
            permits = self.ready.acquire_many(viewers) => permits?.forget(),
            Some(ended) = self.connections.join_next() => {
                ended??;
                return Err(BenchError("a connection ended before everybody was in".into()));
            }
        }
        Ok(())
    }
}
