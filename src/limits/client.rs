//! Whom a limit is about.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use starling_core::id::NodeId;

/// A client, as far as limits go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientId {
    /// Whoever comes from this address; of IPv6 from this network of 64 bits.
    Address(IpAddr),
    /// The node that a token or a certificate names.
    Node(NodeId),
    /// Who may act for several nodes, by the subject of its token or the name in its certificate.
    BackEnd(Arc<str>),
}

impl ClientId {
    /// A number that stands for the client where another one with the same does no harm.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Node(node) => node.get(),
            Self::Address(_) | Self::BackEnd(_) => {
                let mut hasher = DefaultHasher::new();
                self.hash(&mut hasher);
                hasher.finish()
            }
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "address {address}"),
            Self::Node(node) => write!(f, "node {node}"),
            Self::BackEnd(name) => write!(f, "back-end {name:?}"),
        }
    }
}
