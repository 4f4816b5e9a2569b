//! The bench compares how fast Annals is with how fast plain prepared statements are, in one run.
//!
//! `cargo run --release -p tests --bin bench [-- --seconds N | rebuild | reads [EVENTS] | large [EVENTS] | csv [ROWS] | fields] [--json FILE]` starts a PostgreSQL of its
//! own with durable settings, measures, prints one table, stops, and leaves nothing behind. With the default of 3 seconds per phase it takes
//! about five minutes. `large` first fills ten million events, which takes some minutes more and 10 GB of disk. `bench peer ITEM` is something
//! else: it measures one item in a database that exists (see [`peer`]).
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
mod arguments;
mod csv;
mod fields;
mod large;
mod logs;
mod peer;
mod reads;
mod reference;
mod refold;
mod rows;
mod site;
mod work;

use std::time::Duration;

use arguments::{Arguments, Part};
use reference::Reference;
use site::Site;
use tests::{Figure, Line, Target, median, print_lines, write_json};
use work::{Batch, Streams, Work};

/// Default duration of a phase.
const PHASE: Duration = Duration::from_secs(3);
/// Number of rounds of ceiling and Annals.
const ROUNDS: usize = 3;
/// Concurrent writers of the parallel phases.
const WRITERS: usize = 16;
/// Concurrent writers of the batch phases.
const BATCH_WRITERS: usize = 4;

#[tokio::main]
async fn main() {
    if csv::is_importer().await {
        return;
    }
    let arguments = Arguments::read();
    if let Part::Peer(item) = arguments.part {
        return peer::run(item).await;
    }
    let site = Site::start().await;
    println!("{}", site.describe().await);
    let lines = match arguments.part {
        Part::All(phase) => measure_all(&site, phase).await,
        Part::Rebuild => refold::measure_all(&site).await,
        Part::Reads(events) => reads::measure_all(&site, events, PHASE).await,
        Part::Csv(rows) => csv::measure(&site, rows).await,
        Part::Fields => fields::measure(&site, PHASE).await,
        Part::Large(events) => large::measure(&site, events, PHASE).await,
        Part::Peer(_) => Vec::new(),
    };
    print_lines(&lines);
    if let Some(file) = &arguments.json {
        write_json(file, &lines).expect("the file can be written");
    }
    site.stop().await;
}

async fn measure_all(site: &Site, phase: Duration) -> Vec<Line> {
    let mut lines = measure_writes(site, phase).await;
    // Reads vary less than appends, which wait for the disk.
    lines.extend(reads::measure_all(site, reads::EVENTS, phase / 3).await);
    lines.extend(refold::measure_all(site).await);
    lines
}

async fn measure_writes(site: &Site, phase: Duration) -> Vec<Line> {
    let reference = Reference::new(site, phase).await;
    let work = Work::new(site, phase).await;
    let mut found: [Vec<Figure>; 10] = Default::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        let figures = [
            reference.insert(1).await,
            work.append(1, Streams::New).await,
            reference.insert(WRITERS).await,
            work.append(WRITERS, Streams::New).await,
            work.append(WRITERS, Streams::MostlyOld).await,
            reference.insert_hundreds(BATCH_WRITERS).await,
            work.append_hundreds(BATCH_WRITERS, Batch::HundredStreams).await,
            work.append_hundreds(BATCH_WRITERS, Batch::TenStreams).await,
            work.project_singles().await,
            work.project_batches().await,
        ];
        figures
            .into_iter()
            .zip(&mut found)
            .for_each(|(figure, all)| all.push(figure));
    }
    let [
        one_plain,
        one,
        plain,
        new,
        known,
        hundreds_plain,
        hundreds,
        tens,
        singles,
        batches,
    ] = found.map(|all| median(&all));
    let line = |work: &str, ceiling, figure, target| {
        Line::rate(work, "events/s", ceiling, figure)
            .with_target(target)
            .shown()
    };
    vec![
        line("append, 16 writers, new streams", plain, new, Target::APPEND),
        line(
            "append, 16 writers, 9 of 10 to known streams",
            plain,
            known,
            Target::APPEND,
        ),
        line("append, 1 writer", one_plain, one, Target::APPEND_ALONE),
        line(
            "batches of 100, 4 writers, 100 streams each",
            hundreds_plain,
            hundreds,
            Target::BATCH,
        ),
        line(
            "batches of 100, 4 writers, 10 streams each",
            hundreds_plain,
            tens,
            Target::BATCH,
        ),
        line(
            "projection, wake-ups of single events",
            new,
            singles,
            Target::PROJECT_SINGLES,
        ),
        line("projection, wake-ups of batches", new, batches, Target::PROJECT_BATCHES),
    ]
}
