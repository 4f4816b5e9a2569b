//! What a process remembers of catalogs.

use std::collections::HashMap;
use std::sync::Arc;

use annals_domain::{Catalog, TenantId};
use tokio::sync::RwLock;

/// The catalogs that a process keeps in memory.
#[derive(Default)]
pub struct CatalogCache {
    pub(super) callers: RwLock<HashMap<TenantId, Arc<Catalog>>>,
    pub(super) projector: RwLock<Option<Arc<Catalog>>>,
    /// The built-in types with their schemas, which are the same for every tenant.
    pub(super) built_in: RwLock<Option<Arc<Catalog>>>,
}
