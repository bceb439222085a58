//! Joins small DATA frames of HTTP/2 as they come.
//!
//! An honest publisher of small updates sends a DATA frame for each, and stock clients do not wait
//! for more. The HTTP/2 below closes a connection for DATA frames of less than 256 bytes
//! (`too_many_data_frames` of h2 0.4) when too many of them lie unread, which is so after any pause
//! of this process. Where a DATA frame ends has no meaning: frames of one stream that follow one
//! another are handed on as one, and those of several streams are sorted by stream first, which may
//! be done as long as no frame of another type lies between.

/// What comes before the first frame.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags, and stream of a frame.
const HEADER: usize = 9;

/// The largest payload of a frame that is made, in bytes: what HTTP/2 allows unless told otherwise.
const LARGEST: usize = 16 * 1024;

/// A frame with as much is not small, in bytes.
const SMALL: usize = 4 * 1024;

/// DATA, and no flags: neither the end of its stream nor padded.
const PLAIN_DATA: [u8; 2] = [0, 0];

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct DataFrames(State);

#[derive(Debug)]
enum State {
    /// So much of the preface came.
    Preface(usize),
    /// It does not speak HTTP/2.
    Other,
    /// A header of which so much came.
    Header([u8; HEADER], usize),
    /// So many bytes of a payload are to come.
    Payload(usize),
}

/// A small frame: its stream, and where its payload lies.
type Small = (u32, usize, usize);

/// Room to join frames in, for all connections of a thread.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    run: Vec<Small>,
    joined: Vec<u8>,
}

impl DataFrames {
    pub(super) const fn new() -> Self {
        Self(State::Preface(0))
    }

    /// True when what comes is to be [joined](Self::join).
    pub(super) const fn is_http2(&self) -> bool {
        !matches!(self.0, State::Other)
    }

    /// Joins what came in place, and answers how much it is now. O(bytes + f log f) for f frames.
    pub(super) fn join(&mut self, chunk: &mut [u8], workspace: &mut Workspace) -> usize {
        workspace.run.clear();
        let (mut at, mut end) = (0, 0);
        while at < chunk.len() {
            if let Some((small, next)) = self.small(chunk, at) {
                workspace.run.push(small);
                at = next;
                continue;
            }
            end = workspace.flush(chunk, end);
            let taken = self.pass(&chunk[at..]);
            chunk.copy_within(at..at + taken, end);
            (at, end) = (at + taken, end + taken);
        }
        workspace.flush(chunk, end)
    }

    /// The small frame that begins and ends here, and where the next begins.
    fn small(&self, chunk: &[u8], at: usize) -> Option<(Small, usize)> {
        let State::Header(_, 0) = self.0 else { return None };
        let header = chunk.get(at..at + HEADER)?;
        let (length, stream) = (length(header), stream(header));
        let next = at + HEADER + length;
        let is_small = header[3..5] == PLAIN_DATA && (1..SMALL).contains(&length) && stream != 0;
        (is_small && next <= chunk.len()).then_some(((stream, at + HEADER, length), next))
    }

    /// Passes by the beginning of what came, and answers how much.
    fn pass(&mut self, rest: &[u8]) -> usize {
        match &mut self.0 {
            State::Other => rest.len(),
            State::Preface(known) => {
                let more = rest.len().min(PREFACE.len() - *known);
                let is_http2 = rest[..more] == PREFACE[*known..*known + more];
                *known += more;
                if !is_http2 {
                    self.0 = State::Other;
                } else if *known == PREFACE.len() {
                    self.0 = State::Header([0; HEADER], 0);
                }
                more
            }
            State::Header(header, known) => {
                let more = rest.len().min(HEADER - *known);
                header[*known..*known + more].copy_from_slice(&rest[..more]);
                *known += more;
                if *known == HEADER {
                    self.0 = Self::after(length(header));
                }
                more
            }
            State::Payload(left) => {
                let more = rest.len().min(*left);
                self.0 = Self::after(*left - more);
                more
            }
        }
    }

    const fn after(left: usize) -> State {
        if left == 0 { State::Header([0; HEADER], 0) } else { State::Payload(left) }
    }
}

