//! The command line, through the real program.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use starling::config::Config;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::edge::world::{go_live, join_livestream};
use crate::harness::Server;
use crate::process::{run, starling, text};

/// An address at which nobody listens: bound, so that nobody else takes it, and closed again.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// A configuration as `--print-config` prints it.
fn as_printed(config: &Config) -> String {
    config.to_toml() + &starling::app::memory::comment(config)
}

#[tokio::test]
async fn the_configuration_in_force_is_printed() {
    let printed = run(starling(&["serve", "--print-config"])).await;
    assert!(printed.status.success());
    assert_eq!(text(&printed.stdout), as_printed(&Config::default()));

    // Defaults, then the file, then the environment, then flags.
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("starling.toml");
    std::fs::write(&file, "[drain]\nspread = \"1s\"\ntimeout = \"2s\"\n[server]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let file = file.to_str().unwrap();
    let mut command = starling(&["--config", file, "--listen", "127.0.0.1:3", "--print-config"]);
    command.env("STARLING__DRAIN__TIMEOUT", "3s").env("STARLING__SERVER__LISTEN", "127.0.0.1:2");
    let printed = run(command).await;
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let mut expected = Config::default();
    expected.server.listen = "127.0.0.1:3".parse().unwrap();
    expected.drain.spread = std::time::Duration::from_secs(1);
    expected.drain.timeout = std::time::Duration::from_secs(3);
    assert_eq!(text(&printed.stdout), as_printed(&expected));
    let again = directory.path().join("again.toml");
    std::fs::write(&again, &printed.stdout).unwrap();
    let reprinted = run(starling(&["--config", again.to_str().unwrap(), "--print-config"])).await;
    assert_eq!(text(&reprinted.stdout), text(&printed.stdout), "what is printed can be loaded");
}

#[tokio::test]
async fn every_configuration_fault_is_reported() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("starling.yaml");
    std::fs::write(&file, "server:\n  colour: red\ndrain:\n  spread: 1s\nshed: {}\n").unwrap();
    let mut command = starling(&["--config", file.to_str().unwrap()]);
    command.env("STARLING__STORE__SHARDS", "3").env("STARLING__SERVER__TASTE", "sweet");
    let refused = run(command).await;
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    for fault in ["server.colour", "shed", "store.shards", "taste"] {
        assert!(told.to_lowercase().contains(fault), "{fault} is not told in:\n{told}");
    }
    assert_eq!(text(&refused.stdout), "", "it did not begin to serve");

    let missing = run(starling(&["--config", "no-such-file.toml"])).await;
    assert_eq!(missing.status.code(), Some(1));
    let fault: Value = serde_json::from_str(&text(&missing.stderr)).expect("where nobody reads, the log is JSON");
    assert_eq!((&fault["key"], &fault["problem"]), (&json!("no-such-file.toml"), &json!("there is no such file")));
}

#[tokio::test]
async fn address_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(starling(&["--listen", &address])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&format!("cannot listen on {address}")), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn healthcheck_succeeds_only_while_serving() {
    let server = Server::with(|config| {
        config.drain.spread = std::time::Duration::from_secs(600);
        config.drain.timeout = std::time::Duration::from_secs(601);
    })
    .await;
    let url = server.url();
    let check = async |arguments: &[&str]| {
        let mut all = vec!["healthcheck", "--server", url.as_str()];
        all.extend(arguments);
        let outcome = run(starling(&all)).await;
        (outcome.status.code(), text(&outcome.stderr))
    };
    assert_eq!(check(&[]).await, (Some(0), String::new()));
    assert_eq!(check(&["--service", "starling.group.v1.GroupService"]).await, (Some(0), String::new()));
    let (code, told) = check(&["--service", "starling.Nothing"]).await;
    assert!(code == Some(1) && told.contains("NotFound"), "{told}");

    // While a stream is open the drain goes on.
    let client = server.client().await;
    go_live(&client, 7).await;
    let watch = starling_client::pb::livestream::v1::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let mut open = crate::edge::world::answered(client.clone().livestreams.watch_livestream(watch).await);
    open.message().await.unwrap();
    server.drain();
    let health = tonic_health::pb::health_client::HealthClient::new(client.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest::default();
    let mut health = crate::edge::world::answered(health.clone().watch(request).await);
    let not_serving = tonic_health::pb::health_check_response::ServingStatus::NotServing;
    while crate::harness::soon(health.message()).await.unwrap().unwrap().status() != not_serving {}
    let (code, told) = check(&[]).await;
    assert!(code == Some(1) && told.contains("NOT_SERVING"), "{told}");

    let outcome = run(starling(&["healthcheck", "--server", &nobody().await])).await;
    assert_eq!(outcome.status.code(), Some(1));
    assert!(text(&outcome.stderr).contains("cannot connect to http://127.0.0.1:"), "{}", text(&outcome.stderr));
}

#[tokio::test]
async fn commands_say_when_there_is_no_server() {
    let url = nobody().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bigbuckbunny-360p25.h264");
    for arguments in [
        &["publish", "--server", &url, "--livestream", "7", file][..],
        &["watch", "--server", &url, "--livestream", "7"],
        &["watch", "--server", &url, "--livestream", "7", "--wait"],
        &["tree", "--server", &url, "--livestream", "7"],
    ] {
        let outcome = run(starling(arguments)).await;
        assert_eq!(outcome.status.code(), Some(1));
        let told = text(&outcome.stderr);
        assert!(told.starts_with(&format!("starling: cannot connect to {url}: connection refused\n")), "{told}");
        assert!(told.contains("`starling serve` starts one"), "{told}");
    }
    for (address, said) in [("not an address", "not an address"), ("ftp://127.0.0.1:50051", "only https://")] {
        let outcome = run(starling(&["tree", "--server", address, "--livestream", "7"])).await;
        assert_eq!(outcome.status.code(), Some(2));
        assert!(text(&outcome.stderr).contains(said), "{}", text(&outcome.stderr));
    }
}

#[tokio::test]
async fn a_server_is_named_by_host_and_port() {
    let server = Server::start().await;
    let address = server.address().to_string();
    assert!(run(starling(&["healthcheck", "--server", &address])).await.status.success());
    let mut by_variable = starling(&["healthcheck", "--json"]);
    by_variable.env("STARLING_SERVER", &address);
    let outcome = run(by_variable).await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));
    assert_eq!(text(&outcome.stdout), "{\"status\":\"SERVING\"}\n");
}

