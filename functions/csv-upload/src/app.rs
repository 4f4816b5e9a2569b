//! What the handlers of this function share.

use std::sync::Arc;

use annals::Core;
use annals::auth::Verifier;
use annals_append::AppendService;
use annals_config::{Config, upload_bucket, wake_queue_url};
use annals_domain::checker;
use annals_queue::Queue;
use annals_storage::{S3, Storage};
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
    /// Where large files are stored.
    pub storage: Storage,
}

impl App {
    /// The app of a deployed function.
    ///
    /// # Errors
    /// A configuration that cannot be used.
    pub async fn new(config: Config) -> Result<Self, lambda_http::Error> {
        let core = Core::open(config).await?;
        // Three things that the first request would wait for are done concurrently.
        let connecting = core.connect_early();
        let warming_up = tokio::task::spawn_blocking(checker::warm_up);
        let queue = Queue::of_function(wake_queue_url());
        let _done = (connecting.await, warming_up.await);
        let storage = match upload_bucket() {
            Ok(bucket) => Storage::S3(S3::of_function(bucket)?),
            Err(_) => Storage::Unconfigured,
        };
        Ok(Self {
            append: AppendService::new(core.store.clone(), queue),
            store: core.store,
            verifier: core.verifier,
            storage,
        })
    }
}
