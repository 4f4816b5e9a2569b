//! `cargo run -- verify`: whether read models, heads and snapshots are what the log says.
//!
//! Every difference is a line of JSON on standard output: table, key, column, what stands there and what should. It writes to
//! none of them; `rebuild` mends all but heads.

use crate::cli::Environment;
use crate::database::Database;
use crate::rebuild::{Folding, failed, watched};
use crate::{Error, output};
use projector::Progress;
use std::sync::Arc;

/// Verifies.
pub async fn run(environment: &Environment, folding: Folding) -> Result<(), Error> {
    let due = folding.due()?;
    let database = Database::open(environment).await?;
    let projector = folding.projector(&database)?;
    database
        .run(async move {
            let progress = Arc::new(Progress::default());
            let mut printed = Ok(());
            let work = projector.verify(&due, folding.workers(), Arc::clone(&progress), |difference| {
                if printed.is_ok() {
                    printed = serde_json::to_string(&difference)
                        .map_err(|e| Error::Invalid(format!("a difference is no JSON: {e}")))
                        .and_then(|line| output::line(&line));
                }
            });
            let verified = watched("verify", &progress, work).await.map_err(failed("verify"))?;
            printed?;
            eprintln!(
                "{} streams of {} events folded from zero, {} differences",
                verified.streams, verified.events, verified.differences
            );
            match verified.differences {
                0 => Ok(()),
                count => Err(Error::Different(count)),
            }
        })
        .await
}
