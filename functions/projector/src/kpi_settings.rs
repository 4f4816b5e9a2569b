//! Settings of key figures.

use std::time::Duration;

/// How changes of key figures are applied and announced.
#[derive(Debug, Clone, Copy)]
pub struct KpiSettings {
    /// Maximum number of changes of a tenant that the first transaction applies.
    pub batch_size: i32,
    /// How long a sweep applies changes, and how long it announces days. The rest is left to the next sweeps.
    pub time_limit: Duration,
    /// How long after a change an announced day is announced again, so that a hundred single corrections make only a few announcements.
    pub announce_delay: Duration,
}

impl Default for KpiSettings {
    fn default() -> Self {
        Self {
            batch_size: 20_000,
            time_limit: Duration::from_secs(15),
            announce_delay: Duration::from_secs(5 * 60),
        }
    }
}
