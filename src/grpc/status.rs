//! Errors on the wire: one exhaustive match per error type.
//!
//! Every error carries a `google.rpc.ErrorInfo` with a stable reason; what varies
//! stands in its metadata. A field that is at fault is named in a `BadRequest`; a
//! retry that may help is announced by a `RetryInfo`.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::convert::timestamp;
use super::fields::InvalidField;
use crate::cluster::LogFault;
use crate::feed::{AppendError, Rejected};
use crate::limits::Exceeded;
use crate::pb::swarm::v1::{self as pb, ErrorReason as Reason};
use crate::service::ServiceError;
use crate::service::publish::PublishError;
use starling_core::Rejection;
use starling_core::event::{Gate, LeaveReason};
use starling_core::id::SwarmKind;
use starling_core::livestream::State;

/// The domain of all our reasons.
const DOMAIN: &str = "starling";

/// The name of [`pb::LastPositions`] among the details of an error.
const LAST_POSITIONS: &str = "type.googleapis.com/starling.swarm.v1.LastPositions";

/// How long clients wait before they try elsewhere.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the names of reasons begin with in the schema.
const REASON: &str = "ERROR_REASON_";

/// The name of a reason in ErrorInfo.
pub(super) fn name(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches(REASON)
}

/// The reason of this name in ErrorInfo.
pub(super) fn reason(name: &str) -> Option<Reason> {
    Reason::from_str_name(&format!("{REASON}{name}"))
}

