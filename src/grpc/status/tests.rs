//! Every error against what the schema says of its reason.

use std::collections::{BTreeMap, BTreeSet};

use prost_types::FileDescriptorSet;
use tonic_types::StatusExt;

use super::*;
use crate::limits::ClientLimit;
use starling_core::id::{Epoch, NodeId, SessionId};

/// What the comment of a reason says: the code that it comes with, the keys of its metadata, whether a retry may help.
#[derive(Debug, PartialEq)]
struct Said {
    code: String,
    keys: BTreeSet<String>,
    retry: bool,
}

/// The comments of the values of ErrorReason in the compiled schema.
fn schema() -> BTreeMap<String, Said> {
    let set = FileDescriptorSet::decode(crate::pb::DESCRIPTORS).unwrap();
    let file = set.file.iter().find(|file| file.name() == "starling/swarm/v1/swarm.proto").unwrap();
    let at = file.enum_type.iter().position(|one| one.name() == "ErrorReason").unwrap();
    let comments = &file.source_code_info.as_ref().unwrap().location;
    let values = file.enum_type[at].value.iter().enumerate().skip(1);
    let said = values.map(|(number, value)| {
        // By descriptor.proto: enum_type is field 5 of a file, value is field 2 of an enum.
        let path = [5, at, 2, number].map(|step| i32::try_from(step).unwrap());
        let comment = comments.iter().find(|location| location.path == path).unwrap().leading_comments();
        let comment = comment.split_whitespace().collect::<Vec<_>>().join(" ");
        let (text, keys) = match comment.split_once("; metadata: ") {
            Some((text, keys)) => (text, keys.trim_end_matches('.').split(", ").map(str::to_owned).collect()),
            None => (comment.trim_end_matches('.'), BTreeSet::new()),
        };
        let code = text.rsplit(". ").next().unwrap().to_owned();
        let retry = text.contains("RetryInfo");
        (value.name().trim_start_matches("ERROR_REASON_").to_owned(), Said { code, keys, retry })
    });
    said.collect()
}

/// Every error that the server can make.
fn everything() -> Vec<Status> {
    let (node, given) = (NodeId::new(2).unwrap(), SessionId::new(3).unwrap());
    let kinds = [SwarmKind::Livestream, SwarmKind::Group];
    let rejections = || {
        [
            Rejection::NoSuchSwarm,
            Rejection::Exists,
            Rejection::RequestReused,
            Rejection::Ended,
            Rejection::NotAMember(node),
            Rejection::SessionReplaced { node, given },
            Rejection::Banned { node, until: 1_500 },
            Rejection::NoSuchMember(node),
            Rejection::NotBroadcaster { node },
            Rejection::NotModerator { node },
            Rejection::NotOwner { node },
            Rejection::WrongState(State::Paused),
            Rejection::BroadcasterCannotView,
            Rejection::LurkerCannotRelay,
            Rejection::OnlyListens(node),
            Rejection::TargetIsBroadcaster,
            Rejection::TargetIsOwner,
            Rejection::NotActiveViewer(node),
            Rejection::KeyRequired,
            Rejection::KeyNotExpected,
            Rejection::ScreenShareHeld { holder: node },
            Rejection::ChannelDisabled,
            Rejection::Full { max: 1 },
            Rejection::Quota { what: "mutes", max: 1 },
        ]
    };
    let mut all = Vec::new();
    for kind in kinds {
        all.extend(rejections().into_iter().map(|rejection| refused(kind)(rejection.into())));
        all.push(wrong_kind(kind));
        all.push(refused(kind)(ServiceError::TooManySwarms { max: 1 }));
        all.push(refused(kind)(ServiceError::StateMemory));
        let limit = ClientLimit::IdentitySwarms;
        all.push(refused(kind)(ServiceError::Exceeded(Exceeded { limit, max: 1, wait: None })));
        all.push(refused(kind)(ServiceError::IdentityOff));
        all.push(refused(kind)(ServiceError::ClusterOff));
        all.push(refused(kind)(ServiceError::HomeUnreachable));
        all.push(refused(kind)(ServiceError::LevelNotSupported { pod: 1, highest: 1 }));
        let faults = [
            LogFault::QueueFull,
            LogFault::NotApplied,
            LogFault::OutcomeUnknown,
            LogFault::NotServed,
            LogFault::Behind,
        ];
        all.extend(faults.map(|fault| refused(kind)(fault.into())));
        all.push(refused(kind)(ServiceError::Ended { epoch: Epoch::new(1).unwrap(), last: Vec::new() }));
    }
    let untaken = [
        AppendError::StaleTerm,
        AppendError::Closed(Gate::Paused),
        AppendError::Closed(Gate::NotActive),
        AppendError::Closed(Gate::Off),
        AppendError::Muted,
        AppendError::Quota,
        AppendError::Memory,
        AppendError::OutOfOrder,
        AppendError::OutcomeUnknown,
        AppendError::Unsigned,
        AppendError::BadSignature,
    ];
    all.extend(untaken.map(|refusal| super::untaken(Rejected { publisher_sequence: 1, refusal })));
    let ends = [
        End::Session(LeaveReason::Replaced),
        End::Session(LeaveReason::Removed),
        End::Session(LeaveReason::Timeout),
        End::StaleTerm,
        End::Draining { others_serve: false },
        End::Draining { others_serve: true },
        End::AwayFromLog,
        End::Age,
        End::TokenExpired,
        End::TokenRevoked,
        End::Deadline,
    ];
    all.extend(ends.into_iter().filter_map(|end| end.goodbye_and_status().1.err()));
    all.push(refused(SwarmKind::Group)(ServiceError::HomeUnreachable));
    let limit = ClientLimit::AddressJoins;
    all.push(Exceeded { limit, max: 1, wait: Some(Duration::from_millis(250)) }.into());
    let over = Status::out_of_range("Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes");
    all.extend([
        InvalidField { field: "f".into(), problem: "is wrong".into() }.into(),
        one_message("it was sent two"),
        headers_too_large(1),
        token_missing(),
        token_invalid(),
        token_not_yet_valid(),
        not_granted("join"),
        not_your_node(2),
        connection_memory(),
        receive_timeout(),
        refused_by_transport(over),
        malformed_timeout(),
        connection_age(),
        connection_memory(),
        too_many_connections(),
        connection_memory(),
    ]);
    all
}

