//! What a client is told by a server that it cannot trust.

use prost::Message;
use starling_client::pb::swarm::v1 as pb;
use starling_client::pb::{group, livestream};
use starling_client::{BearerToken, Progress, parse_address};
use starling_verify::{History, check};

/// Reads the answer of a subscription as the client and the history checker do; addresses and tokens as they are typed.
///
/// # Panics
///
/// When a place to resume from does not read as what it was made of, or an address has a second form.
pub fn deliveries(bytes: &[u8]) {
    for deliveries in [
        livestream::v1::SubscribeUpdatesResponse::decode(bytes).map(|answer| answer.deliveries),
        group::v1::SubscribeUpdatesResponse::decode(bytes).map(|answer| answer.deliveries),
    ] {
        take(&deliveries.unwrap_or_default());
    }
    if let Ok(text) = str::from_utf8(bytes) {
        if let Ok(url) = parse_address(text) {
            assert_eq!(parse_address(&url).as_ref(), Ok(&url), "{text:?}");
        }
        drop(BearerToken::new(text));
    }
}

fn take(deliveries: &[pb::Delivery]) {
    let mut progress = Progress::default();
    let mut history = History::new(1);
    for delivery in deliveries {
        history.record(delivery);
        if let Some(item) = &delivery.item {
            progress.note(item);
        }
        if let Some(point) = progress.resume_point() {
            assert_eq!(Progress::from(point.clone()), progress);
            history.resume(&point);
        }
    }
    drop(history.positions());
    // There is nothing that it could be compared with.
    drop(check(&[], &[history]));
}
