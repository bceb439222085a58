//! Who may do what, where callers bring tokens. What a token must be is tested where it is read; here a token is most
//! often a name of an identity that the test has made. All attacks together are `docs/identity-attacks.md`.

pub(crate) mod attacks;
mod document;
pub(crate) mod evasion;
pub(crate) mod expiry;
pub(crate) mod fixture;
mod forged_tokens;
mod headers;
mod key_rotation;
mod limits;
mod nodes;
pub(crate) mod refusal;
mod renewal;
mod revoked;
mod strangers;
mod token_sources;
