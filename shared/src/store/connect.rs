//! Connections: one pool per process, filled when a request needs one.
//!
//! A function's environment is frozen between requests, for milliseconds or an hour, and cannot notice meanwhile that its
//! connection has died. So one that was not used for a while is tried before it is used, and replaced if it does not answer
//! soon; one in use is used at once, which is what keeps an append one round trip.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use deadpool_postgres::{
    BuildError, ClientWrapper, Connect, Hook, HookError, Manager, ManagerConfig, Metrics, Pool, PoolError,
    RecyclingMethod, Runtime, Timeouts,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::StoreError;
use super::access::{Access, WAIT};
use super::catalog::CatalogCache;
use super::error::is_fatal;
use super::lease::Lease;
use super::schema_check::{SchemaCheck, SchemaOutdated};
use crate::config::DatabaseConfig;
use crate::rds::TokenError;
use crate::secrets::SecretError;
use crate::since::Since;

/// A connection that is tried and does not answer in this time is given up. Making another takes less than waiting for more.
const ANSWER: Duration = Duration::from_secs(1);
/// A statement without a statement: the cheapest thing that a server, or a pooler's server, answers.
const STILL_THERE: &str = "-- still_there\n";
/// The two clocks of a process differ by less than this unless it was frozen, or a clock was set.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// The database, shared by all requests of a process.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
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
    /// The database has not been migrated to what this program needs.
    #[error(transparent)]
    SchemaOutdated(#[from] SchemaOutdated),
    /// The pool could not be made.
    #[error("no connection pool")]
    Pool(#[from] BuildError),
}

/// Makes the pool's connections, in the way that the process reaches its database.
struct Reach {
    access: Access,
    schema: SchemaCheck,
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
        let tried_after = access.tried_after;
        let only_closed = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        // The address comes from `Reach`: it may have to be fetched first, and may change.
        let reach = Reach {
            access,
            schema: SchemaCheck::default(),
        };
        let manager = Manager::from_connect(Config::new(), reach, only_closed);
        let awake = Awake::default();
        let pool = Pool::builder(manager)
            .max_size(pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT),
                create: Some(WAIT),
                recycle: Some(WAIT),
            })
            .post_recycle(Hook::async_fn(move |client: &mut ClientWrapper, metrics: &Metrics| {
                let is_doubtful = metrics.last_used() >= tried_after || awake.has_slept_since(metrics);
                Box::pin(async move {
                    if is_doubtful && !answers(client).await {
                        tracing::info!("a connection that was idle does not answer any more");
                        return Err(HookError::message("does not answer"));
                    }
                    Ok(())
                })
            }))
            .build()?;
        Ok(Self {
            pool,
            catalogs: Arc::default(),
        })
    }

    /// A connection from the pool.
    pub(super) async fn connection(&self) -> Result<Lease, StoreError> {
        match self.pool.get().await {
            Ok(object) => Ok(Lease::of(object)),
            Err(PoolError::Backend(error)) => Err(not_connected(error)),
            Err(other) => Err(StoreError::Unavailable(Box::new(other))),
        }
    }

    /// Makes a connection if there is none yet, so that the first request need not.
    ///
    /// # Errors
    /// There is none to be had.
    pub async fn meet(&self) -> Result<(), StoreError> {
        self.connection().await.map(drop)
    }

    /// Lets go of every connection that nobody uses. What ended one, a crash of the server for instance, has ended others, and
    /// their ends may still be on the way: the server's last words arrive before the end itself does, and until then the pool
    /// would hand the same dead connection out again, to the very attempt that is to find out what has become of the first.
    pub(super) fn distrust_idle(&self) {
        self.pool.retain(|_, _| false);
    }
}

/// What no connection means to a request. A server or pooler that ends the attempt (FATAL: full, starting, no such login) may take
/// the next one. An error that is not fatal comes from the statements after the login, and no retry helps.
fn not_connected(error: tokio_postgres::Error) -> StoreError {
    if let Some(ConnectError::SchemaOutdated(outdated)) = ours(&error) {
        return StoreError::SchemaOutdated(*outdated);
    }
    match error.as_db_error() {
        Some(db) if !is_fatal(db) && !is_passing(db.code().code()) => StoreError::Database(error),
        _ => StoreError::Unavailable(Box::new(ConnectError::Database(error))),
    }
}

/// Whether an error at connecting may go away by itself: the server is starting, stopping or full.
fn is_passing(code: &str) -> bool {
    matches!(&code[..2], "08" | "53" | "57")
}

async fn answers(client: &Client) -> bool {
    matches!(timeout(ANSWER, client.simple_query(STILL_THERE)).await, Ok(Ok(_)))
}

impl Connect for Reach {
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(async move {
            match self.open().await {
                Ok(session) => Ok(session),
                Err(ConnectError::Database(error)) => Err(error),
                Err(other) => Err(wrapped(other).await?),
            }
        })
    }
}

type Connected = Result<(Client, JoinHandle<()>), tokio_postgres::Error>;

impl Reach {
    async fn open(&self) -> Result<(Client, JoinHandle<()>), ConnectError> {
        let session = self.access.open_as_api().await?;
        self.schema.check(&session.0).await?;
        Ok(session)
    }
}

/// The pool's manager can only return `tokio_postgres::Error`, which has no public constructor. So the driver is connected to a stream
/// that fails with our error, which `ours` reads back as the cause.
async fn wrapped(error: ConnectError) -> Result<tokio_postgres::Error, tokio_postgres::Error> {
    let stream = Failing(Some(error));
    match Config::new().user("none").connect_raw(stream, NoTls).await {
        Err(wrapped) => Ok(wrapped),
        Ok(_) => unreachable!("the stream takes nothing"),
    }
}

/// Our error in one of the driver's.
fn ours(error: &tokio_postgres::Error) -> Option<&ConnectError> {
    error.source()?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}

/// A stream that fails with this error.
struct Failing(Option<ConnectError>);

impl Failing {
    fn fail<T>(mut self: Pin<&mut Self>) -> Poll<io::Result<T>> {
        Poll::Ready(Err(match self.0.take() {
            Some(error) => io::Error::other(error),
            None => io::ErrorKind::BrokenPipe.into(),
        }))
    }
}

impl AsyncRead for Failing {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }
}

impl AsyncWrite for Failing {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.fail()
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }
}

/// When the process was last seen to have slept. The pool measures how long a connection was idle by a clock that may stand still
/// while an environment is frozen; the wall clock does not, so a jump between the two tells.
#[derive(Clone)]
struct Awake(Arc<Mutex<(Since, Option<Instant>)>>);

impl Default for Awake {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Since::now(), None))))
    }
}

impl Awake {
    fn has_slept_since(&self, metrics: &Metrics) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, woke) = &mut *state;
        if seen.clocks_differ_by() >= CLOCKS_DIFFER {
            *woke = Some(Instant::now());
        }
        *seen = Since::now();
        let used = metrics.recycled.unwrap_or(metrics.created);
        woke.is_some_and(|woke| used < woke)
    }
}
