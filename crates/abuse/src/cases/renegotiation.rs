//! Records of TLS 1.2 that ask for another handshake, warn, or hold nothing, again and again.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::frames::{PREFACE, SETTINGS, frame};
use crate::hello::{ALERT, HANDSHAKE, client_hello};
use crate::sealed_records::SealedRecords;

/// Records of data (RFC 5246, 6.2.1).
const DATA: u8 = 23;
/// A warning that there will be no renegotiation.
const WARNING: &[u8] = &[1, 100];
/// Records that are sent together.
const TOGETHER: usize = 256;
/// How long the end of a connection is waited for.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);

pub(super) struct Renegotiation;

impl Case for Renegotiation {
    fn name(&self) -> &'static str {
        "renegotiation"
    }

    fn does(&self) -> &'static str {
        "after a handshake of TLS 1.2 greets again and again, warns, or sends records of no data, on one connection after another"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let config = attacker.credentials().open_client().map_err(|_| Ending::Closed)?;
            // Without the head of its record.
            let hello = client_hello(config.clone()).map_err(|_| Ending::Closed)?.split_off(5);
            let mut begins = PREFACE.to_vec();
            frame(&mut begins, SETTINGS, 0, 0, &[]);
            let mut sent = 0;
            for (kind, content) in [(HANDSHAKE, &hello[..]), (ALERT, WARNING), (DATA, &[])].into_iter().cycle() {
                if attacker.is_over() {
                    break;
                }
                // A connection on which nobody minds has half of the time that is left.
                let ends = Instant::now() + attacker.left() / 2;
                let (mut tcp, mut records) = SealedRecords::open(attacker.tcp().await?, config.clone()).await?;
                let mut out = Vec::new();
                records.seal(&mut out, DATA, &begins);
                let mut closed = false;
                while !closed && Instant::now() < ends {
                    (0..TOGETHER).for_each(|_| records.seal(&mut out, kind, content));
                    sent += TOGETHER;
                    closed = match attacker.in_time(tcp.write_all(&out)).await {
                        Some(written) => written.is_err(),
                        // Not read any more: held back.
                        None => break,
                    };
                    out.clear();
                }
                // What the server says is sealed too; its log has the reason.
                if closed || timeout(PATIENCE.min(attacker.left()), read_out(&mut tcp)).await.is_ok() {
                    attacker.note(Ending::Closed);
                }
            }
            attacker.figure(format!("{sent} records"));
            Ok(())
        })
    }
}

/// Reads until the connection is closed.
async fn read_out(tcp: &mut tokio::net::TcpStream) {
    let mut rest = [0; 1_024];
    while let Ok(1..) = tcp.read(&mut rest).await {}
}
