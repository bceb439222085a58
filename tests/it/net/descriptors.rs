//! Out of descriptors, the real program waits, says so, and serves again.

use std::process::Command;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::soon;
use crate::net::connections::is_served;
use crate::process::{Talking, starling};

/// What the program says when it cannot accept.
const COMPLAINT: &str = "cannot accept a connection";
/// How often it may say so in a second: it waits 50 ms each time.
const COMPLAINTS: f64 = 20.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_without_descriptors_backs_off_and_recovers() {
    let server = starling(&["--listen", "127.0.0.1:0", "--log", "warn"]);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\" 2>&1"]).arg(server.get_program()).args(server.get_args());
    for (name, value) in server.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let mut server = Talking::spawn(command);
    // The address and the warning come from threads of their own, in either order.
    let (mut address, mut warning) = (None, None);
    while address.is_none() || warning.is_none() {
        let line = server.line().await;
        let said: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        if said["message"] == "listening" {
            address = said["address"].as_str().map(str::to_owned);
        } else if line.contains("ulimit -n") {
            warning = Some(said);
        }
    }
    let (address, warning) = (address.unwrap(), warning.unwrap());
    let url = format!("http://{address}");
    assert_eq!(warning["enough_for"], 0, "{warning}");
    let client = starling_client::Client::connect(&url).await.unwrap();

    let began = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..100 {
        // The system takes them in for the server, up to its backlog.
        connections.push(TcpStream::connect(&address).await.unwrap());
    }
    let mut complaints = 0;
    while complaints < 20 {
        let line = server.line().await;
        assert!(!line.is_empty(), "it goes on");
        complaints += u32::from(line.contains(COMPLAINT));
    }
    // Whoever is in is served all the while.
    let list = starling_client::pb::livestream::v1::ListLivestreamsRequest::default();
    client.clone().livestreams.list_livestreams(list).await.unwrap();
    drop(connections);
    soon(async { while !is_served(&url).await {} }).await;

    server.running.signal("TERM");
    loop {
        let line = server.line().await;
        if line.is_empty() {
            break;
        }
        complaints += u32::from(line.contains(COMPLAINT));
    }
    let ended = server.running.output().await;
    assert_eq!(ended.status.code(), Some(0));
    let most = began.elapsed().as_secs_f64() * COMPLAINTS + 1.0;
    assert!(f64::from(complaints) <= most, "{complaints} complaints, {most} at most");
}
