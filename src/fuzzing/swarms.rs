//! Commands that are read from bytes, and applied one after the other.
//!
//! ```text
//! input   = kind command*             kind: an odd byte is a group
//! command = wait length bytes         wait: milliseconds, two bytes, little end first; length: one byte
//! ```
//!
//! The bytes begin with the tag of a command: what stands before it in a log is put there, so that hardly a change of the
//! input is lost on it.

use arbitrary::Unstructured;

use crate::grpc::fuzzing::beyond_limits;
use starling_core::id::{SwarmId, SwarmKind};
use starling_core::revocations::Revocations;
use starling_core::{Applied, Command, ServerCommand, Swarm, apply, wire};

/// When the first command is applied, in milliseconds since the Unix epoch.
const BEGIN: u64 = 1_800_000_000_000;
/// Commands of one input at most.
const MOST: usize = 200;

/// Applies commands to one swarm, as far as their values are within the limits that are checked before a command reaches
/// the log.
///
/// # Panics
///
/// When an invariant of the swarm does not hold, a refused command has changed it, or a replica that got the same
/// commands is not the same.
pub fn swarms(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let kind = match byte(&mut input) % 2 {
        0 => SwarmKind::Livestream,
        _ => SwarmKind::Group,
    };
    let id = SwarmId::first(kind);
    let (mut slot, mut replica) = (None, None);
    let mut at = BEGIN;
    for _ in 0..MOST {
        let Some(command) = next(&mut input, &mut at, |at| header(id, at)) else { break };
        let Ok((id, at, command)) = wire::decode(&command) else { continue };
        if beyond_limits(kind, &command).is_some() || is_create_of_another(kind, &command) {
            continue;
        }
        submit(&mut slot, &mut replica, (id, at, command));
    }
}

fn submit(slot: &mut Option<Box<Swarm>>, replica: &mut Option<Box<Swarm>>, (id, at, command): (SwarmId, u64, Command)) {
    let bytes = wire::encode(id, at, &command);
    let before = digest(slot);
    let told = format!("{command:?}");
    let outcome = apply(slot, command, at);
    if outcome.is_err() {
        assert_eq!(digest(slot), before, "refused, and changed it: {told}");
    }
    if let Some(swarm) = slot {
        swarm.check();
    }
    let (_, at, command) = wire::decode(&bytes).expect("what was encoded can be decoded");
    let repeated = apply(replica, command, at);
    let came_to = |(applied, _): (Applied, _)| (applied.revision, applied.events.len());
    assert_eq!(repeated.map(came_to), outcome.map(came_to), "{told}");
    assert_eq!(digest(replica), digest(slot), "{told}");
}

fn digest(slot: &Option<Box<Swarm>>) -> Option<u64> {
    slot.as_deref().map(Swarm::digest)
}

/// The store keeps swarms by kind: no slot sees a Create of the other.
const fn is_create_of_another(kind: SwarmKind, command: &Command) -> bool {
    match command {
        Command::CreateLivestream(_) | Command::CreateSignedLivestream(..) => matches!(kind, SwarmKind::Group),
        Command::CreateGroup(_) => matches!(kind, SwarmKind::Livestream),
        Command::Shared(_) | Command::Livestream(_) | Command::Group(_) => false,
    }
}

/// Applies commands about no swarm.
///
/// # Panics
///
/// When the invariant does not hold, or what was revoked is forgotten before its time.
pub fn revocations(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let (mut known, mut at) = (Revocations::default(), BEGIN);
    for _ in 0..MOST {
        let Some(command) = next(&mut input, &mut at, server_header) else { break };
        let Ok((at, ServerCommand::RevokeTokens(revoke))) = wire::server::decode(&command) else { continue };
        let before = known.clone();
        match known.revoke(revoke, at) {
            Ok(_) => {
                for (node, kept) in before.iter_from(None).filter(|(_, kept)| kept.forget_at > at) {
                    let now = known.get(node).expect("what is in force stays");
                    assert!(now.issued_before >= kept.issued_before, "what is in force never falls back");
                }
                if revoke.forget_at > at {
                    let kept = known.get(revoke.node).expect("it is revoked");
                    assert!(kept.issued_before >= revoke.issued_before && kept.forget_at >= revoke.forget_at);
                }
            }
            Err(_) => assert_eq!(known, before, "refused, and changed it"),
        }
        known.check();
    }
}

/// What stands before the tag of a command.
fn header(id: SwarmId, at: u64) -> Vec<u8> {
    // `Expire` has no fields: all but the last byte.
    let mut bytes = wire::encode(id, at, &starling_core::SharedCommand::Expire.into());
    bytes.pop();
    bytes
}

fn server_header(at: u64) -> Vec<u8> {
    let node = starling_core::NodeId::drawn(1);
    let command = starling_core::command::RevokeTokens { node, issued_before: 0, forget_at: 0 }.into();
    // Its tag and three numbers of one byte each.
    let mut bytes = wire::server::encode(at, &command);
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// The next command as a log has it; `None` at the end of the input.
fn next(input: &mut Unstructured<'_>, at: &mut u64, header: impl Fn(u64) -> Vec<u8>) -> Option<Vec<u8>> {
    if input.is_empty() {
        return None;
    }
    *at += u64::from(u16::from_le_bytes([byte(input), byte(input)]));
    let length = usize::from(byte(input)).min(input.len());
    let mut command = header(*at);
    command.extend_from_slice(input.bytes(length).unwrap_or_default());
    Some(command)
}

/// 0 at the end of the input.
fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or_default()
}
