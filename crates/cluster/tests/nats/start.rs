//! What a pod says that cannot use NATS: each reason by its own error, and nothing half-started.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use starling_cluster::{JetStreamCluster, JetStreamSettings, JetStreamTls, PartitionLog, StartError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::server::{NatsCluster, NatsServer, connect, free_port, settings, soon};

/// Nothing that fails is waited for long.
fn impatient(url: String) -> JetStreamSettings {
    JetStreamSettings {
        start_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(1),
        ..settings(vec![url])
    }
}

async fn refused(settings: JetStreamSettings) -> StartError {
    soon(JetStreamCluster::connect(settings)).await.map(drop).unwrap_err()
}

async fn context(server: &NatsServer) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// The names of all streams of a server.
async fn streams(server: &NatsServer) -> Vec<String> {
    use futures_util::TryStreamExt;
    context(server).await.stream_names().try_collect().await.unwrap()
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    type Change = fn(&mut JetStreamSettings);
    let changes: [(Change, &str); 8] = [
        (|settings| settings.urls.clear(), "URL"),
        (|settings| settings.cluster = String::new(), "name"),
        (|settings| settings.cluster = "a.b".to_owned(), "name"),
        (|settings| settings.cluster = "a".repeat(33), "name"),
        (|settings| settings.partitions = 0, "partitions"),
        (|settings| settings.shards = 7, "shards"),
        (|settings| settings.replicas = 6, "replicas"),
        (|settings| (settings.nkey, settings.credentials) = (Some(PathBuf::new()), Some(PathBuf::new())), "one only"),
    ];
    for (change, word) in changes {
        let mut settings = JetStreamSettings::new(vec!["nats://a".to_owned()], "a".to_owned());
        change(&mut settings);
        let told = refused(settings).await;
        assert!(matches!(told, StartError::Settings { .. }) && told.to_string().contains(word), "{told}");
    }
}

#[tokio::test]
async fn server_that_does_not_listen_is_unreachable() {
    let mut settings = impatient(format!("nats://user:secret@127.0.0.1:{}", free_port()));
    settings.start_timeout = Duration::from_millis(600);
    assert!(!format!("{settings:?}").contains("secret"));
    let told = refused(settings).await;
    assert!(matches!(told, StartError::Unreachable { .. }), "{told}");
    assert!(!told.to_string().contains("secret"), "{told}");
}

/// A server that says to be of a version, and nothing more.
async fn pretend(listener: TcpListener, version: &str) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let info = format!(
            "INFO {{\"server_id\":\"a\",\"server_name\":\"a\",\"version\":\"{version}\",\"go\":\"\",\"host\":\"a\",\
             \"port\":1,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\"client_id\":1}}\r\nPONG\r\n"
        );
        stream.write_all(info.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        // The first two: CONNECT and PING.
        lines.next_line().await.unwrap();
        drop(lines.next_line().await);
    }
}

#[tokio::test]
async fn server_that_is_too_old_is_refused() {
    for version in ["2.14.9", "2.9.25", "1.4.1", "odd"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = impatient(format!("nats://{}", listener.local_addr().unwrap()));
        let told = tokio::select! {
            told = refused(settings) => told,
            () = pretend(listener, version) => unreachable!(),
        };
        assert!(matches!(&told, StartError::WrongVersion { found } if found == version), "{told}");
    }
}

#[tokio::test]
async fn server_without_jetstream_is_told() {
    let Some(server) = NatsServer::plain("").await else { return };
    let told = refused(impatient(server.url())).await;
    assert!(matches!(told, StartError::NoJetStream { .. }), "{told}");
}

#[tokio::test]
async fn account_without_jetstream_is_told() {
    let accounts = "accounts { A { users: [{ user: a, password: b }] } }";
    let Some(server) = NatsServer::alone(accounts).await else { return };
    let told = refused(impatient(server.url().replace("//", "//a:b@"))).await;
    assert!(matches!(told, StartError::NoJetStream { .. }), "{told}");
}

