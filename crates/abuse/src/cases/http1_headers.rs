//! HTTP/1.1 with as many headers as it takes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::wire::Wire;

/// Bytes of headers of each request.
const HEADERS: usize = 400 << 10;
/// Bytes of one header.
const LINE: usize = 8 << 10;

pub(super) struct Http1Headers;

impl Case for Http1Headers {
    fn name(&self) -> &'static str {
        "http1-headers"
    }

    fn does(&self) -> &'static str {
        "sends 400 KB of headers by HTTP/1.1 on 3 000 connections (short: 250), and not their end"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        let connections = budgets.form.pick(250, 3_000);
        budgets.connections(connections) + connections * 2 * budgets.bytes("server.max_header_list_bytes", 16_384)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let mut request = b"POST /starling.livestream.v1.LivestreamService/GetLivestream HTTP/1.1\r\n".to_vec();
            request.extend_from_slice(b"host: attacker\r\ncontent-type: application/grpc-web\r\n");
            for number in 0..HEADERS / LINE {
                request.extend_from_slice(format!("x-{number}: {}\r\n", "a".repeat(LINE)).as_bytes());
            }
            let request = &request;
            let requests = (0..attacker.form.pick(250, 3_000)).map(|_| async move {
                match attacker.wire().await {
                    Ok(wire) => ask(wire, request).await,
                    Err(ending) => ending,
                }
            });
            attacker.note_all(requests).await;
            Ok(())
        })
    }
}

/// Sends the beginning of a request; how it ended.
async fn ask(mut wire: Wire, request: &[u8]) -> Ending {
    let sent = wire.write_all(request).await;
    let mut answer = [0; 64];
    match wire.read(&mut answer).await {
        Ok(read) if read > 0 => status(&answer[..read]),
        // What was refused before all of it was read ends without an answer.
        _ if sent.is_err() => Ending::Told("closed under way".into()),
        _ => Ending::Closed,
    }
}

/// The status of an answer of HTTP/1.1.
fn status(answer: &[u8]) -> Ending {
    let text = String::from_utf8_lossy(answer);
    match text.split(' ').nth(1) {
        Some(status) if text.starts_with("HTTP/1.1") => Ending::Told(format!("status {status}")),
        _ => Ending::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_is_read_from_the_first_line() {
        assert_eq!(status(b"HTTP/1.1 431 Request Header Fields Too Large\r\n"), Ending::Told("status 431".into()));
        assert_eq!(status(b"nonsense"), Ending::Closed);
    }
}
