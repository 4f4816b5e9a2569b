//! What a function's requests share: made once per process, cheap to clone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::auth::{AuthConfigError, KEYS_LIVE, Verifier};
use crate::config::Config;
use crate::domain::schema;
use crate::queue::Queue;
use crate::storage::{S3, Storage, StorageError};
use crate::store::{Access, ConnectError, Store};

/// How long a function that starts waits for the catalog.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// The parts that handlers work with.
#[derive(Clone)]
pub struct App {
    /// The log and what is derived from it.
    pub store: Store,
    /// Who is calling.
    pub verifier: Arc<Verifier>,
    /// Where the projector is woken.
    pub queue: Queue,
    /// Where large files lie.
    pub storage: Storage,
}

/// A function that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database's address is unusable.
    #[error("the database is not usable")]
    Database(#[from] ConnectError),
    /// The keys are unusable.
    #[error("the token keys are not usable")]
    Auth(#[from] AuthConfigError),
    /// There is a bucket, and no way to it.
    #[error("the bucket of large files is not usable")]
    Storage(#[from] StorageError),
}

impl App {
    /// The app of a deployed function.
    ///
    /// What a first request would wait for is done here: the database is met, and where there is a queue, and so events to be
    /// checked, the types that are built in are read, while other processors make schemas ready and meet the queue. Whoever is
    /// away is missed by the first request: a function that did not start would say nothing to anybody.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let database = config.database;
        let access = Access::of(database.address, database.login)?;
        let mut verifier = Verifier::new(&config.auth)?;
        if let Some(secrets) = access.secrets() {
            // Begun here, where Lambda gives a starting function a whole processor; what comes of it, the first request hears.
            let _known = secrets.values().await;
            if config.shared_secret_is_kept {
                verifier = verifier.with_kept_secret(Arc::clone(secrets), KEYS_LIVE);
            }
        }
        let store = Store::open(access, database.pool_size)?;
        let appends = config.wake_queue_url.is_some();
        let queue = Queue::of_function(config.wake_queue_url);
        if appends {
            let checks = tokio::task::spawn_blocking(schema::prepare);
            let meeting = tokio::spawn({
                let queue = queue.clone();
                async move { queue.meet().await }
            });
            // A migration may hold the catalog, and then the first request says so.
            let _learnt = timeout(FIRST_LOOK, store.learn_built_in()).await;
            let _ready = (checks.await, meeting.await);
        } else {
            let _met = store.ping().await;
        }
        let storage = match config.upload_bucket {
            Some(bucket) => Storage::S3(S3::of_function(bucket)?),
            None => Storage::Nowhere,
        };
        Ok(Self {
            store,
            verifier: Arc::new(verifier),
            queue,
            storage,
        })
    }
}
