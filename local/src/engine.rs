//! All functions in one process: the same routers, projector and importer as deployed, with a channel instead of SQS and timers instead of
//! schedules.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::auth::Verifier;
use annals_append::AppendService;
use annals_config::{AuthConfig, DatabaseConfig, snapshot_every};
use annals_import::Importer;
use annals_queue::{Queue, WakeUp};
use annals_storage::{Folder, Storage};
use annals_store::{Access, Ahead, MigrateError, Store, migrate_by};
use annals_telemetry::chain;
use aws_lambda_events::event::sqs::SqsMessage;
use axum::Router;
use projector::Projector;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use crate::bucket;
use crate::cors;
use crate::error::Error;
use crate::progress::MigrationBar;
use crate::secrets::JwtSecret;
use crate::shutdown::Shutdown;
use crate::token::{AUDIENCE, ISSUER};

/// Connections for requests, the projector and the importer together.
const POOL_SIZE: usize = 16;
/// How often the log is swept. Deployed, it is each minute; here a sweep costs nothing.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often due rebuilds are looked for.
const REBUILD_EVERY: Duration = Duration::from_secs(5);
/// How many messages the projector gets per batch: as many as in the event source mapping of `template.yaml`.
const MESSAGES_PER_BATCH: usize = 10;
/// Pause before failed messages are delivered again. It replaces SQS' visibility timeout but is shorter.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Which database is used. The advice in [`Error::OtherVersion`] depends on it.
#[derive(Debug, Clone, Copy)]
pub enum DatabaseOrigin<'a> {
    /// The private cluster in this data folder.
    DataDir(&'a Path),
    /// DATABASE_URL.
    Url,
}

/// Migrates the database to the current schema. Returns how many migrations were applied.
pub async fn migrate(database_url: &str, origin: DatabaseOrigin<'_>) -> Result<usize, Error> {
    let mut bar = MigrationBar::default();
    let migrated = migrate_by(&Access::to(database_url), Ahead::Refused, &mut |progress| {
        bar.show(progress)
    })
    .await;
    drop(bar);
    let report = match migrated {
        Ok(report) => report,
        Err(source) if source.is_of_another_version() => return Err(of_other_version(source, origin)),
        Err(source) => return Err(Error::Migrate(Box::new(source))),
    };
    for name in &report.applied {
        tracing::debug!(migration.name = name, "applied");
    }
    Ok(report.applied.len())
}

/// Nothing has been released yet, so migrations are edited in place. A database to which an earlier text of a migration was applied cannot
/// be migrated further. refinery only reports that the two texts differ, so this adds what to do.
fn of_other_version(source: MigrateError, origin: DatabaseOrigin<'_>) -> Error {
    let (database, advice) = match origin {
        DatabaseOrigin::DataDir(folder) => {
            let folder = folder.display();
            let advice = format!(
                "nothing was changed; to start with an empty log, move the folder away (mv {folder} {folder}.old); to keep its \
                 events, run the version of Annals that created it"
            );
            (format!("the database in {folder}"), advice)
        }
        DatabaseOrigin::Url => (
            "the database of DATABASE_URL".to_owned(),
            "nothing was changed; use an empty database, or the version of Annals that created this one".to_owned(),
        ),
    };
    Error::OtherVersion {
        database,
        source,
        advice,
    }
}

/// A pool of this many connections to the database. They use the same roles as the functions.
pub fn open_store(database_url: &str, connections: usize) -> Result<Store, Error> {
    let database = DatabaseConfig {
        url: database_url.to_owned(),
        pool_size: connections,
    };
    Store::new(&database).map_err(|source| Error::Start(Box::new(source)))
}

/// What all functions of this process share.
#[derive(Clone)]
pub struct App {
    /// Access to the log and to everything derived from it.
    pub store: Store,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// Where wake-ups of the projector are sent.
    pub queue: Queue,
    /// Where large files are stored.
    pub storage: Storage,
}

impl App {
    /// The append service over this store and queue.
    pub fn appends(&self) -> AppendService {
        AppendService::new(self.store.clone(), self.queue.clone())
    }
}

/// What runs while the server runs.
pub struct Engine {
    /// The routes of all functions.
    pub router: Router,
    /// The tasks of the projector and the importer. They end by themselves after the shutdown is requested.
    pub background: JoinSet<()>,
}

