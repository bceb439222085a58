//! Messages as they are printed: for programs as proto3 JSON, for people as text. Both follow the descriptors, so that a
//! new field is printed without a line of code here.

use std::fmt::Write as _;
use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, SerializeOptions, Value,
};

use super::error::CliError;
use crate::pb;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(pb::DESCRIPTORS).expect("the build compiled it"));

/// A message that can be printed.
#[derive(Clone, Debug)]
pub(super) struct Message(DynamicMessage);

impl Message {
    pub(super) fn new<M: prost::Message + prost::Name>(message: &M) -> Result<Self, CliError> {
        let descriptor = POOL.get_message_by_name(&M::full_name()).expect("the schema has what it generated");
        // By its encoding: some fields are encoded messages already, which only the descriptor knows.
        Ok(Self(DynamicMessage::decode(descriptor, &message.encode_to_vec()[..])?))
    }

    /// Proto3 JSON; fields that have their default value are there too.
    pub(super) fn json(&self) -> Result<serde_json::Value, CliError> {
        let options = SerializeOptions::new().skip_default_fields(false);
        Ok(self.0.serialize_with_options(serde_json::value::Serializer, &options)?)
    }

    /// On one line: `name=value`, messages in braces.
    pub(super) fn line(&self) -> String {
        let mut line = String::new();
        write_line(&mut line, &self.0);
        line
    }

    /// On several lines: `name: value`, messages below their name.
    pub(super) fn block(&self) -> String {
        let mut block = String::new();
        write_block(&mut block, &self.0, 0);
        block
    }
}

/// The fields that say something, in the order of the schema.
fn fields(message: &DynamicMessage) -> impl Iterator<Item = (FieldDescriptor, Value)> {
    let descriptor = message.descriptor();
    let set = descriptor.fields().filter(|field| {
        let value = message.get_field(field);
        let says_nothing = match (&*value, field.kind()) {
            (Value::List(list), _) => list.is_empty(),
            (Value::Bytes(bytes), _) => bytes.is_empty(),
            // By the style of the schema 0 is UNSPECIFIED.
            (Value::EnumNumber(number), _) => *number == 0,
            _ => false,
        };
        let set = !field.supports_presence() || message.has_field(field);
        set && !says_nothing
    });
    let values: Vec<_> = set.map(|field| (field.clone(), message.get_field(&field).into_owned())).collect();
    values.into_iter()
}

fn write_line(line: &mut String, message: &DynamicMessage) {
    let mut fields = fields(message).peekable();
    while let Some((field, value)) = fields.next() {
        line.push_str(field.name());
        match nested(&value) {
            // What happened, and its details.
            Some(inner) if is_choice(&field) => {
                line.push_str(": ");
                write_line(line, inner);
            }
            _ => {
                line.push('=');
                write_value(line, &field, &value);
            }
        }
        if fields.peek().is_some() {
            line.push(' ');
        }
    }
}

fn write_value(line: &mut String, field: &FieldDescriptor, value: &Value) {
    match (value, nested(value)) {
        (_, Some(inner)) => {
            line.push('{');
            write_line(line, inner);
            line.push('}');
        }
        (Value::List(list), None) => {
            line.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    line.push_str(", ");
                }
                write_value(line, field, item);
            }
            line.push(']');
        }
        (single, None) => line.push_str(&scalar(field, single)),
    }
}

fn write_block(block: &mut String, message: &DynamicMessage, indent: usize) {
    for (field, value) in fields(message) {
        let name = field.name();
        let items = if let Value::List(list) = &value { &list[..] } else { std::slice::from_ref(&value) };
        if items.iter().all(|item| nested(item).is_none()) {
            let mut line = String::new();
            write_value(&mut line, &field, &value);
            // Writing to a string cannot fail.
            let _ok = writeln!(block, "{:indent$}{name}: {line}", "");
            continue;
        }
        for inner in items.iter().filter_map(nested) {
            let _ok = writeln!(block, "{:indent$}{name}:", "");
            write_block(block, inner, indent + 2);
        }
    }
}

/// The message in a value, unless it is written as one word.
fn nested(value: &Value) -> Option<&DynamicMessage> {
    value.as_message().filter(|message| moment(message).is_none())
}

/// Whether a field is one of several of which a message has one.
fn is_choice(field: &FieldDescriptor) -> bool {
    field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic())
}

/// One word.
fn scalar(field: &FieldDescriptor, value: &Value) -> String {
    match (value, field.kind()) {
        (Value::EnumNumber(number), Kind::Enum(kind)) => match kind.get_value(*number) {
            Some(value) => {
                let all = kind.values().next().map(|zero| zero.name().trim_end_matches("UNSPECIFIED").to_owned());
                let name = value.name();
                name.strip_prefix(all.unwrap_or_default().as_str()).unwrap_or(name).to_lowercase()
            }
            None => number.to_string(),
        },
        (Value::Bytes(bytes), _) => text(bytes),
        (Value::String(text), _) => format!("{text:?}"),
        (Value::Bool(value), _) => value.to_string(),
        (Value::I32(value), _) => value.to_string(),
        (Value::I64(value), _) => value.to_string(),
        (Value::U32(value), _) => value.to_string(),
        (Value::U64(value), _) => value.to_string(),
        (Value::F32(value), _) => value.to_string(),
        (Value::F64(value), _) => value.to_string(),
        (Value::Message(message), _) => moment(message).unwrap_or_default(),
        (Value::EnumNumber(_) | Value::List(_) | Value::Map(_), _) => String::new(),
    }
}

