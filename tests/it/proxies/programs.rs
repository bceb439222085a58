//! Real proxies: HAProxy with the PROXY protocol, nginx with a header, by the files of `examples/proxy`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Stdio;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;
use starling_testkit::program;
use tempfile::TempDir;
use tonic::Code::ResourceExhausted;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Fault, Server, soon};
use crate::net::fixture::until;
use crate::net::frames::{WIDE, Wire};
use crate::process::Running;
use crate::proxies::balancer::{self, connect_from, watch};
use crate::tls::authority::{Authority, Files, url};

/// Where a proxy is found besides the path: not everybody's path has the programs of the system.
const SYSTEM: &str = "/usr/sbin";

/// Starts a proxy, unless it is not installed, which is told. A test that needs a tool fails without it where all tools
/// are required.
fn start(name: &str, arguments: &[&str], directory: &Path) -> Option<Running> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = program(name);
    command.args(arguments).current_dir(directory).env("PATH", format!("{path}:{SYSTEM}")).stderr(Stdio::piped());
    // By the path of the child, not by that of this process.
    let found = path.split(':').chain([SYSTEM]).any(|place| Path::new(place).join(name).is_file());
    if found {
        return Some(Running::spawn(command));
    }
    let required = std::env::var_os("REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "{name} is not installed");
    eprintln!("{name} is not installed: nothing was tried through it");
    None
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// The text of an example, with addresses in place of its own.
fn example(name: &str, addresses: &[(&str, SocketAddr)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/proxy").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (of_example, address) in addresses {
        assert!(text.contains(of_example), "{name} has no {of_example}");
        text = text.replace(of_example, &address.to_string());
    }
    text
}

/// Waits until somebody listens.
async fn listens(address: SocketAddr) {
    until(|| TcpStream::connect(address).is_ok()).await;
}

/// HAProxy in front of a server; where it is, and the process.
async fn haproxy(server: &Server, directory: &TempDir) -> Option<(SocketAddr, Running)> {
    let address = free_address();
    let config = example("haproxy-tcp.cfg", &[("127.0.0.1:8443", address), ("127.0.0.1:50051", server.address())]);
    std::fs::write(directory.path().join("haproxy.cfg"), config).unwrap();
    let running = start("haproxy", &["-f", "haproxy.cfg"], directory.path())?;
    listens(address).await;
    Some((address, running))
}

#[tokio::test]
async fn haproxy_tells_who_its_clients_are() {
    let directory = TempDir::new().unwrap();
    let server = balancer::server(|config| config.server.max_connections_per_address = 1).await;
    let Some((proxy, _running)) = haproxy(&server, &directory).await else { return };
    let through = async |host| Wire::over(connect_from(host, proxy).await, WIDE).await;
    let (mut first, mut second, mut other) = (through(2).await, through(2).await, through(3).await);
    let _open = watch(&mut first).await.unwrap();
    let refused = watch(&mut second).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "TOO_MANY_CONNECTIONS"));
    watch(&mut other).await.unwrap();
}

#[tokio::test]
async fn tls_passes_through_haproxy() {
    let directory = TempDir::new().unwrap();
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(1));
    let server = balancer::server(|config| files.configure(config)).await;
    let Some((proxy, _running)) = haproxy(&server, &directory).await else { return };
    let client = Client::connect_with(&url(proxy), files.options(&authority, None)).await.unwrap();
    client.clone().livestreams.list_livestreams(pb::ListLivestreamsRequest::default()).await.unwrap();
}

/// Creates a livestream, and claims to be somebody else.
async fn create(client: &LivestreamServiceClient<Channel>, livestream_id: u64) -> Result<(), Fault> {
    let metadata = vec![7; 1_024].into();
    let create = pb::CreateLivestreamRequest { livestream_id, node_id: 1, metadata, ..Default::default() };
    let mut request = Request::new(create);
    let claimed = format!("198.51.100.{}", livestream_id % 256);
    request.metadata_mut().insert("x-forwarded-for", claimed.parse().unwrap());
    client.clone().create_livestream(request).await.map(drop).map_err(|status| Fault::of(&status))
}

#[tokio::test]
async fn nginx_names_its_clients_in_a_header() {
    let directory = TempDir::new().unwrap();
    let server = Server::with(|config| {
        "x-forwarded-for".clone_into(&mut config.server.client_address_header);
        "127.0.0.1".clone_into(&mut config.server.trusted_proxies);
        config.server.max_connections_per_address = 0;
        config.memory.state_address_bytes = 32 * 1024;
    })
    .await;
    let (tls, plaintext) = (free_address(), free_address());
    let addresses = [("127.0.0.1:8443", tls), ("127.0.0.1:8080", plaintext), ("127.0.0.1:50051", server.address())];
    let config = example("nginx.conf", &addresses);
    std::fs::write(directory.path().join("nginx.conf"), config).unwrap();
    let pair = Authority::new("proxies").server(1);
    std::fs::write(directory.path().join("starling.pem"), pair.cert + &pair.key).unwrap();
    let path = directory.path().to_str().unwrap();
    let file = format!("{path}/nginx.conf");
    let arguments = ["-p", path, "-c", &file, "-e", "stderr", "-g", "daemon off; master_process off;"];
    let Some(_running) = start("nginx", &arguments, directory.path()) else { return };
    listens(plaintext).await;
    let through = async |host| {
        let endpoint = Endpoint::try_from(format!("http://{plaintext}")).unwrap();
        let endpoint = endpoint.local_address(Some(Ipv4Addr::new(127, 0, 0, host).into()));
        LivestreamServiceClient::new(soon(endpoint.connect()).await.unwrap())
    };
    let (first, other) = (through(2).await, through(3).await);
    let mut count = 0;
    let refused = loop {
        match create(&first, count + 1).await {
            Ok(()) => count += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Fault::new(ResourceExhausted, "STATE_MEMORY"));
    assert!((3..30).contains(&count), "{count}");
    create(&other, 1_000).await.unwrap();
}
