//! How the server ended what an attacker began, and how often.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// How a call or a connection ended, in the words of its protocol.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ending {
    /// Answered without an error.
    Served,
    /// The code of a status, and the reason in its details, which may be empty.
    Refused(String, String),
    /// A frame of HTTP/2 that ends a stream or the connection, with its code; or a status of HTTP/1.1.
    Told(String),
    /// The connection was closed without a word.
    Closed,
}

impl Ending {
    /// What the headers or trailers of an answer say; `None` when they say nothing.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        Status::from_header_map(headers).map(|status| Self::of_status(&status))
    }

    pub(crate) fn of_status(status: &Status) -> Self {
        if status.code() == Code::Ok {
            return Self::Served;
        }
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        Self::Refused(code_name(status.code()), reason)
    }

    pub(crate) fn of_h2(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_go_away() => Self::Told(format!("GOAWAY {}", reason_name(reason))),
            Some(reason) => Self::Told(format!("RST_STREAM {}", reason_name(reason))),
            None => Self::Closed,
        }
    }

    /// Whether the server ended it, rather than serving it.
    pub(crate) fn is_limit(&self) -> bool {
        *self != Self::Served
    }

    /// Whether a client that waits as it is told may ask again.
    pub(crate) fn is_rate_limit(&self) -> bool {
        matches!(self, Self::Refused(_, reason) if reason == "RATE_LIMITED")
    }

    /// Whether it says that the caller is wrong, rather than that it asks for too much.
    pub(crate) fn is_mistake(&self) -> bool {
        const MISTAKES: [&str; 6] = [
            "INVALID_ARGUMENT",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "FAILED_PRECONDITION",
            "PERMISSION_DENIED",
            "UNIMPLEMENTED",
        ];
        matches!(self, Self::Refused(code, _) if MISTAKES.contains(&code.as_str()))
    }

    /// Whether it comes with its reason.
    pub(crate) fn says_why(&self) -> bool {
        match self {
            Self::Served | Self::Closed => false,
            Self::Refused(_, reason) => !reason.is_empty(),
            Self::Told(_) => true,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served => f.write_str("OK"),
            Self::Refused(code, reason) if reason.is_empty() => f.write_str(code),
            Self::Refused(code, reason) => write!(f, "{code} ({reason})"),
            Self::Told(frame) => f.write_str(frame),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// A code as the schema and other languages write it.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

/// The name of an error code of HTTP/2.
pub(crate) fn reason_name(reason: h2::Reason) -> String {
    format!("{reason:?}")
}

/// Endings, counted. Many tasks may note theirs.
#[derive(Debug, Default)]
pub(crate) struct Endings(Mutex<BTreeMap<Ending, u64>>);

impl Endings {
    pub(crate) fn note(&self, ending: Ending) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(ending).or_default() += 1;
    }

    pub(crate) fn counts(&self) -> BTreeMap<Ending, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn status_is_named_with_its_reason() {
        let details = ErrorDetails::with_error_info("QUOTA", "starling", std::collections::HashMap::new());
        let status = Status::with_error_details(Code::ResourceExhausted, "too much", details);
        let ending = Ending::of_status(&status);
        assert_eq!(ending.to_string(), "RESOURCE_EXHAUSTED (QUOTA)");
        assert!(ending.is_limit() && ending.says_why());
        let bare = Ending::of_status(&Status::internal("no details"));
        assert_eq!(bare.to_string(), "INTERNAL");
        assert!(bare.is_limit() && !bare.says_why());
        assert!(Ending::of_status(&Status::not_found("it")).is_mistake() && !ending.is_mistake());
    }

    #[test]
    fn rate_limits_are_known() {
        let refused = |reason: &str| Ending::Refused("RESOURCE_EXHAUSTED".into(), reason.into());
        assert!(refused("RATE_LIMITED").is_rate_limit());
        assert!(!refused("CLIENT_LIMIT").is_rate_limit() && !Ending::Closed.is_rate_limit());
    }

    #[test]
    fn frames_are_named_with_their_codes() {
        let error = h2::Error::from(h2::Reason::ENHANCE_YOUR_CALM);
        assert_eq!(Ending::of_h2(&error).to_string(), "RST_STREAM ENHANCE_YOUR_CALM");
    }

    #[test]
    fn headers_without_a_status_say_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(Ending::of_headers(&headers), None);
        headers.insert("grpc-status", http::HeaderValue::from_static("0"));
        assert_eq!(Ending::of_headers(&headers), Some(Ending::Served));
    }

    #[test]
    fn endings_are_counted_by_kind() {
        let endings = Endings::default();
        [Ending::Closed, Ending::Served, Ending::Closed].into_iter().for_each(|ending| endings.note(ending));
        assert_eq!(endings.counts(), BTreeMap::from([(Ending::Served, 1), (Ending::Closed, 2)]));
    }
}
