//! A server that the others do not take for one of theirs.

use std::net::{Ipv4Addr, SocketAddr};

use starling::config::Config;

use crate::admin::scrape::Page;
use crate::cluster::fixture::Pods;
use crate::harness::soon;

const REFUSED: &str = "servers of this cluster have another secret: see cluster.peer_secret_file";

fn with_pages(config: &mut Config) {
    config.admin.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
}

/// Asks until the page of readiness says this.
async fn readiness_says(address: SocketAddr, what: &str) -> Page {
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    soon(async {
        loop {
            let page = Page::get(address, "/readyz").await;
            if page.body.contains(what) {
                return page;
            }
            looks.tick().await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn server_with_another_secret_is_not_ready() {
    let mut pods = Pods::start(0).await;
    pods.add_with(with_pages).await;
    let ready = pods.servers[0].admin_address();
    assert_eq!(readiness_says(ready, "\"ready\":true").await.status, 200);
    let stranger = pods.add_stranger(with_pages).await;
    let page = readiness_says(stranger.admin_address(), REFUSED).await;
    assert_eq!((page.status, page.body.starts_with("{\"ready\":false")), (503, true), "{}", page.body);
    let page = readiness_says(ready, REFUSED).await;
    assert_eq!(
        (page.status, page.body.contains("remarks")),
        (200, true),
        "it is no fault of who was there: {}",
        page.body
    );
    // Whoever is alone has nobody to be taken for one of theirs by.
    pods.servers.remove(0).kill().await;
    drop(readiness_says(stranger.admin_address(), "\"ready\":true").await);
}
