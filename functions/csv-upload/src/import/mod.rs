//! Large files: what happens between the arrival of an object and the end of its import.
//!
//! A file is read twice. The first time (`inspect`) nothing is done but to find out whether it can be read to its end, what its
//! SHA-256 is and how many rows it has. The second time its rows are dealt to lanes (`deal`), and each lane (`lane`) looks up, plans
//! and appends chunk by chunk, while the reader goes on. An import that has to be all or nothing, or is only to say what it would do,
//! is one transaction instead (`whole`).
//!
//! Whatever ends an invocation, another one goes on (`run`): lanes say which rows are settled, because they say it in the
//! transactions that append. Nothing else is trusted: neither the event that told of the object, which may come twice, late or never,
//! nor memory.

mod deal;
mod inspect;
mod invocation;
mod lane;
pub(crate) mod notes;
mod run;
mod settle;
mod whole;
mod written;

use std::time::Duration;

use annals::queue::Queue;
use annals::storage::{Storage, StorageError};
use annals::store::{Store, StoreError};
use tokio::time::Instant;

use crate::fault::FileFault;
use crate::reader::ReadError;

pub use self::invocation::Invocation;
pub use self::run::Outcome;

/// Lanes that rows are dealt to, each a connection while it appends.
pub const LANES: i32 = 4;
/// Connections that an importer wants: its lanes', and one to say that it still works.
pub const CONNECTIONS: usize = 5;
/// How long an invocation may take: the `Timeout` of template.yaml. Lambda names the moment, too, but that would believe the
/// function's clock.
pub const TIME: Duration = Duration::from_secs(900);
/// What is left of an invocation's time when it begins nothing new: a chunk may wait for others' locks.
const RESERVE: Duration = Duration::from_secs(30);
/// Imports that one look for what is due goes on with, at most, one after the other.
const DUE_AT_ONCE: i64 = 20;
/// Attempts without getting any further after which an import counts as stuck.
const STUCK_AFTER: i32 = 5;

/// Imports large files. One per process; any number of processes.
#[derive(Clone)]
pub struct Importer {
    store: Store,
    queue: Queue,
    storage: Storage,
}

/// Why an import did not get on. Another attempt may.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store of files.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file, while it is read.
    #[error("the file could not be read")]
    Source(#[source] std::io::Error),
    /// Others kept getting ahead.
    #[error("others kept changing the same entities")]
    Overtaken,
    /// A fault of ours.
    #[error("{0}")]
    Unexpected(String),
    /// The file is at fault: no other attempt would get on.
    #[error(transparent)]
    File(#[from] FileFault),
}

impl From<ReadError> for ImportError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::File(fault) => Self::File(fault),
            ReadError::Source(error) => match error.downcast::<StorageError>() {
                Ok(StorageError::Changed) => {
                    let message = "the file was changed or deleted while it was read: ask for another upload";
                    Self::File(FileFault::new("file_changed", message))
                }
                Ok(error) => Self::Storage(error),
                Err(error) => Self::Source(error),
            },
        }
    }
}

impl Importer {
    /// An importer of files in this storage. The store should have [`CONNECTIONS`].
    pub fn new(store: Store, queue: Queue, storage: Storage) -> Self {
        Self { store, queue, storage }
    }
}

/// When nothing new is to be begun any more.
fn until(deadline: Option<Instant>) -> Option<std::time::Instant> {
    deadline.map(|deadline| deadline.checked_sub(RESERVE).unwrap_or(deadline).into_std())
}

/// Whether there is time to begin something new.
fn has_time(deadline: Option<Instant>) -> bool {
    deadline.is_none_or(|deadline| Instant::now() + RESERVE < deadline)
}
