//! If the schedule runs less often than each minute, an append also asks for a sweep.
//!
//! A schedule of one minute keeps a serverless database awake that could otherwise sleep. A stack with a longer one (`ScheduleMinutes`)
//! sends a message after an append, which asks for a sweep 60 seconds later, at most once in 60 seconds per process. The sweep of an
//! earlier message covers later appends: if the message was sent less than 60 seconds ago, its sweep has not run yet. A sweep that leaves
//! work asks for the next one in the same way. If a message gets lost, the work waits for the schedule.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config;
use crate::since::Since;

/// How much later the sweep runs, and how long this process does not ask for another.
const PAUSE_SECONDS: i32 = 60;
const PAUSE: Duration = Duration::from_secs(60);

/// What asks for sweeps.
#[derive(Clone)]
pub enum Sweeps {
    /// The schedule alone.
    Scheduled,
    /// Wake-ups as well; when this process last did.
    ByWakeUps(Arc<Mutex<Option<Since>>>),
}

impl Sweeps {
    /// As the function's environment says.
    pub fn of_function() -> Self {
        match config::sweep_by_wake_ups() {
            true => Self::by_wake_ups(),
            false => Self::Scheduled,
        }
    }

    /// By wake-ups; none was sent yet.
    pub fn by_wake_ups() -> Self {
        Self::ByWakeUps(Arc::default())
    }

    /// The delay in seconds of the sweep to ask for; none if this process asked less than a minute ago.
    pub(super) fn due(&self) -> Option<i32> {
        let Self::ByWakeUps(asked) = self else { return None };
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_asked_for = asked.is_some_and(|at| at.elapsed() < PAUSE);
        (!is_asked_for).then_some(PAUSE_SECONDS)
    }

    /// Notes that the queue took a request. `began` is from before the call: an append in between must not count on a sweep that
    /// may run before it.
    pub(super) fn asked(&self, began: Since) {
        if let Self::ByWakeUps(asked) = self {
            *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_asked_for_once_a_minute_and_by_no_wake_up_unless_it_is_to() {
        let sweeps = Sweeps::by_wake_ups();
        assert_eq!(sweeps.due(), Some(60));
        assert_eq!(sweeps.due(), Some(60), "the first was not sent");
        sweeps.asked(Since::now());
        assert_eq!(sweeps.clone().due(), None, "another wake-up of the same process");
        assert_eq!(Sweeps::Scheduled.due(), None);
    }
}
