//! `cargo run -- verify`: compares read models, heads and snapshots with the log.
//!
//! Each difference is a line of JSON on standard output: table, key, column, the live value and the expected one. It corrects nothing.
//! `rebuild` corrects everything except heads.

use crate::environment::Environment;
use crate::rebuild::{FoldArguments, with_progress};
use crate::{Error, output};
use projector::Progress;
use std::sync::Arc;

/// Runs the command. [`Error::Differences`] if there are any.
pub async fn run(environment: &Environment, arguments: FoldArguments) -> Result<(), Error> {
    let (due, database, projector) = arguments.open(environment).await?;
    database
        .run(async move {
            let progress = Arc::new(Progress::default());
            let mut printed = Ok(());
            let work = projector.verify(&due, arguments.workers(), Arc::clone(&progress), |difference| {
                if printed.is_ok() {
                    printed = serde_json::to_string(&difference)
                        .map_err(|e| Error::Invalid(format!("a difference cannot be written as JSON: {e}")))
                        .and_then(|line| output::line(&line));
                }
            });
            let verified = with_progress("verify", &progress, work).await?;
            printed?;
            eprintln!(
                "{} streams of {} events folded from the first event, {} differences",
                verified.streams, verified.events, verified.differences
            );
            match verified.differences {
                0 => Ok(()),
                count => Err(Error::Differences(count)),
            }
        })
        .await
}
