//! `publish` and `watch` through the real program: sound, budgets, limits, totals.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use starling_client::pb::livestream::v1 as livestream;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use tempfile::TempDir;

use crate::edge::clip::exists;
use crate::edge::world::{answered, everything, go_live, livestream as found};
use crate::harness::{Server, soon};
use crate::process::{Running, Talking, run, starling, text};

/// An access unit of so many bytes: one slice.
fn unit(keyframe: bool, size: usize) -> Vec<u8> {
    let mut unit = vec![0, 0, 0, 1, if keyframe { 0x65 } else { 0x41 }, 0x80];
    unit.resize(size, 0xab);
    unit
}

/// A frame of AAC-LC, stereo, at 48 000 Hz: its header and two bytes.
fn aac(number: u8) -> Vec<u8> {
    vec![0xff, 0xf1, 0x4c, 0x80, 0x01, 0x3f, 0xfc, number, number]
}

/// A scratch directory with files in it.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.name(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).to_str().expect("the paths of tests are text").to_owned()
    }
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A command on livestream 7.
fn on_seven(server: &Server, verb: &str, arguments: &[&str]) -> std::process::Command {
    starling(&[&[verb, "--server", &server.url(), "--livestream", "7"], arguments].concat())
}

/// What a command says at its end; it must succeed.
async fn told(running: Running) -> String {
    let outcome = running.output().await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));
    text(&outcome.stderr)
}

