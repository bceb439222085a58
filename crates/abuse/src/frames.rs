//! Frames of HTTP/2 (RFC 9113) as no client sends them, and what the server answers.

use std::collections::BTreeMap;

use h2::Reason;
use prost::encoding::encode_varint;
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ending::{Ending, reason_name};
use crate::wire::Wire;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames.
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// One that there is not.
pub(crate) const UNKNOWN: u8 = 0xfa;

/// The flag of the last frame of a stream.
pub(crate) const END_STREAM: u8 = 1;
/// The flag of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 4;

/// Appends a frame.
pub(crate) fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The headers of a call, perhaps with a token, in HPACK (RFC 7541) without its tables.
pub(crate) fn call_headers(method: &str, token: Option<&str>) -> Vec<u8> {
    // POST and http, by their numbers in the static table.
    let mut block = vec![0x83, 0x86];
    // The names of :path and :authority, by theirs.
    literal(&mut block, &[0x04], method.as_bytes());
    literal(&mut block, &[0x01], b"attacker");
    // content-type: its number does not fit into four bits.
    literal(&mut block, &[0x0f, 0x10], b"application/grpc");
    literal(&mut block, b"\x00\x02te", b"trailers");
    if let Some(token) = token {
        // authorization, likewise.
        literal(&mut block, &[0x0f, 0x08], format!("Bearer {token}").as_bytes());
    }
    block
}

/// A literal: how its name is said, then its value.
pub(crate) fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.extend_from_slice(name);
    match u8::try_from(value.len()) {
        Ok(length @ ..127) => block.push(length),
        // What does not fit into seven bits follows as protobuf writes numbers.
        _ => {
            block.push(127);
            encode_varint(value.len() as u64 - 127, block);
        }
    }
    block.extend_from_slice(value);
}

/// What the server has told on a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// Frames that end a stream or the connection, and how often they came.
    pub(crate) frames: BTreeMap<String, u64>,
    /// Whether it was closed.
    pub(crate) closed: bool,
}

/// A connection whose frames are written by hand.
#[derive(Debug)]
pub(crate) struct FrameLink {
    writer: WriteHalf<Wire>,
    told: watch::Receiver<Told>,
    /// Reads what the server tells.
    _reader: JoinSet<()>,
}

impl FrameLink {
    /// Says hello as HTTP/2 does, with settings of its own.
    pub(crate) async fn over(wire: Wire) -> Result<Self, Ending> {
        let (mut reads, writer) = tokio::io::split(wire);
        let (tell, told) = watch::channel(Told::default());
        let mut reader = JoinSet::new();
        reader.spawn(async move {
            let mut head = [0; 9];
            let mut payload = Vec::new();
            while reads.read_exact(&mut head).await.is_ok() {
                let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                payload.resize(length, 0);
                if reads.read_exact(&mut payload).await.is_err() {
                    break;
                }
                if let Some(name) = ends(head[3], &payload) {
                    tell.send_modify(|told| *told.frames.entry(name).or_default() += 1);
                }
            }
            tell.send_modify(|told| told.closed = true);
        });
        let mut link = Self { writer, told, _reader: reader };
        let mut hello = PREFACE.to_vec();
        frame(&mut hello, SETTINGS, 0, 0, &[]);
        link.send(&hello).await?;
        Ok(link)
    }

    /// Sends bytes; fails when the connection is closed.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Ending> {
        let sent = async {
            self.writer.write_all(bytes).await?;
            // TLS keeps what it could not send at once.
            self.writer.flush().await
        };
        sent.await.map_err(|_| Ending::Closed)
    }

    /// What the server has told so far.
    pub(crate) fn told(&self) -> Told {
        self.told.borrow().clone()
    }

    /// Waits until the connection is closed.
    pub(crate) async fn closed(&mut self) {
        self.told.wait_for(|told| told.closed).await.ok();
    }
}

/// The name of a frame that ends a stream or the connection, with its code.
fn ends(kind: u8, payload: &[u8]) -> Option<String> {
    let (name, code) = match kind {
        RST_STREAM => ("RST_STREAM", payload.get(..4)),
        GOAWAY => ("GOAWAY", payload.get(4..8)),
        _ => return None,
    };
    let code: [u8; 4] = code?.try_into().ok()?;
    Some(format!("{name} {}", reason_name(Reason::from(u32::from_be_bytes(code)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_their_head_before_them() {
        let mut out = Vec::new();
        frame(&mut out, WINDOW_UPDATE, 0, 5, &[0, 0, 1, 0]);
        assert_eq!(out, [0, 0, 4, 8, 0, 0, 0, 0, 5, 0, 0, 1, 0]);
    }

    #[test]
    fn headers_of_a_call_are_literals() {
        let block = call_headers("/a", None);
        assert_eq!(block[..6], [0x83, 0x86, 0x04, 2, b'/', b'a']);
        assert!(block.ends_with(b"\x00\x02te\x08trailers"));
    }

    #[test]
    fn long_literals_have_their_length_before_them() {
        let mut block = Vec::new();
        literal(&mut block, &[1], &[b'a'; 126]);
        assert_eq!(block[..2], [1, 126]);
        block.clear();
        literal(&mut block, &[1], &[b'a'; 300]);
        assert_eq!((&block[..4], block.len()), (&[1, 127, 0xad, 1][..], 304));
        let with = call_headers("/a", Some("t"));
        assert!(with.ends_with(b"\x0f\x08\x08Bearer t"));
    }

    #[test]
    fn codes_of_ending_frames_are_named() {
        assert_eq!(ends(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 11]).as_deref(), Some("GOAWAY ENHANCE_YOUR_CALM"));
        assert_eq!(ends(RST_STREAM, &[0, 0, 0, 7]).as_deref(), Some("RST_STREAM REFUSED_STREAM"));
        assert_eq!((ends(GOAWAY, &[0; 7]), ends(PING, &[0; 8])), (None, None));
    }
}
