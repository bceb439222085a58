//! Watchers that never read, by the memory of a server of its own.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use starling::client::Client;

use crate::stage::{Show, shape};

const WATCHERS: usize = 200;
const CHANGES: u64 = 5_000;
/// Of one change: as much as a viewer may say of itself.
const METADATA: usize = 256;

/// A server in a process of its own, killed when it is dropped.
struct Process {
    child: Child,
    url: String,
    /// Kept open: the server writes more than we read.
    _output: BufReader<ChildStdout>,
}

impl Process {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_starling"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STARLING") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "human"])
            .env("STARLING__LOG__FILTER", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut greeting = String::new();
        output.read_line(&mut greeting).unwrap();
        let address = greeting.trim().rsplit(' ').next().unwrap();
        Self { url: format!("http://{address}"), child, _output: output }
    }

    /// What it has in memory, in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A queue for each watcher would hold every change for each of them: three times
/// what is allowed here.
#[tokio::test]
async fn watchers_that_never_read_cost_bounded_memory() {
    let server = Process::start();
    let show = Show::create(Client::connect(&server.url).await.unwrap(), 7, shape(50, 5)).await;
    show.join_all(10..20).await;
    let endpoint = tonic::transport::Endpoint::from_shared(server.url.clone()).unwrap();
    let channel = endpoint.initial_stream_window_size(1_024).connect().await.unwrap();
    let stalled = show.through_channel(channel);
    let mut unread = Vec::new();
    for index in 0..WATCHERS {
        unread.push((stalled.watch().await, stalled.watch_targets((index % 2 == 0).then_some(10)).await));
    }
    let before = server.resident();
    for change in 0..CHANGES {
        let mut metadata = vec![0; METADATA];
        metadata[..8].copy_from_slice(&change.to_be_bytes());
        show.update_viewer(10 + change % 10, metadata).await;
    }
    let grown = server.resident().saturating_sub(before);
    let queued = WATCHERS as u64 * CHANGES * METADATA as u64;
    eprintln!("{WATCHERS} watchers that never read: {grown} bytes more after {CHANGES} changes ({queued} if queued)");
    assert!(grown < queued / 3, "{grown} bytes more; a queue for each would be {queued}");
    drop(unread);
}
