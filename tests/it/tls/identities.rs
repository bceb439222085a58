//! Certificates of clients: which are taken, and which are refused.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, date_time_ymd};
use starling::config::ClientAuth;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;

use crate::edge::identity::refusal::{Refusal, Row};
use crate::harness::Server;
use crate::process::{Serving, starling, text};
use crate::tls::authority::{Authority, Dialect, Files, ONLY_1_2, ONLY_1_3, Pair, url};

const NODE: &str = "starling://node/7";

/// Certificates that are refused, by what is wrong with them, each with what the log says of it.
fn refused(clients: &Authority) -> Vec<(Row, Pair)> {
    let with = |change: fn(&mut CertificateParams)| clients.client_with(NODE, change);
    let row = |attack, text| Row { attack, refusal: Refusal::Handshake(text) };
    vec![
        // By name and not by key.
        (
            row("a certificate of an authority of the same name", "invalid peer certificate"),
            Authority::new("clients").client(NODE),
        ),
        (row("a certificate of another authority", "UnknownIssuer"), Authority::new("others").client(NODE)),
        (row("a certificate that has expired", "expired"), with(|params| params.not_after = date_time_ymd(2021, 1, 1))),
        (
            row("a certificate that is not yet valid", "not valid yet"),
            with(|params| params.not_before = date_time_ymd(2099, 1, 1)),
        ),
        (
            row("a server's certificate", "extended key usage"),
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        ),
        (
            row(
                "a name (SAN) of a node that is written otherwise",
                "is neither starling://node/ID nor in tls.admin_sans",
            ),
            clients.client("starling://node/07"),
        ),
        (row("a name of node 0", "starling://node/0"), clients.client("starling://node/0")),
        (row("a name that is nearly an administrator's", "starling://administrator"), {
            clients.client("starling://administrator")
        }),
    ]
}

const NONE: Row =
    Row { attack: "no certificate where one is required", refusal: Refusal::Handshake("no certificates") };

pub(crate) fn rows() -> Vec<Row> {
    refused(&Authority::new("clients")).into_iter().map(|(row, _)| row).chain([NONE]).collect()
}

/// What the log must say.
fn said(row: &Row) -> &'static str {
    match row.refusal {
        Refusal::Handshake(text) => text,
        other => panic!("{other:?} is no handshake"),
    }
}

#[tokio::test]
async fn certificates_that_are_not_valid_are_refused() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let mut command = starling(&["--listen", "127.0.0.1:0", "--log", "info"]);
    let authority = files.write("clients.crt", &clients.pem());
    command
        .env("STARLING__TLS__CERT_FILE", files.path("tls.crt"))
        .env("STARLING__TLS__KEY_FILE", files.path("tls.key"));
    command.env("STARLING__TLS__CLIENT_CA_FILE", authority).env("STARLING__TLS__CLIENT_AUTH", "required");
    let server = Serving::spawn(command).await;
    for versions in [ONLY_1_2, ONLY_1_3] {
        let speak = |own| Dialect { versions, own, ..Dialect::default() }.speak(server.address, &servers);
        assert!(speak(None).await.is_err());
        for (row, pair) in refused(&clients) {
            assert!(speak(Some(pair)).await.is_err(), "{}", row.attack);
        }
        for name in [NODE, "starling://admin", "https://somebody.example/"] {
            speak(Some(clients.client(name))).await.unwrap();
        }
    }
    server.process.signal("TERM");
    let log = text(&server.process.output().await.stderr);
    for why in rows().iter().map(said) {
        assert!(log.lines().any(|line| line.contains("a TLS handshake failed") && line.contains(why)), "{why}: {log}");
    }
}

#[tokio::test]
async fn certificate_may_be_optional() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let server = Server::with(|config| files.ask(config, &clients, ClientAuth::Optional)).await;
    let connect = |own: Option<Pair>| {
        let (options, url) = (files.options(&servers, own.as_ref()), url(server.address()));
        async move {
            let mut livestreams = Client::connect_with(&url, options).await?.livestreams;
            livestreams.list_livestreams(pb::ListLivestreamsRequest::default()).await?;
            Ok::<(), starling_client::Error>(())
        }
    };
    connect(None).await.unwrap();
    connect(Some(clients.client(NODE))).await.unwrap();
    connect(Some(Authority::new("others").client(NODE))).await.unwrap_err();
}
