//! The commands of every day, through the real program: `list`, `get`, `stats`, `create`, `end`, `events`, `chat`,
//! groups in `tree`, `completions`.

use std::process::Stdio;

use serde_json::{Value, json};
use starling_client::Client;
use starling_client::pb::livestream::v1 as livestream;

use crate::edge::scripted::Wire;
use crate::edge::world::{answered, go_live, join_livestream, livestream};
use crate::harness::{Server, soon};
use crate::process::{Running, Talking, run, starling, text};

/// What a command prints; it must succeed.
async fn printed(server: &Server, arguments: &[&str]) -> String {
    let url = server.url();
    let outcome = run(starling(&[arguments, &["--server", &url]].concat())).await;
    assert!(outcome.status.success(), "{arguments:?}: {}", text(&outcome.stderr));
    text(&outcome.stdout)
}

/// What a command prints, as JSON, one value a line.
async fn lines(server: &Server, arguments: &[&str]) -> Vec<Value> {
    let printed = printed(server, &[arguments, &["--json"]].concat()).await;
    printed.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// The next line of a process, as JSON.
async fn next(talking: &mut Talking) -> Value {
    let line = talking.line().await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn spawn(server: &Server, arguments: &[&str]) -> Talking {
    let url = server.url();
    let mut command = starling(&[arguments, &["--server", &url]].concat());
    command.stdin(Stdio::piped());
    Talking::spawn(command)
}

#[tokio::test]
async fn each_swarm_kind_is_created_shown_and_ended() {
    let server = Server::start().await;
    let config = ["--max-viewers", "9", "--subscriber-bytes-per-second", "1000000", "--keyframe-interval", "1s"];
    let create =
        [&["create", "--livestream", "7", "--node", "5", "--start", "--metadata", "a b"], &config[..]].concat();
    let made = &lines(&server, &create).await[0];
    assert_eq!(made["created"], true);
    assert_eq!(made["livestream"]["state"], "LIVESTREAM_STATE_ACTIVE");
    assert_eq!(made["livestream"]["config"]["subscriberBytesPerSecond"], "1000000");
    assert_eq!(made["livestream"]["metadata"], "YSBi");
    let made = &lines(&server, &["create", "--group", "0", "--max-participants", "3"]).await[0];
    let id = made["group"]["groupId"].as_str().expect("the server chose one").to_owned();
    assert_ne!(id, "0");

    let listed = lines(&server, &["list"]).await;
    assert_eq!((&listed[0]["livestream"]["livestreamId"], &listed[1]["group"]["groupId"]), (&json!("7"), &json!(id)));
    let shown = printed(&server, &["get", "--livestream", "7"]).await;
    for line in ["  livestream_id: 7", "  state: active", "    max_viewers: 9", "    keyframe_interval: 1s", "\"a b\""]
    {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert_eq!(lines(&server, &["stats", "--group", &id]).await[0]["stats"]["members"], "0");

    assert_eq!(lines(&server, &["end", "--livestream", "7"]).await[0]["livestream"]["state"], "LIVESTREAM_STATE_ENDED");
    let refused = run(starling(&["end", "--livestream", "8", "--server", &server.url()])).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("NotFound"), "{}", text(&refused.stderr));
    // The owner ends it when it is in.
    let group = starling_client::pb::group::v1::JoinGroupRequest {
        group_id: id.parse().unwrap(),
        node_id: made["group"]["ownerNodeId"].as_str().unwrap().parse().unwrap(),
        ..Default::default()
    };
    answered(server.client().await.groups.join_group(group).await);
    assert_eq!(lines(&server, &["end", "--group", &id]).await[0]["group"]["state"], "GROUP_STATE_ENDED");
}

#[tokio::test]
async fn exactly_one_swarm_must_be_named() {
    for arguments in [&["get"][..], &["get", "--livestream", "7", "--group", "7"], &["list", "--group", "x"]] {
        let refused = run(starling(arguments)).await;
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
    }
}

#[tokio::test]
async fn members_are_listed_over_all_pages() {
    let server = Server::with(|config| config.store.list_page = 2).await;
    let client = server.client().await;
    go_live(&client, 7).await;
    for node in 20..25 {
        join_livestream(&client, 7, node).await;
    }
    let listed = lines(&server, &["list", "--livestream", "7"]).await;
    let nodes: Vec<_> = listed.iter().map(|line| line["viewer"]["nodeId"].as_str().unwrap()).collect();
    assert_eq!(nodes, ["20", "21", "22", "23", "24"]);
    let text = printed(&server, &["list", "--livestream", "7"]).await;
    assert!(text.starts_with("node_id=20 session_id="), "{text}");
    assert_eq!(text.lines().count(), 5);
}

#[tokio::test]
async fn events_are_ordered_and_resumed_from_a_position() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let mut events = spawn(&server, &["events", "--livestream", "7", "--json"]);
    assert!(next(&mut events).await["livestream"]["reset"].is_object());
    while next(&mut events).await["livestream"]["snapshotComplete"].is_null() {}
    join_livestream(&client, 7, 20).await;
    let joined = next(&mut events).await;
    assert_eq!(joined["livestream"]["batch"]["events"][0]["viewerJoined"]["viewer"]["nodeId"], "20");
    join_livestream(&client, 7, 21).await;
    next(&mut events).await;

    // Another one begins after the first join.
    let at = |field: &str| joined["livestream"][field].as_str().unwrap();
    let position = format!("{}:{}", at("epoch"), at("revision"));
    let mut resumed = spawn(&server, &["events", "--livestream", "7", "--resume", &position, "--kind", "membership"]);
    let line = resumed.line().await;
    assert!(line.contains("events=[{viewer_joined: viewer={node_id=21 "), "{line}");

    lines(&server, &["end", "--livestream", "7"]).await;
    let outcome = resumed.running.output().await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));
    assert!(events.running.output().await.status.success());
}

