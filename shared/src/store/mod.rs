//! The store: everything that is said to PostgreSQL.
//!
//! Architecture invariant: there is no SQL anywhere else. Every statement begins with a comment that names its function, so that
//! `pg_stat_statements` points back here; every transaction first takes its role, and a request's takes the caller's claims;
//! no statement is prepared under a name, so that transaction poolers (PgBouncer, Supavisor) work.

mod access;
mod append;
mod audited;
mod backlog;
mod catalog;
mod checkpoints;
mod connect;
mod entities;
mod error;
mod events;
mod facts;
mod feed;
mod history;
mod imports;
mod kept_keys;
mod kpis;
mod lease;
mod login;
mod migrate;
mod migration_script;
mod minutes;
mod moment;
mod pages;
mod past;
mod progress;
mod projection;
mod ratio;
mod rebuild;
mod registration;
mod replays;
mod schema_check;
mod session;
mod snapshots;
mod standing;
mod statistics;
mod status;
mod tails;
mod tls;
mod told;
mod upcasters;
mod uploads;
mod usage;
mod work;

pub use access::{Access, Address, Login};
pub use append::Appended;
pub use audited::{AuditQuery, Audited};
pub use backlog::Backlog;
pub use checkpoints::{CheckpointMove, Run};
pub use connect::{ConnectError, Store};
pub use entities::{Stopped, StoredEntity};
pub use error::{Refusal, StoreError};
pub use events::{EventFilter, Order, Reading};
pub use feed::{Feed, Selection};
pub use history::{HistoryEvent, HistoryQuery};
pub use imports::{
    AT_ONCE, DueImport, HELD_SECONDS, HeldImport, ImportEnd, Inspection, LaneProgress, NewImport, SettledRows,
    TAKEN_OVER, Taking, UploadRecord, WholeImport,
};
pub use kept_keys::{KeptKey, KnownKey, Outcome};
pub use kpis::{By, Days, DueKpi, Granularity, KpiLine, KpiPage, Settled, TopLine};
pub use login::{ApiLogin, let_api_in};
pub use migrate::{Ahead, MigrateError, MigrationReport, migrate, migrate_by};
pub use migration_script::migration_script;
pub use past::{Bounds, PastEntity};
pub use progress::{Parked, SweepWindow};
pub use projection::{ChildKey, ChildRow, EntityWrite, Instruction, ProjectionWrite, StateRow, Wave};
pub use ratio::Ratio;
pub use rebuild::{
    Compared, Difference, DueRebuild, Exchange, Exchanged, Locked, MendedKpis, PastEvent, Piece, Purpose, RebuildScope,
    RebuildStatus, Shadow, Shape, StoredSnapshot, StreamToFold,
};
pub use registration::{NewVersion, Registration};
pub use replays::ReplayStatus;
pub use schema_check::SchemaOutdated;
pub use snapshots::{APART, Snapshot, SnapshotMetadata};
pub use standing::Standing;
pub use statistics::{Statistics, StorageRate, TenantFigures, Window};
pub use status::{Health, KpiLag, OldestAppend, ParkedStream, ProjectorStatus, Rates};
pub use told::told;
pub use upcasters::ListedUpcaster;
pub use uploads::{FinishedUpload, RejectedCell, RejectedRow, ReportFrame, UploadFigures, UploadStatus};
pub use usage::{SnapshotUse, Upcasting, Usage};
pub use work::{EntityText, StateTables, StreamWork, Work, WorkEvent};
