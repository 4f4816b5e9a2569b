//! The store: all SQL of Annals.
//!
//! Architecture invariant: there is no SQL anywhere else. Every query begins with a comment that names its function, so
//! `pg_stat_statements` points back to the code; only transaction control and settings have no name. A transaction sets its role first,
//! and a request's transaction also sets the caller's claims. Appends, look-ups of idempotency keys and registrations of event types
//! are different: they run with the rights of the login, and their SQL functions take the verified claims. No statement is prepared
//! under a name, because transaction poolers (PgBouncer, Supavisor) do not keep them.
//!
//! Every method that uses the database can fail with a database error ([`StoreError`]). Sections `# Errors` say only what else can
//! happen.

mod catalog;
mod connection;
mod error;
mod imports;
mod key_figures;
mod log;
mod migrations;
mod read_models;
mod rebuild;
mod redacted_error;
mod status;

pub use catalog::CATALOG_TRIES;
pub use catalog::registration::{NewVersion, Registration};
pub use catalog::upcasters::ListedUpcaster;
pub use connection::access::{Access, Address, Login};
pub use connection::connect::Store;
pub use connection::error::ConnectError;
pub use connection::login::{ApiLogin, ensure_api_login};
pub use error::{Refusal, RefusalKind, StoreError};
pub use imports::uploads::{FinishedUpload, NewUpload, RejectedCell, RejectedRow, ReportFrame, UploadStatus};
pub use imports::{
    AcquireOutcome, ChunkOutcome, DueImport, DueRevert, EarlierUpload, ImportEnd, ImportTransaction, Inspection,
    LEASE_SECONDS, LeasedImport, LeasedRevert, LeftAlone, MAX_RUNNING_IMPORTS, NewImport, PartitionProgress,
    RevertRecord, RevertScope, RevertStep, Revertible, TAKEN_OVER, UploadRecord,
};
pub use key_figures::{AppliedChanges, By, Days, DueKpi, Granularity, KpiLine, KpiPage, TopLine};
pub use log::append::{AppendError, Appended, CheckedEvents};
pub use log::audited::{AuditQuery, Audited};
pub use log::checkpoints::{CheckpointMove, Run};
pub use log::compensation_status::CompensationStatus;
pub use log::events::{EventFilter, FieldFilter, Order, PageRange, Reading, WrittenEvent};
pub use log::feed::{Feed, Selection};
pub use log::history::{HistoryEvent, HistoryQuery};
pub use log::kept_keys::{KeptKey, KeptOutcome, KnownKey};
pub use log::pages::PAGE_BYTES;
pub use log::replays::ReplayStatus;
pub use migrations::migrate::{Ahead, MigrateError, MigrationProgress, MigrationReport, migrate, migrate_by};
pub use migrations::migration_script::migration_script;
pub use migrations::outdated::SchemaOutdated;
pub use read_models::facts::EventText;
pub use read_models::past::{Bounds, PastEntity};
pub use read_models::progress::{Parked, SweepWindow};
pub use read_models::projection::{ChildKey, ChildRow, EntityWrite, Instruction, ProjectionWrite, Wave};
pub use read_models::snapshots::{MAX_DISTANCE, Snapshot, SnapshotMetadata};
pub use read_models::state_row::StateRow;
pub use read_models::stored_entity::{EntityText, Stopped, StoredEntity};
pub use read_models::work::{StateTables, StreamWork, Work, WorkEvent};
pub use rebuild::{
    Compared, Difference, DueRebuild, Exchange, Exchanged, FoldVersion, Locked, PastEvent, Piece, Purpose,
    RebuildScope, RebuildStatus, RepairedKeyFigures, Shadow, StoredSnapshot, StreamToFold,
};
pub use redacted_error::redacted_error;
pub use status::ratio::Ratio;
pub use status::statistics::{Statistics, StorageRate, TenantFigures, Window};
pub use status::usage::{SnapshotUse, Upcasting, Usage};
pub use status::{Health, KpiLag, OldestAppend, ParkedStream, ProjectorStatus, Rates};
