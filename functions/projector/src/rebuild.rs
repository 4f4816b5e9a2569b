//! Rebuild: every state folded from nothing, those that are not what stands in live read models written to tables of its own,
//! and exchanged for the live ones in one transaction.
//!
//! While it runs, events are appended, projected and read as ever. It folds what heads say is projected, then again those
//! streams that were projected further meanwhile, until few are left; these it folds behind the lock that keeps projectors
//! out, and exchanges. Whatever ends it before that leaves live read models as they were.
//!
//! Architecture invariant: it moves no progress, parks nothing and emits nothing. Without an exchange it writes to no table
//! that anybody reads.

mod fold;
mod refill;
mod run;
mod snapshots;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use annals::domain::StreamId;
use annals::store::{DueRebuild, Purpose, StoreError, told};
use annals::telemetry::metrics;

use crate::Projector;
use run::Run;
pub use verify::Verified;

/// Connections that a rebuild wants beside its workers': for its lock, the lists of streams, and the exchange.
const BESIDE_WORKERS: usize = 3;
/// Workers of a rebuild that nobody has chosen a number for.
pub const WORKERS: usize = 2;
/// Connections that a projector should have, lest rebuilds wait for one of their own.
pub const CONNECTIONS: usize = WORKERS + BESIDE_WORKERS;

/// How far a rebuild is, for whoever watches.
#[derive(Debug, Default)]
pub struct Progress {
    total: AtomicI64,
    events: AtomicI64,
    streams: AtomicI64,
}

impl Progress {
    /// Events that there were to fold at the beginning; 0 until they are counted.
    pub fn total(&self) -> i64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Events folded so far.
    pub fn events(&self) -> i64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Streams folded so far.
    pub fn streams(&self) -> i64 {
        self.streams.load(Ordering::Relaxed)
    }
}

/// A rebuild that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Its id.
    pub id: i32,
    /// Streams that the new read models hold, each counted once however often it was folded.
    pub streams: i64,
    /// Their events.
    pub events: i64,
    /// Rows that were not what they should have been.
    pub changed_rows: i64,
}

/// A rebuild that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A state that cannot be folded, or that a table refuses.
    #[error("{} {}: {message}", stream.aggregate_type, stream.aggregate_id)]
    AtStream {
        /// The stream at fault.
        stream: StreamId,
        /// What is wrong.
        message: String,
    },
    /// It may not run: another one does, or there is no such module.
    #[error("{0}")]
    Refused(String),
    /// So much is projected all the time that it never caught up, or others' locks are always in the way.
    #[error("what is projected all the time could not be caught up with, or locks of others were always in the way")]
    Outrun,
    /// The database.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for RebuildError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal.message),
            other => Self::Store(other),
        }
    }
}

impl RebuildError {
    /// For the log: without the stream's name and what its table says, which may quote it. Staff reads both in the recorded
    /// rebuild.
    fn told(&self) -> String {
        match self {
            Self::AtStream { stream, .. } => {
                format!(
                    "{}: a state cannot be folded, or a table refuses it",
                    stream.aggregate_type
                )
            }
            other => told(other),
        }
    }
}

impl Projector {
    /// Rebuilds read models.
    ///
    /// # Errors
    /// Whatever kept it from the exchange; live read models are then as they were.
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
                run.shadow.drop_tables().await;
                if let Some(every) = self.snapshot_every
                    && let Err(error) = refill::refill(&self.store, &run.shadow, every).await
                {
                    tracing::warn!(error = told(&error), "snapshots not refilled");
                }
                // It is done; what it noted can wait for the sweep.
                if let Err(error) = self.settle_kpis(self.pace.patience).await {
                    tracing::warn!(error = told(&error), "key figures not settled");
                }
                Ok(run.rebuilt(exchanged))
            }
            Err(error) => {
                run.fail(&error).await;
                Err(error)
            }
        }
    }

    /// Makes the rebuilds that are due: those that staff asked for, and those of states that have got another shape. One that
    /// fails is logged and recorded, and tried again later; the others are made all the same.
    ///
    /// # Errors
    /// The database's, where not even the list could be read.
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
                    tracing::warn!(error = error.told(), "rebuild failed");
                }
            }
        }
        Ok(())
    }
}
