//! The bench compares how fast Annals is with how fast it could be, in one run.
//!
//! `cargo run --release -p tests --bin bench [-- --seconds N | rebuild | large [EVENTS] | csv [ROWS]]` starts a PostgreSQL of its own with durable
//! settings, measures, prints one table, stops, and leaves nothing behind. With the default of 3 seconds per phase it takes about four
//! minutes. `large` first fills ten million events, which takes some minutes more and 10 GB of disk.
//!
//! Ceiling and Annals are measured alternately in several rounds, and medians are compared, so that a disturbance by other processes is not
//! read as a difference between them. The figures are information: a run below a floor does not fail.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a bench: what fails ends it with its place, what it finds it prints, and what it prints are ratios"
)]

mod api;
mod ceiling;
mod csv;
mod large;
mod measure;
mod refold;
mod report;
mod rows;
mod site;
mod work;

use std::time::Duration;

use ceiling::Ceiling;
use measure::{Figure, median};
use report::Line;
use site::Site;
use work::{Batch, Streams, Work};

/// Default duration of a phase.
const PHASE: Duration = Duration::from_secs(3);
/// Number of rounds of ceiling and Annals.
const ROUNDS: usize = 3;
/// Concurrent writers of the parallel phases.
const WRITERS: usize = 16;
/// Concurrent writers of the batch phases.
const BATCH_WRITERS: usize = 4;

/// What to measure.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Everything except the parts below, with phases of this duration.
    All(Duration),
    /// Only rebuilds.
    Rebuild,
    /// Reads of a log with this number of events.
    Large(i64),
    /// A file with this number of rows.
    Csv(i64),
}

#[tokio::main]
async fn main() {
    if csv::is_importer().await {
        return;
    }
    let part = Part::parse_arguments();
    let site = Site::start().await;
    println!("{}", site.describe().await);
    let mut lines = Vec::new();
    match part {
        Part::All(phase) => {
            lines = measure_all(&site, phase).await;
            lines.extend(refold::measure_all(&site).await);
        }
        Part::Rebuild => lines.extend(refold::measure_all(&site).await),
        Part::Csv(rows) => lines.extend(csv::measure(&site, rows).await),
        Part::Large(events) => lines.extend(large::measure(&site, events, PHASE).await),
    }
    report::print(&lines);
    site.stop().await;
}

impl Part {
    /// Parsed by hand, because a parser for two options is not worth a dependency.
    fn parse_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let number = |text: &str, from: i64, to: i64| text.parse().ok().filter(|n| (from..=to).contains(n));
        let part = match words.as_slice() {
            [] => Some(Self::All(PHASE)),
            ["rebuild"] => Some(Self::Rebuild),
            ["csv"] => Some(Self::Csv(csv::ROWS)),
            ["csv", rows] => number(rows, 10_000, 100_000_000).map(Self::Csv),
            ["large"] => Some(Self::Large(large::LARGE)),
            ["large", events] => number(events, 100_000, 100_000_000).map(Self::Large),
            ["--seconds", seconds] => number(seconds, 1, 600).map(|n| Self::All(Duration::from_secs(n.unsigned_abs()))),
            _ => None,
        };
        part.unwrap_or_else(|| {
            println!("usage: bench [--seconds 1..600 | rebuild | large [EVENTS] | csv [ROWS]]   seconds per phase; each phase runs {ROUNDS} times");
            std::process::exit(2)
        })
    }
}

async fn measure_all(site: &Site, phase: Duration) -> Vec<Line> {
    let ceiling = Ceiling::new(site, phase).await;
    let work = Work::new(site, phase).await;
    let mut found: [Vec<Figure>; 9] = Default::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        let figures = [
            ceiling.insert(1).await,
            work.append(1, Streams::New).await,
            ceiling.insert(WRITERS).await,
            work.append(WRITERS, Streams::New).await,
            work.append(WRITERS, Streams::MostlyOld).await,
            ceiling.insert_hundreds(BATCH_WRITERS).await,
            work.append_hundreds(BATCH_WRITERS, Batch::HundredStreams).await,
            work.append_hundreds(BATCH_WRITERS, Batch::TenStreams).await,
            ceiling.copy().await,
        ];
        figures
            .into_iter()
            .zip(&mut found)
            .for_each(|(figure, all)| all.push(figure));
    }
    let [one_raw, one, many_raw, many, mixed, hundreds_raw, hundreds, tens, copy] = found.map(|all| median(&all));
    vec![
        Line::compared("append, 1 writer, new streams", one_raw, one, None),
        Line::compared("append, 16 writers, new streams", many_raw, many, Some(70)),
        Line::compared(
            "append, 16 writers, 9 of 10 to known streams",
            many_raw,
            mixed,
            Some(70),
        ),
        Line::compared(
            "batches of 100, 4 writers, 100 streams each",
            hundreds_raw,
            hundreds,
            Some(70),
        ),
        Line::compared(
            "batches of 100, 4 writers, 10 streams each",
            hundreds_raw,
            tens,
            Some(70),
        ),
        Line::alone("COPY of the same rows, 1 connection (ceiling of CSV)", copy),
        Line::compared(
            "projection, wake-ups of batches",
            many,
            work.project_batches().await,
            Some(200),
        ),
        Line::compared(
            "projection, wake-ups of single events",
            many,
            work.project_singles().await,
            Some(200),
        ),
        Line::alone(
            "history, pages of 100 of a stream of 1,000, 1 reader",
            work.read_history().await,
        ),
        Line::alone(
            "GET /events, pages of 100, newest first, 1 reader",
            work.read_newest().await,
        ),
        Line::alone("GET /entities/sale/{id}, 1 reader", work.read_entities().await),
    ]
}
