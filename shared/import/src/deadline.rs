//! The time of an invocation.

use std::time::Duration;

use tokio::time::Instant;

/// How much of an invocation's time must be left to begin something new. A chunk may have to wait for locks.
const RESERVE: Duration = Duration::from_secs(30);

/// The last moment to begin something new; `None` without a deadline.
pub(crate) fn last_start(deadline: Option<Instant>) -> Option<std::time::Instant> {
    deadline.map(|deadline| deadline.checked_sub(RESERVE).unwrap_or(deadline).into_std())
}

/// Whether there is time to begin something new.
pub(crate) fn has_time(deadline: Option<Instant>) -> bool {
    deadline.is_none_or(|deadline| Instant::now() + RESERVE < deadline)
}
