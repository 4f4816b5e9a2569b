//! An import whose lease this process holds.

use annals_domain::{Caller, RowCounts};
use serde_json::Value;
use uuid::Uuid;

use crate::{Refusal, RefusalKind, StoreError};

/// The refusal's code if another worker holds the import's lease by now.
pub const TAKEN_OVER: &str = "import_taken_over";

/// An import whose lease this process holds.
#[derive(Debug, Clone)]
pub struct LeasedImport {
    /// The upload.
    pub id: Uuid,
    /// Holder of the lease: a new id for each attempt.
    pub holder: Uuid,
    /// Name of the dataset.
    pub dataset: String,
    /// The upload's fields.
    pub options: Value,
    /// The caller who requested the upload. Events are appended as this caller.
    pub caller: Caller,
    /// What the server observed of that request.
    pub context: Value,
    /// Whether nothing is to be appended.
    pub dry_run: bool,
    /// Whether the import has begun.
    pub is_running: bool,
    /// Whether the time for sending its file is over.
    pub is_over: bool,
    /// Whether it begins without a confirmation, or is confirmed.
    pub starts: bool,
    /// Fields of an inspection that is asked for and not answered.
    pub asked: Option<Value>,
    /// Tag of the object that was inspected; `None` if there is no inspection.
    pub inspected_tag: Option<String>,
    /// Attempts since the last progress, including this one.
    pub attempts: i32,
    /// Tag of the object that is imported; `None` before the import began.
    pub object_tag: Option<String>,
    /// The file's encoding, delimiter and header; `None` before the inspection.
    pub reader: Option<Value>,
    /// The resume point; `None` before the inspection.
    pub resume_point: Option<Value>,
    /// SHA-256 of the file; `None` before the inspection.
    pub file_sha256: Option<Vec<u8>>,
    /// Progress of every partition; empty before the inspection.
    pub partitions: Vec<PartitionProgress>,
}

/// The progress of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The partition, from 0.
    pub partition: i32,
    /// Number of the last row that is done. All rows of the partition up to it are done.
    pub done_row: i64,
    /// Bytes of the rejected rows that the report holds.
    pub reported_bytes: i64,
    /// What became of the rows that are done.
    pub counts: RowCounts,
}

pub(super) fn taken_over() -> StoreError {
    let message = "another worker has taken the import over";
    StoreError::Refused(Refusal::new(RefusalKind::Conflict, TAKEN_OVER, message))
}
