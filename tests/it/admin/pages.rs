//! What each path answers, and when.

use std::net::{Ipv4Addr, TcpListener};

use starling::app::App;
use starling::config::Config;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code::Unimplemented;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::scrape::{Page, Scrape, server};
use crate::edge::updates::Subscriber;
use crate::edge::world::{go_live, join_livestream};
use crate::harness::soon;

#[tokio::test]
async fn each_page_answers() {
    let server = server(|_| ()).await;
    let address = server.admin_address();
    let [live, ready, metrics, config, index] = futures_util::future::join_all(
        ["/livez", "/readyz", "/metrics", "/config", "/"].map(|path| Page::get(address, path)),
    )
    .await
    .try_into()
    .unwrap();
    assert_eq!((live.status, &*live.body), (200, "ok\n"));
    assert_eq!((ready.status, &*ready.body), (200, "{\"ready\":true,\"reasons\":[]}\n"));
    assert!(ready.has_header("content-type: application/json"));
    assert_eq!(metrics.status, 200);
    assert!(metrics.has_header("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert_eq!((config.status, index.status), (200, 200));
    assert!(index.body.contains("/metrics"));
}

#[tokio::test]
async fn config_page_shows_what_is_in_force() {
    let server = server(|config| config.store.shards = 8).await;
    let page = Page::get(server.admin_address(), "/config").await;
    assert!(page.has_header("content-type: application/toml"));
    let shown: Config = toml::from_str(&page.body).unwrap();
    assert_eq!((shown.store.shards, shown.feed), (8, Config::default().feed));
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let server = server(|_| ()).await;
    let address = server.admin_address();
    for path in ["/nothing", "/metrics/", "//metrics", "/debug/pprof"] {
        assert_eq!(Page::get(address, path).await.status, 404, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let page = Page::of(address, method, "/metrics").await;
        assert_eq!(page.status, 405, "{method}");
        assert!(page.has_header("allow: get, head"));
    }
    let head = Page::of(address, "HEAD", "/config").await;
    assert_eq!((head.status, &*head.body), (200, ""));
    let body = "GET /livez HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(Page::send(address, body).await.status, 413);
}

#[tokio::test]
async fn admin_listener_answers_for_health() {
    let server = server(|_| ()).await;
    let url = format!("http://{}", server.admin_address());
    let channel = Endpoint::from_shared(url.clone()).unwrap().connect().await.unwrap();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    let mut client = Client::connect(&url).await.unwrap();
    let refused =
        client.livestreams.get_livestream(pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() }).await;
    assert_eq!(refused.unwrap_err().code(), Unimplemented, "nothing else is served there");
}

#[tokio::test]
async fn drain_is_told_before_streams_end() {
    let server = server(|config| {
        config.drain.spread = std::time::Duration::from_secs(20);
        config.drain.timeout = std::time::Duration::from_secs(25);
    })
    .await;
    let client = server.client().await;
    go_live(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    let _reader = Subscriber::open(&client, 7, 2).await;
    let address = server.admin_address();
    server.drain();
    let page = soon(async {
        loop {
            let page = Page::get(address, "/readyz").await;
            if page.status != 200 {
                return page;
            }
        }
    })
    .await;
    assert_eq!((page.status, &*page.body), (503, "{\"ready\":false,\"reasons\":[\"draining\"]}\n"));
    assert_eq!(server.open_streams(), 1, "the stream is told goodbye later");
    assert_eq!(Page::get(address, "/livez").await.status, 200, "whoever drains must not be killed for it");
    assert_eq!(Scrape::of(&server).await.value("starling_ready"), 0.0);
}

#[tokio::test]
async fn only_the_default_address_may_be_taken() {
    let app = |listen: &str| {
        let mut config = Config::default();
        config.server.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.admin.listen = Some(listen.parse().unwrap());
        App::bind(config)
    };
    let default = Config::default().admin.listen.unwrap().to_string();
    let (first, second) = (app(&default).await.unwrap(), app(&default).await.unwrap());
    assert!(second.admin_address().is_none(), "the first one, or another process, has it");
    drop(first);
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let error = app(&taken.local_addr().unwrap().to_string()).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on 127.0.0.1:"), "{error}");
}
