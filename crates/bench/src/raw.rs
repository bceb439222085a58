//! The least that fan-out over TCP costs: one `send` per viewer and update, on one thread.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::error::BenchError;

/// The first byte of a connection: what is at its other end.
pub(crate) const VIEWER: u8 = b'V';
pub(crate) const PUBLISHER: u8 = b'P';

/// A viewer, and what its socket did not take of a message.
struct Viewer {
    tcp: TcpStream,
    rest: Vec<u8>,
}

/// Serves viewers, then one publisher, to whose end or that of standard input; it connects last. Its messages begin with
/// their size, once, as four bytes.
pub(crate) fn serve() -> Result<(), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "raw listens on {}", listener.local_addr()?)?;
    std::thread::spawn(|| {
        // Whoever measures is gone, however that reads.
        io::stdin().read_to_end(&mut Vec::new()).ok();
        std::process::exit(0);
    });
    let mut viewers = Vec::new();
    loop {
        let (mut tcp, _) = listener.accept()?;
        tcp.set_nodelay(true)?;
        let mut role = [0];
        tcp.read_exact(&mut role)?;
        if role == [PUBLISHER] {
            return fan_out(tcp, &mut viewers);
        }
        tcp.set_nonblocking(true)?;
        viewers.push(Viewer { tcp, rest: Vec::new() });
    }
}

fn fan_out(mut publisher: TcpStream, viewers: &mut Vec<Viewer>) -> Result<(), BenchError> {
    let mut size = [0; 4];
    publisher.read_exact(&mut size)?;
    let mut message = vec![0; u32::from_be_bytes(size) as usize];
    loop {
        match publisher.read_exact(&mut message) {
            Ok(()) => viewers.retain_mut(|viewer| viewer.send(&message).is_ok()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Viewer {
    /// Sends what the socket takes. A message that it does not take at all is lost; one that
    /// it takes in part is ended before the next.
    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        if !self.rest.is_empty() {
            let sent = self.write(&self.rest)?;
            self.rest.drain(..sent);
            if !self.rest.is_empty() {
                return Ok(());
            }
        }
        let sent = self.write(message)?;
        if sent > 0 {
            self.rest.extend_from_slice(&message[sent..]);
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match (&self.tcp).write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }
}
