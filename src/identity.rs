//! Who calls, and what it may do: plain data, whatever said so (a token, a certificate, or nobody); and the
//! [`Verifier`] that makes it of a token.

mod authority;
mod claims;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod json;
mod key;
mod key_file;
mod key_files;
mod key_pair;
mod key_set;
mod permission;
mod refused;
mod scope;
mod token_parts;
#[cfg(test)]
mod token_tests;
mod verifier;

pub use authority::Authority;
pub use claims::Claims;
pub use key_file::{MAX_KEYS, SECRET_BYTES_MIN};
pub use key_files::{KeyFault, KeyFaults, KeySources};
pub use key_pair::{KeyKind, KeyPair, KeyPairError};
pub use key_set::VERIFIED_BYTES;
pub use permission::{IdRanges, Permission, Right, Rights};
pub use refused::TokenRefused;
pub use token_parts::{MAX_TOKEN_BYTES, TokenParts};
pub use verifier::{Verifier, VerifierSettings};

use std::sync::Arc;

use starling_core::channel::ChannelSet;
use starling_core::id::{NodeId, SwarmId, SwarmKind};

/// A caller, as authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As which nodes it may act.
    pub nodes: Nodes,
    /// The name of one who is no node, by its token or certificate: a back-end; `None` = it has none.
    pub back_end: Option<Arc<str>>,
    /// What it may do; what no permission names it may not.
    pub permissions: Permissions,
    /// When its token was issued, in milliseconds since the Unix epoch; `None` = it has no token.
    pub issued_at: Option<u64>,
    /// When it ends, in milliseconds since the Unix epoch; `None` = never.
    pub expires_at: Option<u64>,
}

/// As which nodes a caller may act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// As itself. Requests may leave its id out.
    One(NodeId),
    /// As each of these: a back-end.
    Within(IdRanges),
    /// As any, also as none: a back-end, or anybody where identities are off.
    Any,
}

/// What a caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Everything, everywhere.
    All,
    /// What one of these names.
    Some(Vec<Permission>),
}

impl Identity {
    /// Anybody, where identities are off.
    pub const ANYBODY: Self =
        Self { nodes: Nodes::Any, back_end: None, permissions: Permissions::All, issued_at: None, expires_at: None };

    /// The node that it is, when it is one node only.
    pub const fn node(&self) -> Option<NodeId> {
        match self.nodes {
            Nodes::One(node) => Some(node),
            Nodes::Within(_) | Nodes::Any => None,
        }
    }

    /// True when it may act as `node`.
    pub fn acts_as(&self, node: NodeId) -> bool {
        match &self.nodes {
            Nodes::One(own) => *own == node,
            Nodes::Within(ranges) => ranges.contains(node.get()),
            Nodes::Any => true,
        }
    }

    /// True when it may do this with one swarm. O(permissions and their ranges), of which a token of bounded size
    /// brings few.
    pub fn may(&self, right: Right, swarm: SwarmId) -> bool {
        self.any(|permission| permission.rights.contains(right) && permission.swarms(swarm.kind).contains(swarm.get()))
    }

    /// True when it may do this with every swarm of a kind.
    pub fn may_everywhere(&self, right: Right, kind: SwarmKind) -> bool {
        self.any(|permission| permission.rights.contains(right) && permission.swarms(kind).is_all())
    }

    /// True when it may publish on each of these channels of one swarm.
    pub fn may_publish(&self, channels: ChannelSet, swarm: SwarmId) -> bool {
        channels.iter().all(|channel| {
            self.any(|permission| {
                permission.channels.contains(channel) && permission.swarms(swarm.kind).contains(swarm.get())
            })
        })
    }

    fn any(&self, permits: impl Fn(&Permission) -> bool) -> bool {
        match &self.permissions {
            Permissions::All => true,
            Permissions::Some(given) => given.iter().any(permits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use starling_core::channel::Channel;

    const LIVESTREAM: SwarmId = SwarmId::new(SwarmKind::Livestream, 7).unwrap();
    const GROUP: SwarmId = SwarmId::new(SwarmKind::Group, 7).unwrap();

    fn viewer(node: u64) -> Identity {
        let nodes = Nodes::One(NodeId::new(node).unwrap());
        let permission = Permission {
            livestreams: [5..=7].into_iter().collect(),
            groups: IdRanges::default(),
            rights: [Right::Join].into_iter().collect(),
            channels: [Channel::Chat].into_iter().collect(),
        };
        let permissions = Permissions::Some(vec![permission]);
        Identity { nodes, back_end: None, permissions, issued_at: None, expires_at: None }
    }

    #[test]
    fn what_no_permission_names_is_not_allowed() {
        let viewer = viewer(3);
        assert!(viewer.may(Right::Join, LIVESTREAM));
        assert!(!viewer.may(Right::Join, GROUP), "another kind");
        assert!(!viewer.may(Right::Join, SwarmId::new(SwarmKind::Livestream, 8).unwrap()), "another swarm");
        assert!(!viewer.may(Right::Moderate, LIVESTREAM), "another right");
        assert!(!viewer.may_everywhere(Right::Join, SwarmKind::Livestream));
        let channels = |channels: &[Channel]| channels.iter().copied().collect();
        assert!(viewer.may_publish(channels(&[Channel::Chat]), LIVESTREAM));
        assert!(!viewer.may_publish(channels(&[Channel::Chat, Channel::Visual]), LIVESTREAM));
    }

    #[test]
    fn node_acts_as_itself_alone() {
        let [own, other] = [3, 4].map(|node| NodeId::new(node).unwrap());
        let viewer = viewer(3);
        assert_eq!((viewer.node(), viewer.acts_as(own), viewer.acts_as(other)), (Some(own), true, false));
        let back_end = Identity { nodes: Nodes::Within([3..=3, 9..=10].into_iter().collect()), ..viewer };
        assert_eq!((back_end.node(), back_end.acts_as(own), back_end.acts_as(other)), (None, true, false));
    }

    #[test]
    fn anybody_may_do_everything() {
        let anybody = Identity::ANYBODY;
        assert!(anybody.may(Right::Administer, GROUP) && anybody.may_everywhere(Right::Create, SwarmKind::Group));
        assert!(anybody.acts_as(NodeId::new(1).unwrap()));
        assert!(anybody.may_publish(Channel::ALL.into_iter().collect(), LIVESTREAM));
    }
}
