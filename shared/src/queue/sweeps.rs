//! Sweeps that wake-ups ask for, where the clock asks for too few.
//!
//! A schedule of one minute keeps a database awake that would otherwise sleep while nobody uses it. A stack whose schedules come more
//! seldom (`ScheduleMinutes`) lets whoever appends ask for a sweep, a minute later and at most once a minute per process. So every event is
//! followed by a sweep within a minute: a request that was sent less than a minute ago arrives after the event. A message that gets
//! lost costs time, as ever; the schedule is still there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config;
use crate::since::Since;

/// How much later the sweep is, and how long nobody in this process asks for another.
const PAUSE_SECONDS: i32 = 60;
const PAUSE: Duration = Duration::from_secs(60);

/// Who asks for sweeps.
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

    /// By wake-ups; none has asked yet.
    pub fn by_wake_ups() -> Self {
        Self::ByWakeUps(Arc::default())
    }

    /// In how many seconds a sweep is to be asked for, if this is the time to ask. Whoever is told so does.
    pub(super) fn due(&self) -> Option<i32> {
        let Self::ByWakeUps(asked) = self else { return None };
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_some_and(|at| at.elapsed() < PAUSE) {
            return None;
        }
        *asked = Some(Since::now());
        Some(PAUSE_SECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_asked_for_once_a_minute_and_by_no_wake_up_unless_it_is_to() {
        let sweeps = Sweeps::by_wake_ups();
        assert_eq!(sweeps.due(), Some(60));
        assert_eq!(sweeps.clone().due(), None, "another wake-up of the same process");
        assert_eq!(Sweeps::Scheduled.due(), None);
    }
}
