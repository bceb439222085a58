//! As much of NATS's protocol as publishing and counting takes.

use std::net::SocketAddr;

use super::livestream::resolve;
use super::stamp::STAMP;
use crate::error::BenchError;

/// What a client says first; it hears no headers, and no `+OK`.
pub(crate) const CONNECT: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\"}\r\n";
pub(crate) const PING: &str = "PING\r\n";
pub(crate) const PONG: &str = "PONG\r\n";
/// A line that is longer is none of NATS's.
const LONGEST_LINE: usize = 64 * 1024;

/// A NATS server that runs already.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Nats {
    /// Put the same load on this NATS server too, such as nats://127.0.0.1:4222. Each viewer has a
    /// connection.
    #[arg(id = "nats", long = "nats", value_name = "URL", required = false)]
    url: String,
    /// The process of the NATS server, when it is on this machine: then what it uses is measured.
    #[arg(long = "nats-pid", value_name = "PID", requires = "nats")]
    pub(crate) pid: Option<u32>,
}

impl Nats {
    pub(crate) async fn resolve(&self) -> Result<SocketAddr, BenchError> {
        resolve(&self.url, "nats", 4_222).await
    }
}

/// What some bytes brought; a message counts where its payload begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) messages: u64,
    pub(crate) pings: u64,
    pub(crate) pongs: u64,
}

/// Reads what a server says, wherever it is cut.
#[derive(Debug)]
pub(crate) struct Parser {
    /// What there is of a line that is not complete.
    publisher: Vec<u8>,
    /// Before the first byte of a payload.
    begins: bool,
    /// Bytes of a payload, and of the end of its publisher, that are to come.
    left: usize,
    every: u64,
    /// Messages until the next one that is handed out.
    until: u64,
}

impl Parser {
    /// Hands out one message of `every`; `phase` shifts which.
    pub(crate) const fn new(every: u64, phase: u64) -> Self {
        Self { publisher: Vec::new(), begins: false, left: 0, every, until: phase % every }
    }

    /// Takes the next bytes; `sample` gets beginnings of payloads. One whose stamp is cut gives way
    /// to the next.
    pub(crate) fn hear(&mut self, bytes: &[u8], mut sample: impl FnMut(&[u8])) -> Result<Heard, BenchError> {
        let (mut heard, mut rest) = (Heard::default(), bytes);
        while !rest.is_empty() {
            if self.left > 0 {
                if std::mem::take(&mut self.begins) {
                    heard.messages += 1;
                    if self.until > 0 {
                        self.until -= 1;
                    } else if rest.len().min(self.left) >= STAMP {
                        sample(rest);
                        self.until = self.every - 1;
                    }
                }
                let step = self.left.min(rest.len());
                self.left -= step;
                rest = &rest[step..];
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.publisher.extend_from_slice(rest);
                if self.publisher.len() > LONGEST_LINE {
                    return Err(BenchError("a line without end is not NATS".into()));
                }
                break;
            };
            let (part, after) = rest.split_at(end + 1);
            rest = after;
            if self.publisher.is_empty() {
                self.told(part, &mut heard)?;
            } else {
                let mut publisher = std::mem::take(&mut self.publisher);
                publisher.extend_from_slice(part);
                self.told(&publisher, &mut heard)?;
            }
        }
        Ok(heard)
    }

    fn told(&mut self, publisher: &[u8], heard: &mut Heard) -> Result<(), BenchError> {
        let publisher = publisher.trim_ascii_end();
        let (word, _) = publisher.split_at(publisher.iter().position(|byte| *byte == b' ').unwrap_or(publisher.len()));
        match word {
            b"MSG" => {
                let size = publisher.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                let size: Option<usize> = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok());
                let size = size.ok_or_else(|| BenchError("a NATS message without its size".into()))?;
                self.left = size + 2;
                self.begins = true;
            }
            b"PING" => heard.pings += 1,
            b"PONG" => heard.pongs += 1,
            b"INFO" | b"+OK" => {}
            _ => return Err(BenchError(format!("the NATS server says: {}", String::from_utf8_lossy(publisher)))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp;

    fn said() -> Vec<u8> {
        let mut said = b"INFO {\"server_id\":\"x\"}\r\nPONG\r\nPING\r\n".to_vec();
        for number in 0..5 {
            said.extend_from_slice(b"MSG a.b 1 20\r\n");
            // Ends of lines in a payload end nothing.
            let mut payload = stamp::payload(20, number);
            payload[18] = b'\n';
            said.extend_from_slice(&payload);
            said.extend_from_slice(b"\r\nMSG a.b 1 0\r\n\r\n");
        }
        said
    }

    fn hear<'a>(every: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> (Heard, Vec<u64>) {
        let (mut parser, mut sum, mut samples) = (Parser::new(every, 0), Heard::default(), Vec::new());
        for part in parts {
            let heard = parser.hear(part, |payload| samples.extend(stamp::due(payload))).ok().unwrap();
            sum.messages += heard.messages;
            sum.pings += heard.pings;
            sum.pongs += heard.pongs;
        }
        (sum, samples)
    }

    #[test]
    fn messages_are_counted_across_any_split() {
        let said = said();
        let all = Heard { messages: 10, pings: 1, pongs: 1 };
        assert_eq!(hear(2, [said.as_slice()]), (all, vec![0, 1, 2, 3, 4]));
        for at in 0..=said.len() {
            let (before, after) = said.split_at(at);
            assert_eq!(hear(2, [before, after]).0, all, "cut at {at}");
        }
        assert_eq!(hear(2, said.chunks(1)), (all, vec![]), "a stamp that is cut is not looked at");
    }

    #[test]
    fn errors_and_other_protocols_are_refused() {
        let refused = |bytes: &[u8]| Parser::new(1, 0).hear(bytes, |_| {}).unwrap_err().0;
        assert_eq!(refused(b"-ERR 'Slow Consumer'\r\n"), "the NATS server says: -ERR 'Slow Consumer'");
        assert_eq!(refused(b"MSG a 1 b\r\n"), "a NATS message without its size");
        assert_eq!(refused(b"HTTP/1.1 400\r\n"), "the NATS server says: HTTP/1.1 400");
    }
}
