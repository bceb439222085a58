//! The whole server over a real socket, and a client that sends whatever the input says.
//!
//! ```text
//! input  = begin action*
//! begin  = an odd byte: without the preface of HTTP/2, so that the bytes may be HTTP/1
//! action = kind fields              see `act`; numbers are one byte, lengths two, little end first
//! ```

mod frames;
mod server;

use arbitrary::Unstructured;

use self::frames::{Frames, Kind};
use self::server::{Exchanged, with_server};
use crate::grpc::fuzzing::METHODS;

/// Actions of one input at most.
const MOST: usize = 256;

/// Sends what the input says, half closes the connection, and waits until the server has closed it too. Then the server
/// must answer another client as if nothing had happened.
///
/// # Panics
///
/// When anything of the server has panicked, when it keeps the connection, or does not answer the other client.
pub fn http2(bytes: &[u8]) {
    let sent = sent(bytes);
    with_server(|server| {
        let Exchanged { received } = server.exchange(&sent.portions);
        // With the preface the server speaks HTTP/2: its first frame is SETTINGS.
        assert!(sent.plain || received.len() < 4 || received[3] == Kind::SETTINGS, "begins with {:?}", &received[..4]);
        server.answers_others();
    });
}

/// What a client sends, in portions after each of which it waits for what the server says to it.
#[derive(Debug, Default)]
struct Sent {
    /// Without the preface.
    plain: bool,
    portions: Vec<Vec<u8>>,
}

fn sent(bytes: &[u8]) -> Sent {
    let mut input = Unstructured::new(bytes);
    let plain = byte(&mut input) % 2 == 1;
    let mut sent = Sent { plain, portions: Vec::new() };
    let mut frames = Frames::default();
    if !plain {
        frames.preface();
    }
    for _ in 0..MOST {
        if input.is_empty() {
            break;
        }
        if act(&mut input, &mut frames) {
            sent.portions.push(frames.take());
        }
    }
    sent.portions.push(frames.take());
    sent
}

/// Adds what one action sends; true when the client waits after it.
fn act(input: &mut Unstructured<'_>, frames: &mut Frames) -> bool {
    match byte(input) % 10 {
        // A whole call with one message.
        0 => {
            let stream = frames.open(path(input));
            let message = bytes_of(input);
            frames.message(stream, message, Kind::END_STREAM);
        }
        // A call whose request goes on.
        1 => {
            frames.open(path(input));
        }
        // A message on a stream that was opened.
        2 => {
            let (stream, flags) = (stream(input), byte(input));
            frames.message(stream, bytes_of(input), flags);
        }
        // Any bytes on such a stream.
        3 => {
            let (stream, flags) = (stream(input), byte(input));
            frames.frame(Kind::DATA, flags, stream, bytes_of(input));
        }
        // Any frame.
        4 => {
            let (kind, flags, stream) = (byte(input), byte(input), stream(input));
            frames.frame(kind, flags, stream, bytes_of(input));
        }
        // Headers in HPACK as they come, on a new stream.
        5 => {
            let flags = byte(input);
            frames.headers(flags, bytes_of(input));
        }
        // Settings: a number of one byte, and its value.
        6 => {
            let count = usize::from(byte(input) % 8);
            let settings: Vec<u8> = (0..count)
                .flat_map(|_| {
                    let number = [0, byte(input)];
                    let value: u32 = input.arbitrary().unwrap_or_default();
                    [&number[..], &value.to_be_bytes()].concat()
                })
                .collect();
            frames.frame(Kind::SETTINGS, 0, 0, &settings);
        }
        // A call with one more header: the token, the deadline, the encoding.
        7 => {
            let path = path(input);
            let name =
                ["authorization", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "origin", "x-any-bin"]
                    [usize::from(byte(input) % 6)];
            let value = bytes_of(input);
            let stream = frames.open_with(path, &[(name, &value[..value.len().min(126)])]);
            frames.message(stream, &[], Kind::END_STREAM);
        }
        // Bytes that are no frame.
        8 => frames.raw(bytes_of(input)),
        // It waits for the server to answer a ping.
        _ => {
            frames.frame(Kind::PING, 0, 0, b"awaiting");
            return true;
        }
    }
    false
}

/// The path of a method.
fn path(input: &mut Unstructured<'_>) -> &'static str {
    let index = usize::from(byte(input));
    METHODS.get(index).map_or("unknown/Method", |(path, _)| path)
}

/// The number of a stream that a client may open; 0 is the connection.
fn stream(input: &mut Unstructured<'_>) -> u32 {
    match byte(input) {
        0 => 0,
        index => u32::from(index) * 2 - 1,
    }
}

fn bytes_of<'a>(input: &mut Unstructured<'a>) -> &'a [u8] {
    let length = usize::from(u16::from_le_bytes([byte(input), byte(input)])).min(input.len());
    input.bytes(length).unwrap_or_default()
}

/// 0 at the end of the input.
fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or_default()
}
