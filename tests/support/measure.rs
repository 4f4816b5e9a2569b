//! The result of a phase: a rate, and the processor time on both sides of the connection.
//!
//! On a machine that others use too, processor time says more than the rate. It is read from `/proc` in ticks of 10 ms, and left out where
//! there is none.

#![expect(clippy::float_arithmetic, reason = "figures of a bench: rates and medians")]

use std::fs;
use std::time::{Duration, Instant};

/// The result of a phase, per operation: an event, a page or a start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figure {
    /// Rate per second, or the amount itself if the line's unit is not a rate.
    pub rate: f64,
    /// Processor time of PostgreSQL, in microseconds per operation.
    pub server_us: Option<f64>,
    /// Processor time of the client, in microseconds per operation: pgbench, or Annals together with the bench.
    pub client_us: Option<f64>,
}

/// The median of each member.
pub fn median(figures: &[Figure]) -> Figure {
    fn middle(mut all: Vec<f64>) -> Option<f64> {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }
    Figure {
        rate: middle(figures.iter().map(|f| f.rate).collect()).unwrap_or_default(),
        server_us: middle(figures.iter().filter_map(|f| f.server_us).collect()),
        client_us: middle(figures.iter().filter_map(|f| f.client_us).collect()),
    }
}

/// A running phase.
pub struct Phase {
    postmaster: u32,
    started: Instant,
    server: Option<f64>,
    client: Option<f64>,
}

impl Phase {
    /// Begins a phase.
    pub fn start(postmaster: u32) -> Self {
        Self {
            postmaster,
            server: family_seconds(postmaster),
            client: own_seconds(),
            started: Instant::now(),
        }
    }

    /// Ends the phase, in which this number of events or reads was done.
    pub fn end(self, count: usize) -> Figure {
        let elapsed = self.started.elapsed();
        self.end_with_rate(count, count as f64 / elapsed.as_secs_f64())
    }

    /// The same, if another program has measured the rate.
    pub fn end_with_rate(self, count: usize, rate: f64) -> Figure {
        let each = |before: Option<f64>, after: Option<f64>| Some((after? - before?) * 1e6 / count.max(1) as f64);
        Figure {
            rate,
            server_us: each(self.server, family_seconds(self.postmaster)),
            client_us: each(self.client, own_seconds()),
        }
    }
}

/// Ticks per second in `/proc`, on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Processor time of this process and of its finished children, in seconds.
fn own_seconds() -> Option<f64> {
    Some(Stat::of("self")?.with_children as f64 / TICKS)
}

/// Processor time of a process and of its running and finished children, in seconds.
fn family_seconds(parent: u32) -> Option<f64> {
    let mut ticks = Stat::of(&parent.to_string())?.with_children;
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let child = entry
            .file_name()
            .to_str()
            .and_then(Stat::of)
            .filter(|stat| stat.parent == parent);
        ticks += child.map_or(0, |stat| stat.own);
    }
    Some(ticks as f64 / TICKS)
}

/// The id of a process's parent.
pub fn parent_of(pid: i32) -> Option<u32> {
    Some(Stat::of(&pid.to_string())?.parent)
}

struct Stat {
    parent: u32,
    own: u64,
    with_children: u64,
}

impl Stat {
    /// Reads `/proc/{pid}/stat`. The second field is the program's name in parentheses, which may contain anything, also spaces.
    fn of(pid: &str) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |range: std::ops::Range<usize>| -> Option<u64> {
            fields.get(range)?.iter().map(|field| field.parse::<u64>().ok()).sum()
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11..13)?,
            with_children: ticks(11..15)?,
        })
    }
}

/// Repeats the work until the time is over, and returns how often.
pub async fn repeat<F: Future<Output = usize>>(time: Duration, mut work: impl FnMut() -> F) -> usize {
    let deadline = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < deadline {
        count += work().await;
    }
    count
}
