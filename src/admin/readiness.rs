//! Whether the server takes calls.

use std::sync::Arc;

use serde::Serialize;

use crate::cluster::PodCondition;
use crate::sync::Mutex;

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
    /// Why no calls are taken.
    const fn reason(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("starting"),
            Self::Serving => None,
            Self::Draining => Some("draining"),
        }
    }
}

/// What the page says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadinessReport {
    /// Calls are taken.
    pub ready: bool,
    /// Why they are not.
    pub reasons: Vec<String>,
    /// What is wrong all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// Whether the server takes calls. Cloning it is shallow.
#[derive(Clone, Debug)]
pub struct Readiness(Arc<Mutex<(Phase, PodCondition)>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Phase::Starting, PodCondition::default()))))
    }
}

impl Readiness {
    /// Says where the process is now.
    pub fn set(&self, phase: Phase) {
        self.0.lock().0 = phase;
    }

    /// Says how the server does as one of several.
    pub fn set_condition(&self, condition: PodCondition) {
        self.0.lock().1 = condition;
    }

    /// Whether calls are taken, and why not.
    pub fn report(&self) -> ReadinessReport {
        let (phase, PodCondition { mut reasons, remarks }) = self.0.lock().clone();
        reasons.splice(0..0, phase.reason().map(str::to_owned));
        ReadinessReport { ready: reasons.is_empty(), reasons, remarks }
    }
}
