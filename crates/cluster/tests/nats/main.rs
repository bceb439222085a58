//! The log over the real nats-server, where there is one: `NATS_SERVER` names it, or it is on the path.
//!
//! With `REQUIRE_TOOLS=1` it has to be there. `KILLS=100 SEED=7 cargo test -p starling-cluster --test nats trial` kills
//! more servers than usual.

#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails, and says where")]

mod follower;
mod kills;
mod log;
mod server;
mod snapshots;
mod start;
