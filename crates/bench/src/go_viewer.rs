//! Viewers that use their connection as stock grpc-go does, with its default settings.
//!
//! What grpc-go does for what it reads is much of what a server has to do for it: windows of 64 KiB
//! that are given back by the quarter, and an estimate of the bandwidth-delay product, for which it
//! sends a PING, and before it gives the connection's window back, with the first DATA frame after
//! the answer to the last PING. While deliveries come one by one, that is with each of them.
//!
//! Only what these viewers need of HTTP/2 is here: headers of answers are not looked at.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::link::framed;
use super::scan::Scanner;
use super::viewer::{SUBSCRIBE, ViewerConfig, ViewerContext};
use crate::error::BenchError;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

/// Flags. ACK and END_STREAM are the same bit, of different frames.
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

const INITIAL_WINDOW_SIZE: u16 = 4;
/// HTTP/2's own, which grpc-go begins with.
const WINDOW: u32 = 65_535;
/// The windows grow no further, in bytes.
const LARGEST_WINDOW: u32 = 16 << 20;

/// What a window was used for and not given back yet.
#[derive(Debug, Default)]
struct Unreturned(u32);

impl Unreturned {
    /// Takes bytes that came; answers with what to give back once that is a quarter of the window.
    fn take(&mut self, bytes: u32, window: u32) -> Option<u32> {
        self.0 += bytes;
        (self.0 >= window / 4).then(|| std::mem::take(&mut self.0))
    }
}

/// The estimate of the bandwidth-delay product.
#[derive(Debug)]
struct Estimate {
    /// When the PING was sent to which no answer has come, if there is one.
    sent: Option<Instant>,
    /// Bytes that came since.
    sample: u32,
    samples: u32,
    /// In seconds, averaged.
    round_trip: f64,
    /// The most that was seen, in bytes per second.
    bandwidth: f64,
    product: u32,
}

impl Estimate {
    const fn new() -> Self {
        Self { sent: None, sample: 0, samples: 0, round_trip: 0.0, bandwidth: 0.0, product: WINDOW }
    }

    /// Takes bytes that came; true when a PING is due.
    fn take(&mut self, bytes: u32) -> bool {
        if self.product == LARGEST_WINDOW {
            return false;
        }
        if self.sent.is_some() {
            self.sample += bytes;
            return false;
        }
        (self.sent, self.sample) = (Some(Instant::now()), bytes);
        self.samples += 1;
        true
    }

    /// Takes the answer to the PING; answers with the new size of the windows when they grow.
    fn answered(&mut self) -> Option<u32> {
        let took = self.sent.take()?.elapsed().as_secs_f64();
        // An average of the first ten, and one that follows slowly from then on.
        let weight = if self.samples < 10 { 1.0 / f64::from(self.samples) } else { 0.9 };
        self.round_trip += (took - self.round_trip) * weight;
        let bandwidth = f64::from(self.sample) / (self.round_trip * 1.5);
        let is_most = bandwidth > self.bandwidth;
        self.bandwidth = self.bandwidth.max(bandwidth);
        let fills = f64::from(self.sample) >= 0.66 * f64::from(self.product);
        (fills && is_most && self.product < LARGEST_WINDOW).then(|| {
            self.product = self.sample.saturating_mul(2).min(LARGEST_WINDOW);
            self.product
        })
    }
}

/// One viewer on the connection; its stream is known by its place.
struct Stream {
    config: ViewerConfig,
    scanner: Scanner,
    unreturned: Unreturned,
    /// It is in.
    ready: bool,
}

/// One HTTP/2 connection, in one task.
struct Connection<'h> {
    context: &'h ViewerContext,
    greets: bool,
    streams: Vec<Stream>,
    window: u32,
    unreturned: Unreturned,
    estimate: Estimate,
    /// To be written.
    out: BytesMut,
}

