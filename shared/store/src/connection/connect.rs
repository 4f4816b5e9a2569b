//! Connections: one pool per process. A connection is opened when a request needs one.
//!
//! A Lambda environment is frozen between requests, for milliseconds or hours, and cannot notice meanwhile that its connection died. A
//! connection that was idle for a while is therefore probed before use, and replaced if it does not answer within a second. One that
//! was used recently is not probed, which keeps an append at one round trip.

use std::sync::Arc;

use deadpool::Runtime;
use deadpool::managed::{Pool, PoolError, Timeouts};
use futures_util::FutureExt;

use crate::StoreError;
use crate::catalog::cache::CatalogCache;
use crate::connection::access::{Access, WAIT};
use crate::connection::error::ConnectError;
use crate::connection::lease::Lease;
use crate::connection::pool::Connector;
use crate::error::is_fatal;
use crate::log::page_ends::PageEnds;
use annals_config::{DatabaseConfig, DatabaseSettings};

/// The database, shared by all requests of a process. Cloning is cheap.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Connector>,
    pub(crate) catalogs: Arc<CatalogCache>,
    pub(crate) page_ends: Arc<PageEnds>,
}

impl Store {
    /// A store at a known address. No connection is opened yet, so a function starts even if its database is down.
    ///
    /// # Errors
    /// The address cannot be parsed.
    pub fn new(config: &DatabaseConfig) -> Result<Self, ConnectError> {
        Self::open(Access::to(&config.url), config.pool_size)
    }

    /// The store of a deployed function that needs this many connections, or more if the settings say so. No connection is opened yet.
    ///
    /// # Errors
    /// Errors that can be found without a connection.
    pub fn of_function(settings: DatabaseSettings, connections: usize) -> Result<Self, ConnectError> {
        let access = Access::of(settings.address, settings.login)?;
        Self::open(access, settings.pool_size.max(connections))
    }

    /// A store with this access. No connection is opened yet.
    ///
    /// # Errors
    /// Errors that can be found without a connection.
    pub fn open(access: Access, pool_size: usize) -> Result<Self, ConnectError> {
        access.check()?;
        let pool = Pool::builder(Connector::new(access))
            .max_size(pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT),
                create: Some(WAIT),
                recycle: Some(WAIT),
            })
            .build()?;
        Ok(Self {
            pool,
            catalogs: Arc::default(),
            page_ends: Arc::default(),
        })
    }

    /// A connection from the pool.
    pub(crate) async fn connection(&self) -> Result<Lease, StoreError> {
        // Boxed, so that the future of each statement does not contain the one that opens a connection, which is large.
        match self.pool.get().boxed().await {
            Ok(object) => Ok(Lease::of(object)),
            Err(PoolError::Backend(error)) => Err(not_connected(error)),
            Err(other) => Err(StoreError::Unavailable(Box::new(other))),
        }
    }

    /// Opens a connection if there is none yet, so that the first request does not wait for it.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn connect_early(&self) -> Result<(), StoreError> {
        self.connection().await.map(drop)
    }

    /// Closes all idle connections. What broke one connection, for instance a crash of the server, has usually broken the others too.
    /// Their end may not have arrived yet, and until then the pool would hand out a dead connection again, also to the attempt that
    /// looks up what became of a lost append.
    pub(crate) fn evict_idle(&self) {
        self.pool.retain(|_, _| false);
    }
}

/// What a failed connect means to a request. If a server or pooler ends the attempt (FATAL: full, starting, no such login), the next
/// attempt may succeed. An error that is not fatal comes from the statements after the login, and a retry does not help.
fn not_connected(error: ConnectError) -> StoreError {
    match error {
        ConnectError::SchemaOutdated(outdated) => StoreError::SchemaOutdated(outdated),
        ConnectError::Database(error) if is_lasting(&error) => StoreError::Database(error),
        other => StoreError::Unavailable(Box::new(other)),
    }
}

/// Whether an error at connecting stays until something is changed. It does not if the server is starting, stopping or full.
fn is_lasting(error: &tokio_postgres::Error) -> bool {
    let db = error.as_db_error().filter(|db| !is_fatal(db));
    db.is_some_and(|db| !matches!(&db.code().code()[..2], "08" | "53" | "57"))
}
