//! Attacks by their names, and how each is refused: the rows of `docs/identity-attacks.md`.

use std::fmt;

use starling_client::pb::swarm::v1::RejectReason;
use tonic::Code;

use crate::harness::Fault;

/// An attack, and what it is answered with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) attack: &'static str,
    pub(crate) refusal: Refusal,
}

/// How something is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// By a status of this code and reason.
    Status(Code, &'static str),
    /// As malformed, in this field.
    Field(&'static str),
    /// By the answer to an update on a publish stream, which goes on.
    Rejected(RejectReason),
    /// In the handshake of TLS; the log says this.
    Handshake(&'static str),
    /// By the client that verifies, with this variant of its `Forgery`.
    Forgery(&'static str),
}

impl Refusal {
    pub(crate) const EXPIRED: Self = Self::Status(Code::Unauthenticated, "TOKEN_EXPIRED");
    pub(crate) const INVALID: Self = Self::Status(Code::Unauthenticated, "TOKEN_INVALID");
    pub(crate) const MISSING: Self = Self::Status(Code::Unauthenticated, "TOKEN_MISSING");
    pub(crate) const NOT_YET_VALID: Self = Self::Status(Code::Unauthenticated, "TOKEN_NOT_YET_VALID");
    pub(crate) const REVOKED: Self = Self::Status(Code::Unauthenticated, "TOKEN_REVOKED");
    pub(crate) const NOT_GRANTED: Self = Self::Status(Code::PermissionDenied, "NOT_GRANTED");
    pub(crate) const NOT_YOUR_NODE: Self = Self::Status(Code::PermissionDenied, "NOT_YOUR_NODE");
    pub(crate) const BANNED: Self = Self::Status(Code::PermissionDenied, "BANNED");

    /// The same of a call.
    pub(crate) fn fault(self) -> Fault {
        match self {
            Self::Status(code, reason) => Fault::new(code, reason),
            Self::Field(field) => Fault::field(field),
            other => panic!("{other:?} is no status"),
        }
    }
}

/// As a table has it: code, then reason.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Status(code, reason) => write!(f, "{} | `{reason}`", name(code)),
            Self::Field(field) => write!(f, "INVALID_ARGUMENT | `INVALID_FIELD` (`{field}`)"),
            Self::Rejected(reason) => {
                let name = reason.as_str_name();
                write!(f, "none: the update is rejected | `{}`", name.strip_prefix("REJECT_REASON_").unwrap_or(name))
            }
            Self::Handshake(text) => write!(f, "none: no handshake | \"{text}\" in the log"),
            Self::Forgery(name) => write!(f, "none: the client refuses | `Forgery::{name}`"),
        }
    }
}

/// The name of a code, as gRPC writes it.
fn name(code: Code) -> String {
    let words = format!("{code:?}");
    let mut name = String::new();
    for (at, letter) in words.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}