/// Connects, subscribes for all configs, and reads until all streams have ended.
pub(crate) async fn view(
    context: ViewerContext,
    mut tcp: TcpStream,
    configs: Vec<ViewerConfig>,
    greets: bool,
) -> Result<(), BenchError> {
    let mut out = BytesMut::from(PREFACE);
    frame(&mut out, SETTINGS, 0, 0, &[]);
    let authority = context.address.to_string();
    let mut streams = Vec::with_capacity(configs.len());
    for (place, config) in configs.into_iter().enumerate() {
        let id = u32::try_from(place)? * 2 + 1;
        frame(&mut out, HEADERS, END_HEADERS, id, &headers(&authority));
        frame(&mut out, DATA, END_STREAM, id, &framed(&config.subscribe)?);
        let scanner = Scanner::new(context.every, config.number as u64);
        streams.push(Stream { config, scanner, unreturned: Unreturned::default(), ready: false });
    }
    let mut connection = Connection {
        context: &context,
        greets,
        streams,
        window: WINDOW,
        unreturned: Unreturned::default(),
        estimate: Estimate::new(),
        out,
    };
    let mut read = BytesMut::new();
    let mut left = connection.streams.len();
    while left > 0 {
        if !connection.out.is_empty() {
            tcp.write_all_buf(&mut connection.out).await?;
        }
        if tcp.read_buf(&mut read).await? == 0 {
            break;
        }
        while let Some((kind, flags, id, payload)) = next(&mut read) {
            left -= usize::from(connection.take(kind, flags, id, &payload)?);
        }
    }
    Ok(())
}

impl Connection<'_> {
    /// Takes a frame; true when it was the last one of its stream.
    fn take(&mut self, kind: u8, flags: u8, id: u32, payload: &Bytes) -> Result<bool, BenchError> {
        match kind {
            SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            PING => {
                if let Some(window) = self.estimate.answered() {
                    self.grow(window);
                }
            }
            HEADERS if flags & END_STREAM == 0 => {
                let (context, greets) = (self.context, self.greets);
                let stream = self.stream(id)?;
                if stream.config.stalled || !greets {
                    stream.set_ready(context);
                }
            }
            DATA => self.data(id, payload)?,
            GOAWAY => return Err(BenchError("the server sent GOAWAY".into())),
            _ => {}
        }
        let ended = match kind {
            DATA | HEADERS => flags & END_STREAM > 0,
            RST_STREAM => true,
            _ => false,
        };
        if ended {
            let number = self.stream(id)?.config.number;
            self.context.meter.cut(number);
        }
        Ok(ended)
    }

    fn data(&mut self, id: u32, payload: &Bytes) -> Result<(), BenchError> {
        let bytes = u32::try_from(payload.len())?;
        // The connection's window does not wait for the reader.
        if let Some(back) = self.unreturned.take(bytes, self.window) {
            window_update(&mut self.out, 0, back);
        }
        if self.estimate.take(bytes) {
            let back = std::mem::take(&mut self.unreturned.0);
            if back > 0 {
                window_update(&mut self.out, 0, back);
            }
            frame(&mut self.out, PING, 0, 0, &[2, 4, 16, 16, 9, 14, 7, 7]);
        }
        let (context, window) = (self.context, self.window);
        let stream = self.stream(id)?;
        if stream.config.stalled {
            return Ok(());
        }
        let back = stream.unreturned.take(bytes, window);
        let found = stream.scanner.scan(payload, |delivery| context.sample(delivery))?;
        if found.others > 0 {
            stream.set_ready(context);
        }
        context.meter.count(stream.config.number, found.updates, found.gaps);
        if let Some(back) = back {
            window_update(&mut self.out, id, back);
        }
        Ok(())
    }

    /// Widens the windows of the connection and of its streams.
    fn grow(&mut self, window: u32) {
        if window <= self.window {
            return;
        }
        window_update(&mut self.out, 0, window - self.window);
        self.window = window;
        let mut setting = Vec::with_capacity(6);
        setting.put_u16(INITIAL_WINDOW_SIZE);
        setting.put_u32(window);
        frame(&mut self.out, SETTINGS, 0, 0, &setting);
    }

    fn stream(&mut self, id: u32) -> Result<&mut Stream, BenchError> {
        let place = id.checked_sub(1).map(|twice| twice as usize / 2);
        place
            .and_then(|place| self.streams.get_mut(place))
            .ok_or_else(|| BenchError(format!("a frame of stream {id}, which is not ours")))
    }
}

