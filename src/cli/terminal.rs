//! Standard output and standard error, of which somebody may have closed the other end.

use std::fmt;
use std::io::{self, Write};

/// Writes a line for people to standard error. When nobody reads it any more, nothing happens:
/// that is no reason to stop publishing.
macro_rules! remark {
    ($($text:tt)*) => { $crate::cli::terminal::write_remark(format_args!($($text)*)) };
}
pub(super) use remark;

pub(super) fn write_remark(text: fmt::Arguments<'_>) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Standard output.
///
/// When its reader is gone (`starling tree | head`), the process has nothing left to do: it exits with 0 and says
/// nothing.
#[derive(Debug)]
pub(super) struct Output(io::Stdout);

/// Standard output, for what a command was asked for.
pub(super) fn output() -> Output {
    Output(io::stdout())
}

impl Output {
    fn unless_closed<T>(written: io::Result<T>) -> io::Result<T> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
            Ok(written) => Ok(written),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Self::unless_closed(self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        Self::unless_closed(self.0.flush())
    }
}
