//! How far the demo is, told while it runs; and waiting for as long as it gets on.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, timeout};

use crate::cli::error::CliError;
use crate::cli::terminal::remark;

/// How long what must come may take to come.
const SOON: Duration = Duration::from_secs(30);
/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(1);

/// A bar on a terminal; lines where there is none.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    pictures: u64,
    told: Instant,
}

impl Progress {
    pub(super) fn start(pictures: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30} picture {pos}/{len}  {msg}");
            ProgressBar::new(pictures).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, pictures, told: Instant::now() }
    }

    /// Says what is done before the first picture and after the last one.
    pub(super) fn phase(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => remark!("{what}"),
        }
    }

    /// So many pictures are published; `line` says more.
    pub(super) fn published(&mut self, number: u64, line: impl FnOnce() -> String) {
        if let Some(bar) = &self.bar {
            bar.set_position(number);
            bar.set_message(line());
        } else if number == 1 || self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            remark!("picture {number}/{}: {}", self.pictures, line());
        }
    }

    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Waits for what takes a moment.
///
/// # Errors
/// Names it when it has not come after 30 s.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> Result<T, CliError> {
    timeout(SOON, future).await.map_err(|_| CliError(format!("waited {} s in vain for {what}", SOON.as_secs())))
}

/// Waits for what takes as long as the machine needs for it: while `count` changes. Answers `None`
/// when that has not changed for 30 s.
pub(super) async fn while_counting<T>(count: impl Fn() -> u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    loop {
        let before = count();
        match timeout(SOON, &mut future).await {
            Ok(done) => return Some(done),
            Err(_) if count() != before => {}
            Err(_) => return None,
        }
    }
}
