//! What every HTTP function needs. It is made once per process and cheap to clone.

use std::sync::Arc;

use annals_config::Config;
use annals_store::{Access, ConnectError, Store};
use tokio::task::JoinHandle;

use crate::auth::{AuthConfigError, KEY_LIFETIME, Verifier};

/// The store and the verifier of tokens. A function adds what else it needs: the append service, object storage.
#[derive(Clone)]
pub struct Core {
    /// Access to the log and to everything derived from it.
    pub store: Store,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
}

/// Why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database's address cannot be used.
    #[error("the database is not usable")]
    Database(#[from] ConnectError),
    /// The token keys cannot be used.
    #[error("the token keys are not usable")]
    Auth(#[from] AuthConfigError),
}

impl Core {
    /// Opens the store and reads the token keys. The store connects when it is first used, or by [`Core::connect_early`].
    ///
    /// # Errors
    /// [`StartError`]: a configuration that cannot be used. An unavailable database is not an error here: the function starts
    /// nevertheless, so that requests can report it.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let database = config.database;
        let access = Access::of(database.address, database.login)?;
        let mut verifier = Verifier::new(&config.auth)?;
        if let Some(secrets) = access.secrets() {
            // Fetched during the start, when Lambda gives the function a whole CPU. If it fails, the first request reports it.
            let _values = secrets.values().await;
            if config.jwt_secret_is_stored {
                verifier = verifier.with_stored_secret(Arc::clone(secrets), KEY_LIFETIME);
            }
        }
        Ok(Self {
            store: Store::open(access, database.pool_size)?,
            verifier: Arc::new(verifier),
        })
    }

    /// Opens the first connection to the database, while the function prepares other things. Doing more at the start (loading the
    /// catalog, calling the queue) was measured: it lengthens the start by twice the time that it saves the first request.
    pub fn connect_early(&self) -> JoinHandle<()> {
        let store = self.store.clone();
        tokio::spawn(async move {
            let _connected = store.connect_early().await;
        })
    }
}
