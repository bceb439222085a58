//! Frames of HTTP/2 (RFC 9113), put together by hand.

/// Types of frames, and flags.
pub(super) struct Kind;

impl Kind {
    pub(super) const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
}

/// What a client sends, and how many streams it has opened.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    streams: u32,
}

impl Frames {
    /// The beginning of every connection: no setting is other than its default.
    pub(super) fn preface(&mut self) {
        self.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        self.frame(Kind::SETTINGS, 0, 0, &[]);
    }

    /// A frame; what is longer than a frame may be is cut.
    pub(super) fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let payload = &payload[..payload.len().min(16_384)];
        let length = u32::try_from(payload.len()).unwrap_or_default();
        self.raw(&length.to_be_bytes()[1..]);
        self.raw(&[kind, flags]);
        self.raw(&stream.to_be_bytes());
        self.raw(payload);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Opens a stream by the headers of a call; gives its number.
    pub(super) fn open(&mut self, path: &str) -> u32 {
        self.open_with(path, &[])
    }

    /// The same with more headers, of at most 126 bytes each.
    pub(super) fn open_with(&mut self, path: &str, more: &[(&str, &[u8])]) -> u32 {
        // POST and http, by their numbers in the static table of HPACK (RFC 7541).
        let mut block = vec![0x83, 0x86];
        // The names of :path and :authority, by theirs.
        literal(&mut block, &[0x04], &[b"/", path.as_bytes()].concat());
        literal(&mut block, &[0x01], b"localhost");
        // content-type: its number does not fit into four bits.
        literal(&mut block, &[0x0f, 0x10], b"application/grpc");
        literal(&mut block, b"\x00\x02te", b"trailers");
        for (name, value) in more {
            let mut head = vec![0, u8::try_from(name.len()).unwrap_or_default()];
            head.extend_from_slice(name.as_bytes());
            literal(&mut block, &head, value);
        }
        self.headers(Kind::END_HEADERS, &block)
    }

    /// Opens a stream by these headers.
    pub(super) fn headers(&mut self, flags: u8, block: &[u8]) -> u32 {
        self.streams += 1;
        let stream = self.streams * 2 - 1;
        self.frame(Kind::HEADERS, flags, stream, block);
        stream
    }

    /// A message of gRPC in a frame of its own.
    pub(super) fn message(&mut self, stream: u32, message: &[u8], flags: u8) {
        let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
        self.frame(Kind::DATA, flags, stream, &[&[0][..], &length, message].concat());
    }

    /// What was put together since the last time.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// A literal: how its name is said, then its value of at most 126 bytes.
fn literal(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.extend_from_slice(name);
    block.push(u8::try_from(value.len()).unwrap_or(126).min(126));
    block.extend_from_slice(&value[..value.len().min(126)]);
}
