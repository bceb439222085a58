//! Which client a request is of, and what it takes of that client's limits.

use std::sync::Arc;

use tonic::{Request, Status};

use super::Edge;
use super::client_address::client_address;
use crate::identity::{Identity, Nodes};
use crate::limits::{CallPermit, ClientId, ClientLimit, Exceeded, UpdateCharge};
use crate::service::ServiceError;

/// The identity that a request counts for; `None` = it has none, where identities are off.
pub(super) fn client_identity(identity: &Identity) -> Option<ClientId> {
    match (&identity.nodes, &identity.back_end) {
        (Nodes::One(node), _) => Some(ClientId::Node(*node)),
        (Nodes::Within(_) | Nodes::Any, Some(name)) => Some(ClientId::BackEnd(Arc::clone(name))),
        (Nodes::Within(_) | Nodes::Any, None) => None,
    }
}

/// On whom a swarm is booked that a request makes.
pub(super) fn creators<T>(request: &Request<T>) -> Vec<ClientId> {
    let address = client_address(request.extensions(), request.metadata().as_ref()).map(ClientId::Address);
    let identity = request.extensions().get::<Arc<Identity>>().and_then(|identity| client_identity(identity));
    address.into_iter().chain(identity).collect()
}

impl Edge {
    /// Counts that these could not make one more swarm, if that is why; the refusal comes back.
    pub(super) fn note_creators(&self, from: &[ClientId], refusal: ServiceError) -> ServiceError {
        if let (ServiceError::Exceeded(exceeded), Some(clients)) = (&refusal, &self.clients) {
            let of_address = exceeded.limit == ClientLimit::AddressSwarms;
            let creator = from.iter().find(|client| matches!(client, ClientId::Address(_)) == of_address);
            if let Some(client) = creator {
                clients.note(client, *exceeded);
            }
        }
        refusal
    }
}

/// What a call takes of its client's limits. Nothing where there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct CallLimits(Option<Arc<CallPermit>>);

impl CallLimits {
    /// Those of a call.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        Self(request.extensions().get().cloned())
    }

    /// Counts a join.
    ///
    /// # Errors
    ///
    /// RESOURCE_EXHAUSTED when there were too many.
    pub(super) fn join(&self) -> Result<(), Status> {
        Ok(self.0.as_ref().map_or(Ok(()), |permit| permit.join())?)
    }

    /// Counts an update that came alone.
    ///
    /// # Errors
    ///
    /// RESOURCE_EXHAUSTED when there were too many, or too many bytes.
    pub(super) fn publish(&self, bytes: usize) -> Result<(), Status> {
        Ok(self.0.as_ref().map_or(Ok(()), |permit| permit.publish(&mut UpdateCharge::of(bytes)))?)
    }
}

/// What a publish stream takes of its client's limits: nothing is looked up for an update, and nothing done for one
/// where there are no rates.
#[derive(Debug)]
pub(super) struct StreamLimits {
    permit: Option<Arc<CallPermit>>,
    counts_updates: bool,
}

impl StreamLimits {
    /// Those of a stream.
    pub(super) fn of<T>(request: &Request<T>) -> Self {
        let CallLimits(permit) = CallLimits::of(request);
        let counts_updates = permit.as_ref().is_some_and(|permit| !permit.publishes_freely());
        Self { permit, counts_updates }
    }

    /// Counts an update; again for one that was held back.
    pub(super) fn publish(&self, update: &mut UpdateCharge) -> Result<(), Exceeded> {
        match &self.permit {
            Some(permit) if self.counts_updates => permit.publish(update),
            _ => Ok(()),
        }
    }

    /// Counts a renewal of the token.
    pub(super) fn renew(&self) -> Result<(), Exceeded> {
        self.permit.as_ref().map_or(Ok(()), |permit| permit.renew())
    }
}

#[cfg(test)]
mod tests {
    use starling_core::id::NodeId;

    use super::*;

    #[test]
    fn identity_is_its_node_or_its_name() {
        let node = NodeId::new(7).unwrap();
        let named = Identity { back_end: Some("gateway".into()), ..Identity::ANYBODY };
        assert_eq!(client_identity(&named), Some(ClientId::BackEnd("gateway".into())));
        let one = Identity { nodes: Nodes::One(node), ..named };
        assert_eq!(client_identity(&one), Some(ClientId::Node(node)));
        assert_eq!(client_identity(&Identity::ANYBODY), None);
    }
}
