//! Time elapsed in a process that may be frozen in between.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment, measured by both clocks. It is not guaranteed that the monotonic clock continues while an environment is frozen, and
/// the wall clock may be set back.
#[derive(Debug, Clone, Copy)]
pub struct Since(Instant, SystemTime);

impl Since {
    /// The present moment.
    pub fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    /// The elapsed time: the longer of what the two clocks show.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed().max(self.1.elapsed().unwrap_or_default())
    }

    /// By how much the wall clock advanced more than the monotonic clock. The process was frozen for that long, or the clock was
    /// set.
    pub fn suspended_for(&self) -> Duration {
        self.1.elapsed().unwrap_or_default().saturating_sub(self.0.elapsed())
    }
}
