//! The bench: how fast Annals is, beside how fast it could be, in one run (DESIGN §10).
//!
//! `cargo run --release -p tests --bin bench [-- --seconds N | rebuild]` starts a PostgreSQL of its own with durable settings, measures,
//! prints one table and stops; it leaves nothing behind. The default of 3 seconds per phase takes about four minutes.
//!
//! Ceiling and work take turns, round by round, and medians are compared: the machine is rarely quiet, and what disturbs
//! one phase must not be read as a difference between them. Figures are information: a run below a floor ends like any other.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a bench: what fails ends it with its place, what it finds it prints, and what it prints are ratios"
)]

mod ceiling;
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

/// How often ceiling and work take turns.
const ROUNDS: usize = 3;
/// Writers of the parallel phases (DESIGN §10).
const WRITERS: usize = 16;
/// Writers of the batch phases.
const BATCH_WRITERS: usize = 4;

#[tokio::main]
async fn main() {
    let phase = Duration::from_secs(seconds_asked());
    let site = Site::start().await;
    println!("{}", site.describe().await);
    let mut lines = match only_rebuild() {
        true => Vec::new(),
        false => measure_all(&site, phase).await,
    };
    for length in refold::LENGTHS {
        lines.push(refold::measure(&site, length).await);
    }
    report::print(&lines);
    site.stop().await;
}

/// `bench rebuild` leaves out everything else.
fn only_rebuild() -> bool {
    std::env::args().nth(1).as_deref() == Some("rebuild")
}

/// One option does not need a parser.
fn seconds_asked() -> u64 {
    let mut arguments = std::env::args().skip(1);
    let seconds = match (arguments.next().as_deref(), arguments.next()) {
        (None | Some("rebuild"), None) => Some(3),
        (Some("--seconds"), Some(number)) => number.parse().ok().filter(|n| (1..=600).contains(n)),
        _ => None,
    };
    seconds.unwrap_or_else(|| {
        println!("usage: bench [--seconds 1..600 | rebuild]   seconds per phase; each phase runs {ROUNDS} times");
        std::process::exit(2)
    })
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
