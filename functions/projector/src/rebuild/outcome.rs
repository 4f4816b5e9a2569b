//! How far a rebuild is, and how it ended.

use std::sync::atomic::{AtomicI64, Ordering};

use annals_domain::StreamId;
use annals_store::{StoreError, redacted_error};

/// The progress of a running rebuild, for display.
#[derive(Debug, Default)]
pub struct Progress {
    pub(super) total: AtomicI64,
    pub(super) events: AtomicI64,
    pub(super) streams: AtomicI64,
}

impl Progress {
    /// Number of events to fold, as counted at the beginning. 0 until they are counted.
    pub fn total(&self) -> i64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Number of events folded so far. It may exceed the total, because streams that change meanwhile are folded again.
    pub fn events(&self) -> i64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Number of streams folded so far.
    pub fn streams(&self) -> i64 {
        self.streams.load(Ordering::Relaxed)
    }
}

/// The result of a finished rebuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebuilt {
    /// Id of the recorded rebuild.
    pub id: i32,
    /// Number of streams in the new read models. Each counts once, even if it was folded several times.
    pub streams: i64,
    /// Number of events of those streams.
    pub events: i64,
    /// Number of rows that the exchange corrected.
    pub changed_rows: i64,
}

/// Why a rebuild failed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A state cannot be folded, or a table refuses it.
    #[error("{} {}: {message}", stream.aggregate_type, stream.aggregate_id)]
    AtStream {
        /// The stream at fault.
        stream: StreamId,
        /// The error of the fold or of the table.
        message: String,
    },
    /// The rebuild may not run: another one is running, or there is no such aggregate type.
    #[error("{0}")]
    Refused(String),
    /// The rebuild was never finished, because projectors were always faster or other sessions held locks.
    #[error(
        "events were projected faster than the rebuild could fold them, or other sessions held locks all the time; try again later"
    )]
    NeverCaughtUp,
    /// An error of the database.
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
    /// The error as it is logged: without the stream's id and the table's message, which may hold data. Staff can read both in the recorded
    /// rebuild.
    pub(super) fn redacted(&self) -> String {
        match self {
            Self::AtStream { stream, .. } => {
                format!(
                    "{}: a state cannot be folded, or a table refuses it",
                    stream.aggregate_type
                )
            }
            other => redacted_error(other),
        }
    }
}