fn status(code: Code, reason: Reason, message: impl Into<String>, metadata: &[(&str, String)]) -> Status {
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let details = ErrorDetails::with_error_info(name(reason), DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

fn retry(code: Code, reason: Reason, message: &str) -> Status {
    retry_after(code, reason, message, RETRY_AFTER)
}

fn retry_after(code: Code, reason: Reason, message: &str, wait: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(name(reason), DOMAIN, HashMap::new());
    details.set_retry_info(Some(wait));
    Status::with_error_details(code, message, details)
}

impl From<InvalidField> for Status {
    fn from(InvalidField { field, problem }: InvalidField) -> Self {
        let metadata = HashMap::from([("field".to_owned(), field.clone())]);
        let mut details = ErrorDetails::with_error_info(name(Reason::InvalidField), DOMAIN, metadata);
        details.add_bad_request_violation(&field, &problem);
        Self::with_error_details(Code::InvalidArgument, format!("{field}: {problem}"), details)
    }
}

/// Nothing was done: a client that waits, or ends something, may call again.
impl From<Exceeded> for Status {
    fn from(exceeded: Exceeded) -> Self {
        let Exceeded { limit, max, wait } = exceeded;
        let reason = if wait.is_some() { Reason::RateLimited } else { Reason::ClientLimit };
        let metadata = [("limit", limit.setting().to_owned()), ("max", max.to_string())];
        let metadata = HashMap::from(metadata.map(|(key, value)| (key.to_owned(), value)));
        let mut details = ErrorDetails::with_error_info(name(reason), DOMAIN, metadata);
        details.set_retry_info(Some(wait.unwrap_or(RETRY_AFTER)));
        Self::with_error_details(Code::ResourceExhausted, exceeded.to_string(), details)
    }
}

/// What a refusal is on the wire, for one kind of swarm.
pub(super) fn refused(kind: SwarmKind) -> impl Fn(ServiceError) -> Status {
    move |refusal| match refusal {
        ServiceError::Rejected(rejection) => rejected(kind, &rejection),
        ServiceError::Ended { epoch, last } => {
            let positions = last.into_iter().map(Into::into).collect();
            ended(&pb::LastPositions { epoch: epoch.get(), positions })
        }
        ServiceError::FeedMemory => retry(Code::ResourceExhausted, Reason::FeedMemory, &refusal.to_string()),
        ServiceError::TooManySwarms { max } => {
            let message = refusal.to_string();
            status(Code::ResourceExhausted, Reason::TooManySwarms, message, &[("max", max.to_string())])
        }
        ServiceError::StateMemory => retry(Code::ResourceExhausted, Reason::StateMemory, &refusal.to_string()),
        ServiceError::Exceeded(exceeded) => exceeded.into(),
        ServiceError::HomeUnreachable => retry(Code::Unavailable, Reason::HomeUnreachable, &refusal.to_string()),
        ServiceError::Log(fault) => log_fault(fault),
        ServiceError::ClusterOff => status(Code::FailedPrecondition, Reason::ClusterOff, refusal.to_string(), &[]),
        ServiceError::LevelNotSupported { pod, highest } => {
            let metadata = [("podId", format!("{pod:016x}")), ("level", highest.to_string())];
            status(Code::FailedPrecondition, Reason::LevelNotSupported, refusal.to_string(), &metadata)
        }
        ServiceError::IdentityOff => status(Code::FailedPrecondition, Reason::IdentityOff, refusal.to_string(), &[]),
    }
}

/// The log that several servers share did not carry it out.
fn log_fault(fault: LogFault) -> Status {
    let message = fault.to_string();
    match fault {
        LogFault::QueueFull => retry(Code::ResourceExhausted, Reason::LogQueueFull, &message),
        LogFault::NotApplied | LogFault::OutcomeUnknown | LogFault::NotServed | LogFault::Behind => {
            retry(Code::Unavailable, Reason::LogUnreachable, &message)
        }
        LogFault::Panicked => {
            tracing::error!(error = message, "failed");
            Status::internal(message)
        }
    }
}

/// This server does not follow the log that several share: others may.
pub(super) fn away_from_log() -> Status {
    log_fault(LogFault::NotServed)
}

/// The swarm has ended, and this is where its updates did.
fn ended(last: &pb::LastPositions) -> Status {
    let message = Rejection::Ended.to_string();
    let status = status(Code::FailedPrecondition, Reason::Ended, message, &[]);
    let mut rich = tonic_types::pb::Status::decode(status.details()).unwrap_or_default();
    rich.details.push(prost_types::Any { type_url: LAST_POSITIONS.into(), value: last.encode_to_vec() });
    Status::with_details(status.code(), status.message(), rich.encode_to_vec().into())
}

fn rejected(kind: SwarmKind, rejection: &Rejection) -> Status {
    use Code::{AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted};
    let message = rejection.to_string();
    let is = |code, reason, metadata: &[(&str, String)]| status(code, reason, message.clone(), metadata);
    match rejection {
        Rejection::NoSuchSwarm => match kind {
            SwarmKind::Livestream => status(NotFound, Reason::LivestreamNotFound, "there is no such livestream", &[]),
            SwarmKind::Group => status(NotFound, Reason::GroupNotFound, "there is no such group", &[]),
        },
        Rejection::Exists => is(AlreadyExists, Reason::SwarmExists, &[]),
        Rejection::RequestReused => {
            let metadata = HashMap::from([("field".to_owned(), "request_id".to_owned())]);
            let mut details = ErrorDetails::with_error_info(name(Reason::RequestIdReused), DOMAIN, metadata);
            details.add_bad_request_violation("request_id", "was used for another request");
            Status::with_error_details(InvalidArgument, message, details)
        }
        Rejection::Ended => is(FailedPrecondition, Reason::Ended, &[]),
        Rejection::NotAMember(node) => is(FailedPrecondition, Reason::NotAMember, &[("nodeId", node.to_string())]),
        Rejection::SessionReplaced { node, given } => {
            let metadata = [("nodeId", node.to_string()), ("sessionId", given.to_string())];
            is(FailedPrecondition, Reason::SessionReplaced, &metadata)
        }
        Rejection::Banned { node, until } => {
            let metadata = [("nodeId", node.to_string()), ("until", timestamp(*until).to_string())];
            is(PermissionDenied, Reason::Banned, &metadata)
        }
        Rejection::NoSuchMember(node) => is(NotFound, Reason::MemberNotFound, &[("nodeId", node.to_string())]),
        Rejection::NotBroadcaster { node } => {
            is(PermissionDenied, Reason::NotBroadcaster, &[("nodeId", node.to_string())])
        }
        Rejection::NotModerator { node } => is(PermissionDenied, Reason::NotModerator, &[("nodeId", node.to_string())]),
        Rejection::NotOwner { node } => is(PermissionDenied, Reason::NotOwner, &[("nodeId", node.to_string())]),
        Rejection::WrongState(state) => is(FailedPrecondition, Reason::WrongState, &[("state", state.to_string())]),
        Rejection::OnlyListens(node) => is(FailedPrecondition, Reason::OnlyListens, &[("nodeId", node.to_string())]),
        Rejection::LurkerCannotRelay => is(FailedPrecondition, Reason::LurkerCannotRelay, &[]),
        Rejection::BroadcasterCannotView => is(FailedPrecondition, Reason::BroadcasterCannotView, &[]),
        Rejection::TargetIsBroadcaster => is(FailedPrecondition, Reason::TargetIsBroadcaster, &[]),
        Rejection::TargetIsOwner => is(FailedPrecondition, Reason::TargetIsOwner, &[]),
        Rejection::NotActiveViewer(node) => {
            is(FailedPrecondition, Reason::NotActiveViewer, &[("nodeId", node.to_string())])
        }
        Rejection::ScreenShareHeld { holder } => {
            is(FailedPrecondition, Reason::ScreenShareHeld, &[("holderNodeId", holder.to_string())])
        }
        Rejection::KeyRequired => is(FailedPrecondition, Reason::KeyRequired, &[]),
        Rejection::KeyNotExpected => is(FailedPrecondition, Reason::KeyNotExpected, &[]),
        Rejection::ChannelDisabled => is(FailedPrecondition, Reason::ChannelDisabled, &[]),
        Rejection::Full { max } => is(ResourceExhausted, Reason::SwarmFull, &[("max", max.to_string())]),
        Rejection::Quota { what, max } => {
            is(ResourceExhausted, Reason::Quota, &[("what", (*what).to_owned()), ("max", max.to_string())])
        }
    }
}

/// A swarm of the other kind was found: a fault of ours, for ids of one kind name nothing else.
pub(super) fn wrong_kind(kind: SwarmKind) -> Status {
    let message = "the command does not apply to this kind of swarm";
    tracing::error!(wanted = ?kind, error = message, "failed");
    status(Code::Internal, Reason::WrongKind, message, &[])
}

/// What a refused update is on the wire, when it came alone.
pub(super) fn unpublished(kind: SwarmKind) -> impl Fn(PublishError) -> Status {
    move |refusal| match refusal {
        PublishError::Swarm(refusal) => refused(kind)(refusal),
        PublishError::Feed(rejected) => untaken(rejected),
    }
}

fn untaken(Rejected { publisher_sequence, refusal }: Rejected) -> Status {
    let message = refusal.to_string();
    let number = [("publisherSequence", publisher_sequence.to_string())];
    match refusal {
        AppendError::StaleTerm => stale_term(),
        AppendError::Closed(Gate::Paused) => wrong_state(&message, State::Paused),
        AppendError::Closed(Gate::NotActive) => wrong_state(&message, State::Initializing),
        AppendError::Closed(Gate::Off | Gate::Open) => {
            status(Code::FailedPrecondition, Reason::ChannelDisabled, message, &[])
        }
        AppendError::Muted => status(Code::FailedPrecondition, Reason::Muted, message, &[]),
        AppendError::Quota => retry(Code::ResourceExhausted, Reason::RateLimited, &message),
        AppendError::Memory => retry(Code::ResourceExhausted, Reason::FeedMemory, &message),
        AppendError::OutOfOrder => status(Code::FailedPrecondition, Reason::OutOfOrder, message, &number),
        AppendError::OutcomeUnknown => status(Code::FailedPrecondition, Reason::OutcomeUnknown, message, &number),
        AppendError::Unsigned => status(Code::PermissionDenied, Reason::Unsigned, message, &number),
        AppendError::BadSignature => status(Code::PermissionDenied, Reason::BadSignature, message, &number),
    }
}

fn wrong_state(message: &str, state: State) -> Status {
    status(Code::FailedPrecondition, Reason::WrongState, message, &[("state", state.to_string())])
}

/// The client reset its request before it was complete; nobody hears this.
pub(super) fn reset() -> Status {
    Status::aborted("the request was reset")
}

/// A method that takes one message was sent another number of them.
pub(super) fn one_message(what: &str) -> Status {
    let message = format!("the method takes one message; {what}");
    status(Code::Unimplemented, Reason::RequestCardinality, message, &[])
}

/// A message did not come in time.
pub(super) fn receive_timeout() -> Status {
    status(Code::DeadlineExceeded, Reason::ReceiveTimeout, "the message did not come in time", &[])
}

/// The headers of a request are too large.
pub(super) fn headers_too_large(max: usize) -> Status {
    let message = format!("the headers may have {max} bytes, each with 32 more");
    status(Code::ResourceExhausted, Reason::HeadersTooLarge, message, &[("max", max.to_string())])
}

/// A message is larger than it may be.
pub(super) fn message_too_large(max: impl std::fmt::Display) -> Status {
    let message = format!("the message is larger than {max} bytes");
    status(Code::ResourceExhausted, Reason::MessageTooLarge, message, &[("max", max.to_string())])
}

/// What tonic refused before a method saw it, in words of ours: a message over the limit is no
/// index out of range, and who is told so must be able to tell why.
pub(super) fn refused_by_transport(refused: Status) -> Status {
    if refused.code() != Code::OutOfRange || !refused.details().is_empty() {
        return refused;
    }
    // "..., the limit is: 65536 bytes"
    let max = refused.message().split(|letter: char| !letter.is_ascii_digit()).rfind(|word| !word.is_empty());
    let max = max.unwrap_or_default();
    message_too_large(max)
}

/// A `grpc-timeout` that cannot be read.
pub(super) fn malformed_timeout() -> Status {
    let (field, problem) =
        ("grpc-timeout".to_owned(), "must be at most eight digits and one of H M S m u n".to_owned());
    InvalidField { field, problem }.into()
}

/// The client does not wait any longer.
pub(super) fn deadline_exceeded() -> Status {
    status(Code::DeadlineExceeded, Reason::DeadlineExceeded, "the deadline of the call has passed", &[])
}

/// The connection is closed for its age.
pub(super) fn connection_age() -> Status {
    let message = "the connection has reached its age; call again at once";
    retry_after(Code::Unavailable, Reason::ConnectionAge, message, Duration::ZERO)
}

/// The peer address has its share of connections with streams.
pub(super) fn too_many_connections() -> Status {
    let message = "this address has as many connections with calls as it may; use one that has some, or end others";
    retry(Code::ResourceExhausted, Reason::TooManyConnections, message)
}

/// The connection holds all that it may.
pub(super) fn connection_memory() -> Status {
    let message = "this connection holds all that it may; take what has been answered, then call again";
    retry(Code::ResourceExhausted, Reason::ConnectionMemory, message)
}

/// A call came without a token.
pub(super) fn token_missing() -> Status {
    status(Code::Unauthenticated, Reason::TokenMissing, "the call needs a token: authorization: Bearer", &[])
}

/// A token counts for nothing; why is nobody's business.
pub(super) fn token_invalid() -> Status {
    status(Code::Unauthenticated, Reason::TokenInvalid, "the token is not valid", &[])
}

/// The time of a token is over.
pub(super) fn token_expired() -> Status {
    status(Code::Unauthenticated, Reason::TokenExpired, "the token has expired", &[])
}

/// The token was issued before those of its node were revoked.
pub(super) fn token_revoked() -> Status {
    status(Code::Unauthenticated, Reason::TokenRevoked, "the token was revoked", &[])
}

/// The time of a token is to come.
pub(super) fn token_not_yet_valid() -> Status {
    status(Code::Unauthenticated, Reason::TokenNotYetValid, "the token is not valid yet", &[])
}

/// The caller does not have what a request needs.
pub(super) fn not_granted(needs: &str) -> Status {
    let message = format!("the caller is not granted what this needs: {needs}");
    status(Code::PermissionDenied, Reason::NotGranted, message, &[("needs", needs.to_owned())])
}

/// The caller is not the node that it names.
pub(super) fn not_your_node(node: u64) -> Status {
    let message = format!("the caller may not act as node {node}");
    status(Code::PermissionDenied, Reason::NotYourNode, message, &[("nodeId", node.to_string())])
}

/// The process is about to stop and takes nothing new.
pub(super) fn draining() -> Status {
    draining_for(RETRY_AFTER)
}

fn draining_for(wait: Duration) -> Status {
    retry_after(Code::Unavailable, Reason::Draining, "this process is shutting down", wait)
}

/// For how long a stream's client waits: where nobody else serves, for another process to begin. The drain is spread as
/// it is, so nobody else has to be spared.
const fn draining_wait(others_serve: bool) -> Duration {
    if others_serve { Duration::ZERO } else { RETRY_AFTER }
}

/// All channels of a publish stream were lost.
pub(super) fn stale_term() -> Status {
    status(Code::FailedPrecondition, Reason::StaleTerm, "the right to publish has passed on", &[])
}

/// What a publisher is told when an update is not taken; `None` when it lost the
/// channel.
pub(super) const fn reject_reason(refusal: AppendError) -> Option<pb::RejectReason> {
    Some(match refusal {
        AppendError::StaleTerm => return None,
        AppendError::Closed(Gate::Paused | Gate::NotActive) => pb::RejectReason::WrongState,
        AppendError::Closed(Gate::Off | Gate::Open) => pb::RejectReason::ChannelDisabled,
        AppendError::Muted => pb::RejectReason::Muted,
        AppendError::Quota => pb::RejectReason::RateLimited,
        AppendError::Memory => pb::RejectReason::FeedMemory,
        AppendError::OutOfOrder => pb::RejectReason::OutOfOrder,
        AppendError::OutcomeUnknown => pb::RejectReason::OutcomeUnknown,
        AppendError::Unsigned => pb::RejectReason::Unsigned,
        AppendError::BadSignature => pb::RejectReason::BadSignature,
    })
}

/// Why a stream ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The swarm ended.
    SwarmEnded,
    /// The session, or the watched node's membership, ended.
    Session(LeaveReason),
    /// Every channel of a publish stream was lost.
    StaleTerm,
    /// The process is about to stop; others of its cluster may serve.
    Draining { others_serve: bool },
    /// The stream has lived long enough.
    Age,
    /// The identity that opened it has expired.
    TokenExpired,
    /// The token that opened it was revoked.
    TokenRevoked,
    /// This server does not follow the log that several share.
    AwayFromLog,
    /// The client does not wait any longer.
    Deadline,
}

impl End {
    /// The last message, if there is one, and the status of a stream that ends so; `Ok` is OK.
    pub(super) fn goodbye_and_status(self) -> (Option<pb::Goodbye>, Result<(), Status>) {
        use pb::GoodbyeReason as Why;
        let (reason, status) = match self {
            Self::SwarmEnded | Self::Session(LeaveReason::Ended) => (Why::Ended, Ok(())),
            Self::Session(LeaveReason::Left) => (Why::Left, Ok(())),
            Self::Session(LeaveReason::Replaced) => {
                let message = "the node joined again; this session is over";
                (Why::Replaced, Err(status(Code::FailedPrecondition, Reason::SessionReplaced, message, &[])))
            }
            Self::Session(LeaveReason::Removed) => {
                (Why::Removed, Err(status(Code::PermissionDenied, Reason::Removed, "the node was removed", &[])))
            }
            Self::Session(LeaveReason::Timeout) => {
                let message = "the session was detached for its lease";
                (Why::LeaseExpired, Err(status(Code::FailedPrecondition, Reason::NotAMember, message, &[])))
            }
            Self::StaleTerm => (Why::StaleTerm, Err(stale_term())),
            Self::Draining { others_serve } => (Why::Draining, Err(draining_for(draining_wait(others_serve)))),
            // For its client the same: others serve.
            Self::AwayFromLog => (Why::Draining, Err(away_from_log())),
            Self::Age => {
                let message = "the stream has reached its age; resume at once";
                // The same process serves: nobody has to wait.
                (Why::StreamAge, Err(retry_after(Code::Unavailable, Reason::StreamAge, message, Duration::ZERO)))
            }
            Self::TokenExpired => (Why::TokenExpired, Err(token_expired())),
            // Another token is what its client needs either way.
            Self::TokenRevoked => (Why::TokenExpired, Err(token_revoked())),
            // Its client is gone, or about to go.
            Self::Deadline => return (None, Err(deadline_exceeded())),
        };
        let wait = match self {
            Self::Draining { others_serve } => Some(draining_wait(others_serve)),
            Self::AwayFromLog => Some(RETRY_AFTER),
            // With another token, at once.
            Self::Age | Self::TokenExpired | Self::TokenRevoked => Some(Duration::ZERO),
            Self::SwarmEnded | Self::Session(_) | Self::StaleTerm | Self::Deadline => None,
        };
        let retry_after = wait.and_then(|wait| prost_types::Duration::try_from(wait).ok());
        (Some(pb::Goodbye { reason: reason.into(), retry_after }), status)
    }
}

#[cfg(test)]
mod tests;
