//! Starling keeps swarms: who takes part, who may change what, who forwards to
//! whom, and which updates must reach whom.
//!
//! Below all of it is the core, [`starling_core`]: a deterministic state machine over plain data.
//!
//! The modules, from the inside out; each uses only those before it:
//!
//! - [`clock`]: the one place where time enters.
//! - `budget`: limits in bytes that connections share.
//! - [`limits`]: what one client may do.
//! - [`sync`]: locks and atomics of the update path, which a model checker can take over.
//! - [`identity`]: who calls, and what it may do.
//! - [`feed`]: updates. A ring of encoded records per swarm, read by cursors.
//! - [`store`]: all swarms, in shards: swarm, event log and watchers under one lock, which plain
//!   data leaves.
//! - [`cluster`]: the command log, the only way to change a swarm; the sweeper.
//! - [`service`]: use cases, without transport or wire format.
//! - [`pb`]: the generated code.
//! - [`shutdown`]: the drain.
//! - [`tls`]: certificates, and who a client is by its own.
//! - [`transport`]: connections of HTTP/2; knows no swarm and no protobuf.
//! - [`grpc`]: the edge.
//! - [`metrics`]: what all of these have counted, written down.
//! - [`admin`]: the pages for whoever runs the server.
//! - [`config`], [`telemetry`], [`app`]: the process.
//! - `fuzzing`: what fuzz targets run; built for them and for tests.
//! - [`cli`]: the command line; its client is [`starling_client`], and [`starling_verify`] proves from
//!   outside that no update was lost without a gap.

mod budget;
pub mod clock;
pub mod identity;
pub mod limits;
mod sync;

pub mod feed;
pub mod store;

pub mod cluster;
pub mod service;

pub mod pb;
pub mod peer;
pub mod shutdown;
pub mod tls;
pub mod transport;

pub mod grpc;

pub mod metrics;

pub mod admin;

pub mod config;
pub mod telemetry;

pub mod app;

pub mod cli;

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