impl Engine {
    /// Merges the functions' routers and starts the tasks of the projector and the importer.
    pub fn start(database_url: &str, secret: &JwtSecret, folder: Folder, shutdown: &Shutdown) -> Result<Self, Error> {
        let store = open_store(database_url, POOL_SIZE)?;
        let auth = AuthConfig {
            secret: Some(secret.as_str().to_owned()),
            audience: AUDIENCE.to_owned(),
            issuer: Some(ISSUER.to_owned()),
            ..AuthConfig::default()
        };
        let verifier = Verifier::new(&auth).map_err(|source| Error::Start(Box::new(source)))?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let app = App {
            store: store.clone(),
            verifier: Arc::new(verifier),
            queue: Queue::Channel(sender),
            storage: Storage::Folder(folder.clone()),
        };
        let every = snapshot_every().map_err(|source| Error::Start(Box::new(source)))?;
        let projector = Projector::new(store, every);
        let mut background = JoinSet::new();
        let rebuild_requested = Arc::new(Notify::new());
        background.spawn(run_queue(
            projector.clone(),
            receiver,
            Arc::clone(&rebuild_requested),
            shutdown.clone(),
        ));
        background.spawn(run_sweeps(projector.clone(), shutdown.clone()));
        background.spawn(run_rebuilds(projector, rebuild_requested, shutdown.clone()));
        let importer = Importer::new(app.store.clone(), app.queue.clone(), app.storage.clone());
        let (uploaded, uploads) = mpsc::unbounded_channel();
        let left = folder.clear().unwrap_or_else(|error| {
            tracing::warn!(%error, "the folder of large files cannot be read");
            Vec::new()
        });
        background.spawn(bucket::import(importer, left, uploads, shutdown.clone()));
        Ok(Self {
            router: router_with_bucket(app.clone(), bucket::router(folder, app.store, uploaded)),
            background,
        })
    }
}

/// The routes of all HTTP functions, with the same layers as deployed.
pub fn router(app: App) -> Router {
    cors::allowed(annals_http::finish(routes(app)))
}

/// The same with the routes of [`bucket::router`], so that their errors have the same form.
pub fn router_with_bucket(app: App, bucket: Router) -> Router {
    cors::allowed(annals_http::finish(routes(app).merge(bucket)))
}

fn routes(app: App) -> Router {
    let append = app.appends();
    let App {
        store,
        verifier,
        queue,
        storage,
    } = app;
    let post_event = post_event::App {
        store: store.clone(),
        verifier: Arc::clone(&verifier),
        append: append.clone(),
        queue,
    };
    let audit_query = audit_query::App {
        store: store.clone(),
        verifier: Arc::clone(&verifier),
    };
    let csv_upload = csv_upload::App {
        store,
        verifier,
        append,
        storage,
    };
    post_event::router(post_event)
        .merge(audit_query::router(audit_query))
        .merge(csv_upload::router(csv_upload))
        .merge(annals_console::router())
}

/// Replaces SQS: delivers messages to the projector in batches, and failed messages again after a pause.
async fn run_queue(
    projector: Projector,
    mut messages: UnboundedReceiver<String>,
    rebuild_requested: Arc<Notify>,
    mut shutdown: Shutdown,
) {
    let mut bodies = Vec::new();
    loop {
        let received = tokio::select! {
            received = messages.recv_many(&mut bodies, MESSAGES_PER_BATCH) => received,
            () = shutdown.requested() => 0,
        };
        if received == 0 {
            return;
        }
        if bodies
            .iter()
            .any(|body| matches!(annals_queue::decode(body), Ok(WakeUp::Rebuilds)))
        {
            rebuild_requested.notify_one();
        }
        let mut left = to_messages(std::mem::take(&mut bodies));
        while !left.is_empty() {
            let failed = projector.handle_messages(&left).await.batch_item_failures;
            left.retain(|message| {
                failed
                    .iter()
                    .any(|f| Some(&f.item_identifier) == message.message_id.as_ref())
            });
            if !left.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(RETRY_PAUSE) => {}
                    () = shutdown.requested() => return,
                }
            }
        }
    }
}

/// Messages with these bodies. Their ids need to be unique only within the batch.
fn to_messages(bodies: Vec<String>) -> Vec<SqsMessage> {
    let to_message = |(index, body): (usize, String)| {
        let mut message = SqsMessage::default();
        message.message_id = Some(index.to_string());
        message.body = Some(body);
        message
    };
    bodies.into_iter().enumerate().map(to_message).collect()
}

/// Replaces the schedule of sweeps.
async fn run_sweeps(projector: Projector, mut shutdown: Shutdown) {
    loop {
        if let Err(error) = projector.sweep().await {
            tracing::warn!(
                error = chain(&error),
                "sweep failed; the next one continues from the same position"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// Replaces the function Rebuilder: runs due rebuilds in a task of their own, because they take long and projecting must not wait for them.
/// A rebuild that runs when the server stops is killed. It runs again at the next start if staff requested it.
async fn run_rebuilds(projector: Projector, rebuild_requested: Arc<Notify>, mut shutdown: Shutdown) {
    loop {
        let done = tokio::select! {
            done = projector.rebuild_due() => done,
            () = shutdown.requested() => return,
        };
        if let Err(error) = done {
            tracing::warn!(error = chain(&error), "due rebuilds cannot be listed");
        }
        tokio::select! {
            () = tokio::time::sleep(REBUILD_EVERY) => {}
            () = rebuild_requested.notified() => {}
            () = shutdown.requested() => return,
        }
    }
}
