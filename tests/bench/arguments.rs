//! The command line. It is parsed by hand, because a parser for so few options is not worth a dependency.

use std::path::PathBuf;
use std::time::Duration;

use crate::peer::Item;
use crate::{PHASE, ROUNDS, csv, large, reads};

/// What to measure, and where to write it.
#[derive(Debug, PartialEq)]
pub struct Arguments {
    /// What to measure.
    pub part: Part,
    /// A file for the lines as JSON.
    pub json: Option<PathBuf>,
}

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything except the parts below, with phases of this duration.
    All(Duration),
    /// Only rebuilds.
    Rebuild,
    /// Only reads, of logs with this number of events.
    Reads(i64),
    /// Reads of a log with this number of events.
    Large(i64),
    /// The index of fields.
    Fields,
    /// A file with this number of rows.
    Csv(i64),
    /// An item in the database of `DATABASE_URL`.
    Peer(Item),
}

impl Arguments {
    /// Reads the command line; explains it and exits if it is wrong.
    pub fn read() -> Self {
        Self::of(std::env::args().skip(1).collect()).unwrap_or_else(|| {
            println!(
                "usage: bench [--seconds 1..600 | rebuild | reads [EVENTS] | large [EVENTS] | csv [ROWS] | fields] [--json FILE]   seconds per phase; each phase runs \
                 {ROUNDS} times\n       bench peer setup|fill|a1|a16|b16|c1|c4|d|e"
            );
            std::process::exit(2)
        })
    }

    fn of(mut words: Vec<String>) -> Option<Self> {
        let mut json = None;
        if let Some(place) = words.iter().position(|word| word == "--json") {
            words.remove(place);
            json = Some(PathBuf::from((place < words.len()).then(|| words.remove(place))?));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let number = |text: &str, from: i64, to: i64| text.parse().ok().filter(|n| (from..=to).contains(n));
        let part = match words.as_slice() {
            [] => Part::All(PHASE),
            ["rebuild"] => Part::Rebuild,
            ["reads"] => Part::Reads(reads::EVENTS),
            ["reads", events] => Part::Reads(number(events, 100_000, 100_000_000)?),
            ["fields"] => Part::Fields,
            ["csv"] => Part::Csv(csv::ROWS),
            ["csv", rows] => Part::Csv(number(rows, 10_000, 100_000_000)?),
            ["large"] => Part::Large(large::LARGE),
            ["large", events] => Part::Large(number(events, 100_000, 100_000_000)?),
            ["--seconds", seconds] => Part::All(Duration::from_secs(number(seconds, 1, 600)?.unsigned_abs())),
            ["peer", item] if json.is_none() => Part::Peer(Item::of(item)?),
            _ => return None,
        };
        Some(Self { part, json })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn of(line: &str) -> Option<Arguments> {
        Arguments::of(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn the_file_may_be_named_before_and_after_the_part() {
        let file = Some(PathBuf::from("f.json"));
        for line in ["large 100000 --json f.json", "--json f.json large 100000"] {
            let json = file.clone();
            let part = Part::Large(100_000);
            assert_eq!(of(line), Some(Arguments { part, json }), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--json", "large 1", "--seconds 0", "peer", "peer x", "peer a1 --json f"] {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