#[tokio::test]
async fn wrong_credentials_are_told() {
    let Some(server) = NatsServer::alone("authorization { user: a, password: b }").await else { return };
    for wrong in [server.url(), server.url().replace("//", "//a:c@")] {
        let told = refused(impatient(wrong)).await;
        assert!(matches!(told, StartError::WrongCredentials { .. }), "{told}");
    }
    JetStreamCluster::connect(impatient(server.url().replace("//", "//a:b@"))).await.unwrap();
}

/// The seed of an nkey, and its public key; from the documentation of NATS.
const NKEY: (&str, &str) = (
    "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
);

#[tokio::test]
async fn nkey_is_read_from_its_file() {
    let users = format!("authorization {{ users: [{{ nkey: {} }}] }}", NKEY.1);
    let Some(server) = NatsServer::alone(&users).await else { return };
    let path = server.directory().join("seed");
    let with_key = || JetStreamSettings { nkey: Some(path.clone()), ..impatient(server.url()) };
    let told = refused(with_key()).await;
    assert!(matches!(&told, StartError::File { path: of, .. } if *of == path), "{told}");
    std::fs::write(&path, "no seed").unwrap();
    let told = refused(with_key()).await;
    assert!(matches!(&told, StartError::File { path: of, .. } if *of == path), "{told}");
    std::fs::write(&path, format!("{}\n", NKEY.0)).unwrap();
    JetStreamCluster::connect(with_key()).await.unwrap();
}

#[tokio::test]
async fn credentials_that_are_not_there_are_told() {
    let Some(server) = NatsServer::alone("").await else { return };
    let path = server.directory().join("creds");
    let told = refused(JetStreamSettings { credentials: Some(path.clone()), ..impatient(server.url()) }).await;
    assert!(matches!(&told, StartError::File { path: of, .. } if *of == path), "{told}");
    let tls = JetStreamTls { authorities: Some(path.clone()), ..JetStreamTls::default() };
    let told = refused(JetStreamSettings { tls: Some(tls), ..impatient(server.url()) }).await;
    assert!(matches!(&told, StartError::File { path: of, .. } if *of == path), "{told}");
}

#[tokio::test]
async fn every_missing_permission_is_told() {
    let denied = [
        ("publish", "$JS.API.STREAM.INFO.>"),
        ("publish", "$JS.API.STREAM.CREATE.>"),
        ("publish", "$JS.API.STREAM.PURGE.>"),
        ("publish", "$JS.API.STREAM.MSG.GET.>"),
        ("publish", "$JS.API.DIRECT.GET.>"),
        ("publish", "starling.a.log.>"),
        ("publish", "$O.STARLING_a.C.>"),
        ("publish", "$O.STARLING_a.M.>"),
        ("subscribe", "starling.a.out.>"),
        ("subscribe", "_INBOX.>"),
    ];
    for (what, subject) in denied {
        let users = format!(
            "authorization {{ users: [{{ user: a, password: b, permissions: {{ {what}: {{ deny: [\"{subject}\"] }} }} }}] }}"
        );
        let Some(server) = NatsServer::alone(&users).await else { return };
        let told = refused(impatient(server.url().replace("//", "//a:b@"))).await;
        let StartError::MissingPermission { refused } = &told else { panic!("{what} {subject}: {told}") };
        let stem = subject.trim_end_matches('>');
        assert!(refused.contains(stem), "{what} {subject}: {refused}");
    }
}

