//! `cargo run -- rebuild`: read models made anew from the log, while everything else goes on.
//!
//! It is the projector's own rebuild, without a function's time limit. A bar tells people how far it is; the exit code tells
//! scripts that live tables were exchanged.

use crate::cli::Environment;
use crate::database::Database;
use crate::{Error, output};
use annals::domain::AggregateType;
use annals::store::{DueRebuild, RebuildScope};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use projector::{CONNECTIONS, Progress, Projector, RebuildError};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, interval_at};

/// How often the bar moves.
const TICK: Duration = Duration::from_millis(100);
/// How often there is a line where there is no bar.
const LINE: Duration = Duration::from_secs(5);

/// What `rebuild` and `verify` fold.
#[derive(Args, Debug)]
pub struct Folding {
    /// Kind of aggregate whose read models they are, such as organization [default: all]
    #[arg(long, value_name = "TYPE")]
    module: Option<String>,
    /// How many fold at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    workers: usize,
}

/// Rebuilds; one line on standard output once it is done.
pub async fn run(environment: &Environment, folding: Folding) -> Result<(), Error> {
    let due = folding.due()?;
    let database = Database::open(environment).await?;
    let projector = folding.projector(&database)?;
    database
        .run(async move {
            let progress = Arc::new(Progress::default());
            let work = projector.rebuild(&due, folding.workers, Arc::clone(&progress));
            let done = watched("rebuild", &progress, work).await.map_err(failed("rebuild"))?;
            output::line(
                &json!({"rebuild": done.id, "streams": done.streams, "events": done.events, "changed_rows": done.changed_rows})
                    .to_string(),
            )
        })
        .await
}

impl Folding {
    /// How many fold at the same time.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The scope, as nobody has asked for it but the command line.
    pub fn due(&self) -> Result<DueRebuild, Error> {
        let module = self.module.clone().map(AggregateType::try_from).transpose();
        let aggregate_type = module.map_err(|e| Error::Invalid(format!("--module: {e}")))?;
        Ok(DueRebuild {
            id: None,
            scope: RebuildScope {
                tenant_id: None,
                aggregate_type,
            },
        })
    }

    /// A projector with connections enough.
    pub fn projector(&self, database: &Database) -> Result<Projector, Error> {
        Ok(Projector::new(database.store(CONNECTIONS + self.workers)?, None))
    }
}

/// The error of a command that did not come to its end.
pub fn failed(doing: &'static str) -> impl FnOnce(RebuildError) -> Error {
    move |source| Error::Fold {
        doing,
        source: Box::new(source),
    }
}

/// The work, and how far it is on standard error: a bar where that is a terminal, elsewhere a line every few seconds, so that a log shows
/// that it goes on.
pub async fn watched<T>(doing: &str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left{msg}") {
        bar.set_style(style);
    }
    // Before there is anything to show, so that nobody waits before an empty screen.
    bar.tick();
    let (mut ticks, mut lines) = (interval(TICK), interval_at(Instant::now() + LINE, LINE));
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = ticks.tick(), if !bar.is_hidden() => {
                bar.set_length(progress.total().max(progress.events()).unsigned_abs());
                bar.set_position(progress.events().unsigned_abs());
                if is_folded(progress) {
                    bar.set_message("; comparing tables");
                }
            }
            _ = lines.tick(), if bar.is_hidden() => eprintln!("{doing}: {}", described(progress)),
        }
    }
}

/// Whether all that there was at the beginning has been folded. What is left is the tables' comparison, which nobody counts.
fn is_folded(progress: &Progress) -> bool {
    progress.total() > 0 && progress.events() >= progress.total()
}

fn described(progress: &Progress) -> String {
    match progress.total() {
        0 => "counting events".to_owned(),
        _ if is_folded(progress) => format!("{} events folded, comparing tables", progress.events()),
        total => format!("{} of {total} events folded", progress.events()),
    }
}
