//! What a server is to its peers.

use std::sync::Arc;

use super::Homes;
use super::network::PeerNetwork;
use crate::service::Service;

/// What peers ask for, at this server.
#[derive(Clone, Debug)]
pub struct PeerHost {
    pub(super) network: PeerNetwork,
    pub(super) service: Service,
    pub(super) homes: Arc<dyn Homes>,
}

impl PeerHost {
    /// A server with these swarms.
    pub fn new(network: PeerNetwork, service: Service, homes: Arc<dyn Homes>) -> Self {
        Self { network, service, homes }
    }
}
