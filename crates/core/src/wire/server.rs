//! The bytes of commands that are about no swarm. In a log they stand among those of swarms, and are told apart by
//! the second byte, where these have their kind:
//!
//! ```text
//! entry = version 3 at tag field*
//! ```

use super::{Fault, Reader, Tagged, VERSION, Wire, WireError};
use crate::command::{RevokeTokens, ServerCommand};

/// Stands where the kind of a swarm would.
const NO_SWARM: u8 = 3;

// As for the other commands: no line here changes once it is released. The tags are their own.
wire_enum!(ServerCommand {
    1 => RevokeTokens(revoke),
});

wire_struct!(RevokeTokens: node, issued_before, forget_at);

/// The bytes of `command` at `at` milliseconds since the Unix epoch.
pub fn encode(at: u64, command: &ServerCommand) -> Vec<u8> {
    let mut out = vec![VERSION, NO_SWARM];
    at.put(&mut out);
    command.put(&mut out);
    out
}

/// What [`encode`] was given. As [`decode`](super::decode), it takes bytes from anywhere.
pub fn decode(bytes: &[u8]) -> Result<(u64, ServerCommand), WireError> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        VERSION => {}
        found => return Err(reader.fault(0, Fault::Version { found })),
    }
    reader.what = "kind";
    match reader.byte()? {
        NO_SWARM => {}
        found => return Err(reader.fault(1, Fault::Tag { found })),
    }
    let at = reader.field("at")?;
    let command = reader.field("command")?;
    reader.finish()?;
    Ok((at, command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::NodeId;

    fn revoke(number: u64) -> ServerCommand {
        let node = NodeId::new(number).unwrap();
        RevokeTokens { node, issued_before: 1_800_000_000_000, forget_at: 300 }.into()
    }

    #[test]
    fn the_bytes_of_server_commands_do_not_change() {
        let bytes = [1, 3, 6, 1, 7, 0x80, 0xa0, 0xf1, 0xc2, 0xb1, 0x34, 0xac, 2];
        assert_eq!(encode(6, &revoke(7)), bytes);
        assert_eq!(decode(&bytes), Ok((6, revoke(7))));
        let error = crate::wire::decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, "byte 1, swarm: tag 3 is unknown", "it is no command of a swarm");
    }

    #[test]
    fn other_bytes_are_no_server_commands() {
        let bytes = encode(6, &revoke(7));
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        let trailing = [&bytes[..], &[0]].concat();
        for (bytes, message) in [
            (&trailing[..], "byte 13, end: bytes left over: 1"),
            (&[2, 3, 6, 1], "byte 0, version: version 2 is unknown"),
            (&[1, 1, 5, 6, 9], "byte 1, kind: tag 1 is unknown"),
            (&[1, 3, 6, 2], "byte 3, command: tag 2 is unknown"),
            (&[1, 3, 6, 1, 0], "byte 4, RevokeTokens.node: an id is 0"),
        ] {
            assert_eq!(decode(bytes).unwrap_err().to_string(), message);
        }
        for at in 0..bytes.len() {
            for change in 1..=u8::MAX {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                if let Ok((time, command)) = decode(&changed) {
                    assert_eq!(encode(time, &command), changed, "one form alone");
                }
            }
        }
    }
}
