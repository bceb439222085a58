//! The header in which proxies name their clients: what they made is counted for these.

use starling::config::Config;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code::ResourceExhausted;
use tonic::{Request, Status};

use crate::harness::{Fault, Server};
use crate::proxies::balancer::{Balancer, UNKNOWN, announced, expect_preambles};

/// What the swarms of one address may take, in bytes: a few.
const SHARE: usize = 32 * 1024;

/// Takes the header from these networks.
fn take_header(config: &mut Config, proxies: &str) {
    "x-forwarded-for".clone_into(&mut config.server.client_address_header);
    proxies.clone_into(&mut config.server.trusted_proxies);
    config.memory.state_address_bytes = SHARE;
}

async fn server(proxies: &str) -> Server {
    Server::with(|config| take_header(config, proxies)).await
}

/// Creates a livestream as a proxy asks for it that sends these lines.
async fn create(client: &Client, livestream_id: u64, lines: &[&str]) -> Result<(), Status> {
    let metadata = vec![7; 1_024].into();
    let mut request =
        Request::new(pb::CreateLivestreamRequest { livestream_id, node_id: 1, metadata, ..Default::default() });
    for line in lines {
        request.metadata_mut().append("x-forwarded-for", line.parse().unwrap());
    }
    client.clone().livestreams.create_livestream(request).await.map(drop)
}

/// Creates livestreams from `first` on, the lines being those of each number, until the share of an address is used up;
/// how many there are.
async fn fill(client: &Client, first: u64, lines: impl Fn(u64) -> Vec<String>) -> u64 {
    for number in 0..1_000 {
        let lines = lines(number);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        if let Err(refused) = create(client, first + number, &lines).await {
            assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "STATE_MEMORY"));
            return number;
        }
    }
    panic!("nobody's share is used up");
}

fn of(address: &str) -> impl Fn(u64) -> Vec<String> {
    let address = address.to_owned();
    move |_| vec![address.clone()]
}

#[tokio::test]
async fn client_of_a_proxy_has_its_own_share() {
    let server = server("127.0.0.1, 10.0.0.0/8").await;
    let client = server.client().await;
    let count = fill(&client, 1, of("192.0.2.1")).await;
    assert!((3..30).contains(&count), "{count} livestreams of about 3 KB in 32 KiB");
    // Another connection, another way to write it, and what its client claims: all the same address.
    let other = server.client().await;
    for lines in [
        &["192.0.2.1"][..],
        &["[::ffff:192.0.2.1]:4711"],
        &["198.51.100.1, 192.0.2.1"],
        &["198.51.100.1", "192.0.2.1"],
        &["192.0.2.1, 10.0.0.2, 127.0.0.1"],
        &["unknown, 192.0.2.1"],
    ] {
        assert!(create(&other, 1_000, lines).await.is_err(), "{lines:?}");
    }
    for (number, line) in (2_000..).zip(["192.0.2.2", "192.0.2.1, 192.0.2.3", "2001:db8::1", "10.0.0.2"]) {
        create(&other, number, &[line]).await.unwrap();
    }
    // One customer of IPv6 is one address.
    fill(&client, 3_000, |number| vec![format!("2001:db8::{number:x}")]).await;
    assert!(create(&other, 4_000, &["2001:db8::ffff"]).await.is_err());
    create(&other, 4_001, &["2001:db8:0:1::1"]).await.unwrap();
}

#[tokio::test]
async fn header_that_names_nobody_stands_for_its_proxy() {
    let server = server("127.0.0.1").await;
    let client = server.client().await;
    let kinds = ["", "unknown", "192.0.2.1, unix:", "192.0.2.300", "_hidden"];
    let count = fill(&client, 1, |number| {
        let kind = kinds.iter().cycle().nth(usize::try_from(number).unwrap()).unwrap();
        vec![(*kind).to_owned()]
    })
    .await;
    // Together they have used one share up, that of the proxy, and no other.
    assert!((3..30).contains(&count), "{count}");
    assert!(create(&client, 1_000, &[]).await.is_err(), "as without a header");
    create(&client, 1_000, &["192.0.2.1"]).await.unwrap();
}

#[tokio::test]
async fn header_of_an_untrusted_address_is_ignored() {
    let server = server("127.0.0.9").await;
    let client = server.client().await;
    let count = fill(&client, 1, |number| vec![format!("192.0.2.{number}")]).await;
    assert!((3..30).contains(&count), "{count}");
    assert!(create(&client, 1_000, &[]).await.is_err());
}

#[tokio::test]
async fn header_is_taken_behind_a_preamble_too() {
    let server = Server::with(|config| {
        take_header(config, "127.0.0.1, 10.0.0.0/8");
        expect_preambles(config, "127.0.0.1, 10.0.0.0/8");
    })
    .await;
    let through = async |preamble: Vec<u8>| {
        let balancer = Balancer::before(server.address(), preamble).await;
        let client = Client::connect(&balancer.url()).await.unwrap();
        (balancer, client)
    };
    // A balancer, then a proxy of HTTP, which is trusted.
    let (_proxy, proxy) = through(announced("10.0.0.7")).await;
    fill(&proxy, 1, of("192.0.2.1")).await;
    create(&proxy, 1_000, &["192.0.2.2"]).await.unwrap();
    // A client that connects to the balancer itself, and claims to be somebody.
    let (_direct, direct) = through(announced("192.0.2.1")).await;
    assert!(create(&direct, 2_000, &["192.0.2.3"]).await.is_err(), "it is 192.0.2.1");
    // Whom the balancer cannot name, nobody can.
    let (_unknown, unknown) = through(UNKNOWN.to_vec()).await;
    let count = fill(&unknown, 3_000, |number| vec![format!("198.51.100.{number}")]).await;
    assert!((3..30).contains(&count), "{count}");
}