#[tokio::test]
async fn an_unknown_variable_is_refused_by_every_command() {
    for arguments in [&["serve"][..], &["list"], &["healthcheck"], &["watch", "--livestream", "7"]] {
        let mut command = starling(arguments);
        command.env("STARLING_SEVER", "127.0.0.1:1");
        let refused = run(command).await;
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("STARLING_SEVER") && said.contains("unknown variable"), "{said}");
        assert_eq!(text(&refused.stdout), "");
    }
}

/// What a command says to standard error, and how it exits, when nobody reads its standard output.
async fn unread(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = starling(arguments);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let outcome = run(command).await;
    (outcome.status.code(), text(&outcome.stderr))
}

#[tokio::test]
async fn closed_standard_output_is_no_error() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let url = server.url();
    let silent = (Some(0), String::new());
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["serve", "--print-config"],
        &["completions", "bash"],
        &["tree", "--server", &url, "--livestream", "7"],
        &["list", "--server", &url],
        &["get", "--server", &url, "--livestream", "7"],
        &["stats", "--server", &url, "--livestream", "7", "--json"],
        &["events", "--server", &url, "--livestream", "7"],
    ] {
        assert_eq!(unread(arguments).await, silent, "{arguments:?}");
    }
}

/// The depth of each node drawn, and how many children each has.
fn read_drawing(lines: &[&str]) -> (BTreeMap<u64, usize>, BTreeMap<u64, usize>) {
    let (mut depths, mut children) = (BTreeMap::new(), BTreeMap::new());
    let mut path: Vec<u64> = Vec::new();
    for line in lines {
        let at = line.find(|character: char| character.is_ascii_digit()).expect("a node");
        let digits: String = line[at..].chars().take_while(char::is_ascii_digit).collect();
        let node = digits.parse().unwrap();
        // Three columns for each step from the root.
        let depth = line[..at].chars().count() / 3;
        path.truncate(depth);
        if let Some(parent) = path.last() {
            *children.entry(*parent).or_insert(0) += 1;
        }
        path.push(node);
        assert_eq!(depths.insert(node, depth), None, "each node is drawn once");
    }
    (depths, children)
}

#[tokio::test]
async fn tree_of_sixty_viewers_is_drawn() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    for node_id in 1_000..1_060 {
        join_livestream(&client, 7, node_id).await;
    }
    let outcome = run(starling(&["tree", "--server", &server.url(), "--livestream", "7"])).await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));
    let drawn = text(&outcome.stdout);
    let mut lines = drawn.lines();
    assert_eq!(lines.next(), Some("livestream 7: active, tree, 60 viewers, depth 3"));
    assert_eq!(lines.next(), Some("level 1: 5 viewers, 5 can relay"));
    assert_eq!(lines.next(), Some("level 2: 25 viewers, 25 can relay"));
    assert_eq!(lines.next(), Some("level 3: 30 viewers, 30 can relay"));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines[0], "1 (broadcaster)");
    let (depths, children) = read_drawing(&lines);
    assert_eq!(depths.len(), 61, "everybody is drawn");
    assert_eq!(depths.values().max(), Some(&3));
    assert!(children.values().all(|count| *count <= 5), "{children:?}");
    assert_eq!(children.values().sum::<usize>(), 60);

    let outcome = run(starling(&["tree", "--server", &server.url(), "--livestream", "7", "--depth", "1"])).await;
    let drawn = text(&outcome.stdout);
    let hidden = drawn.lines().filter_map(|line| line.split_once(" ... ")?.1.strip_suffix(" below"));
    assert_eq!(hidden.map(|count| count.parse::<usize>().unwrap()).sum::<usize>(), 55, "{drawn}");

    let tree = ["tree", "--server", &server.url(), "--livestream", "7", "--depth", "2", "--json"];
    let outcome = run(starling(&tree)).await;
    let lines: Vec<Value> = text(&outcome.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["livestream"]["viewerCount"], "60");
    assert_eq!(lines[2]["level"], serde_json::json!({ "depth": 2, "viewers": 25, "relays": 25 }));
    assert_eq!(lines.iter().filter(|line| line.get("viewer").is_some()).count(), 30);
}

#[tokio::test]
async fn star_is_drawn() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    for node_id in [20, 30] {
        join_livestream(&client, 7, node_id).await;
    }
    let outcome = run(starling(&["tree", "--server", &server.url(), "--livestream", "7"])).await;
    let drawn = "livestream 7: active, star, 2 viewers, depth 1\n1 (broadcaster)\n├─ 20\n└─ 30\n";
    assert_eq!(text(&outcome.stdout), drawn);
}
