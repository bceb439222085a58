//! Who may do what, where callers bring tokens. What a token must be is tested where it is read; here a token is a
//! name of an identity that the test has made.

mod attacks;
mod expiry;
mod fixture;
mod headers;
mod limits;
mod nodes;
mod renewal;
mod revoked;
mod strangers;
