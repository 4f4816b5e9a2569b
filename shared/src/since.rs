//! How long ago something was, in a process that may have been frozen meanwhile.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment by both clocks: whether the one that only rises goes on while an environment is frozen, nobody promises, and the other
/// may be set back.
#[derive(Debug, Clone, Copy)]
pub struct Since(Instant, SystemTime);

impl Since {
    /// Now.
    pub(crate) fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// The longer time of the two.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }

    /// By how much the wall clock has gone further than the other one: the process was frozen for so long, or the clock was set.
    pub(crate) fn clocks_differ_by(&self) -> Duration {
        self.1.elapsed().unwrap_or_default().saturating_sub(self.0.elapsed())
    }
}