/// As the schema and the gRPC documentation write it.
fn code(status: &Status) -> String {
    let mut name = String::new();
    for letter in format!("{:?}", status.code()).chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_uppercase());
    }
    name
}

#[test]
fn every_error_is_as_the_schema_says() {
    let schema = schema();
    let mut seen = BTreeSet::new();
    for status in everything() {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("an ErrorInfo: {status:?}"));
        assert_eq!(info.domain, DOMAIN);
        let said = schema.get(&info.reason).unwrap_or_else(|| panic!("{} is not in the schema", info.reason));
        // An ended stream names no node: its client knows which it is.
        let told = Said {
            code: code(&status),
            keys: info.metadata.keys().cloned().collect(),
            retry: details.retry_info().is_some(),
        };
        assert_eq!((&told.code, told.retry), (&said.code, said.retry), "{}", info.reason);
        assert!(told.keys == said.keys || told.keys.is_empty(), "{}: {told:?}, {said:?}", info.reason);
        seen.insert(info.reason.clone());
        // The law: nothing else may be retried blindly.
        let blindly =
            matches!(status.code(), Code::Unavailable) || told.retry && status.code() == Code::ResourceExhausted;
        assert_eq!(blindly, told.retry, "{}", info.reason);
    }
    let known: BTreeSet<_> = schema.into_keys().collect();
    assert_eq!(seen, known, "every reason of the schema comes");
}

#[test]
fn clients_wait_only_where_nobody_else_serves() {
    for (others_serve, seconds) in [(true, 0), (false, 1)] {
        let (goodbye, status) = End::Draining { others_serve }.goodbye_and_status();
        let told = status.unwrap_err().get_error_details().retry_info().unwrap().retry_delay;
        assert_eq!(told, Some(Duration::from_secs(seconds)));
        assert_eq!(goodbye.unwrap().retry_after.map(|wait| wait.seconds), i64::try_from(seconds).ok());
    }
}

#[test]
fn ban_says_until_when_as_a_timestamp() {
    let banned = Rejection::Banned { node: NodeId::new(2).unwrap(), until: 1_796_000_000_250 };
    let details = refused(SwarmKind::Group)(banned.into()).get_error_details();
    let told = &details.error_info().unwrap().metadata;
    assert_eq!((told["nodeId"].as_str(), told["until"].as_str()), ("2", "2026-11-30T00:53:20.250Z"));
}

#[test]
fn exceeded_limit_names_its_setting() {
    let limit = ClientLimit::IdentityJoins;
    let told = |wait| Status::from(Exceeded { limit, max: 500, wait });
    let (count, rate) = (told(None), told(Some(Duration::from_millis(250))));
    for (status, reason, wait) in [(count, "CLIENT_LIMIT", 1_000), (rate, "RATE_LIMITED", 250)] {
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((status.code(), &*info.reason), (Code::ResourceExhausted, reason));
        assert_eq!(info.metadata["limit"], "limits.identity_joins_per_second");
        assert_eq!(info.metadata["max"], "500");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(wait)));
    }
}
