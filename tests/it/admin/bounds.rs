//! What one client of the admin listener can take.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scrape::{Page, Scrape, server};
use crate::harness::soon;

#[tokio::test]
async fn large_heads_are_refused() {
    let server = server(|_| ()).await;
    let filler = "x".repeat(64 * 1024);
    let request = format!("GET /livez HTTP/1.1\r\nHost: here\r\nConnection: close\r\nX-Filler: {filler}\r\n\r\n");
    let mut connection = TcpStream::connect(server.admin_address()).await.unwrap();
    // It may be closed before all of it is written.
    drop(connection.write_all(request.as_bytes()).await);
    let mut answer = Vec::new();
    drop(soon(connection.read_to_end(&mut answer)).await);
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(Page::get(server.admin_address(), "/livez").await.status, 200);
}

#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    let server = server(|_| ()).await;
    let mut silent = Vec::new();
    for _ in 0..3 * 64 {
        silent.push(TcpStream::connect(server.admin_address()).await.unwrap());
    }
    assert_eq!(Page::get(server.admin_address(), "/livez").await.status, 200);
    let scrape = Scrape::of(&server).await;
    assert!(scrape.value("starling_connections{listener=\"admin\"}") <= 64.0 + 32.0);
    let gone = "starling_connections_closed_total{listener=\"admin\",reason=\"idle\"}";
    assert!(scrape.value(gone) >= 1.0 + 2.0 * 64.0 - 32.0, "{}", scrape.value(gone));
}

#[tokio::test]
async fn readers_who_stall_keep_nobody_out() {
    let server = server(|_| ()).await;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        let mut connection = TcpStream::connect(server.admin_address()).await.unwrap();
        // More pages than the kernel keeps for who reads nothing.
        let requests = "GET /config HTTP/1.1\r\nHost: here\r\n\r\n".repeat(300);
        // It may be closed before all of it is written.
        drop(connection.write_all(requests.as_bytes()).await);
        stalled.push(connection);
    }
    assert_eq!(Page::get(server.admin_address(), "/livez").await.status, 200);
    let scrape = Scrape::of(&server).await;
    assert!(scrape.value("starling_connections{listener=\"admin\"}") <= 64.0 + 32.0);
    assert!(scrape.value("starling_connections_closed_total{listener=\"admin\",reason=\"idle\"}") >= 6.0);
}
