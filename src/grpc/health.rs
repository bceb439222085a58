//! Health, as `grpc.health.v1` has it.
//!
//! tonic-health's own service refuses to watch a service that it does not know; the
//! protocol answers SERVICE_UNKNOWN and keeps the watch open.

use std::pin::Pin;

use futures_util::{Stream, StreamExt, future};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::server::SERVICES;

/// Answers for the server as a whole and for each service alike: they live in one process.
#[derive(Debug)]
pub struct Health(watch::Receiver<ServingStatus>);

/// Tells whether the server serves. Watches end when it is dropped.
#[derive(Debug)]
pub struct HealthReporter(watch::Sender<ServingStatus>);

impl HealthReporter {
    /// A reporter of a server that does not serve yet, and the service that passes it on.
    pub fn new() -> (Self, HealthServer<Health>) {
        let (sender, receiver) = watch::channel(ServingStatus::NotServing);
        (Self(sender), HealthServer::new(Health(receiver)))
    }

    /// Says it to all who watch, when it is something else than before.
    pub fn serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.send_if_modified(|current| std::mem::replace(current, status) != status);
    }
}

const fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if SERVICES.contains(&request.get_ref().service.as_str()) {
            Ok(Response::new(response(*self.0.borrow())))
        } else {
            Err(Status::not_found("there is no such service"))
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let statuses = WatchStream::new(self.0.clone());
        Ok(Response::new(if SERVICES.contains(&request.get_ref().service.as_str()) {
            statuses.map(|status| Ok(response(status))).boxed()
        } else {
            // Once, and then open like the others: a watcher may be told later what it asked for.
            let unknown = |(first, _)| future::ready((first == 0).then(|| Ok(response(ServingStatus::ServiceUnknown))));
            statuses.enumerate().filter_map(unknown).boxed()
        }))
    }
}
