//! docs/metrics.md says what /metrics does.

use std::collections::BTreeMap;
use std::path::Path;

use super::scrape::{Announced, Scrape, server};
use crate::edge::updates::{Publisher, Subscriber};
use crate::edge::world::{go_live_wide, join_livestream};

/// The families of the document, as a scrape would announce them.
fn documented() -> BTreeMap<String, Announced> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = std::fs::read_to_string(path).expect("there is a docs/metrics.md");
    let mut families = BTreeMap::new();
    let (tables, _) = document.split_once("\n## What to alert on\n").expect("expressions come last");
    for line in tables.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, unit, help] = cells[..] else { panic!("five cells: {line}") };
        let labels =
            labels.split(", ").filter(|label| !label.is_empty()).map(|label| label.trim_matches('`').to_owned());
        let announced =
            Announced { kind: kind.to_owned(), unit: unit.to_owned(), help: help.to_owned(), labels: labels.collect() };
        let name = name.trim_matches('`');
        let family = match kind {
            "counter" => name.strip_suffix("_total").expect("the name of a counter ends with _total"),
            "info" => name.strip_suffix("_info").expect("the name of an info ends with _info"),
            _ => name,
        };
        assert!(families.insert(family.to_owned(), announced).is_none(), "{name} stands there once");
    }
    families
}

#[tokio::test]
async fn document_and_scrape_name_the_same_metrics() {
    let server = server(|_| ()).await;
    let client = server.client().await;
    go_live_wide(&client, 7).await;
    join_livestream(&client, 7, 2).await;
    let mut reader = Subscriber::open(&client, 7, 2).await;
    let mut publisher = Publisher::open(&client, 7, 1).await;
    publisher.run(1, "Kd").await;
    reader.places(2).await;
    let scrape = Scrape::of(&server).await;
    let documented = documented();
    let mut missing = Vec::new();
    for (name, family) in &scrape.families {
        let help = family.help.trim_end_matches('.');
        let said = documented.get(name).is_some_and(|said| {
            (&said.kind, &said.unit, &said.labels) == (&family.kind, &family.unit, &family.labels)
                && said.help.starts_with(help)
        });
        if !said {
            let ending = match &*family.kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let (kind, unit) = (&family.kind, &family.unit);
            missing.push(format!("| `{name}{ending}` | {kind} | {} | {unit} | {help} |", labels.join(", ")));
        }
    }
    assert!(
        missing.is_empty(),
        "docs/metrics.md must hold these lines, each of which may say more:\n{}",
        missing.join("\n")
    );
    let gone: Vec<_> = documented.keys().filter(|name| !scrape.families.contains_key(*name)).collect();
    assert!(gone.is_empty(), "docs/metrics.md has metrics that nobody serves: {gone:?}");
}