impl Stream {
    fn set_ready(&mut self, context: &ViewerContext) {
        if !std::mem::replace(&mut self.ready, true) {
            context.is_in();
        }
    }
}

/// The headers of a call, as HPACK literals: nothing is added to the table.
fn headers(authority: &str) -> Vec<u8> {
    // `:method: POST` and `:scheme: http` are in the static table.
    let mut block = vec![0x83, 0x86];
    // Names of the static table: `:path`, `:authority`, `content-type`.
    for (name, value) in [(&[0x04][..], SUBSCRIBE), (&[0x01], authority), (&[0x0f, 0x10], "application/grpc")] {
        block.extend_from_slice(name);
        text(&mut block, value);
    }
    block.push(0);
    text(&mut block, "te");
    text(&mut block, "trailers");
    block
}

/// A text of less than 127 bytes, as it is.
fn text(block: &mut Vec<u8>, text: &str) {
    block.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    block.extend_from_slice(text.as_bytes());
}

fn frame(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    out.reserve(FRAME_HEADER + payload.len());
    out.put_uint(payload.len() as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.put_slice(payload);
}

fn window_update(out: &mut BytesMut, stream: u32, bytes: u32) {
    frame(out, WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
}

/// The next frame, if all of it is there: kind, flags, stream, payload.
fn next(read: &mut BytesMut) -> Option<(u8, u8, u32, Bytes)> {
    let mut header = read.get(..FRAME_HEADER)?;
    let length = usize::try_from(header.get_uint(3)).ok()?;
    let (kind, flags, stream) = (header.get_u8(), header.get_u8(), header.get_u32() & 0x7fff_ffff);
    if read.len() < FRAME_HEADER + length {
        return None;
    }
    read.advance(FRAME_HEADER);
    Some((kind, flags, stream, read.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_update_is_sent_per_quarter_window() {
        let mut unreturned = Unreturned::default();
        assert_eq!(unreturned.take(16_000, WINDOW), None);
        assert_eq!(unreturned.take(383, WINDOW), Some(16_383));
        assert_eq!(unreturned.take(1, WINDOW), None);
    }

    #[test]
    fn at_most_one_ping_is_outstanding() {
        let mut estimate = Estimate::new();
        assert!(estimate.take(1_200));
        assert!(!estimate.take(1_200), "the answer has not come");
        assert_eq!(estimate.answered(), None, "single deliveries do not fill the window");
        assert!(estimate.take(1_200));
        assert_eq!(estimate.answered(), None);
        assert_eq!(estimate.answered(), None, "an answer to nothing");
    }

    #[test]
    fn filled_window_doubles_up_to_the_largest() {
        let mut estimate = Estimate::new();
        assert!(estimate.take(60_000));
        assert_eq!(estimate.answered(), Some(120_000));
        for _ in 0..20 {
            estimate.take(LARGEST_WINDOW);
            estimate.bandwidth = 0.0;
            estimate.answered();
        }
        assert_eq!(estimate.product, LARGEST_WINDOW);
        assert!(!estimate.take(1_200), "no PING more");
    }

    #[test]
    fn frames_are_read_across_any_split() {
        let mut whole = BytesMut::new();
        frame(&mut whole, PING, ACK, 0, &[7; 8]);
        window_update(&mut whole, 3, 9);
        let mut read = BytesMut::new();
        let mut frames = Vec::new();
        for byte in whole {
            read.put_u8(byte);
            frames.extend(next(&mut read));
        }
        let expected = [(PING, ACK, 0, &[7_u8; 8][..]), (WINDOW_UPDATE, 0, 3, &[0, 0, 0, 9][..])];
        assert_eq!(frames.len(), expected.len());
        for (found, wanted) in frames.iter().zip(expected) {
            assert_eq!((found.0, found.1, found.2, &found.3[..]), wanted);
        }
    }
}
