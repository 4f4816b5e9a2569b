//! What a deployment spreads over four functions and a queue, in one process: the same routers, the same projector, a channel
//! in SQS' place and a timer in the schedule's.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::App;
use annals::auth::Verifier;
use annals::config::{AuthConfig, DatabaseConfig, snapshot_every};
use annals::queue::{self, Queue, WakeUp};
use annals::storage::{Folder, Storage};
use annals::store::{self, MigrateError, Store};
use aws_lambda_events::event::sqs::SqsMessage;
use axum::Router;
use csv_upload::Importer;
use projector::Projector;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;

use crate::bucket;
use crate::error::{Error, one_line};
use crate::secrets::JwtSecret;
use crate::shutdown::Shutdown;
use crate::token::{AUDIENCE, ISSUER};

/// Connections for requests and the projector together.
const POOL_SIZE: usize = 16;
/// The schedule's place: more often than the minute of a deployment, because nobody pays for it.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// The place of the schedule of rebuilds.
const REBUILD_EVERY: Duration = Duration::from_secs(5);
/// Messages that the projector takes at once, as the event source mapping of `template.yaml` does.
const BATCH: usize = 10;
/// After a failed batch its messages come again, as SQS' visibility timeout would have it, only sooner.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Where the database is. The advice in `AnotherVersion` depends on it.
#[derive(Debug, Clone, Copy)]
pub enum Place<'a> {
    /// That of the private cluster in this data folder.
    Folder(&'a Path),
    /// That of DATABASE_URL.
    Address,
}

/// Brings the database to the current schema.
pub async fn migrate(database_url: &str, place: Place<'_>) -> Result<(), Error> {
    let report = match store::migrate(database_url).await {
        Ok(report) => report,
        Err(source) if source.is_of_another_version() => return Err(of_another_version(source, place)),
        Err(source) => return Err(Error::Migrate(Box::new(source))),
    };
    for name in &report.applied {
        tracing::info!(migration.name = name, "applied");
    }
    Ok(())
}

/// Nothing has been released yet, so migrations are edited in place, and a database that has an earlier text of one cannot be brought
/// on. refinery only says that two texts differ.
fn of_another_version(source: MigrateError, place: Place<'_>) -> Error {
    let (place, advice) = match place {
        Place::Folder(folder) => {
            let folder = folder.display();
            let advice = format!(
                "nothing was changed; to begin with an empty log, move the folder out of the way (mv {folder} {folder}.old); to \
                 keep its events, run the version of Annals that made it"
            );
            (format!("the database in {folder}"), advice)
        }
        Place::Address => (
            "the database of DATABASE_URL".to_owned(),
            "nothing was changed; use an empty database, or the version of Annals that made this one".to_owned(),
        ),
    };
    Error::AnotherVersion { place, source, advice }
}

/// Everything that answers or works while the server runs.
pub struct Engine {
    /// All functions' routes.
    pub router: Router,
    /// The projector's tasks, which end by themselves once [`Shutdown`] is asked.
    pub background: JoinSet<()>,
}

impl Engine {
    /// Merges the functions' routers, and starts the projector behind its queue and its schedule, and the importer behind its
    /// folder.
    pub fn start(database_url: &str, secret: &JwtSecret, folder: Folder, shutdown: &Shutdown) -> Result<Self, Error> {
        let store = Store::new(&DatabaseConfig {
            url: database_url.to_owned(),
            pool_size: POOL_SIZE,
        })
        .map_err(|source| Error::Start(Box::new(source)))?;
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
        let asked_for = Arc::new(Notify::new());
        background.spawn(work(
            projector.clone(),
            receiver,
            Arc::clone(&asked_for),
            shutdown.clone(),
        ));
        background.spawn(tick(projector.clone(), shutdown.clone()));
        background.spawn(rebuild(projector, asked_for, shutdown.clone()));
        let importer = Importer::new(app.store.clone(), app.queue.clone(), app.storage.clone());
        let (came, coming) = mpsc::unbounded_channel();
        let left = folder.clear().unwrap_or_else(|error| {
            tracing::warn!(%error, "the folder of large files cannot be read");
            Vec::new()
        });
        background.spawn(bucket::import(importer, left, coming, shutdown.clone()));
        Ok(Self {
            router: router_with_bucket(app.clone(), bucket::router(folder, app.store, came)),
            background,
        })
    }
}

/// What is deployed as three functions, on one port.
pub fn router(app: App) -> Router {
    annals::http::finish(routes(app))
}

/// The same with the bucket's place beside them, which answers errors in the same form.
pub fn router_with_bucket(app: App, bucket: Router) -> Router {
    annals::http::finish(routes(app).merge(bucket))
}

fn routes(app: App) -> Router {
    post_event::router(app.clone())
        .merge(audit_query::router(app.clone()))
        .merge(csv_upload::router(app))
}

/// The queue's place: hands messages to the projector in batches, and those that failed once more a little later.
async fn work(
    projector: Projector,
    mut messages: UnboundedReceiver<String>,
    rebuilds: Arc<Notify>,
    mut shutdown: Shutdown,
) {
    let mut bodies = Vec::new();
    loop {
        let received = tokio::select! {
            received = messages.recv_many(&mut bodies, BATCH) => received,
            () = shutdown.asked() => 0,
        };
        if received == 0 {
            return;
        }
        if bodies
            .iter()
            .any(|body| matches!(queue::decode(body), Ok(WakeUp::Rebuilds)))
        {
            rebuilds.notify_one();
        }
        let mut left = in_flight(std::mem::take(&mut bodies));
        while !left.is_empty() {
            let failed = projector.handle_messages(&left).await.batch_item_failures;
            left.retain(|message| {
                failed
                    .iter()
                    .any(|f| Some(&f.item_identifier) == message.message_id.as_ref())
            });
            if !left.is_empty() {
                tokio::select! {
                    () = tokio::time::sleep(AGAIN_AFTER) => {}
                    () = shutdown.asked() => return,
                }
            }
        }
    }
}

fn in_flight(bodies: Vec<String>) -> Vec<SqsMessage> {
    let named = |(place, body): (usize, String)| {
        let mut message = SqsMessage::default();
        message.message_id = Some(place.to_string());
        message.body = Some(body);
        message
    };
    bodies.into_iter().enumerate().map(named).collect()
}

/// The schedule's place.
async fn tick(projector: Projector, mut shutdown: Shutdown) {
    loop {
        if let Err(error) = projector.sweep().await {
            tracing::warn!(
                error = one_line(&error),
                "sweep failed; the next one goes on from the same place"
            );
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = shutdown.asked() => return,
        }
    }
}

/// What is a function of its own when deployed: rebuilds take their time, and nobody is to wait to be projected meanwhile. One
/// that is under way when the server ends is killed, and made again if staff asked for it.
async fn rebuild(projector: Projector, asked_for: Arc<Notify>, mut shutdown: Shutdown) {
    loop {
        let done = tokio::select! {
            done = projector.rebuild_due() => done,
            () = shutdown.asked() => return,
        };
        if let Err(error) = done {
            tracing::warn!(error = one_line(&error), "rebuilds not looked for");
        }
        tokio::select! {
            () = tokio::time::sleep(REBUILD_EVERY) => {}
            () = asked_for.notified() => {}
            () = shutdown.asked() => return,
        }
    }
}
