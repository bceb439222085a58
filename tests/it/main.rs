//! The service over real gRPC, from the other side of the wire. One program, so that the library is linked once:
//!
//! - [`admin`]: the admin listener, and its figures;
//! - [`edge`]: every error, every stream end, the command line;
//! - [`watch`]: watches of events, targets and the set of swarms;
//! - [`net`]: slow, dead and hostile networks;
//! - [`proxies`]: behind proxies, who is believed about the addresses of clients;
//! - [`tls`]: certificates, who is refused, and what stays true over TLS;
//! - [`cluster`]: several servers on one log;
//! - [`history`]: random runs, judged by the history checker.
//!
//! `cargo test --test it watch::` runs one of them.
#![allow(clippy::unwrap_used, reason = "a test that unwraps nothing fails, and says where")]

mod exchange;
mod harness;
mod process;

mod admin;
mod cluster;
mod edge;
mod history;
mod net;
mod proxies;
mod tls;
mod watch;
