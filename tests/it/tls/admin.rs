//! The admin listener over TLS: who reads what, and certificates that change.

use std::net::{Ipv4Addr, SocketAddr};

use starling::config::{AdminClientAuth, ClientAuth, Config};
use starling_client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::admin::scrape::Page;
use crate::harness::{Server, soon};
use crate::tls::authority::{Authority, Dialect, Files, Pair, serial, serve, url};

/// The statuses of some pages to a client with this certificate.
async fn statuses(admin: SocketAddr, servers: &Authority, own: Option<&Pair>) -> Vec<(&'static str, u16)> {
    let mut found = Vec::new();
    for path in ["/livez", "/readyz", "/metrics", "/config"] {
        let dialect = Dialect { protocols: &["http/1.1"], own: own.cloned(), ..Dialect::default() };
        let mut stream = dialect.connect(admin, servers).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // It ends without a goodbye of TLS: HTTP says where its messages end.
        soon(stream.read_to_string(&mut answer)).await.ok();
        let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{answer}"));
        found.push((path, status));
    }
    found
}

const OPEN: [(&str, u16); 4] = [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/config", 200)];
const PROBES_ONLY: [(&str, u16); 4] = [("/livez", 200), ("/readyz", 200), ("/metrics", 403), ("/config", 403)];

fn pages_over_tls(config: &mut Config) {
    config.admin.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    config.admin.tls = true;
}

#[tokio::test]
async fn pages_and_health_are_served_over_tls() {
    let (server, authority, files) = serve(pages_over_tls).await;
    let admin = server.admin_address();
    assert_eq!(statuses(admin, &authority, None).await, OPEN);
    let plain = Page::get(admin, "/metrics").await;
    assert_eq!((plain.status, &*plain.body), (400, "this port speaks TLS: use https://\r\n"));
    let client = Client::connect_with(&url(admin), files.options(&authority, None)).await.unwrap();
    let health = HealthClient::new(client.channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn readers_show_a_certificate_and_probes_none() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let server = Server::with(|config| {
        files.configure(config);
        pages_over_tls(config);
        config.admin.client_auth = AdminClientAuth::Required;
        config.tls.client_ca_file = files.write("clients.crt", &clients.pem());
    })
    .await;
    let admin = server.admin_address();
    for name in ["starling://reader", "starling://admin"] {
        assert_eq!(statuses(admin, &servers, Some(&clients.client(name))).await, OPEN, "{name}");
    }
    for name in ["starling://node/7", "https://somebody.example/"] {
        assert_eq!(statuses(admin, &servers, Some(&clients.client(name))).await, PROBES_ONLY, "{name}");
    }
    assert_eq!(statuses(admin, &servers, None).await, PROBES_ONLY);
    for stranger in [Authority::new("others").client("starling://reader"), clients.client("starling://readers")] {
        assert!(Dialect { own: Some(stranger), ..Dialect::default() }.speak(admin, &servers).await.is_err());
    }
    // Clients of calls are not asked for one.
    Dialect::default().speak(server.address(), &servers).await.unwrap();
}

#[tokio::test]
async fn certificates_of_calls_are_not_asked_of_scrapers() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let server = Server::with(|config| {
        files.ask(config, &clients, ClientAuth::Required);
        pages_over_tls(config);
    })
    .await;
    assert_eq!(statuses(server.admin_address(), &servers, None).await, OPEN);
    assert!(Dialect::default().speak(server.address(), &servers).await.is_err());
    // To calls a reader is nobody in particular, and not a stranger.
    let own = Some(clients.client("starling://reader"));
    Dialect { own, ..Dialect::default() }.speak(server.address(), &servers).await.unwrap();
}

#[tokio::test]
async fn new_certificate_is_shown_by_the_pages_too() {
    let (server, authority, files) = serve(pages_over_tls).await;
    assert_eq!(serial(server.admin_address(), &authority).await, 1);
    files.replace(&authority.server(2));
    soon(async { while serial(server.admin_address(), &authority).await != 2 {} }).await;
    assert_eq!(statuses(server.admin_address(), &authority, None).await, OPEN);
}
