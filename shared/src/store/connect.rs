//! Connections: one pool per process, filled when a request needs one.
//!
//! A function's environment is frozen between requests, for milliseconds or an hour, and cannot notice meanwhile that its
//! connection has died. So one that was not used for a while is tried before it is used, and replaced if it does not answer
//! soon; one in use is used at once, which is what keeps an append one round trip.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, BuildError, Metrics, Pool, PoolError, RecycleError, RecycleResult, Timeouts};
use futures_util::FutureExt;
use tokio::time::timeout;
use tokio_postgres::Client;

use super::StoreError;
use super::access::{Access, WAIT};
use super::catalog::CatalogCache;
use crate::config::DatabaseConfig;
use crate::rds::TokenError;
use crate::secrets::SecretError;
use crate::since::Since;

/// A connection that is tried and does not answer in this time is given up. Making another takes less than waiting for more.
const ANSWER: Duration = Duration::from_secs(1);
/// A statement without a statement: the cheapest thing that a server, or a pooler's server, answers.
const STILL_THERE: &str = "-- still_there\n";

/// The database, shared by all requests of a process.
#[derive(Clone)]
pub struct Store {
    pool: Pool<Connections>,
    pub(super) catalogs: Arc<CatalogCache>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be read. The driver's reason would quote it, password and all.
    #[error("DATABASE_URL is not a PostgreSQL connection address")]
    Address,
    /// The authorities that were given are none.
    #[error("DATABASE_CA holds something else than certificates")]
    Authorities,
    /// A token is as good as a password for a quarter of an hour.
    #[error("IAM authentication takes an encrypted connection: DATABASE_URL says sslmode=disable, or no other machine")]
    TokenInTheClear,
    /// The address is in a secret that cannot be had.
    #[error("the secret with the database's address cannot be had")]
    Secret(#[from] SecretError),
    /// There is no token to log in with.
    #[error("no token for the database")]
    Token(#[from] TokenError),
    /// The login is refused, and there is no other.
    #[error("the database refuses the login")]
    Login(#[source] tokio_postgres::Error),
    /// An address that the functions are to use, and that is not for them.
    #[error("DATABASE_URL of the functions does not log in as annals_api with a password")]
    NotTheApis,
    /// The server is not there, is not the one that it should be, or accepts no connection.
    #[error("no connection to the database")]
    Database(#[from] tokio_postgres::Error),
    /// The pool could not be made.
    #[error("no connection pool")]
    Pool(#[from] BuildError),
}

/// A connection of the pool.
pub(super) type Object = managed::Object<Connections>;

/// Makes the pool's connections.
pub(super) struct Connections(Access);

/// A connection, and when it was last used.
pub(super) struct Connection {
    client: Client,
    used: Since,
}

impl Store {
    /// A store at a known address. Nothing is connected yet, so that a function starts while its database is away.
    ///
    /// # Errors
    /// An address that cannot be read.
    pub fn new(config: &DatabaseConfig) -> Result<Self, ConnectError> {
        Self::open(Access::to(&config.url), config.pool_size)
    }

    /// A store that is reached in this way. Nothing is connected yet.
    ///
    /// # Errors
    /// What can be found wrong without asking anybody.
    pub fn open(access: Access, pool_size: usize) -> Result<Self, ConnectError> {
        access.check()?;
        let pool = Pool::builder(Connections(access))
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
        })
    }

    /// A connection from the pool.
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(ConnectError::Database(error))
                if error.as_db_error().is_some_and(|db| !is_passing(db.code().code())) =>
            {
                StoreError::Database(error)
            }
            other => StoreError::Unavailable(Box::new(other)),
        })
    }

    /// Lets go of every connection that nobody uses. What ended one, a crash of the server for instance, has ended others, and
    /// their ends may still be on the way: the server's last words arrive before the end itself does, and until then the pool
    /// would hand the same dead connection out again, to the very attempt that is to find out what has become of the first.
    pub(super) fn distrust_idle(&self) {
        self.pool.retain(|_, _| false);
    }
}

/// Whether an error at connecting may go away by itself: the server is starting, stopping or full.
fn is_passing(code: &str) -> bool {
    matches!(&code[..2], "08" | "53" | "57")
}

impl managed::Manager for Connections {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        let (client, _driver) = self.0.open_as_api().boxed().await?;
        let used = Since::now();
        Ok(Connection { client, used })
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<ConnectError> {
        if connection.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        if connection.used.elapsed() >= self.0.tried_after && !connection.answers().await {
            tracing::info!("a connection that was idle does not answer any more");
            return Err(RecycleError::message("does not answer"));
        }
        connection.used = Since::now();
        Ok(())
    }
}

impl Connection {
    async fn answers(&self) -> bool {
        matches!(timeout(ANSWER, self.client.simple_query(STILL_THERE)).await, Ok(Ok(_)))
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
