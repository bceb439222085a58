//! Why a stream ends, and what to do then.

use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::connect_error::ConnectError;
use super::token_source::TokenError;
use super::verifier::Forgery;
use crate::pb::swarm::v1::{ErrorReason, Goodbye, GoodbyeReason, LastPositions, UpdatePosition};

/// Why a stream was cut, or is over for good.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refused, or the connection broke.
    #[error("the server says {:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    /// The server said goodbye.
    #[error("the server ended the stream: {}", .reason.as_str_name())]
    Goodbye {
        /// Why.
        reason: GoodbyeReason,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The swarm ended during a cut, and its last updates did not come: those up to these
    /// positions, the last of each source and channel.
    #[error("the swarm ended during a cut; its last updates are missing")]
    Ended {
        /// Where it ended; empty when the server no longer knows.
        last: Vec<UpdatePosition>,
    },
    /// Another stream took over the right to publish, or did so during a cut.
    #[error("another stream took over the right to publish")]
    StaleTerm,
    /// What came was not published so by the broadcaster of a signed livestream: who forwards it lies. Nothing of
    /// it was handed out.
    #[error("{}: {why}", forged(.position.as_ref()))]
    Forged {
        /// Where it is said to stand.
        position: Option<UpdatePosition>,
        /// What is wrong with it.
        why: Forgery,
    },
    /// There is no token to show.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The server takes the token no longer, and there is no newer one.
    #[error("the server refuses the token ({}), and there is no newer one", refusal(*.reason))]
    TokenRefused {
        /// Why: TOKEN_EXPIRED, TOKEN_REVOKED, TOKEN_INVALID or TOKEN_MISSING.
        reason: ErrorReason,
    },
    /// The stream ended without a goodbye.
    #[error("the stream broke off")]
    Closed,
    /// The stream could not be opened again in time.
    #[error("no stream again within {}; the last try: {last}", seconds(.patience))]
    GaveUp {
        /// See [`super::Retry::patience`].
        patience: Duration,
        /// How the last try failed.
        last: Box<Self>,
    },
}

fn forged(position: Option<&UpdatePosition>) -> String {
    position.map_or_else(
        || "the livestream is not what it is said to be".into(),
        |at| format!("a forged update on {}, sequence {}", at.channel().as_str_name(), at.sequence),
    )
}

/// A reason as servers write it.
fn refusal(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches("ERROR_REASON_")
}

fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// What to do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RetryDecision {
    /// Nothing: the swarm ended and everything was said.
    Over,
    /// Open the stream again: not sooner than asked; on a connection of its own, if the old
    /// one cannot be trusted.
    Retry { asked: Option<Duration>, reconnect: bool },
    /// Join again and open the stream.
    Rejoin,
    /// Open the stream again with another token, which is refused for this reason.
    OtherToken(ErrorReason),
    /// Stay away.
    Final,
}

impl Error {
    pub(super) fn verdict(&self) -> RetryDecision {
        match self {
            // Its source may have one later.
            Self::Token(_) => RetryDecision::Retry { asked: None, reconnect: false },
            Self::Connect(_) | Self::Closed => RetryDecision::Retry { asked: None, reconnect: true },
            Self::Status(status) => judge(status),
            Self::Goodbye { reason, retry_after } => match reason {
                GoodbyeReason::Ended => RetryDecision::Over,
                GoodbyeReason::Draining => RetryDecision::Retry { asked: *retry_after, reconnect: true },
                GoodbyeReason::StreamAge => RetryDecision::Retry { asked: *retry_after, reconnect: false },
                GoodbyeReason::LeaseExpired => RetryDecision::Rejoin,
                // Or revoked, which the goodbye does not tell apart.
                GoodbyeReason::TokenExpired => RetryDecision::OtherToken(ErrorReason::TokenExpired),
                // Of a newer server: it says when to come back, if at all.
                GoodbyeReason::Unspecified if retry_after.is_some() => {
                    RetryDecision::Retry { asked: *retry_after, reconnect: true }
                }
                GoodbyeReason::Unspecified
                | GoodbyeReason::Replaced
                | GoodbyeReason::Removed
                | GoodbyeReason::StaleTerm
                | GoodbyeReason::Left => RetryDecision::Final,
            },
            Self::Ended { .. }
            | Self::Forged { .. }
            | Self::StaleTerm
            | Self::TokenRefused { .. }
            | Self::GaveUp { .. } => RetryDecision::Final,
        }
    }
}

