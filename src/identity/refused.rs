//! Why a token is not accepted.

/// Why a token is not accepted. It says nothing of what is in the token beyond the name of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefused {
    /// It is not three parts of base64url, of which the first two are JSON objects that name no member twice; or its
    /// header has the member `crit`, which asks for what this server does not know.
    #[error("it is not a JSON Web Token")]
    Malformed,
    /// It has more than [`MAX_TOKEN_BYTES`](super::MAX_TOKEN_BYTES).
    #[error("it is larger than 8192 bytes")]
    TooLarge,
    /// No key has its `kid`; or it has none, and there is not exactly one key.
    #[error("no key has the id that it names")]
    UnknownKey,
    /// Its key is for another algorithm than its header names.
    #[error("its key is for another algorithm")]
    WrongAlgorithm,
    /// Its signature is not that of its key.
    #[error("its signature is wrong")]
    BadSignature,
    /// It has not this claim, which every token must have.
    #[error("it has no claim {0:?}")]
    MissingClaim(&'static str),
    /// This claim is of another type, or out of its range.
    #[error("its claim {0:?} is malformed")]
    InvalidClaim(&'static str),
    /// It comes from another issuer.
    #[error("it comes from another issuer")]
    WrongIssuer,
    /// It is meant for others.
    #[error("it is meant for another audience")]
    WrongAudience,
    /// Its time has not come: `nbf` or `iat` is ahead of the server's clock.
    #[error("its time has not come")]
    NotYetValid,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// From `iat` to `exp` is more than the longest time that is allowed.
    #[error("it lives longer than is allowed")]
    TooLongLived,
    /// It claims more than its key may give.
    #[error("it claims more than its key may give")]
    BeyondScope,
}