/// Opaque bytes: as text where they are text, else in hexadecimal.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}"),
        _ => bytes.iter().fold(String::from("0x"), |hex, byte| hex + &format!("{byte:02x}")),
    }
}

/// A timestamp or a duration, in words.
fn moment(message: &DynamicMessage) -> Option<String> {
    let descriptor: MessageDescriptor = message.descriptor();
    let number = |name| message.get_field_by_name(name).and_then(|value| value.as_i64());
    let seconds = || number("seconds").unwrap_or_default();
    let nanos = || message.get_field_by_name("nanos").and_then(|value| value.as_i32()).unwrap_or_default();
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => Some(prost_types::Timestamp { seconds: seconds(), nanos: nanos() }.to_string()),
        "google.protobuf.Duration" => {
            let duration = prost_types::Duration { seconds: seconds(), nanos: nanos() };
            let words = std::time::Duration::try_from(duration).map(humantime::format_duration);
            Some(words.map_or_else(|_| format!("{duration}"), |words| words.to_string().replace(' ', "")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration, Timestamp};

    use super::*;
    use starling_client::pb::livestream::v1::{self as livestream, livestream_event::Change};
    use starling_client::pb::swarm::v1::{self as shared, LeaveReason};

    fn message<M: prost::Message + prost::Name>(message: &M) -> Message {
        Message::new(message).expect("it is of the schema")
    }

    fn left() -> livestream::WatchLivestreamResponse {
        let left = shared::MemberLeft { node_id: 2, session_id: 1 << 60, reason: LeaveReason::Timeout.into() };
        let event = livestream::LivestreamEvent { change: Some(Change::ViewerLeft(left)) };
        let events = livestream::LivestreamEventBatch {
            events: vec![event],
            event_time: Some(Timestamp { seconds: 1, nanos: 0 }),
            actor_node_id: 3,
        };
        let event = Some(livestream::watch_livestream_response::Event::Batch(events));
        livestream::WatchLivestreamResponse { epoch: 5, revision: 9, event }
    }

    #[test]
    fn encoded_fields_are_printed_as_messages() {
        assert_eq!(
            message(&left()).json().unwrap(),
            serde_json::json!({
                "epoch": "5",
                "revision": "9",
                "batch": {
                    "events": [{"viewerLeft": {
                        "nodeId": "2", "sessionId": "1152921504606846976", "reason": "LEAVE_REASON_TIMEOUT",
                    }}],
                    "eventTime": "1970-01-01T00:00:01Z",
                    "actorNodeId": "3",
                },
            })
        );
        let line = "epoch=5 revision=9 batch: events=[{viewer_left: node_id=2 session_id=1152921504606846976 \
                    reason=timeout}] event_time=1970-01-01T00:00:01Z actor_node_id=3";
        assert_eq!(message(&left()).line(), line);
    }

    #[test]
    fn times_are_readable_and_unset_messages_omitted() {
        let viewer = livestream::Viewer {
            node_id: 7,
            metadata: "à \"b\"".as_bytes().to_vec().into(),
            endpoint: vec![0, 255].into(),
            placement: Some(shared::Placement { parent_node_id: 0, depth: 1, ..Default::default() }),
            join_time: Some(Timestamp { seconds: 1, nanos: 500_000_000 }),
            lease_ttl: Some(Duration { seconds: 90, nanos: 0 }),
            ..Default::default()
        };
        let block = "node_id: 7\nsession_id: 0\nendpoint: 0x00ff\nmetadata: \"à \\\"b\\\"\"\nplacement:\n  \
                     parent_node_id: 0\n  backup_parent_node_id: 0\n  depth: 1\n  can_relay: false\n  edge_served: false\nmoderator: false\n\
                     muted: false\nattached: false\njoin_time: 1970-01-01T00:00:01.500Z\nlease_ttl: 1m30s\n";
        assert_eq!(message(&viewer).block(), block);
    }

    #[test]
    fn repeated_messages_are_printed_below_their_name() {
        let stats = livestream::GetStatsResponse {
            epoch: 1,
            revision: 2,
            stats: Some(shared::SwarmStats {
                leaves: vec![
                    shared::LeaveCount { reason: LeaveReason::Left.into(), count: 1 },
                    shared::LeaveCount { reason: 99, count: 2 },
                ],
                ..Default::default()
            }),
        };
        let block = message(&stats).block();
        assert!(block.contains("  leaves:\n    reason: left\n    count: 1\n  leaves:\n    reason: 99\n"), "{block}");
    }
}
