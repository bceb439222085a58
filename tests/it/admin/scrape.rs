//! HTTP/1.1 by hand, and OpenMetrics as a scraper reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use starling::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, soon};

/// A server with an admin listener on a free port.
pub(crate) async fn server(configure: impl FnOnce(&mut Config)) -> Server {
    Server::with(|config| {
        config.admin.listen = Some((Ipv4Addr::LOCALHOST, 0).into());
        configure(config);
    })
    .await
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    headers: String,
    pub(crate) body: String,
}

impl Page {
    /// Sends the head of a request, and reads until the connection is closed.
    pub(crate) async fn send(address: SocketAddr, request: &str) -> Self {
        let mut connection = soon(TcpStream::connect(address)).await.unwrap();
        soon(connection.write_all(request.as_bytes())).await.unwrap();
        let mut answer = String::new();
        soon(connection.read_to_string(&mut answer)).await.unwrap();
        let (headers, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, headers: headers.to_lowercase(), body: body.to_owned() }
    }

    pub(crate) async fn of(address: SocketAddr, method: &str, path: &str) -> Self {
        Self::send(address, &format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")).await
    }

    pub(crate) async fn get(address: SocketAddr, path: &str) -> Self {
        Self::of(address, "GET", path).await
    }

    pub(crate) fn has_header(&self, header: &str) -> bool {
        self.headers.lines().any(|line| line == header)
    }
}

/// A family of metrics as it is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) kind: String,
    pub(crate) unit: String,
    pub(crate) help: String,
    /// Names of labels, but for the bounds of histograms.
    pub(crate) labels: BTreeSet<String>,
}

/// What one scrape brought.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) families: BTreeMap<String, Announced>,
    /// Each sample by its name with its labels.
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Scrape {
    pub(crate) async fn of(server: &Server) -> Self {
        let page = Page::get(server.admin_address(), "/metrics").await;
        assert_eq!(page.status, 200);
        assert!(page.body.ends_with("\n# EOF\n"), "{}", page.body);
        Self::parse(&page.body)
    }

    fn parse(text: &str) -> Self {
        let mut scrape = Self { families: BTreeMap::new(), samples: BTreeMap::new() };
        let mut last = String::new();
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (Some(what), Some(name), Some(value)) = (words.next(), words.next(), words.next()) else {
                    continue;
                };
                let empty = || Announced {
                    kind: String::new(),
                    unit: String::new(),
                    help: String::new(),
                    labels: BTreeSet::new(),
                };
                let family = scrape.families.entry(name.to_owned()).or_insert_with(empty);
                let field = match what {
                    "TYPE" => &mut family.kind,
                    "UNIT" => &mut family.unit,
                    _ => &mut family.help,
                };
                assert_eq!(*field, "", "{name} is announced once");
                *field = value.to_owned();
                name.clone_into(&mut last);
            } else {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                let value = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
                assert!(scrape.samples.insert(sample.to_owned(), value).is_none(), "{sample} is there once");
                let family = scrape.families.get_mut(&last).expect("a family");
                assert!(sample.starts_with(&last), "{sample} stands below {last}");
                family.labels.extend(labels(sample).into_iter().map(|(name, _)| name).filter(|name| name != "le"));
            }
        }
        scrape
    }

    /// The value of a sample, named with its labels; 0 if there is none.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        self.samples.get(sample).copied().unwrap_or(0.0)
    }

    /// Samples that never go down.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&str, f64)> {
        let ends = |sample: &str| {
            let name = sample.split('{').next().unwrap_or_default();
            ["_total", "_count", "_sum", "_bucket"].iter().any(|end| name.ends_with(end))
        };
        self.samples.iter().filter(move |(sample, _)| ends(sample)).map(|(sample, value)| (sample.as_str(), *value))
    }
}

/// The labels of a sample.
pub(crate) fn labels(sample: &str) -> Vec<(String, String)> {
    let Some((_, labels)) = sample.split_once('{') else { return Vec::new() };
    let labels = labels.trim_end_matches('}').split("\",").filter_map(|label| label.split_once("=\""));
    labels.map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned())).collect()
}
