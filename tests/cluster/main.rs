//! Several servers as processes, over three real nats-servers, with everything that can fail between them; where
//! nats-server is installed: `NATS_SERVER` names it, or it is on the path.
//!
//! - [`trial`]: faults in an order by chance, under load; after each all that was promised is compared;
//! - [`upgrade`]: all servers are restarted in turn, and nobody loses anything.
//!
//! With `REQUIRE_TOOLS=1` nats-server has to be there. `KILLS=200 SEED=7 cargo test --release --test cluster trial` has
//! more faults than usual, `FAULTS=kill_pod,lose_disks` some kinds alone, and `SUBSCRIBERS=500` more subscribers.
#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails, and says where")]

mod checks;
mod cluster;
mod events;
mod faults;
mod load;
mod members;
mod nats;
mod network;
mod pod;
mod publisher;
mod subscriber;
#[path = "../it/watch/fold/targets.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod target_fold;
mod targets;
mod time;
mod trial;
mod upgrade;