impl Workspace {
    /// Writes the frames of the run behind `end`, which is where they began or before, and answers
    /// where they end.
    fn flush(&mut self, chunk: &mut [u8], end: usize) -> usize {
        let Self { run, joined } = self;
        if run.is_empty() {
            return end;
        }
        joined.clear();
        // Stable: the frames of a stream stay in their order.
        run.sort_by_key(|(stream, ..)| *stream);
        let mut rest = run.as_slice();
        while let Some(&(stream, ..)) = rest.first() {
            let mut bytes = 0;
            let fits = |(next, _, length): &&Small| {
                bytes += length;
                *next == stream && bytes <= LARGEST
            };
            let (frames, others) = rest.split_at(rest.iter().take_while(fits).count());
            let length: usize = frames.iter().map(|(.., length)| length).sum();
            let [_, length @ ..] = u32::try_from(length).expect("at most LARGEST").to_be_bytes();
            joined.extend_from_slice(&length);
            joined.extend_from_slice(&PLAIN_DATA);
            joined.extend_from_slice(&stream.to_be_bytes());
            for (_, at, length) in frames {
                joined.extend_from_slice(&chunk[*at..at + length]);
            }
            rest = others;
        }
        run.clear();
        chunk[end..end + joined.len()].copy_from_slice(joined);
        end + joined.len()
    }
}

fn length(header: &[u8]) -> usize {
    u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize
}

fn stream(header: &[u8]) -> u32 {
    u32::from_be_bytes([header[5] & 0x7f, header[6], header[7], header[8]])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: u8 = 1;
    const END_STREAM: u8 = 1;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn data(stream: u32, payload: &[u8]) -> Vec<u8> {
        frame(0, 0, stream, payload)
    }

    /// What is handed on when the connection brings these chunks.
    fn joined(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut frames, mut workspace) = (DataFrames::new(), Workspace::default());
        let mut all = Vec::new();
        for chunk in chunks {
            let mut chunk = chunk.to_vec();
            let length = frames.join(&mut chunk, &mut workspace);
            all.extend_from_slice(&chunk[..length]);
        }
        all
    }

    /// The payload of each stream, and all that is no data, in order.
    fn meaning(mut bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let (mut streams, mut others) = (vec![Vec::new(); 8], Vec::new());
        bytes = bytes.strip_prefix(PREFACE).unwrap();
        while !bytes.is_empty() {
            let (one, rest) = bytes.split_at(HEADER + length(bytes));
            if one[3] == 0 {
                streams[stream(one) as usize].extend_from_slice(&one[HEADER..]);
            }
            if one[3..5] != PLAIN_DATA {
                others.push(one.to_vec());
            }
            bytes = rest;
        }
        (streams, others)
    }

    #[test]
    fn frames_of_one_stream_become_one() {
        let came = [PREFACE.to_vec(), data(1, b"a"), data(3, b"x"), data(1, b"bc"), data(3, b"y")].concat();
        assert_eq!(joined(&[&came]), [PREFACE.to_vec(), data(1, b"abc"), data(3, b"xy")].concat());
    }

    #[test]
    fn other_frames_keep_their_place() {
        let came = [
            PREFACE.to_vec(),
            data(3, b"a"),
            data(1, b"b"),
            frame(HEADERS, 0, 5, b"h"),
            data(1, b"c"),
            frame(0, END_STREAM, 1, b"d"),
            data(3, b"e"),
        ];
        let expected = [&came[0], &came[2], &came[1], &came[3], &came[4], &came[5], &came[6]].map(Vec::as_slice);
        assert_eq!(joined(&[&came.concat()]), expected.concat());
    }

    #[test]
    fn no_frame_becomes_too_large() {
        let came: Vec<_> = std::iter::once(PREFACE.to_vec()).chain((0..9).map(|_| data(1, &[7; 4_000]))).collect();
        let bytes = joined(&[&came.concat()]);
        assert_eq!(length(&bytes[PREFACE.len()..]), 16_000);
        assert_eq!(meaning(&bytes), meaning(&came.concat()));
    }

    #[test]
    fn meaning_survives_every_split() {
        let came = [
            PREFACE.to_vec(),
            data(1, b"abc"),
            data(3, b""),
            data(1, b"de"),
            frame(HEADERS, 4, 5, b"head"),
            data(5, &[1; 5_000]),
            data(3, b"f"),
            frame(0, END_STREAM, 1, b"g"),
        ]
        .concat();
        for first in 0..200 {
            for second in first..200 {
                let bytes = joined(&[&came[..first], &came[first..second], &came[second..]]);
                assert_eq!(meaning(&bytes), meaning(&came), "{first}, {second}");
            }
        }
    }

    #[test]
    fn other_protocols_pass_unchanged() {
        let came = b"PRI * HTTP/1.1\r\nhost: here\r\n\r\n\0\0\x01\0\0\0\0\0\x01a\0\0\x01\0\0\0\0\0\x01a";
        assert_eq!(joined(&[&came[..7], &came[7..]]), came);
    }
}
