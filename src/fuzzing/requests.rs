//! Calls that are read from bytes, and made one after the other on a server of their own, without a connection.
//!
//! ```text
//! input   = message*
//! message = method length bytes     method: a place in the list of methods; with its highest bit set the next message
//!                                   is of the same call
//!                                   length: one byte; 255 is followed by two, little end first
//! ```

use std::sync::Arc;

use arbitrary::Unstructured;

use crate::app::edge_settings;
use crate::clock::Clock;
use crate::cluster::CommandLog;
use crate::config::Config;
use crate::grpc::Edge;
use crate::grpc::authentication::Authentication;
use crate::grpc::fuzzing::{self, FuzzedCall};
use crate::service::{self, Service, TokenTimes};
use crate::shutdown::Shutdown;
use crate::store::{self, CreatorShares, Store};

/// Messages of one input at most.
const MOST: usize = 64;
/// Says that another message of the same call follows.
const MORE: u8 = 0x80;

/// Makes calls, each with its messages in protobuf.
///
/// # Panics
///
/// When a request is accepted that is beyond the documented limits, or an answer blames the server.
pub fn requests(bytes: &[u8]) {
    let calls = calls(bytes);
    // Nothing waits: a runtime is there for timers and what they wake.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async { fuzzing::call(&edge(), &calls).await });
}

fn calls(bytes: &[u8]) -> Vec<FuzzedCall<'_>> {
    let mut input = Unstructured::new(bytes);
    let mut calls: Vec<FuzzedCall<'_>> = Vec::new();
    let mut more = false;
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        let method = byte(&mut input);
        let length = match byte(&mut input) {
            u8::MAX => u16::from_le_bytes([byte(&mut input), byte(&mut input)]).into(),
            length => usize::from(length),
        };
        let message = input.bytes(length.min(input.len())).unwrap_or_default();
        match calls.last_mut() {
            Some(call) if more => call.messages.push(message),
            _ => calls.push(FuzzedCall { method: usize::from(method & !MORE), messages: vec![message] }),
        }
        more = method & MORE != 0;
    }
    calls
}

/// 0 at the end of the input.
fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or_default()
}

/// A server without swarms, with little memory.
fn edge() -> Edge {
    let config = Config::default();
    let store = Arc::new(Store::new(store::Settings {
        shards: 2,
        event_log_revisions: 64,
        event_log_bytes: 1 << 16,
        event_logs_bytes: 1 << 18,
        ring_bytes: 1 << 16,
        feed_memory_bytes: 1 << 20,
        state_bytes: 1 << 20,
        creators: CreatorShares::UNLIMITED,
    }));
    let settings = service::Settings {
        max_swarms: 8,
        retention_ms: 60_000,
        empty_group_ms: 30_000,
        tokens: Some(TokenTimes { max_age_ms: 86_400_000, leeway_ms: 5_000 }),
    };
    let service = Service::new(CommandLog::local(store, Clock::system()), settings);
    Edge::new(service, edge_settings(&config), Authentication::off(), Shutdown::new())
}
