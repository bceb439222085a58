//! A real video through the real program: `publish` and `watch`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use starling::cli::annexb::AccessUnits;
use tempfile::TempDir;

use crate::edge::updates::Subscriber;
use crate::edge::world::{join_livestream, livestream};
use crate::harness::Server;
use crate::process::{Running, Serving, Talking, run, starling, text};

/// Frames of the clip; one IDR frame in fifty.
const FRAMES: usize = 132;
const GROUP: usize = 50;

fn clip() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bigbuckbunny-360p25.h264")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the paths of tests are text")
}

/// The clip's access units.
async fn access_units() -> Vec<bytes::Bytes> {
    let bytes = std::fs::read(clip()).unwrap();
    let mut reader = AccessUnits::new(&bytes[..]);
    let mut units = Vec::new();
    while let Some(unit) = reader.next().await.unwrap() {
        assert_eq!(unit.keyframe, units.len() % GROUP == 0);
        units.push(unit.data);
    }
    assert_eq!(units.len(), FRAMES);
    units
}

/// Expects every frame of a file to decode, as far as ffprobe is installed.
fn assert_decodes(file: &Path, frames: usize) {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path(file)])
        .output();
    match probe {
        Ok(probe) => {
            assert_eq!(text(&probe.stderr), "", "nothing to complain about");
            assert_eq!(text(&probe.stdout).trim(), frames.to_string());
        }
        Err(error) => {
            let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
            assert!(!required, "ffprobe: {error}");
            eprintln!("ffprobe is not installed: the frames were not decoded");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_viewer_gets_the_clip_byte_for_byte() {
    let server = Serving::start(&[]).await;
    let url = server.url();
    let directory = TempDir::new().unwrap();
    let files: Vec<_> = (0..3).map(|number| directory.path().join(format!("{number}.h264"))).collect();
    let watch = |file: &Path| {
        let arguments = ["watch", "--server", &url, "--livestream", "7", "--wait", "--output", path(file)];
        Running::spawn(starling(&arguments))
    };
    let watching: Vec<_> = files.iter().map(|file| watch(file)).collect();
    let clip = clip();
    let arguments = ["publish", "--server", &url, "--livestream", "7", "--fps", "50", "--wait-viewers", "3"];
    let mut publish = starling(&arguments);
    publish.arg(&clip);
    let published = run(publish).await;
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert!(text(&published.stderr).contains("published 132 access units on livestream 7"));
    for (watching, file) in watching.into_iter().zip(&files) {
        let watched = watching.output().await;
        assert!(watched.status.success(), "{}", text(&watched.stderr));
        assert!(text(&watched.stderr).contains("received 132 updates, 471993 bytes, 0 gaps"));
        assert!(std::fs::read(file).unwrap() == std::fs::read(&clip).unwrap(), "the files are the same");
    }
    let ended = livestream(&server.client().await, 7).await;
    assert_eq!(ended.state(), starling_client::pb::livestream::v1::LivestreamState::Ended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_viewer_gets_a_decodable_clip() {
    let units = access_units().await;
    let server = Server::start().await;
    let url = server.url();
    let arguments = ["publish", "--server", &url, "--livestream", "7", "--fps", "1000", "--wait-viewers", "1", "-"];
    let mut publish = starling(&arguments);
    publish.stdin(Stdio::piped());
    let mut publish = Running::spawn(publish);
    // There is no livestream before there is something to publish, and a unit is known to be whole when the next one
    // begins.
    publish.write(&units[..2].concat());

    // One viewer of our own sees how far the publisher is.
    let client = server.client().await;
    exists(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    let mut viewer = Subscriber::open(&client, 7, 2).await;
    let (first, rest) = units.split_at(GROUP + 12);
    publish.write(&first[2..].concat());
    viewer.places(GROUP + 10).await;

    let arguments = ["watch", "--server", &url, "--livestream", "7", "--output", "-"];
    let mut watching = Talking::spawn(starling(&arguments));
    let mut seen = watching.some().await;
    publish.write(&rest.concat());
    publish.close();
    loop {
        let some = watching.some().await;
        if some.is_empty() {
            break;
        }
        seen.extend(some);
    }
    let watched = watching.running.output().await;
    assert!(watched.status.success(), "{}", text(&watched.stderr));
    let published = publish.output().await;
    assert!(published.status.success(), "{}", text(&published.stderr));

    assert!(seen == units[GROUP..].concat(), "it begins at the second keyframe and lacks nothing from there on");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("late.h264");
    std::fs::write(&file, &seen).unwrap();
    assert_decodes(&file, FRAMES - GROUP);
}

/// Waits until there is such a livestream.
pub(crate) async fn exists(client: &starling_client::Client, livestream_id: u64) {
    use starling_client::pb::livestream::v1::{WatchLivestreamsRequest, watch_livestreams_response::Event};
    let census = client.clone().livestreams.watch_livestreams(WatchLivestreamsRequest::default()).await;
    let mut census = crate::edge::world::answered(census);
    loop {
        let message = crate::harness::soon(census.message()).await.unwrap().expect("the watch goes on");
        if matches!(message.event, Some(Event::Livestream(found)) if found.livestream_id == livestream_id) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_publisher_takes_over_only_when_told() {
    let units = access_units().await;
    let server = Server::start().await;
    let url = server.url();
    let spawn = |more: &[&str]| {
        let arguments = ["publish", "--server", &url, "--livestream", "7", "--fps", "1000", "-"];
        let mut publish = starling(&[&arguments[..], more].concat());
        publish.stdin(Stdio::piped());
        let mut publish = Running::spawn(publish);
        publish.write(&units[..2].concat());
        publish
    };
    let mut first = spawn(&["--node", "5"]);
    let client = server.client().await;
    exists(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    let mut viewer = Subscriber::open(&client, 7, 2).await;
    first.write(&units[2..10].concat());
    viewer.places(9).await;

    // Nobody is disturbed who is not told to go.
    for (flags, said) in [
        (&[][..], "livestream 7 is that of node 5: --node 5"),
        (&["--node", "6"], "livestream 7 is that of node 5: --node 5"),
        (&["--node", "6", "--take-over"], "livestream 7 is that of node 5: --node 5"),
        (&["--node", "5"], "--take-over ends that session"),
    ] {
        let refused = spawn(flags).output().await;
        assert_eq!(refused.status.code(), Some(1), "{flags:?}");
        assert!(text(&refused.stderr).contains(said), "{flags:?}: {}", text(&refused.stderr));
    }
    first.write(&units[10..12].concat());
    viewer.places(2).await;

    let mut second = spawn(&["--take-over"]);
    second.write(&units[2..10].concat());
    viewer.places(9).await;
    let outcome = first.output().await;
    assert_eq!(outcome.status.code(), Some(1));
    assert!(text(&outcome.stderr).contains("took over"), "{}", text(&outcome.stderr));
    assert!(text(&outcome.stderr).contains("published 11 access units on livestream 7"), "{}", text(&outcome.stderr));
    second.close();
    let outcome = second.output().await;
    assert!(outcome.status.success(), "{}", text(&outcome.stderr));
    let found = livestream(&client, 7).await;
    assert_eq!(found.state(), starling_client::pb::livestream::v1::LivestreamState::Active, "it was there before");
}

#[tokio::test]
async fn keep_flag_leaves_the_livestream_on_air() {
    let server = Server::start().await;
    let url = server.url();
    let arguments = ["publish", "--server", &url, "--livestream", "7", "--fps", "1000", "--keep"];
    let mut publish = starling(&arguments);
    publish.arg(clip());
    let published = run(publish).await;
    assert!(published.status.success(), "{}", text(&published.stderr));
    let found = livestream(&server.client().await, 7).await;
    assert_eq!(found.state(), starling_client::pb::livestream::v1::LivestreamState::Active);
}

#[tokio::test]
async fn publishing_missing_or_invalid_file_fails() {
    let server = Server::start().await;
    let url = server.url();
    let arguments = ["publish", "--server", &url, "--livestream", "7", "no-such-file.h264"];
    let outcome = run(starling(&arguments)).await;
    assert_eq!(outcome.status.code(), Some(1));
    assert!(text(&outcome.stderr).contains("cannot read no-such-file.h264"), "{}", text(&outcome.stderr));
    let client = server.client().await;
    let nothing = crate::edge::world::everything(&client).await;
    assert!(!nothing.contains("livestream_id"), "a wrong path changes nothing");

    let directory = TempDir::new().unwrap();
    let file = directory.path().join("text.h264");
    std::fs::write(&file, "This is no video.").unwrap();
    let arguments = ["publish", "--server", &url, "--livestream", "7", path(&file)];
    let outcome = run(starling(&arguments)).await;
    assert_eq!(outcome.status.code(), Some(1));
    assert!(text(&outcome.stderr).contains("start code"), "{}", text(&outcome.stderr));
}

#[tokio::test]
async fn watching_an_unknown_livestream_fails() {
    let server = Server::start().await;
    let outcome = run(starling(&["watch", "--server", &server.url(), "--livestream", "99"])).await;
    assert_eq!(outcome.status.code(), Some(1));
    assert!(text(&outcome.stderr).contains("there is no such livestream"), "{}", text(&outcome.stderr));
}
