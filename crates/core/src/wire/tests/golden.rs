//! Every command beside its bytes. The bytes stay as they are; a new command adds
//! a line.

use super::*;

/// What version 1 writes for each command, without the header.
#[rustfmt::skip]
pub(super) fn golden() -> Vec<(&'static str, Command)> {
    let node = NodeId::new(7).unwrap();
    let session = SessionId::new(8).unwrap();
    let other = NodeId::new(300).unwrap();
    let epoch = Epoch::new((1 << 53) - 1).unwrap();
    let by = || By { node, session: None, request: None };
    let full = By {
        node,
        session: Some(session),
        request: Some(RequestId { name: "é1".into(), fingerprint: u64::MAX }),
    };
    let create_livestream = CreateLivestream {
        epoch,
        broadcaster: node,
        config: LivestreamConfig {
            star_to_tree_threshold: 50,
            tree_fanout: 5,
            subscriber_bytes_per_second: 500_000,
            keyframe_interval_ms: 2_000,
            max_viewers: 1_000_000,
            max_lag_ms: 2_001,
            broadcaster_timeout_ms: 300_000,
        },
        metadata: b"hi".as_slice().into(),
        retention_ms: 60_000,
    };
    let key = BroadcasterKey::new(*b"0123456789abcdef0123456789abcdef");
    let create_group = CreateGroup {
        epoch,
        owner: Some(node),
        config: GroupConfig {
            max_participants: 16,
            subscriber_bytes_per_second: 500_000,
            keyframe_interval_ms: 2_000,
            max_lag_ms: 2_001,
        },
        metadata: Box::default(),
        retention_ms: 60_000,
        empty_ms: 30_000,
    };
    let changes = vec![
        InterestChange {
            channel: Channel::Visual,
            source: Some(other),
            level: Interest::Critical,
            ttl_ms: Some(u32::MAX),
        },
        InterestChange { channel: Channel::Data, source: None, level: Interest::None, ttl_ms: None },
    ];
    let join = Join {
        node,
        session,
        request: None,
        ttl_ms: 30_000,
        mode: Some(ViewerMode::Lurker),
        can_relay: Some(false),
        endpoint: Some(b"e".as_slice().into()),
        metadata: None,
        interests: changes.clone(),
        listens: Some(true),
    };
    let member_update = MemberUpdate {
        metadata: Some(b"abc".as_slice().into()),
        endpoint: Some(Box::default()),
        can_relay: Some(false),
    };
    let swarm_update = SwarmUpdate {
        metadata: None,
        subscriber_bytes_per_second: Some(500_000),
        keyframe_interval_ms: Some(2_000),
        max_lag_ms: Some(2_001),
        capacity: Some(16),
        broadcaster_timeout_ms: Some(0),
    };
    let channels = [Channel::Visual, Channel::Data].into_iter().collect();
    let claim = SharedCommand::Claim { by: by(), channels, session, ttl_ms: 30_000, pod: 0 }.into();
    let acquire = SharedCommand::Acquire { by: by(), channels, session, ttl_ms: 30_000, pod: 128 }.into();
    let ban = SharedCommand::Ban { by: by(), node: other, ttl_ms: 3_600_000 }.into();
    let media = GroupCommand::SetMedia { by: by(), audio: Some(true), video: None }.into();

    vec![
        (
            "01 ffffffffffffff0f 07 32 05 a0c21e d00f c0843d d10f e0a712 02 6869 e0d403",
            Command::CreateLivestream(create_livestream.clone()),
        ),
        (
            "20 ffffffffffffff0f 07 32 05 a0c21e d00f c0843d d10f e0a712 02 6869 e0d403 \
             30313233343536373839616263646566 30313233343536373839616263646566",
            Command::CreateSignedLivestream(create_livestream, key),
        ),
        ("02 ffffffffffffff0f 01 07 10 a0c21e d00f d10f 00 e0d403 b0ea01", Command::CreateGroup(create_group)),
        (
            "03 07 08 00 b0ea01 01 02 01 00 01 01 65 00 02 01 01 ac02 05 01 ffffffff0f 05 00 01 00 01 01",
            SharedCommand::Join(join).into(),
        ),
        ("04 07 01 08 01 03 c3a931 ffffffffffffffffff01", SharedCommand::Leave(full).into()),
        ("05 07 08", SharedCommand::Touch(node, session).into()),
        ("06 07 08 00", SharedCommand::Attach(node, session, 0).into()),
        ("07 07 08 80 01", SharedCommand::Detach(node, session, 128).into()),
        ("08 ffffffff0f", SharedCommand::PodGone(u32::MAX).into()),
        ("09", SharedCommand::Expire.into()),
        ("1d", SharedCommand::Forget.into()),
        ("0a 07 00 00 02 01 01 ac02 05 01 ffffffff0f 05 00 01 00", SharedCommand::SetInterest(by(), changes).into()),
        ("0b 07 00 00 01 03 616263 01 00 01 00", SharedCommand::UpdateMember(by(), member_update).into()),
        ("0c 07 00 00 00 01 a0c21e 01 d00f 01 d10f 01 10 01 00", SharedCommand::UpdateSwarm(by(), swarm_update).into()),
        ("0d 07 00 00", SharedCommand::End(by()).into()),
        ("0e 07 00 00 ac02", SharedCommand::Remove(by(), other).into()),
        ("0f 07 00 00 ac02", SharedCommand::ReportPeer(by(), other).into()),
        ("10 07 00 00 11 08 b0ea01 00", claim),
        ("11 07 00 00", LivestreamCommand::Start(by()).into()),
        ("12 07 00 00", LivestreamCommand::Pause(by()).into()),
        ("13 07 00 00", LivestreamCommand::Resume(by()).into()),
        ("14 07 00 00 ac02", LivestreamCommand::AddModerator(by(), other).into()),
        ("15 07 00 00 ac02", LivestreamCommand::RemoveModerator(by(), other).into()),
        ("16 07 00 00 ac02", LivestreamCommand::Mute(by(), other).into()),
        ("17 07 00 00 ac02", LivestreamCommand::Unmute(by(), other).into()),
        ("18 07 00 00 ac02", LivestreamCommand::Transfer(by(), other).into()),
        (
            "21 07 00 00 ac02 30313233343536373839616263646566 30313233343536373839616263646566",
            LivestreamCommand::TransferSigned(by(), other, key).into(),
        ),
        (
            "22 07 01 08 00 ac02 03 686921",
            LivestreamCommand::Chat {
                by: By { session: Some(session), ..by() },
                publisher_sequence: 300,
                content: b"hi!".as_slice().into(),
            }
            .into(),
        ),
        ("19 07 00 00 01 01 00", media),
        ("1a 07 00 00", GroupCommand::StartShare(by()).into()),
        ("1b 07 00 00", GroupCommand::StopShare(by()).into()),
        ("1c 07 00 00 11 08 b0ea01 80 01", acquire),
        ("1e 07 00 00 ac02 80dddb01", ban),
        ("1f 07 00 00 ac02", SharedCommand::Unban(by(), other).into()),
    ]
}
