//! What is said about the log itself, or before there is one: lines of the log's own form
//! that no filter hides.

use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry};

use super::{Form, lines};

/// The target of notices.
pub const NOTICE: &str = "starling::log";

/// Forms lines instead of writing them.
#[derive(Debug)]
pub(super) struct Notices {
    /// One at a time: what is formed lies in one buffer.
    former: Mutex<Former>,
}

#[derive(Debug)]
struct Former {
    dispatch: Dispatch,
    lines: Lines,
}

/// What was formed.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Notices {
    pub(super) fn new(form: Form) -> Self {
        let buffer = Lines::default();
        let writer = buffer.clone();
        // Nothing else may pass: what one subscriber may take is asked about at every place that logs it.
        let filter = EnvFilter::new(format!("off,{NOTICE}=info"));
        let dispatch = Dispatch::new(Registry::default().with(filter).with(lines(form, move || writer.clone())));
        Self { former: Mutex::new(Former { dispatch, lines: buffer }) }
    }

    /// What `act` logs with the target [`NOTICE`], as lines.
    pub(super) fn lines(&self, act: impl FnOnce()) -> Vec<u8> {
        let former = self.former.lock();
        dispatcher::with_default(&former.dispatch, act);
        std::mem::take(&mut *former.lines.0.lock())
    }

    /// The line about so many lines that found no room.
    pub(super) fn lost(&self, lines: u64) -> Vec<u8> {
        self.lines(|| tracing::warn!(target: NOTICE, lines, "lines were lost: the log was not read in time"))
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