/// What a command says that must fail.
async fn refused(command: std::process::Command) -> String {
    let outcome = run(command).await;
    assert_eq!(outcome.status.code(), Some(1), "{}", text(&outcome.stderr));
    text(&outcome.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_is_published_beside_video_byte_for_byte() {
    let server = Server::start().await;
    let files = Files::new();
    let video: Vec<u8> = (0..50).flat_map(|number| unit(number % 25 == 0, 300)).collect();
    let sound: Vec<u8> = (0..40).flat_map(aac).collect();
    let (clip, song) = (files.write("clip.h264", &video), files.write("song.aac", &sound));
    let (seen, heard) = (files.path("seen.h264"), files.path("heard.aac"));
    let (output, audio) = (files.name("seen.h264"), files.name("heard.aac"));
    let watch = Running::spawn(on_seven(&server, "watch", &["--wait", "--output", &output, "--audio", &audio]));
    let publish = ["--fps", "100", "--wait-viewers", "1", "--audio", &song, &clip];
    let published = told(Running::spawn(on_seven(&server, "publish", &publish))).await;
    assert!(published.contains("published 50 access units and 40 audio frames on livestream 7"), "{published}");
    assert!(published.contains("no viewer was skipped"), "{published}");
    let watched = told(watch).await;
    assert!(watched.contains("of these 50 on VISUAL, 40 on AUDIO\nreceived 90 updates, "), "{watched}");
    assert!(watched.trim_end().ends_with(", 0 gaps"), "{watched}");
    assert!(read(&seen) == video && read(&heard) == sound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audio_keeps_step_with_video_by_timestamps() {
    let server = Server::start().await;
    let files = Files::new();
    let clip = files.write("clip.h264", &(0..20).flat_map(|_| unit(true, 100)).collect::<Vec<_>>());
    let watch = ["--wait", "--channel", "visual", "--channel", "audio", "--json"];
    let mut watching = Talking::spawn(on_seven(&server, "watch", &watch));
    let mut command =
        on_seven(&server, "publish", &["--fps", "100", "--wait-viewers", "1", "--audio", "-", "--json", &clip]);
    command.stdin(Stdio::piped());
    let mut publish = Running::spawn(command);
    publish.write(&(0..8).flat_map(aac).collect::<Vec<_>>());
    publish.close();
    let mut times: Vec<(String, u128)> = Vec::new();
    let summary = loop {
        let line: Value = serde_json::from_str(&watching.line().await).unwrap();
        if let Some(update) = line.get("update") {
            let channel = update["position"]["channel"].as_str().unwrap().to_owned();
            let at = update["publishTime"].as_str().unwrap().parse::<prost_types::Timestamp>().unwrap();
            times.push((
                channel,
                u128::try_from(at.seconds).unwrap() * 1_000_000_000 + u128::try_from(at.nanos).unwrap(),
            ));
        } else if line.get("summary").is_some() {
            break line;
        }
    };
    assert_eq!(summary["summary"]["channels"], serde_json::json!({ "AUDIO": 8, "VISUAL": 20 }));
    for (channel, step) in [("UPDATE_CHANNEL_VISUAL", 10_000_000), ("UPDATE_CHANNEL_AUDIO", 1_024_000_000 / 48)] {
        let own: Vec<u128> = times.iter().filter(|(name, _)| name == channel).map(|(_, at)| *at).collect();
        for (number, at) in (0..).zip(&own) {
            let expected = times[0].1 + number * step;
            assert!(at.abs_diff(expected) < 1_000, "{channel} {number}: {at}, not {expected}");
        }
    }
    let outcome = publish.output().await;
    let summary: Value = serde_json::from_slice(&outcome.stdout).expect("one line of JSON");
    assert_eq!(summary["summary"]["audioFrames"], 8);
}

#[tokio::test]
async fn input_that_cannot_be_published_changes_nothing() {
    let server = Server::start().await;
    let files = Files::new();
    let clip = files.write("clip.h264", &[unit(true, 50), unit(false, 50)].concat());
    let (empty, noise) = (files.write("empty.h264", b""), files.write("noise.wav", b"RIFF and so on"));
    let broken = files.write("broken.aac", &aac(1)[..8]);
    let directory = files.name("");
    for (arguments, said) in [
        (vec![empty.as_str()], "empty.h264 is empty: there is nothing to publish"),
        (vec!["-"], "standard input is empty"),
        (vec![directory.as_str()], "is a directory"),
        (vec!["--audio", &noise, &clip], "noise.wav: neither AAC in ADTS nor Opus in Ogg"),
        (vec!["--audio", &empty, &clip], "empty.h264 is empty"),
        (vec!["--audio", &broken, &clip], "broken.aac: the AAC ends in the middle of a frame"),
        (vec!["--audio", &clip, "--fps", "0", &clip], "--audio needs the pace"),
        (vec!["--audio", "-", "-"], "not both"),
        (vec!["--max-participants", "5", &clip], "a livestream has no --max-participants"),
    ] {
        let told = refused(on_seven(&server, "publish", &arguments)).await;
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    assert_eq!(everything(&server.client().await).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_updates_are_reported_at_both_ends() {
    let server = Server::start().await;
    let files = Files::new();
    let clip = files.write("clip.h264", &(0..40).flat_map(|number| unit(number % 4 == 0, 400)).collect::<Vec<_>>());
    let watch = Running::spawn(on_seven(&server, "watch", &["--wait"]));
    let publish = ["--fps", "100", "--wait-viewers", "1", "--subscriber-bytes-per-second", "1000", &clip];
    let published = told(Running::spawn(on_seven(&server, "publish", &publish))).await;
    assert!(published.contains("viewers miss updates on VISUAL: their bandwidth does not suffice"), "{published}");
    assert!(published.contains("published 40 access units"), "{published}");
    let watched = told(watch).await;
    let number = |text: &str, before: &str, after: &str| -> u64 {
        let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} is not in {text}"));
        rest.split_once(after).unwrap_or_else(|| panic!("{after} is not in {rest}")).0.parse().unwrap()
    };
    let missed = number(&published, "viewers missed ", " updates on VISUAL for BANDWIDTH (up to 1 viewers at a time)");
    assert!(published.contains("each is sent 1000 bytes/s, which --subscriber-bytes-per-second sets"), "{published}");
    let (received, lost) = (number(&watched, "received ", " updates"), number(&watched, "gaps: ", " updates lost"));
    assert_eq!((received + lost, missed), (40, lost));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budget_is_chosen_from_input_and_reported() {
    let server = Server::start().await;
    let files = Files::new();
    // Half a megabyte a second at 10 units a second, in runs of one second.
    let video: Vec<u8> = (0..20).flat_map(|number| unit(number % 10 == 0, 100_000)).collect();
    let clip = files.write("clip.h264", &video);
    let config = async |id: u64| found(&server.client().await, id).await.config.unwrap();
    let publish = async |id: &str, arguments: &[&str]| {
        let url = server.url();
        let all = [&["publish", "--server", &url, "--livestream", id], arguments].concat();
        told(Running::spawn(starling(&all))).await
    };
    let said = publish("1", &["--fps", "10", &clip]).await;
    assert!(said.contains("each viewer is sent up to 2000000 bytes/s (measured: "), "{said}");
    assert_eq!(config(1).await.subscriber_bytes_per_second, Some(2_000_000));
    let said =
        publish("2", &["--subscriber-bytes-per-second", "3000000", "--max-lag", "9s", "--tree-fanout", "7", &clip])
            .await;
    assert!(!said.contains("each viewer"), "{said}");
    let chosen = config(2).await;
    assert_eq!((chosen.subscriber_bytes_per_second, chosen.tree_fanout), (Some(3_000_000), Some(7)));
    assert_eq!(chosen.max_lag.map(|lag| lag.seconds), Some(9));
    let said = publish("3", &["--fps", "0", &clip]).await;
    assert!(said.contains("1000000000 bytes/s"), "{said}");

    // One that is there keeps its own.
    go_live(&server.client().await, 4).await;
    let said = publish("4", &["--fps", "10", "--node", "1", &clip]).await;
    assert!(said.contains("livestream 4 was there before: its configuration stays, and it is not ended"), "{said}");
    assert!(said.contains("up to 500000 bytes/s; 2000000 would be better"), "{said}");
    assert_eq!(found(&server.client().await, 4).await.state(), livestream::LivestreamState::Active);
    let said = publish("4", &["--take-over", "--end", &clip]).await;
    assert!(said.contains("node 1 publishes on livestream 4"), "{said}");
    assert_eq!(found(&server.client().await, 4).await.state(), livestream::LivestreamState::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_limits_the_access_unit_size() {
    let files = Files::new();
    let clip = files.write("clip.h264", &[unit(true, 3 << 20), unit(false, 100)].concat());
    let usual = Server::start().await;
    let told_by_usual = refused(on_seven(&usual, "publish", &[&clip])).await;
    assert!(told_by_usual.contains("has 3145728 bytes, and the server takes 1048576 at most"), "{told_by_usual}");

    let generous = Server::with(|config| {
        config.feed.ring_bytes = 32 << 20;
        config.feed.payload_bytes = 4 << 20;
        config.limits.publish_receive_bytes = 5 << 20;
    })
    .await;
    let output = files.name("seen.h264");
    let watch = Running::spawn(on_seven(&generous, "watch", &["--wait", "--output", &output]));
    let published = told(Running::spawn(on_seven(&generous, "publish", &["--wait-viewers", "1", &clip]))).await;
    assert!(published.contains("published 2 access units"), "{published}");
    told(watch).await;
    assert!(read(&files.path("seen.h264")) == read(&files.path("clip.h264")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unaccepted_updates_do_not_count_as_published() {
    let server = Server::start().await;
    let mut command = on_seven(&server, "publish", &["--node", "1", "--fps", "1000", "-"]);
    command.stdin(Stdio::piped());
    let mut publish = Running::spawn(command);
    // Each is whole when the next one begins.
    publish.write(&[unit(true, 50), unit(true, 50)].concat());
    let client = server.client().await;
    exists(&client, 7).await;
    let stats = || async {
        let stats = livestream::GetStatsRequest { livestream_id: 7, ..Default::default() };
        answered(client.clone().livestreams.get_stats(stats).await).stats.unwrap().delivery.unwrap().published
    };
    while stats().await < 1 {
        tokio::task::yield_now().await;
    }
    let pause = livestream::PauseLivestreamRequest { livestream_id: 7, node_id: 1, ..Default::default() };
    answered(client.clone().livestreams.pause_livestream(pause).await);
    publish.write(&unit(true, 50));
    let outcome = publish.output().await;
    assert_eq!(outcome.status.code(), Some(1));
    let said = text(&outcome.stderr);
    assert!(said.contains("published 1 access units") && said.contains("REJECT_REASON_WRONG_STATE"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_prints_the_totals_at_both_ends() {
    let server = Server::start().await;
    let files = Files::new();
    let clip = files.write("clip.h264", &[unit(true, 50), unit(false, 50)].concat());
    let mut watching = Talking::spawn(on_seven(&server, "watch", &["--wait", "--output", "-"]));
    let arguments = ["--wait-viewers", "1", "--loop", &clip];
    let publish = Running::spawn(on_seven(&server, "publish", &arguments));
    assert!(!watching.some().await.is_empty());
    watching.running.signal("INT");
    let watched = watching.running.output().await;
    assert_eq!(watched.status.code(), Some(130));
    assert!(text(&watched.stderr).contains("received "), "{}", text(&watched.stderr));
    assert_eq!(found(&server.client().await, 7).await.viewer_count, 0, "it has left");
    publish.signal("INT");
    let published = publish.output().await;
    assert_eq!(published.status.code(), Some(130));
    let said = text(&published.stderr);
    assert!(said.contains("published ") && said.contains("no viewer was skipped"), "{said}");
    assert_eq!(found(&server.client().await, 7).await.state(), livestream::LivestreamState::Ended);
}

#[tokio::test]
async fn output_file_is_created_with_the_first_update() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let files = Files::new();
    let old = files.write("old.h264", b"of yesterday");
    let sound = files.name("sound.aac");
    let watching = Running::spawn(on_seven(&server, "watch", &["--output", &old, "--audio", &sound]));
    let events = livestream::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let mut events = answered(client.clone().livestreams.watch_livestream(events).await);
    while found(&client, 7).await.viewer_count == 0 {
        soon(events.message()).await.unwrap().expect("the livestream goes on");
    }
    watching.signal("INT");
    assert_eq!(watching.output().await.status.code(), Some(130));
    assert_eq!(read(&files.path("old.h264")), b"of yesterday");
    assert!(!files.path("sound.aac").exists());

    let nowhere = files.name("no/such/directory.h264");
    let said = refused(on_seven(&server, "watch", &["--output", &nowhere])).await;
    assert!(said.contains(&format!("cannot write {nowhere}: there is no directory ")), "{said}");
    let said = refused(on_seven(&server, "watch", &["--output", "-", "--json"])).await;
    assert!(said.contains("standard output takes one of"), "{said}");
}

#[tokio::test]
async fn closed_video_output_is_no_error() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let update = |payload: &'static [u8]| livestream::PublishUpdateRequest {
        livestream_id: 7,
        node_id: 1,
        update: Some(UpdateDraft {
            channel: UpdateChannel::Visual.into(),
            payload: payload.into(),
            keyframe: true,
            ..Default::default()
        }),
        ..Default::default()
    };
    answered(client.clone().livestreams.publish_update(update(b"a")).await);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = on_seven(&server, "watch", &["--output", "-"]);
    command.stdout(writer);
    let outcome = run(command).await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));
    assert!(!text(&outcome.stderr).contains("rror"), "{}", text(&outcome.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_published_in_and_watched() {
    let server = Server::start().await;
    let url = server.url();
    let files = Files::new();
    let video: Vec<u8> = (0..10).flat_map(|number| unit(number == 0, 300)).collect();
    let (clip, output) = (files.write("clip.h264", &video), files.name("seen.h264"));
    let watch = ["watch", "--server", &url, "--group", "9", "--wait", "--source", "5", "--output", &output];
    let watching = Running::spawn(starling(&watch));
    let publish = ["publish", "--server", &url, "--group", "9", "--node", "5", "--wait-viewers", "1", &clip];
    let published = told(Running::spawn(starling(&publish))).await;
    assert!(published.contains("waiting for 1 others in group 9\n"), "{published}");
    assert!(published.contains("published 10 access units on group 9"), "{published}");
    told(watching).await;
    assert!(read(&files.path("seen.h264")) == video);

    // A participant is not replaced in silence.
    let create = ["create", "--server", &url, "--group", "10", "--node", "5"];
    assert!(run(starling(&create)).await.status.success());
    let join = starling_client::pb::group::v1::JoinGroupRequest { group_id: 10, node_id: 5, ..Default::default() };
    answered(server.client().await.groups.join_group(join).await);
    let publish = ["publish", "--server", &url, "--group", "10", "--node", "5", &clip];
    let said = refused(starling(&publish)).await;
    assert!(said.contains("node 5 has a session in group 10"), "{said}");
    let publish = [&publish[..], &["--take-over"]].concat();
    assert!(told(Running::spawn(starling(&publish))).await.contains("published 10 access units"));
    let get = starling_client::pb::group::v1::GetGroupRequest { group_id: 10, ..Default::default() };
    let group = answered(server.client().await.groups.get_group(get).await).group.unwrap();
    assert_eq!((group.state(), group.participant_count), (starling_client::pb::group::v1::GroupState::Active, 0));
}
