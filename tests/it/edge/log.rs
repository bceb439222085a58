//! The log: whatever becomes of its reader, nobody waits for it; whatever a client does,
//! it does not fill.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{PipeReader, Read, pipe};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use serde_json::Value;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::PeerReportReason;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::edge::updates::{Publisher, Subscriber};
use crate::edge::world::{answered, go_live_patient, join_livestream};
use crate::harness::soon;
use crate::process::{Running, Serving, shell, starling, text};

const CONNECTIONS: u64 = 10;
/// On each connection.
const VIEWERS: u64 = 20;
const UPDATES: u8 = 60;
/// So many lines were the end of a server whose log could not be written.
const REPORTS: u64 = 680;

/// A server that says whatever it can.
fn talkative(stderr: impl Into<Stdio>) -> Command {
    let mut command = starling(&["serve", "--listen", "127.0.0.1:0", "--log", "debug"]);
    command.stderr(stderr);
    command
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("there is a device that is always full")
}

/// Livestream 7 on air, with viewers 2 and 3.
async fn with_two_viewers(client: &Client) {
    go_live_patient(client, 7).await;
    for node_id in [2, 3] {
        join_livestream(client, 7, node_id).await;
    }
}

/// Lets a node report another one at least so many times, and until it is `enough`; each time
/// it is answered.
async fn report(client: Client, least: u64, enough: Arc<AtomicBool>) {
    let reason = PeerReportReason::Unreachable.into();
    let request = pb::ReportPeerRequest { livestream_id: 7, node_id: 2, peer_node_id: 3, reason, ..Default::default() };
    let mut livestreams = client.livestreams.clone();
    let mut reports = 0;
    while reports < least || !enough.load(Ordering::Relaxed) {
        answered(soon(livestreams.report_peer(request)).await);
        reports += 1;
    }
}

/// Publishes to 200 viewers while a client has the server log; `midway` is done between two
/// updates. All get everything.
async fn publishes_undisturbed(server: &Serving, midway: impl FnOnce()) {
    let client = server.client().await;
    with_two_viewers(&client).await;
    let mut viewers = Vec::new();
    for connection in 0..CONNECTIONS {
        let client = server.client().await;
        for viewer in 0..VIEWERS {
            let node_id = 100 + connection * VIEWERS + viewer;
            join_livestream(&client, 7, node_id).await;
            viewers.push(Subscriber::open(&client, 7, node_id).await);
        }
    }
    let mut publisher = Publisher::open(&client, 7, 1).await;
    let term = publisher.term();
    let enough = Arc::new(AtomicBool::new(false));
    let mut reporter = JoinSet::new();
    reporter.spawn(report(server.client().await, REPORTS, Arc::clone(&enough)));

    publisher.run(1, "K").await;
    let half = UPDATES / 2;
    let (first, second) = ("d".repeat(usize::from(half) - 1), "d".repeat(usize::from(UPDATES - half)));
    publisher.run(2, &first).await;
    midway();
    publisher.run(u64::from(half) + 1, &second).await;
    let all: Vec<_> = (1..=u64::from(UPDATES)).map(|sequence| (term, sequence)).collect();
    for mut viewer in viewers {
        assert_eq!(viewer.places(UPDATES.into()).await, all);
    }
    enough.store(true, Ordering::Relaxed);
    soon(reporter.join_all()).await;
    let get = pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() };
    let livestream = answered(soon(client.clone().livestreams.get_livestream(get)).await).livestream;
    assert_eq!(livestream.map(|livestream| livestream.viewer_count), Some(CONNECTIONS * VIEWERS + 2));
}

async fn drains(process: Running) {
    process.signal("TERM");
    assert_eq!(process.output().await.status.code(), Some(0));
}

/// The lines of a log; each is one JSON object.
fn lines(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    log.lines().map(parse).inspect(|line: &Value| assert!(line.is_object(), "{line}")).collect()
}

/// Reads what comes, from now on.
async fn read(mut reader: PipeReader) -> String {
    let (told, read) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).expect("a log is text");
        // Without a receiver the test is over.
        told.send(log).ok();
    });
    soon(read).await.expect("the thread that reads sends what it got")
}

