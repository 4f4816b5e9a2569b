//! Imports: the rows of a file become events. One engine for small uploads and large files.
//!
//! A file that is a gzip archive or a workbook is read as the text that it becomes (`text`).
//!
//! A file is read twice. The first time (`inspect`) it is only checked to its end. The second time its rows are dispatched to partitions
//! (`dispatch`). A `partition` makes chunks of its rows, looks up their entities, plans each row (`plan`) and appends the chunk's events in
//! one transaction, with the versions that the plan expects.
//!
//! The kinds of import differ only in the partition's ledger, where events are appended and progress is recorded:
//!
//! | import | ledger | file |
//! |---|---|---|
//! | small, partial (`small`) | appends each chunk | in memory |
//! | small, all or nothing or dry run (`small`) | holds events until the end of the file | in memory |
//! | large, partial (`partitioned`) | appends each chunk together with the partition's progress | in the bucket |
//! | large, all or nothing or dry run (`transaction`) | one open transaction | in the bucket |
//!
//! A large import can be killed at any statement. The next attempt continues from the progress that the partitions have recorded in the
//! transactions that appended (`run`). It relies on nothing else: the bucket's event may come twice, late or never.
//!
//! Architecture invariants: each row is counted as exactly one of accepted, updated, duplicate and rejected. There are no HTTP types. The
//! memory of a large import does not grow with the file, except by some bytes per row if the import is one transaction, and by the sheet of a
//! workbook.

mod auto;
mod chunk;
mod deadline;
mod dispatch;
mod due;
mod error;
mod events;
mod file_format;
mod identity;
mod importer;
mod inspect;
mod job;
mod known;
mod message;
mod options;
mod partition;
mod partitioned;
mod permission;
mod plan;
mod profile;
mod report;
mod revert;
mod run;
mod seen;
mod small;
mod text;
mod transaction;
mod warning;

pub use self::auto::{Completed, Fields, complete, inspect as inspect_file, uncertain};
pub use self::due::log_stalled;
pub use self::error::ImportError;
pub use self::events::{confirm, request};
pub use self::importer::{CONNECTIONS, Importer, PARTITIONS};
pub use self::options::Options;
pub use self::permission::forbidden_event_type;
pub use self::report::RowError;
pub use self::revert::{RevertOutcome, Reverter};
pub use self::run::ImportOutcome;
pub use self::small::SmallUpload;
pub use self::text::{AboutText, SmallFile, Source};
pub use self::warning::Warning;
