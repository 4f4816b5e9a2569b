//! `cargo run -- rebuild`: folds the read models again from the log, while the server keeps running.
//!
//! It is the projector's rebuild without the time limit of a function. It shows its progress on standard error. Its exit code is 0 only if
//! the live tables were exchanged.

use crate::database::Database;
use crate::environment::Environment;
use crate::{Error, output};
use annals_domain::AggregateType;
use annals_store::{DueRebuild, RebuildScope};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use projector::{CONNECTIONS, Progress, Projector, RebuildError};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, interval, interval_at};

/// How often the progress bar is drawn.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// How often a line is printed if there is no bar.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `rebuild` and `verify`.
#[derive(Args, Debug)]
pub struct FoldArguments {
    /// Only the read models of this aggregate type, such as organization [default: all]
    #[arg(long, value_name = "TYPE")]
    module: Option<String>,
    /// Number of workers that fold streams concurrently
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=64))]
    workers: usize,
}

/// Runs the command. When it is done, it prints one line of JSON on standard output.
pub async fn run(environment: &Environment, arguments: FoldArguments) -> Result<(), Error> {
    let (due, database, projector) = arguments.open(environment).await?;
    database
        .run(async move {
            let progress = Arc::new(Progress::default());
            let work = projector.rebuild(&due, arguments.workers, Arc::clone(&progress));
            let done = with_progress("rebuild", &progress, work).await?;
            output::line(
                &json!({"rebuild": done.id, "streams": done.streams, "events": done.events, "changed_rows": done.changed_rows})
                    .to_string(),
            )
        })
        .await
}

impl FoldArguments {
    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// The rebuild to run, without the id of a recorded request, the database, and a projector with enough connections for the workers.
    pub async fn open(&self, environment: &Environment) -> Result<(DueRebuild, Database, Projector), Error> {
        let module = self.module.clone().map(AggregateType::try_from).transpose();
        let scope = RebuildScope {
            tenant_id: None,
            aggregate_type: module.map_err(|e| Error::Invalid(format!("--module: {e}")))?,
        };
        let database = Database::open(environment).await?;
        let projector = Projector::new(database.store(CONNECTIONS + self.workers)?, None);
        Ok((DueRebuild { id: None, scope }, database, projector))
    }
}

/// Does the work and shows its progress on standard error: a bar if that is a terminal, otherwise a line every few seconds. `doing` is
/// the command.
pub async fn with_progress<T>(
    doing: &'static str,
    progress: &Progress,
    work: impl Future<Output = Result<T, RebuildError>>,
) -> Result<T, Error> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left{msg}") {
        bar.set_style(style);
    }
    // Draws the empty bar, because the first progress may take a while.
    bar.tick();
    let (mut ticks, mut lines) = (
        interval(BAR_EVERY),
        interval_at(Instant::now() + LINE_EVERY, LINE_EVERY),
    );
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done.map_err(|source| Error::Fold { doing, source: Box::new(source) });
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

/// Whether as many events are folded as there were at the beginning. Then the tables are compared, which has no progress of its own.
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
