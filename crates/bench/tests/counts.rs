//! That it counts right, with loads too small to measure anything.

use serde_json::Value;
use starling_testkit::{program, text};

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

/// The server that is measured. `cargo test` of the workspace has built it; that of this package alone has not.
static STARLING: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = Path::new(env!("CARGO_BIN_EXE_starling-bench")).with_file_name("starling");
    if !program.is_file() {
        let built = Command::new(env!("CARGO")).args(["build", "--package", "starling", "--bin", "starling"]).status();
        assert!(built.expect("cargo is there: it runs the tests").success());
    }
    program
});

async fn run(arguments: &[&str]) -> Output {
    let mut command = program(env!("CARGO_BIN_EXE_starling-bench"));
    command.args(arguments).env("STARLING_BIN", &*STARLING).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().expect("it starts")).await.expect("it ends")
}

/// What a bench says, as JSON.
async fn bench(arguments: &[&str]) -> Value {
    let ended = run(&[arguments, &["--json"]].concat()).await;
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    serde_json::from_slice(&ended.stdout).expect("it is JSON")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("a count, not {value}"))
}

#[tokio::test]
async fn every_delivery_of_a_paced_load_is_counted() {
    let load = ["--viewers", "8", "--connections", "3", "--rate", "100", "--duration", "500ms", "--runs", "1"];
    let kind = ["--interest", "high=2,medium=1,low=1", "--size", "300", "--keyframe-size", "40000"];
    let report = bench(&[&["fanout"], &load[..], &kind[..]].concat()).await;
    assert_eq!(report["keyframe_size"], 40_000);
    let outcome = &report["outcomes"][0];
    // All of it to four, half and the keyframe to two, the keyframe to two.
    assert_eq!((number(&outcome["published"]), number(&outcome["expected"])), (50, 4 * 50 + 2 * 25 + 2));
    assert_eq!((number(&outcome["delivered"]), number(&outcome["lost"])), (252, 0));
    assert_eq!((number(&outcome["gaps"]), number(&outcome["cut"])), (0, 0));
}

#[tokio::test]
async fn viewer_receives_at_most_the_budget() {
    // A burst of one second's worth, and nothing more in so short a time.
    let load = ["--viewers", "2", "--rate", "100", "--duration", "200ms", "--runs", "1", "--size", "500"];
    let report = bench(&[&["fanout", "--budget", "1000"], &load[..]].concat()).await;
    let outcome = &report["outcomes"][0];
    let (delivered, lost) = (number(&outcome["delivered"]), number(&outcome["lost"]));
    assert!(lost > 0 && number(&outcome["gaps"]) > 0, "{outcome}");
    assert_eq!(delivered + lost, 40);
}

#[tokio::test]
async fn a_burst_is_counted_on_every_system() {
    let report = bench(&["fanout", "--viewers", "5", "--duration", "200ms", "--runs", "1", "--baseline"]).await;
    let outcomes = report["outcomes"].as_array().unwrap();
    let systems: Vec<_> = outcomes.iter().map(|outcome| outcome["system"].as_str().unwrap()).collect();
    assert_eq!(systems, ["starling", "tonic", "raw"]);
    for outcome in outcomes {
        assert!(number(&outcome["published"]) > 0);
        assert_eq!(number(&outcome["delivered"]), 5 * number(&outcome["published"]), "{outcome}");
    }
    let ratios = report["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 2);
    assert!(ratios.iter().all(|ratio| ratio["deliveries_per_second"].as_f64().unwrap() > 0.0));
}

#[tokio::test]
async fn keyframe_size_with_baseline_is_refused() {
    let ended = run(&["fanout", "--baseline", "--keyframe-size", "1000"]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(text(&ended.stderr).contains("--keyframe-size"), "{}", text(&ended.stderr));
}

#[tokio::test]
async fn joins_and_leaves_are_counted() {
    let report = bench(&["join", "--viewers", "20", "--rate", "200", "--duration", "200ms", "--runs", "1"]).await;
    let outcome = &report["outcomes"][0];
    assert_eq!(number(&outcome["fill"]["joins"]), 20);
    let churn = &outcome["churn"];
    assert_eq!(number(&churn["joins"]) + number(&churn["leaves"]), 40);
}

#[tokio::test]
async fn joins_below_relays_appear_in_target_deltas() {
    // More than a star has room for.
    let load = ["--watchers", "40", "--viewers", "100", "--churn", "400", "--duration", "500ms", "--runs", "1"];
    let report = bench(&[&["watch"], &load[..]].concat()).await;
    let outcome = &report["outcomes"][0];
    let churn = &outcome["watched"];
    assert_eq!((number(&churn["leaves"]), number(&churn["joins"])), (100, 100));
    assert!(number(&outcome["deltas"]) > 0, "{outcome}");
    assert_eq!(number(&outcome["joins_seen"]), 100);
}

#[tokio::test]
async fn cost_of_each_feature_is_counted() {
    let load = ["--viewers", "4", "--rate", "50", "--duration", "200ms", "--size", "300", "--runs", "1"];
    let others = ["--idle", "5", "--joiners", "10", "--handshakes", "40"];
    let report = bench(&[&["cost"], &load[..], &others[..]].concat()).await;
    let rows = |section: &str| -> Vec<(String, Value)> {
        let rows = report[section]["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row["outcomes"][0].clone())).collect()
    };
    let names = |section| rows(section).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names("fanout"), ["off", "metrics", "jwt", "TLS", "signed", "all", "tonic", "tonic TLS"]);
    for (name, outcome) in rows("fanout") {
        assert_eq!((number(&outcome["delivered"]), number(&outcome["lost"])), (40, 0), "{name}: {outcome}");
        assert_eq!((number(&outcome["gaps"]), number(&outcome["cut"])), (0, 0), "{name}");
    }
    for (section, figure, count, expected) in [
        ("idle", "count", 5, &["off", "TLS", "tonic", "tonic TLS"][..]),
        ("first_joins", "joins", 10, &["off", "metrics", "jwt", "TLS", "all"]),
        ("handshakes", "connections", 40, &["off", "TLS", "tonic", "tonic TLS"]),
    ] {
        assert_eq!(names(section), expected);
        assert!(rows(section).iter().all(|(_, outcome)| number(&outcome[figure]) == count), "{section}");
    }
    for (name, churn) in rows("churn") {
        assert!(number(&churn["joins"]) + number(&churn["leaves"]) > 0, "{name}");
    }
    assert!(report["verification_us"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn idle_memory_is_reported_for_both_systems() {
    let report = bench(&["idle", "--viewers", "10", "--streams", "15", "--update", "--baseline"]).await;
    let steps = |system: &Value| -> Vec<(String, u64)> {
        let steps = system["steps"].as_array().unwrap().iter();
        steps.map(|step| (step["what"].as_str().unwrap().to_owned(), number(&step["count"]))).collect()
    };
    let [connections, streams] = [("connections".to_owned(), 10), ("streams".to_owned(), 15)];
    assert_eq!(steps(&report["systems"][0]), [("members".to_owned(), 10), connections.clone(), streams.clone()]);
    assert_eq!(steps(&report["systems"][1]), [connections, streams]);
}