#[tokio::test]
async fn these_permissions_are_enough() {
    let users = "authorization { users: [{ user: a, password: b, permissions: {
        publish: [\"starling.a.log.*\", \"$O.STARLING_a.>\", \"$JS.API.STREAM.INFO.*\", \"$JS.API.STREAM.CREATE.*\",
            \"$JS.API.STREAM.PURGE.*\", \"$JS.API.STREAM.MSG.GET.*\", \"$JS.API.DIRECT.GET.*\"],
        subscribe: [\"starling.a.out.*\", \"_INBOX.>\"] } }] }";
    let Some(server) = NatsServer::alone(users).await else { return };
    let cluster = JetStreamCluster::connect(impatient(server.url().replace("//", "//a:b@"))).await.unwrap();
    let log = cluster.log(0);
    assert_eq!(log.publish("x".into(), None).await, Ok(1));
    log.store("snapshot-0-1".to_owned(), vec![7]).await.unwrap();
    assert!(log.load(starling_replica::output::SnapshotChoice::Newest(0)).await.unwrap().is_some());
    log.purge(1).await.unwrap();
}

#[tokio::test]
async fn too_few_servers_for_the_replicas_are_told() {
    let Some(server) = NatsServer::alone("").await else { return };
    let three = JetStreamSettings { replicas: 3, ..impatient(server.url()) };
    let told = refused(three.clone()).await;
    assert!(matches!(told, StartError::TooFewReplicas { wanted: 3, .. }), "{told}");
    assert_eq!(streams(&server).await, [""; 0]);
    connect(&server).await;
    let told = refused(three).await;
    assert!(told.to_string().contains("it has 1"), "{told}");
    let Some(cluster) = NatsCluster::new().await else { return };
    let five = JetStreamSettings { replicas: 5, urls: cluster.urls(), ..impatient(String::new()) };
    let told = refused(JetStreamSettings { start_timeout: Duration::from_secs(20), ..five }).await;
    assert!(matches!(told, StartError::TooFewReplicas { wanted: 5, .. }), "{told}");
}

#[tokio::test]
async fn stream_of_somebody_else_is_not_touched() {
    let Some(server) = NatsServer::alone("").await else { return };
    let context = context(&server).await;
    let other = |name: &str, subject: &str| Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        ..Config::default()
    };
    context.create_stream(other("STARLING_a_0", "x")).await.unwrap();
    let told = refused(impatient(server.url())).await;
    assert!(matches!(&told, StartError::OtherCluster { stream, .. } if stream == "STARLING_a_0"), "{told}");
    context.delete_stream("STARLING_a_0").await.unwrap();
    context.create_stream(other("x", "starling.*.log.>")).await.unwrap();
    let told = refused(impatient(server.url())).await;
    assert!(matches!(&told, StartError::OtherCluster { stream, .. } if stream == "STARLING_a_0"), "{told}");
    assert_eq!(streams(&server).await, ["x"]);
}

#[tokio::test]
async fn other_numbers_are_told_and_nothing_is_made() {
    let Some(server) = NatsServer::alone("").await else { return };
    connect(&server).await;
    let before = streams(&server).await;
    let told = refused(JetStreamSettings { partitions: 4, ..impatient(server.url()) }).await;
    assert!(matches!(&told, StartError::OtherPartitions { found, wanted: 4 } if found == "1"), "{told}");
    let told = refused(JetStreamSettings { shards: 8, ..impatient(server.url()) }).await;
    assert!(matches!(&told, StartError::OtherShards { found, wanted: 8 } if found == "4"), "{told}");
    assert_eq!(streams(&server).await, before);
    connect(&server).await;
}

#[tokio::test]
async fn stream_that_was_changed_is_told() {
    let Some(server) = NatsServer::alone("").await else { return };
    connect(&server).await;
    let context = context(&server).await;
    let mut config = context.get_stream("STARLING_a_0").await.unwrap().cached_info().config.clone();
    config.max_age = Duration::from_secs(3_600);
    config.duplicate_window = Duration::from_secs(60);
    context.update_stream(&config).await.unwrap();
    let told = refused(impatient(server.url())).await;
    assert!(matches!(told, StartError::OtherStream { .. }), "{told}");
}

#[tokio::test]
async fn pods_that_start_at_once_share_one_log() {
    let Some(server) = NatsServer::alone("").await else { return };
    let start = || async { connect(&server).await.log(0) };
    let logs = futures_util::future::join_all([start(), start(), start()]).await;
    for (log, sequence) in logs.iter().zip(1..) {
        assert_eq!(log.publish("x".into(), None).await, Ok(sequence));
    }
}
