//! If the schedule runs less often than each minute, an append also requests a sweep.
//!
//! A schedule of one minute keeps a serverless database awake that could otherwise sleep. A stack with a longer schedule
//! (`ScheduleMinutes`) sends a message after an append, which requests a sweep 60 seconds later, at most once in 60 seconds per
//! process. The sweep of an earlier message covers later appends: if the message was sent less than 60 seconds ago, its sweep has
//! not run yet. A sweep that leaves work requests the next one in the same way. If a message gets lost, the work waits for the
//! schedule.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals_aws::since::Since;

/// Delay of the sweep, and the minimum time between two requests of this process.
const PAUSE_SECONDS: i32 = 60;
const PAUSE: Duration = Duration::from_secs(60);

/// What starts sweeps.
#[derive(Clone)]
pub enum Sweeps {
    /// Only the schedule.
    Scheduled,
    /// Wake-ups too. Holds the time of this process' last request.
    ByWakeUps(Arc<Mutex<Option<Since>>>),
}

impl Sweeps {
    /// As the function's environment configures it.
    pub fn of_function() -> Self {
        match annals_config::sweep_by_wake_ups() {
            true => Self::by_wake_ups(),
            false => Self::Scheduled,
        }
    }

    /// Wake-ups too. No request has been sent yet.
    pub fn by_wake_ups() -> Self {
        Self::ByWakeUps(Arc::default())
    }

    /// The delay in seconds of the sweep to request. `None` if this process requested one less than a minute ago.
    pub(super) fn due(&self) -> Option<i32> {
        let Self::ByWakeUps(last_request) = self else {
            return None;
        };
        let last_request = last_request.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent = last_request.is_some_and(|at| at.elapsed() < PAUSE);
        (!is_recent).then_some(PAUSE_SECONDS)
    }

    /// Records that the queue accepted a request. `began` is the time before the call: an append during the call must not rely on
    /// this sweep, which may run before the append commits.
    pub(super) fn requested(&self, began: Since) {
        if let Self::ByWakeUps(last_request) = self {
            *last_request.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_requested_once_a_minute_if_wake_ups_request_sweeps() {
        let sweeps = Sweeps::by_wake_ups();
        assert_eq!(sweeps.due(), Some(60));
        assert_eq!(sweeps.due(), Some(60), "the first was not sent");
        sweeps.requested(Since::now());
        assert_eq!(sweeps.clone().due(), None, "another wake-up of the same process");
        assert_eq!(Sweeps::Scheduled.due(), None);
    }
}