#[tokio::test]
async fn unknown_event_kind_is_refused() {
    let server = Server::start().await;
    for (arguments, said) in [
        (&["events", "--livestream", "7", "--kind", "media"][..], "no such kind"),
        (&["events", "--livestream", "7", "--kind", "unspecified"], "no such kind"),
        (&["events", "--kind", "membership"], "--livestream"),
        (&["events", "--livestream", "7", "--resume", "5"], "EPOCH:REVISION"),
    ] {
        let refused = run(starling(&[arguments, &["--server", &server.url()]].concat())).await;
        assert!(!refused.status.success());
        assert!(text(&refused.stderr).contains(said), "{arguments:?}: {}", text(&refused.stderr));
    }
}

#[tokio::test]
async fn set_of_swarms_is_followed_across_a_cut() {
    let server = Server::start().await;
    let wire = Wire::to(server.address()).await;
    let address = wire.url();
    let mut events = Talking::spawn(starling(&["events", "--server", &address]));
    let client = server.client().await;
    // The watch of groups is there when a group shows; that of livestreams is opened before it.
    printed(&server, &["create", "--group", "3", "--node", "1"]).await;
    let line = events.line().await;
    assert!(line.contains(" group: group_id=3 ") && line.contains("state=active"), "{line}");
    go_live(&client, 7).await;
    let made = events.line().await;
    assert!(made.contains(" livestream: livestream_id=7 ") && made.contains("state=initializing"), "{made}");
    let started = events.line().await;
    assert!(started.contains("state=active"), "{started}");
    wire.cut().await;
    printed(&server, &["end", "--livestream", "7"]).await;
    let ended = events.line().await;
    assert!(ended.contains("livestream_id=7 ") && ended.contains("state=ended"), "nothing twice: {ended}");
}

#[tokio::test]
async fn targets_are_followed() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let mut events = spawn(&server, &["events", "--livestream", "7", "--targets", "--json"]);
    assert_eq!(next(&mut events).await["targets"]["snapshot"]["topology"], "TOPOLOGY_STAR");
    join_livestream(&client, 7, 20).await;
    assert_eq!(next(&mut events).await["targets"]["delta"]["added"][0]["nodeId"], "20");
    let refused = run(starling(&["events", "--group", "7", "--targets", "--server", &server.url()])).await;
    assert!(text(&refused.stderr).contains("needs --node"), "{}", text(&refused.stderr));
}

