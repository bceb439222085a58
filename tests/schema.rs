//! What the schema keeps for those who were built against another one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use starling::pb;

/// Numbers whose meaning changed before 0.1.0: whoever was built before finds nothing there.
const RETIRED: [(&str, &[i32]); 16] = [
    ("starling.swarm.v1.UpdateDraft", &[4]),
    ("starling.swarm.v1.Update", &[4]),
    ("starling.swarm.v1.TargetChannel", &[3, 4, 5]),
    ("starling.swarm.v1.Target", &[5]),
    ("starling.swarm.v1.SetPosition", &[2]),
    ("starling.swarm.v1.FeedHeartbeat", &[2]),
    ("starling.livestream.v1.PublishUpdatesResponse", &[1]),
    ("starling.livestream.v1.WatchLivestreamResponse", &[3, 4, 5, 6, 7, 8]),
    ("starling.livestream.v1.WatchLivestreamsResponse", &[2, 3, 4, 5, 6, 7, 8, 9]),
    ("starling.livestream.v1.WatchTargetsResponse", &[5]),
    ("starling.livestream.v1.LivestreamEvent", &[4, 14]),
    ("starling.group.v1.PublishUpdatesResponse", &[1]),
    ("starling.group.v1.WatchGroupResponse", &[3, 4, 5, 6, 7, 8]),
    ("starling.group.v1.WatchGroupsResponse", &[2, 3, 4, 5, 6, 7, 8, 9]),
    ("starling.group.v1.WatchTargetsResponse", &[5]),
    ("starling.group.v1.GroupEvent", &[4, 11]),
];

fn schema() -> FileDescriptorSet {
    FileDescriptorSet::decode(pb::DESCRIPTORS).unwrap()
}

#[test]
fn retired_field_numbers_are_reserved() {
    let schema = schema();
    let files = schema.file.iter();
    let messages: BTreeMap<_, _> = files
        .flat_map(|file| file.message_type.iter().map(|one| (format!("{}.{}", file.package(), one.name()), one)))
        .collect();
    for (name, numbers) in RETIRED {
        let message = messages[name];
        for number in numbers {
            assert!(message.field.iter().all(|field| field.number() != *number), "{name} {number}");
            let mut reserved = message.reserved_range.iter();
            assert!(reserved.any(|range| (range.start()..range.end()).contains(number)), "{name} {number}");
        }
    }
}

/// A request names who acts by `node_id`, and everybody else by another name.
#[test]
fn node_id_names_the_acting_node() {
    for file in schema().file.iter().filter(|file| file.package().starts_with("starling.")) {
        for message in file.message_type.iter().filter(|message| message.name().ends_with("Request")) {
            for field in &message.field {
                let name = field.name();
                assert!(name != "target_node_id" && !field.proto3_optional() || !name.ends_with("_id"), "{name}");
            }
        }
    }
}

/// The deliveries of a subscription, of which there are many, need one byte for each tag.
#[test]
fn frequent_messages_have_one_byte_tags() {
    let schema = schema();
    let messages = schema.file.iter().flat_map(|file| &file.message_type);
    for message in
        messages.filter(|message| ["Delivery", "Update", "UpdatePosition", "UpdateDraft"].contains(&message.name()))
    {
        for field in &message.field {
            assert!(field.number() <= 15, "{}.{}", message.name(), field.name());
        }
    }
}
