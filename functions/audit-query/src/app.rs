//! What the handlers of this function share.

use std::sync::Arc;

use annals::auth::Verifier;
use annals::{Core, StartError};
use annals_config::Config;
use annals_store::Store;
use axum::extract::FromRef;

/// What the handlers share. It is made once per process and cheap to clone.
#[derive(Clone, FromRef)]
pub struct App {
    /// Access to the log and to everything derived from it.
    pub store: Store,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
}

impl App {
    /// The app of a deployed function.
    ///
    /// # Errors
    /// [`StartError`]: a configuration that cannot be used.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let core = Core::open(config).await?;
        let _connected = core.connect_early().await;
        Ok(Self {
            store: core.store,
            verifier: core.verifier,
        })
    }
}