/// The sum of a number over the lines with this message.
fn sum(lines: &[Value], message: &str) -> u64 {
    lines.iter().filter(|line| line["message"] == message).filter_map(|line| line["lines"].as_u64()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_log_device_loses_no_updates() {
    let server = Serving::spawn(talkative(full())).await;
    publishes_undisturbed(&server, || ()).await;
    drains(server.process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_log_pipe_loses_no_updates() {
    let (reader, writer) = pipe().unwrap();
    let server = Serving::spawn(talkative(writer)).await;
    publishes_undisturbed(&server, || drop(reader)).await;
    drains(server.process).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_log_loses_no_updates() {
    let (reader, writer) = pipe().unwrap();
    let server = Serving::spawn(talkative(writer)).await;
    publishes_undisturbed(&server, || ()).await;
    let log = read(reader);
    let (log, ()) = tokio::join!(log, drains(server.process));
    let lines = lines(&log);
    assert!(sum(&lines, "lines were lost: the log was not read in time") > 0, "of {} lines", lines.len());
    assert!(lines.iter().any(|line| line["message"] == "drained"), "it goes on to its end");
}

#[tokio::test]
async fn unread_log_does_not_delay_the_drain() {
    let (_reader, writer) = pipe().unwrap();
    let server = Serving::spawn(talkative(writer)).await;
    let client = server.client().await;
    with_two_viewers(&client).await;
    report(client, REPORTS, Arc::new(true.into())).await;
    drains(server.process).await;
}

#[tokio::test]
async fn a_server_serves_without_its_standard_streams() {
    for redirection in ["2>&-", "2>/dev/full", "</dev/null 2>&-"] {
        let script = format!("exec \"$0\" serve --listen 127.0.0.1:0 {redirection}");
        let server = Serving::spawn(shell(&script)).await;
        go_live_patient(&server.client().await, 7).await;
        drains(server.process).await;
    }
    for redirection in [">&-", ">/dev/full"] {
        // The log takes the place of standard output, which is what is read here.
        let script = format!("exec 3>&1; exec \"$0\" serve --listen 127.0.0.1:0 2>&3 3>&- {redirection}");
        let server = Serving::spawn_logging(shell(&script)).await;
        go_live_patient(&server.client().await, 7).await;
        drains(server.process).await;
    }
}

#[tokio::test]
async fn startup_failure_is_logged_as_json() {
    let faulty = |name: &str, value: &str| {
        let mut command = starling(&["serve", "--listen", "127.0.0.1:0"]);
        command.env(name, value);
        command
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (command, code, message) in [
        (faulty("STARLING__STORE__SHARDS", "3"), 1, "the configuration is not valid"),
        (faulty("STARLING__LOG__FORMAT", "verse"), 1, "the configuration is not valid"),
        (starling(&["--config", "no-such-file.toml"]), 1, "the configuration is not valid"),
        (starling(&["--listen", &taken]), 1, "cannot listen on"),
        (starling(&["serve", "--loud"]), 2, "unexpected argument '--loud' found"),
        (starling(&["--loud"]), 2, "unexpected argument '--loud' found"),
    ] {
        let refused = crate::process::run(command).await;
        assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(code), String::new()));
        let lines = lines(&text(&refused.stderr));
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        assert!(line["message"].as_str().is_some_and(|text| text.starts_with(message)), "{line}");
        assert_eq!(line["level"], "ERROR");
    }
}

#[tokio::test]
async fn human_log_reports_faults_as_text() {
    let mut command = starling(&["serve", "--log-format", "human"]);
    command.env("STARLING__STORE__SHARDS", "3");
    let refused = crate::process::run(command).await;
    let told = text(&refused.stderr);
    assert!(told.starts_with("starling: the configuration is not valid:\nstore.shards: 3 "), "{told}");
}

/// Calls on one connection, each of which is at fault.
struct Offender {
    calls: SendRequest<Bytes>,
    url: String,
    connection: JoinSet<()>,
}

impl Offender {
    async fn connect(server: &Serving) -> Self {
        let socket = TcpStream::connect(server.address).await.expect("the server accepts");
        let (calls, connection) = h2::client::handshake(socket).await.expect("it speaks HTTP/2");
        let mut running = JoinSet::new();
        running.spawn(async move { drop(connection.await) });
        let url = format!("{}/starling.livestream.v1.LivestreamService/GetLivestream", server.url());
        Self { calls, url, connection: running }
    }

    fn request(&self) -> Request<()> {
        let request = Request::post(&self.url).header("content-type", "application/grpc").header("te", "trailers");
        request.body(()).unwrap()
    }

    /// Sends a whole body, and waits for the answer.
    async fn send(&mut self, body: &'static [u8]) {
        let request = self.request();
        let mut calls = self.calls.clone().ready().await.unwrap();
        let (answer, mut content) = calls.send_request(request, false).unwrap();
        content.send_data(Bytes::from_static(body), true).unwrap();
        soon(answer).await.unwrap();
    }

    /// Closes the connection in good order.
    async fn leave(mut self) {
        drop(self.calls);
        soon(self.connection.join_next()).await;
    }

    /// Begins a body and resets it; waits until the connection goes on.
    async fn reset(&mut self) {
        let request = self.request();
        let mut calls = self.calls.clone().ready().await.unwrap();
        let (_, mut content) = calls.send_request(request, false).unwrap();
        content.send_data(Bytes::from_static(b"\0\0\0\0\x64abc"), false).unwrap();
        // Once there is an answer to what comes behind it, the server has seen the body.
        self.send(b"\0\0\0\0\0").await;
        content.send_reset(h2::Reason::CANCEL);
        self.send(b"\0\0\0\0\0").await;
    }
}

/// What a log has of one kind of lines.
#[derive(Debug, Default)]
struct Kind {
    levels: BTreeSet<String>,
    written: u64,
    left_out: u64,
}

/// What a flood leaves in the log, by message.
async fn flooded(filter: &str, flood: impl AsyncFnOnce(&Serving)) -> BTreeMap<String, Kind> {
    let server = Serving::spawn(starling(&["--listen", "127.0.0.1:0", "--log", filter])).await;
    flood(&server).await;
    server.process.signal("TERM");
    let output = server.process.output().await;
    let mut kinds = BTreeMap::<_, Kind>::new();
    for line in lines(&text(&output.stderr)) {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        match text("kind") {
            kind if kind.is_empty() => {
                let kind = kinds.entry(text("message")).or_default();
                kind.levels.insert(text("level"));
                kind.written += 1;
            }
            kind => kinds.entry(kind).or_default().left_out += line["lines"].as_u64().unwrap(),
        }
    }
    assert!(!kinds.values().any(|kind| kind.levels.contains("ERROR")), "a client is no fault of ours: {kinds:?}");
    kinds
}

const FLOOD: u64 = 300;

/// All of a flood was counted, and most of it left out.
#[track_caller]
fn assert_counted(kinds: &BTreeMap<String, Kind>, level: &str, message: &str) {
    let Some(kind) = kinds.get(message) else { panic!("no {message:?} in {kinds:?}") };
    assert_eq!(kind.levels.iter().collect::<Vec<_>>(), [level]);
    assert_eq!(kind.written + kind.left_out, FLOOD);
    assert!(kind.left_out > FLOOD / 2, "{kind:?}");
}

#[tokio::test]
async fn client_faults_are_logged_at_debug() {
    // No protobuf, a message that ends early, and one that is compressed as nobody said.
    for body in [&b"\0\0\0\0\x04\xff\xff\xff\xff"[..], b"\0\0\0\0\x64abc", b"\x01\0\0\0\x01a"] {
        let offend = async |server: &Serving| {
            let mut offender = Offender::connect(server).await;
            for _ in 0..FLOOD {
                offender.send(body).await;
            }
            offender.leave().await;
        };
        let kinds = flooded("info,starling=debug", offend).await;
        assert_counted(&kinds, "DEBUG", "refused");
        let quiet = flooded("info", offend).await;
        let messages: Vec<_> = quiet.keys().collect();
        assert_eq!(messages, ["drained", "draining", "serving", "told to stop"]);
    }
}

#[tokio::test]
async fn cut_requests_are_logged_at_info() {
    let kinds = flooded("info", async |server| {
        let mut offender = Offender::connect(server).await;
        for _ in 0..FLOOD {
            offender.reset().await;
        }
        offender.leave().await;
    })
    .await;
    // HTTP/2 may drop a call for its reset before the call has seen it.
    let cut = &kinds["a request was cut"];
    assert!(cut.levels.contains("INFO") && cut.levels.len() == 1);
    assert!((FLOOD / 2..=FLOOD).contains(&(cut.written + cut.left_out)) && cut.left_out > cut.written, "{cut:?}");
}

#[tokio::test]
async fn reports_of_peers_are_limited_and_counted() {
    let kinds = flooded("info", async |server| {
        let client = server.client().await;
        with_two_viewers(&client).await;
        report(client, FLOOD, Arc::new(true.into())).await;
    })
    .await;
    assert_counted(&kinds, "INFO", "a peer was reported");
}

#[tokio::test]
async fn connections_that_break_are_limited_and_counted() {
    let kinds = flooded("info", async |server| {
        for _ in 0..FLOOD {
            // Half a preface, and gone.
            let mut offender = TcpStream::connect(server.address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut offender, b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
            socket2::SockRef::from(&offender).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        // Who comes last is accepted last.
        let mut last = Offender::connect(server).await;
        last.send(b"\0\0\0\0\0").await;
        last.leave().await;
    })
    .await;
    assert_counted(&kinds, "INFO", "a connection broke");
}
