//! What the handlers of this function share.

use std::sync::Arc;

use annals::auth::Verifier;
use annals::{Core, StartError};
use annals_append::AppendService;
use annals_config::{Config, wake_queue_url};
use annals_queue::Queue;
use annals_store::Store;
use axum::extract::FromRef;

/// What the handlers share. It is made once per process and cheap to clone.
#[derive(Clone, FromRef)]
pub struct App {
    /// Access to the log and to everything derived from it.
    pub store: Store,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// Checks events, appends them, and wakes the projector.
    pub append: AppendService,
    /// Where sweeps and rebuilds are requested.
    pub queue: Queue,
}

impl App {
    /// The app of a deployed function.
    ///
    /// # Errors
    /// [`StartError`]: a configuration that cannot be used.
    pub async fn new(config: Config) -> Result<Self, StartError> {
        let core = Core::open(config).await?;
        let connecting = core.connect_early();
        let append = AppendService::of_function(core.store.clone(), wake_queue_url()).await;
        let _connected = connecting.await;
        Ok(Self {
            queue: append.queue().clone(),
            append,
            store: core.store,
            verifier: core.verifier,
        })
    }
}
