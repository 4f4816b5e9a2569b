//! Records of requests, their answers and durations.

use std::collections::BTreeMap;
use std::time::Duration;

/// Maximum number of complaints that are printed.
const SHOWN: usize = 5;

/// The records of one client, or of all clients together.
#[derive(Default)]
pub struct Journal {
    by_kind: BTreeMap<&'static str, Kind>,
    complaints: Vec<String>,
}

#[derive(Default)]
struct Kind {
    answered: Vec<Duration>,
    unavailable: usize,
}

impl Journal {
    /// Records an answer.
    pub fn note(&mut self, kind: &'static str, status: u16, took: Duration) {
        let kind = self.by_kind.entry(kind).or_default();
        match status {
            503 => kind.unavailable += 1,
            _ => kind.answered.push(took),
        }
    }

    /// Records an answer that no fault explains.
    pub fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// Adds the records of another client.
    pub fn add(&mut self, other: Self) {
        for (name, more) in other.by_kind {
            let kind = self.by_kind.entry(name).or_default();
            kind.answered.extend(more.answered);
            kind.unavailable += more.unavailable;
        }
        self.complaints.extend(other.complaints);
    }

    /// The first few complaints, if any.
    pub fn complaint(&self) -> Option<String> {
        let some: Vec<&str> = self.complaints.iter().take(SHOWN).map(String::as_str).collect();
        (!some.is_empty()).then(|| format!("{} wrong answers, such as: {}", self.complaints.len(), some.join("; ")))
    }

    /// Prints a line for each kind of request.
    pub fn print(&mut self, seconds: u64) {
        println!(
            "{:<22}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "", "answered", "per s", "p50 ms", "p99 ms", "503"
        );
        for (name, kind) in &mut self.by_kind {
            kind.answered.sort();
            let at = |percent: usize| {
                let place = kind.answered.len() * percent / 100;
                kind.answered.get(place).map_or(0, Duration::as_millis)
            };
            let count = kind.answered.len();
            let rate = u64::try_from(count).unwrap_or(u64::MAX) / seconds;
            println!(
                "{name:<22}{count:>9}{rate:>9}{:>9}{:>9}{:>9}",
                at(50),
                at(99),
                kind.unavailable
            );
        }
    }
}
