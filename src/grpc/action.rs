//! Requests that change a swarm: one way for all of them.

use prost::Message;
use tonic::{Request, Response};

use super::client_limits::CallLimits;
use super::fields::Parsed;
use super::rights::Guarded;
use super::status::refused;
use super::{Answer, Edge};
use crate::service::mutation::Mutation;
use crate::store::snapshot::{Outcome, Projection};
use starling_core::id::SwarmId;

/// A request that changes a swarm, parsed.
#[derive(Debug)]
pub(super) struct ParsedAction {
    pub(super) id: SwarmId,
    pub(super) mutation: Mutation,
    /// What its response shows.
    pub(super) projection: Projection,
}

impl ParsedAction {
    pub(super) fn new(id: SwarmId, mutation: impl Into<Mutation>, projection: Projection) -> Self {
        Self { id, mutation: mutation.into(), projection }
    }
}

/// A request that changes a swarm.
pub(super) trait Action: Guarded + Message + 'static {
    /// Its response.
    type Response;

    /// The change, or the first field that is not as it must be. Each request is taken apart in
    /// full, so that a new field cannot be forgotten; the id of the swarm comes first, then who
    /// acts, then the rest.
    fn parse(&self) -> Parsed<ParsedAction>;

    /// The response, from what [`ParsedAction::projection`] asked for.
    fn respond(outcome: Outcome) -> Self::Response;

    /// Logs that it was carried out, where that is worth a line.
    fn log(&self, _id: SwarmId) {}
}

impl Edge {
    /// Carries a request out.
    pub(super) async fn act<A: Action>(&self, request: Request<A>) -> Answer<A::Response> {
        let limits = CallLimits::of(&request);
        let (request, ParsedAction { id, mutation, projection }) = self.admit(request, |request: A| {
            let parsed = request.parse()?;
            self.settings.allows_ids(parsed.id.kind, &parsed.mutation)?;
            Ok((request, parsed))
        })?;
        if matches!(mutation, Mutation::Join(_)) {
            limits.join()?;
        }
        let outcome = self.service.submit(id, mutation, projection).await.map_err(refused(id.kind))?;
        request.log(id);
        Ok(Response::new(A::respond(outcome)))
    }
}

/// The requests of one service that name a swarm, a node, its session and themselves, in the field
/// `$id` and three more; then the fields of each, what its response shows and how, and its command.
///
/// `by` is who acts, in `projection` and in the command.
macro_rules! actions {
    (
        $pb:ident, $kind:expr, $id:ident, |$by:ident|;
        $(
            $Request:ident { $($field:ident),* } => $Response:ident { $($shown:ident: $make:path),* },
            projection: $projection:expr, command: $command:expr;
        )*
    ) => {
        $(
            impl $crate::grpc::action::Action for $pb::$Request {
                type Response = $pb::$Response;

                fn parse(&self) -> $crate::grpc::fields::Parsed<$crate::grpc::action::ParsedAction> {
                    let $pb::$Request { $id, node_id, session_id, request_id, $($field),* } = self;
                    let id = $crate::grpc::fields::swarm_id($kind, *$id)?;
                    let $by = $crate::grpc::fields::by(*node_id, *session_id, request_id, self)?;
                    let projection = $projection;
                    Ok($crate::grpc::action::ParsedAction::new(id, $command, projection))
                }

                fn respond(mut outcome: $crate::store::snapshot::Outcome) -> $pb::$Response {
                    $pb::$Response {
                        $($shown: $make(&mut outcome),)*
                        revision: outcome.revision,
                        epoch: outcome.epoch.get(),
                    }
                }
            }
        )*
    };
}

pub(super) use actions;
