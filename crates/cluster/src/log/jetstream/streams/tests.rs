use std::time::Duration;

use super::*;

fn settings() -> JetStreamSettings {
    JetStreamSettings::new(vec!["nats://a".to_owned()], "a".to_owned())
}

fn wanted() -> Config {
    log_stream(&settings(), &LogNames::new("a", 3))
}

/// What is said of a stream that differs from what it should be.
fn refused(change: impl FnOnce(&mut Config)) -> String {
    let mut found = wanted();
    change(&mut found);
    check(&found, &wanted(), &settings()).unwrap_err().to_string()
}

#[test]
fn stream_as_it_was_made_passes() {
    check(&wanted(), &wanted(), &settings()).unwrap();
    let store = store_stream(&settings());
    check(&store, &store, &settings()).unwrap();
}

#[test]
fn operator_may_change_size_and_add_replicas() {
    let found = Config { max_bytes: 5, num_replicas: 5, max_message_size: -1, ..wanted() };
    check(&found, &wanted(), &settings()).unwrap();
}

#[test]
fn other_numbers_are_told() {
    let said = |key: &'static str, value: &'static str| {
        refused(move |found| drop(found.metadata.insert(key.to_owned(), value.to_owned())))
    };
    assert!(said(PARTITIONS_KEY, "4").starts_with("this cluster has 4 partitions and not 8"));
    assert!(said(SHARDS_KEY, "32").starts_with("this cluster has 32 shards and not 64"));
    assert!(said(FORMAT_KEY, "2").contains("format 2"));
    assert!(said(CLUSTER_KEY, "b").contains("it is of cluster b"));
    assert!(refused(|found| found.metadata.clear()).contains("not made by Starling"));
    assert!(refused(|found| found.num_replicas = 1).contains("it has 1"));
}

#[test]
fn stream_that_could_lose_entries_is_refused() {
    let changes: [fn(&mut Config); 14] = [
        |found| found.subjects = vec!["b".to_owned()],
        |found| found.republish = None,
        |found| found.republish.as_mut().unwrap().headers_only = true,
        |found| found.allow_direct = false,
        |found| found.storage = StorageType::Memory,
        |found| found.retention = RetentionPolicy::Interest,
        |found| found.discard = DiscardPolicy::Old,
        |found| found.max_age = Duration::from_secs(1),
        |found| found.max_messages = 1,
        |found| found.max_messages_per_subject = 1,
        |found| found.max_message_size = 1_000,
        |found| found.allow_rollup = true,
        |found| found.no_ack = true,
        |found| found.sealed = true,
    ];
    for change in changes {
        let told = refused(change);
        assert!(told.starts_with("stream STARLING_a_3 is not as it has to be: "), "{told}");
    }
}
