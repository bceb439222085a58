//! The tries to come back since a cut.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::{Backoff, Retry};
use super::error::Error;

/// What no server may ask for: clocks have an end.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// When the next try may begin, and when there is none left.
#[derive(Debug)]
pub(super) struct Tries {
    backoff: Backoff,
    patience: Duration,
    cut_at: Option<Instant>,
}

impl Tries {
    pub(super) const fn new(retry: Retry) -> Self {
        Self { backoff: Backoff::new(retry), patience: retry.patience, cut_at: None }
    }

    /// When to try again after a failure, not sooner than the server asked; the failure comes
    /// back. An error when that would be longer after the cut than patience lasts.
    pub(super) fn next(&mut self, asked: Option<Duration>, why: Error) -> Result<(Instant, Error), Error> {
        let now = Instant::now();
        let again_at = now + self.backoff.next(asked, &mut rand::rng()).min(LONGEST);
        if again_at - *self.cut_at.get_or_insert(now) > self.patience {
            return Err(Error::GaveUp { patience: self.patience, last: Box::new(why) });
        }
        Ok((again_at, why))
    }

    /// A try succeeded: patience begins anew with the next cut.
    pub(super) const fn back(&mut self) {
        self.cut_at = None;
    }

    /// Something came: the next cut begins with short waits again.
    pub(super) const fn alive(&mut self) {
        self.backoff.reset();
    }
}