/// What an error says of the end of its swarm; `None` when it is another error.
pub(super) fn end_of_swarm(status: &Status) -> Option<LastPositions> {
    let ended = status.get_error_details().error_info().is_some_and(|info| info.reason == "ENDED");
    let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
    let last = details.iter().find(|detail| detail.type_url.ends_with("/starling.swarm.v1.LastPositions"));
    let last = last.and_then(|detail| LastPositions::decode(&detail.value[..]).ok());
    ended.then(|| last.unwrap_or_default())
}

fn judge(status: &Status) -> RetryDecision {
    let details = status.get_error_details();
    let reason = details.error_info().map_or("", |info| info.reason.as_str());
    let asked = details.retry_info().and_then(|info| info.retry_delay);
    match (reason, status.code()) {
        // The lease ran out during a cut.
        ("NOT_A_MEMBER", _) => RetryDecision::Rejoin,
        ("TOKEN_EXPIRED", _) => RetryDecision::OtherToken(ErrorReason::TokenExpired),
        ("TOKEN_REVOKED", _) => RetryDecision::OtherToken(ErrorReason::TokenRevoked),
        ("TOKEN_INVALID", _) => RetryDecision::OtherToken(ErrorReason::TokenInvalid),
        ("TOKEN_MISSING", _) => RetryDecision::OtherToken(ErrorReason::TokenMissing),
        // The clock of who issued it is ahead of the server's: it comes true by itself.
        ("TOKEN_NOT_YET_VALID", _) => RetryDecision::Retry { asked, reconnect: false },
        ("STREAM_AGE", _) => RetryDecision::Retry { asked, reconnect: false },
        (_, Code::Unavailable | Code::Cancelled | Code::Unknown) => RetryDecision::Retry { asked, reconnect: true },
        // Of the server's own: it asks to come back.
        _ if asked.is_some() => RetryDecision::Retry { asked, reconnect: false },
        // Made by the transport, which knows a cause: the server has said nothing.
        _ if std::error::Error::source(status).is_some() => RetryDecision::Retry { asked, reconnect: true },
        _ => RetryDecision::Final,
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        match details.error_info() {
            Some(info) if info.reason == "STALE_TERM" => Self::StaleTerm,
            _ => Self::Status(Box::new(status)),
        }
    }
}

