//! The bytes of commands, as a log or another pod has them.

use starling_core::wire;

/// Reads commands of swarms and of the server. What is read is written back byte for byte.
///
/// # Panics
///
/// When a command has a second form, or its bytes are both kinds.
pub fn commands(bytes: &[u8]) {
    let of_swarm = wire::decode(bytes);
    let of_server = wire::server::decode(bytes);
    assert!(of_swarm.is_err() || of_server.is_err(), "the second byte tells them apart");
    if let Ok((id, at, command)) = of_swarm {
        assert_eq!(wire::encode(id, at, &command), bytes, "{command:?}");
    }
    if let Ok((at, command)) = of_server {
        assert_eq!(wire::server::encode(at, &command), bytes, "{command:?}");
    }
}
