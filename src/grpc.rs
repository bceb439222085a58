//! The edge: protobuf and gRPC outside, the service inside.
//!
//! A request is parsed in [`convert`] (or [`fields`]), handed to the service, and
//! its answer, plain data, converted back; errors become statuses in [`status`] alone.
//! All requests that change a swarm which is there go the way of [`action`]. Who calls is found out in
//! [`authentication`], what it may ask is one table in [`rights`], how much of it in
//! [`client_limits`]. Streams are driven by
//! [`stream`], the body of updates by HTTP/2 itself ([`body`]). The connections are those of
//! [`transport`](crate::transport), which asks [`protocol`] what it must know of gRPC.

mod action;
pub mod authentication;
mod body;
mod call;
pub mod call_counts;
mod chosen_ids;
mod client_address;
mod client_limits;
mod convert;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod group;
pub mod health;
mod livestream;
mod message_count;
mod method_limits;
mod page_token;
mod protocol;
mod publish;
mod publish_requests;
mod request_messages;
mod rights;
pub mod server;
mod server_info;
mod set_position;
mod settled;
mod status;
mod stream;
mod subscribe;
mod timeout;
mod unread;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tonic::{Response, Status};

use crate::limits::Clients;
use crate::service::{Service, ServiceError};
use crate::shutdown::Shutdown;
use authentication::Authentication;
use starling_core::channel::Channel;

type Answer<T> = Result<Response<T>, Status>;

/// Limits and times of the edge.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most items of a page.
    pub list_page: usize,
    /// The largest payload of an update, in bytes.
    pub payload_bytes: usize,
    /// The largest payload of a CHAT update, in bytes.
    pub chat_payload_bytes: usize,
    /// How often an idle stream gives a sign of life.
    pub heartbeat: Duration,
    /// How long a stream may live, +- 10 %; zero = for ever.
    pub max_age: Duration,
    /// Over how long streams leave a draining process.
    pub drain_spread: Duration,
    /// The largest request, in bytes.
    pub receive_bytes: usize,
    /// The largest request that publishes, in bytes.
    pub publish_receive_bytes: usize,
    /// The largest id that a client may choose.
    pub max_id: u64,
    /// What GetServerInfo tells besides.
    pub told: Told,
}

/// What is decided elsewhere and told to clients.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// The most swarms.
    pub max_swarms: usize,
    /// Revisions of a swarm that a watch can resume from.
    pub event_log_revisions: usize,
    /// How long a swarm that ended still answers.
    pub retention: Duration,
    /// How long a group without participants lives.
    pub empty_group: Duration,
    /// Browsers are served.
    pub grpc_web: bool,
    /// Reflection answers.
    pub reflection: bool,
}

impl Settings {
    /// The largest payload of an update on a channel, in bytes.
    const fn max_payload(&self, channel: Channel) -> usize {
        match channel {
            Channel::Chat if self.chat_payload_bytes < self.payload_bytes => self.chat_payload_bytes,
            _ => self.payload_bytes,
        }
    }
}

/// All services over the same swarms.
#[derive(Clone, Debug)]
pub struct Edge {
    service: Service,
    settings: Settings,
    shutdown: Shutdown,
    authentication: Authentication,
    clients: Option<Arc<Clients>>,
}

impl Edge {
    /// The edge of a service.
    pub fn new(service: Service, settings: Settings, authentication: Authentication, shutdown: Shutdown) -> Self {
        let authentication = authentication.refusing(Arc::clone(service.revocations()));
        Self { service, settings, shutdown, authentication, clients: None }
    }

    /// The same with limits for each client.
    #[must_use]
    pub fn limiting(self, clients: Arc<Clients>) -> Self {
        let authentication = self.authentication.limiting(Arc::clone(&clients));
        Self { authentication, clients: Some(clients), ..self }
    }
}
