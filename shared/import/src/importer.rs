//! The importer of large files: the services that it needs.

use annals_append::AppendService;
use annals_queue::Queue;
use annals_storage::{Storage, Uploaded};
use annals_store::Store;
use serde_json::Value;

/// Partitions of an import. Each uses a connection while it appends.
pub const PARTITIONS: i32 = 4;
/// Connections that an importer needs: one per partition, and one to renew its lease.
pub const CONNECTIONS: usize = 5;

/// Imports large files. One per process; any number of processes may run.
#[derive(Clone)]
pub struct Importer {
    pub(crate) store: Store,
    pub(crate) appends: AppendService,
    pub(crate) storage: Storage,
}

impl Importer {
    /// An importer of files in this storage. The store should have [`CONNECTIONS`] connections.
    pub fn new(store: Store, queue: Queue, storage: Storage) -> Self {
        let appends = AppendService::new(store.clone(), queue);
        Self {
            store,
            appends,
            storage,
        }
    }

    /// The objects that an event of the bucket names; `None` if it is no such event.
    pub fn uploaded(&self, event: &Value) -> Vec<Uploaded> {
        self.storage.uploads_in(event)
    }
}
