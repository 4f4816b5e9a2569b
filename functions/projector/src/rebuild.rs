//! Rebuild: fold every state from its first event, write those that differ from the live read models to separate tables, and exchange them
//! for the live ones in one transaction.
//!
//! Meanwhile events are appended, projected and read as usual. The rebuild folds each stream up to its projected version. Then it folds
//! again the streams that were projected further meanwhile, until few are left. Those it folds while it holds the lock that stops
//! projectors, and then exchanges the tables. If it ends before the exchange, for whatever reason, the live read models are unchanged.
//!
//! Architecture invariant: a rebuild changes no progress, parks no stream and appends no event. Before the exchange it writes only to its
//! own tables, which no reader uses.

mod fold;
mod outcome;
mod refill;
mod run;
mod snapshots;
mod verify;

use std::sync::Arc;

use annals_store::{DueRebuild, Purpose, StoreError, redacted_error};
use annals_telemetry::metrics;

use crate::Projector;
pub use outcome::{Progress, RebuildError, Rebuilt};
use run::Run;
pub use verify::Verified;

/// Connections that a rebuild uses besides one per worker: for its lock, the lists of streams, and the exchange.
const EXTRA_CONNECTIONS: usize = 3;
/// Default number of workers.
pub const WORKERS: usize = 2;
/// Connections that a projector's pool needs. With fewer, a rebuild would wait for a connection that it holds itself.
pub const CONNECTIONS: usize = WORKERS + EXTRA_CONNECTIONS;

impl Projector {
    /// Rebuilds the read models in the scope of `due`, with this many workers.
    ///
    /// # Errors
    /// The reason why the tables were not exchanged. The live read models are then unchanged.
    pub async fn rebuild(
        &self,
        due: &DueRebuild,
        workers: usize,
        progress: Arc<Progress>,
    ) -> Result<Rebuilt, RebuildError> {
        let shadow = self.store.start_rebuild(Purpose::Rebuild, due, "system").await?;
        let mut run = Run::new(self.store.clone(), shadow, workers, progress);
        match run.rebuild().await {
            Ok(exchanged) => {
                // The rebuild is done already. Without statistics of what it wrote, plans are slower until autovacuum makes them.
                if exchanged.changed_rows > 0
                    && let Err(error) = run.shadow.analyze_live().await
                {
                    tracing::warn!(error = redacted_error(&error), "rebuilt tables not analyzed");
                }
                run.shadow.drop_tables().await;
                if let Some(every) = self.snapshot_every
                    && let Err(error) = refill::refill(&self.store, &run.shadow, every).await
                {
                    tracing::warn!(error = redacted_error(&error), "snapshots not refilled");
                }
                // The rebuild is done already. If applying the changes fails, the next sweep applies them.
                if let Err(error) = self.apply_kpi_changes(self.kpis.time_limit).await {
                    tracing::warn!(error = redacted_error(&error), "key figures not updated");
                }
                Ok(run.rebuilt(exchanged))
            }
            Err(error) => {
                run.fail(&error).await;
                Err(error)
            }
        }
    }

    /// Runs the rebuilds that are due: those that staff requested, and those of aggregate types whose states are folded differently since a
    /// change of the catalog. A failed one is logged, recorded and tried again later; the others run anyway.
    ///
    /// # Errors
    /// The list of due rebuilds cannot be read.
    pub async fn rebuild_due(&self) -> Result<(), StoreError> {
        for due in self.store.due_rebuilds().await? {
            match self.rebuild(&due, WORKERS, Arc::default()).await {
                Ok(done) => {
                    metrics::rebuilt(done.changed_rows);
                    tracing::info!(
                        rebuild.id = done.id,
                        rebuild.changed_rows = done.changed_rows,
                        "rebuilt"
                    );
                }
                Err(RebuildError::Refused(reason)) => tracing::debug!(reason, "not rebuilt now"),
                Err(error) => {
                    metrics::rebuild_failed();
                    tracing::warn!(error = error.redacted(), "rebuild failed");
                }
            }
        }
        Ok(())
    }
}
