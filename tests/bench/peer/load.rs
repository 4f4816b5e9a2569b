//! Repeats requests and keeps their durations.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

/// How long every item runs before it is measured.
pub const WARM_UP: Duration = Duration::from_millis(500);

/// What was done, and how long each request took.
#[derive(Debug, Default)]
pub struct Measured {
    /// Number of events written or read.
    pub events: usize,
    /// Duration of the whole.
    pub elapsed: Duration,
    /// Duration of each request, in milliseconds.
    pub requests: Vec<f32>,
}

impl Measured {
    /// The duration that this percentage of the requests did not exceed; 0 without requests.
    pub fn percentile(&self, percent: usize) -> f32 {
        let mut sorted = self.requests.clone();
        sorted.sort_by(f32::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(rank).copied().unwrap_or_default()
    }

    /// Times a request that reads or writes events, and returns its answer.
    pub async fn time<T>(&mut self, request: impl Future<Output = (usize, T)>) -> T {
        let began = Instant::now();
        let (events, answer) = request.await;
        self.requests.push(began.elapsed().as_secs_f32() * 1e3);
        self.events += events;
        answer
    }
}

/// Warms up and measures. Each writer has a state; a step takes it, does one request, and returns it with the number of events.
pub async fn run<S, F>(writers: Vec<S>, time: Duration, step: impl Fn(S) -> F + Clone + Send + 'static) -> Measured
where
    S: Send + 'static,
    F: Future<Output = (usize, S)> + Send,
{
    let (_, warm) = run_for(writers, WARM_UP, step.clone()).await;
    run_for(warm, time, step).await.0
}

async fn run_for<S, F>(
    writers: Vec<S>,
    time: Duration,
    step: impl Fn(S) -> F + Clone + Send + 'static,
) -> (Measured, Vec<S>)
where
    S: Send + 'static,
    F: Future<Output = (usize, S)> + Send,
{
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut state in writers {
        let step = step.clone();
        tasks.spawn(async move {
            let mut measured = Measured::default();
            while started.elapsed() < time {
                state = measured.time(step(state)).await;
            }
            (measured, state)
        });
    }
    let done = tasks.join_all().await;
    let mut all = Measured {
        elapsed: started.elapsed(),
        ..Measured::default()
    };
    let mut states = Vec::new();
    for (one, state) in done {
        all.events += one.events;
        all.requests.extend(one.requests);
        states.push(state);
    }
    (all, states)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_percentile_is_the_duration_of_a_request() {
        let of = |durations: std::ops::RangeInclusive<u16>| Measured {
            requests: durations.rev().map(f32::from).collect(),
            ..Measured::default()
        };
        assert_eq!((of(1..=200).percentile(50), of(1..=200).percentile(99)), (100.0, 198.0));
        assert_eq!((of(7..=7).percentile(50), of(7..=7).percentile(99)), (7.0, 7.0));
        assert_eq!(Measured::default().percentile(99), 0.0);
    }
}
