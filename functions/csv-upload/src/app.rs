//! What the handlers of this function share.

use std::sync::Arc;

use annals::Core;
use annals::auth::Verifier;
use annals_append::AppendService;
use annals_config::{Config, upload_bucket, wake_queue_url};
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
        let connecting = core.connect_early();
        let append = AppendService::of_function(core.store.clone(), wake_queue_url()).await;
        let _connected = connecting.await;
        let storage = match upload_bucket() {
            Ok(bucket) => Storage::S3(S3::of_function(bucket)?),
            Err(_) => Storage::Unconfigured,
        };
        Ok(Self {
            append,
            store: core.store,
            verifier: core.verifier,
            storage,
        })
    }
}
