//! What a function's requests share: made once per process, cheap to clone.

use std::sync::Arc;

use crate::auth::{AuthConfigError, KEYS_LIVE, Verifier};
use crate::config::Config;
use crate::domain::schema;
use crate::queue::Queue;
use crate::storage::{S3, Storage, StorageError};
use crate::store::{Access, ConnectError, Store};

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
    /// Of what a first request would wait for, this is done here, at once and side by side: the database is met, the queue's client
    /// made, and where there is a queue, and so events to be checked, schemas are made ready. More than that (the catalog, the
    /// queue's answer) makes a start longer by twice what it spares the request, by measurement. Where the database is away, the
    /// first request says so: a function that did not start would say nothing to anybody.
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
        let meeting = tokio::spawn({
            let store = store.clone();
            async move { store.meet().await }
        });
        let checks = config
            .wake_queue_url
            .is_some()
            .then(|| tokio::task::spawn_blocking(schema::prepare));
        let queue = Queue::of_function(config.wake_queue_url);
        let _met = meeting.await;
        if let Some(checks) = checks {
            let _ready = checks.await;
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