impl From<Goodbye> for Error {
    fn from(goodbye: Goodbye) -> Self {
        match goodbye.reason() {
            GoodbyeReason::StaleTerm => Self::StaleTerm,
            reason => Self::Goodbye { reason, retry_after: goodbye.retry_after.and_then(|wait| wait.try_into().ok()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn refused(code: Code, reason: &str, asked: Option<Duration>) -> RetryDecision {
        let mut details = ErrorDetails::with_error_info(reason, "starling", HashMap::new());
        details.set_retry_info(asked);
        Error::from(Status::with_error_details(code, "", details)).verdict()
    }

    fn goodbye(reason: GoodbyeReason) -> RetryDecision {
        let retry_after = Some(prost_types::Duration { seconds: 1, nanos: 0 });
        Error::from(Goodbye { reason: reason.into(), retry_after }).verdict()
    }

    #[test]
    fn transport_failures_and_draining_reconnect() {
        for code in [Code::Unavailable, Code::Cancelled, Code::Unknown] {
            let bare = Error::from(Status::new(code, "")).verdict();
            assert_eq!(bare, RetryDecision::Retry { asked: None, reconnect: true }, "{code:?}");
        }
        let broken = Status::from_error(Box::new(std::io::Error::other("reset")));
        assert_eq!(Error::from(broken).verdict(), RetryDecision::Retry { asked: None, reconnect: true });
        assert_eq!(Error::Closed.verdict(), RetryDecision::Retry { asked: None, reconnect: true });
        let later = RetryDecision::Retry { asked: Some(SECOND), reconnect: true };
        assert_eq!(refused(Code::Unavailable, "DRAINING", Some(SECOND)), later);
        assert_eq!(goodbye(GoodbyeReason::Draining), later);
    }

    #[test]
    fn stream_age_and_quotas_keep_the_connection() {
        let later = RetryDecision::Retry { asked: Some(SECOND), reconnect: false };
        assert_eq!(refused(Code::Unavailable, "STREAM_AGE", Some(SECOND)), later);
        assert_eq!(goodbye(GoodbyeReason::StreamAge), later);
        for reason in ["RATE_LIMITED", "CLIENT_LIMIT", "TOO_MANY_CONNECTIONS"] {
            assert_eq!(refused(Code::ResourceExhausted, reason, Some(SECOND)), later, "{reason}");
        }
    }

    #[test]
    fn expired_lease_leads_to_rejoin() {
        assert_eq!(refused(Code::FailedPrecondition, "NOT_A_MEMBER", None), RetryDecision::Rejoin);
        assert_eq!(goodbye(GoodbyeReason::LeaseExpired), RetryDecision::Rejoin);
    }

    #[test]
    fn refused_token_calls_for_another() {
        for (name, reason) in [
            ("TOKEN_EXPIRED", ErrorReason::TokenExpired),
            ("TOKEN_REVOKED", ErrorReason::TokenRevoked),
            ("TOKEN_INVALID", ErrorReason::TokenInvalid),
            ("TOKEN_MISSING", ErrorReason::TokenMissing),
        ] {
            assert_eq!(refused(Code::Unauthenticated, name, None), RetryDecision::OtherToken(reason), "{name}");
            assert!(Error::TokenRefused { reason }.to_string().contains(&format!("({name})")));
            assert_eq!(Error::TokenRefused { reason }.verdict(), RetryDecision::Final);
        }
        assert_eq!(goodbye(GoodbyeReason::TokenExpired), RetryDecision::OtherToken(ErrorReason::TokenExpired));
        let later = RetryDecision::Retry { asked: None, reconnect: false };
        assert_eq!(refused(Code::Unauthenticated, "TOKEN_NOT_YET_VALID", None), later);
        assert_eq!(Error::from(TokenError::Malformed).verdict(), later);
    }

    #[test]
    fn final_server_errors_are_not_retried() {
        for (code, reason) in [
            (Code::FailedPrecondition, "SESSION_REPLACED"),
            (Code::FailedPrecondition, "STALE_TERM"),
            (Code::FailedPrecondition, "ENDED"),
            (Code::PermissionDenied, "REMOVED"),
            (Code::PermissionDenied, "BANNED"),
            (Code::NotFound, "LIVESTREAM_NOT_FOUND"),
            (Code::InvalidArgument, "INVALID_FIELD"),
            (Code::Unimplemented, "UNIMPLEMENTED"),
            (Code::Unauthenticated, ""),
        ] {
            assert_eq!(refused(code, reason, None), RetryDecision::Final, "{reason}");
        }
        for reason in [GoodbyeReason::Replaced, GoodbyeReason::Removed, GoodbyeReason::StaleTerm, GoodbyeReason::Left] {
            assert_eq!(goodbye(reason), RetryDecision::Final, "{reason:?}");
        }
        assert_eq!(goodbye(GoodbyeReason::Ended), RetryDecision::Over);
    }
}