#[tokio::test]
async fn a_chat_is_written_and_read() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let mut reader = spawn(&server, &["chat", "--livestream", "7", "--node", "30", "--read", "--json"]);
    has_viewers(&client, 7, 1).await;
    // A member may be in and not read yet: what is written then is not for it.
    let message = {
        let mut first = std::pin::pin!(next(&mut reader));
        loop {
            let mut writing =
                std::pin::pin!(printed(&server, &["chat", "--livestream", "7", "--node", "20", "good evening"]));
            tokio::select! {
                message = &mut first => {
                    // It leaves when it has written.
                    writing.await;
                    break message;
                }
                _ = &mut writing => {}
            }
        }
    };
    assert_eq!((&message["author"], &message["text"]), (&json!("20"), &json!("good evening")));
    assert_eq!(message["update"]["position"]["channel"], "UPDATE_CHANNEL_CHAT");

    // Lines: more than the quota lets through at once, and none is lost.
    let mut writer = spawn(&server, &["chat", "--livestream", "7", "--node", "21"]);
    let lines: Vec<String> = (0..13).map(|number| format!("line {number}")).collect();
    writer.running.write(format!("{}\n", lines.join("\n\n")).as_bytes());
    let mut read = next(&mut reader).await;
    while read["text"] == "good evening" {
        read = next(&mut reader).await;
    }
    for line in &lines[1..] {
        assert_eq!(read["author"], "21");
        read = next(&mut reader).await;
        assert_eq!(&read["text"], line);
    }
    // What others write is shown, and cannot move the cursor.
    printed(&server, &["chat", "--livestream", "7", "--node", "20", "a\u{1b}[2Jb"]).await;
    assert_eq!(writer.line().await, "20: a [2Jb");
    writer.running.close();
    assert!(writer.running.output().await.status.success());
    has_viewers(&client, 7, 1).await;
}

#[tokio::test]
async fn chat_as_a_member_leaves_its_session_alone() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let session = join_livestream(&client, 7, 20).await;
    printed(&server, &["chat", "--livestream", "7", "--node", "20", "hello"]).await;
    let beat = livestream::RenewLeaseRequest { livestream_id: 7, node_id: 20, session_id: session };
    answered(client.clone().livestreams.renew_lease(beat).await);
}

/// Waits until a livestream has so many viewers.
async fn has_viewers(client: &Client, livestream_id: u64, viewers: u64) {
    let watch = livestream::WatchLivestreamRequest { livestream_id, ..Default::default() };
    let mut events = answered(client.clone().livestreams.watch_livestream(watch).await);
    while livestream(client, livestream_id).await.viewer_count != viewers {
        soon(events.message()).await.unwrap().expect("the livestream goes on");
    }
}

#[tokio::test]
async fn the_mesh_of_a_group_is_drawn() {
    let server = Server::start().await;
    printed(&server, &["create", "--group", "7", "--node", "1"]).await;
    let mut client = server.client().await;
    for node_id in [1, 2] {
        let join = starling_client::pb::group::v1::JoinGroupRequest { group_id: 7, node_id, ..Default::default() };
        answered(client.groups.join_group(join).await);
    }
    let drawn = "group 7: active, mesh, 2 participants, each a target of all others\n1 (owner)\n2\n";
    assert_eq!(printed(&server, &["tree", "--group", "7"]).await, drawn);
    let drawn = lines(&server, &["tree", "--group", "7"]).await;
    assert_eq!((&drawn[0]["group"]["groupId"], &drawn[2]["participant"]["nodeId"]), (&json!("7"), &json!("2")));
}

#[tokio::test]
async fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = run(starling(&["completions", shell])).await;
        let script = text(&outcome.stdout);
        for word in ["publish", "completions", "take-over"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn a_command_that_waits_ends_at_ctrl_c() {
    let server = Server::start().await;
    go_live(&server.client().await, 7).await;
    for arguments in [&["events", "--livestream", "7"][..], &["chat", "--livestream", "7"]] {
        let mut command = spawn(&server, arguments);
        if arguments[0] == "events" {
            command.line().await;
        } else {
            has_viewers(&server.client().await, 7, 1).await;
        }
        command.running.signal("INT");
        assert_eq!(ended(command.running).await, Some(130), "{arguments:?}");
    }
}

async fn ended(running: Running) -> Option<i32> {
    running.output().await.status.code()
}
