//! Standard output and standard error, of which somebody may have closed the other end.

use std::io::{self, Write};

/// Standard output, for the report. When its reader is gone, the process exits with 0 and says nothing.
pub(crate) fn output() -> impl Write {
    Output(io::stdout())
}

/// Writes a line for people to standard error, if anybody reads it.
pub(crate) fn remark(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

struct Output(io::Stdout);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
