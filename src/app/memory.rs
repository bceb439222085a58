//! What a configuration lets the process hold, when all of its budgets are full at once.

use std::fmt::Write;

use crate::config::{Config, IdentityMode};
use crate::identity;
use crate::limits;
use crate::transport;

/// A connection by itself, in bytes (`benches/README.md`, idle): its streams have a budget.
const CONNECTION: u64 = 24 * 1024;

/// The program with its threads and what it keeps for itself, in bytes.
const PROGRAM: u64 = 32 * 1024 * 1024;

const MIB: u64 = 1024 * 1024;

/// Each budget with its bytes, those of the kernel for the sockets last.
fn budgets(config: &Config) -> [(&'static str, u64); 12] {
    let (connections, memory) = (config.server.max_connections, &config.memory);
    let tokens = if config.identity.mode == IdentityMode::Jwt { identity::VERIFIED_BYTES } else { 0 };
    let tls = if config.tls.is_on() { connections as u64 * transport::TLS_CONNECTION } else { 0 };
    [
        ("feed.memory_bytes", config.feed.memory_bytes as u64),
        ("memory.state_bytes", memory.state_bytes as u64),
        ("memory.event_logs_bytes", memory.event_logs_bytes as u64),
        ("memory.receiving_bytes", memory.receiving_bytes as u64),
        ("memory.sending_bytes", memory.sending_bytes as u64),
        ("memory.streams_bytes", memory.streams_bytes as u64),
        ("server.max_connections, 24 KiB each", connections as u64 * CONNECTION),
        ("tokens that were verified", tokens),
        ("clients that have limits", limits::TABLES_BYTES),
        ("TLS of server.max_connections, 48 KiB each", tls),
        ("the program itself", PROGRAM),
        ("the kernel's buffers of the sockets", transport::kernel_bytes(connections)),
    ]
}

/// What the process may hold when everything is full at once, and the kernel for it, in bytes.
#[must_use]
pub fn most(config: &Config) -> u64 {
    budgets(config).iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
}

/// The same by its parts, as comments of a TOML file.
#[must_use]
pub fn comment(config: &Config) -> String {
    let mut text = String::from("\n# Held at most, when everything is full at once, in MiB:\n");
    let total = ("in all", most(config));
    for (what, bytes) in budgets(config).into_iter().filter(|(_, bytes)| *bytes > 0).chain([total]) {
        writeln!(text, "# {:>8}  {what}", bytes.div_ceil(MIB)).expect("writing to a string does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comment_tells_each_budget_and_their_sum() {
        let mut config = Config::default();
        (config.server.max_connections, config.feed.memory_bytes) = (1_024, 3 << 20);
        let before = most(&config);
        config.memory.sending_bytes += 7 << 20;
        assert_eq!(most(&config), before + (7 << 20));
        let comment = comment(&config);
        assert!(comment.contains("#        3  feed.memory_bytes\n"), "{comment}");
        assert!(comment.contains("#       24  server.max_connections, 24 KiB each\n"), "{comment}");
        let total = format!("# {:>8}  in all\n", most(&config).div_ceil(MIB));
        assert!(comment.ends_with(&total), "{comment}");
        assert!(!comment.contains("TLS"), "{comment}");
        assert!(comment.lines().all(|line| line.is_empty() || line.starts_with('#')));
    }

    #[test]
    fn tls_holds_more_of_each_connection() {
        let mut config = Config::default();
        config.server.max_connections = 1_024;
        let plain = most(&config);
        config.tls.cert_file = "tls.crt".into();
        assert_eq!(most(&config), plain + (48 << 20));
        let comment = comment(&config);
        assert!(comment.contains("#       48  TLS of server.max_connections, 48 KiB each\n"), "{comment}");
    }
}
