//! Whether the server takes calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What the process is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Serving,
    /// It was told to stop: new calls are refused.
    Draining,
}

impl Phase {
    const ALL: [Self; 3] = [Self::Starting, Self::Serving, Self::Draining];

    /// Why no calls are taken.
    pub(super) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("starting"),
            Self::Serving => None,
            Self::Draining => Some("draining"),
        }
    }
}

/// Whether the server takes calls. Cloning it is shallow.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<AtomicU8>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(AtomicU8::new(Phase::Starting as u8)))
    }
}

impl Readiness {
    /// Says where the process is now.
    pub fn set(&self, state: Phase) {
        self.0.store(state as u8, Ordering::Release);
    }

    /// Where the process is.
    pub fn state(&self) -> Phase {
        Phase::ALL[usize::from(self.0.load(Ordering::Acquire))]
    }
}
