//! Several servers on one log, over real gRPC: what one has answered, the next knows, and what one takes with it when it
//! dies.

pub(crate) mod fixture;

mod at_least;
mod chat;
mod identity;
mod membership;
mod secret;
mod updates;
