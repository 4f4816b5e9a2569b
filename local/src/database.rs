//! The database of a command that does its work and ends (`replay`, `rebuild`, `verify`), or that follows the log (`events tail`).
//!
//! If DATABASE_URL is set, it is that database, which is not migrated: `migrate` is a command of its own. Otherwise it is that of the
//! private cluster, migrated to the current schema. If `cargo run` serves the same data folder, the running cluster is used; otherwise the
//! cluster is started and stopped by the command.

use crate::Error;
use crate::cluster::{Cluster, Options};
use crate::engine::{self, DatabaseOrigin};
use crate::environment::Environment;
use crate::shutdown::Shutdown;
use annals_store::Store;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for a cluster that another process is starting.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// Pause between two checks of that cluster.
const POLL_PAUSE: Duration = Duration::from_millis(100);

/// A database to work on. If this process has started its cluster, the cluster is stopped after the work.
pub struct Database {
    url: String,
    cluster: Option<Cluster>,
    shutdown: Shutdown,
}

impl Database {
    /// Finds or starts the database. Signals are caught from the beginning, so that an interrupt during the start leaves no server running.
    pub async fn open(environment: &Environment) -> Result<Self, Error> {
        let shutdown = Shutdown::listen()?;
        if let Some(url) = environment.database_url.clone() {
            return Ok(Self {
                url,
                cluster: None,
                shutdown,
            });
        }
        let (url, cluster) = started_or_running(environment).await?;
        let database = Self { url, cluster, shutdown };
        // If another process is migrating, this waits for it and then finds nothing to do.
        let data_dir = environment.data_dir()?;
        match engine::migrate(&database.url, DatabaseOrigin::DataDir(&data_dir)).await {
            Ok(_) => Ok(database),
            Err(error) => database.close().await.and(Err(error)),
        }
    }

    /// The database of DATABASE_URL, or that of the server that runs with the data folder. It starts no cluster: while it would follow the
    /// log, no server could start.
    pub async fn of_running_server(environment: &Environment) -> Result<Self, Error> {
        let shutdown = Shutdown::listen()?;
        let url = match environment.database_url.clone() {
            Some(url) => url,
            None => {
                let data_dir = environment.data_dir()?;
                Cluster::url_of_running(&data_dir).await?.ok_or_else(|| {
                    Error::Invalid(format!(
                        "no server runs with the folder {}; start one (`cargo run`), or set ANNALS_DATA_DIR or DATABASE_URL",
                        data_dir.display()
                    ))
                })?
            }
        };
        Ok(Self {
            url,
            cluster: None,
            shutdown,
        })
    }

    /// A pool of this many connections.
    pub fn store(&self, connections: usize) -> Result<Store, Error> {
        engine::open_store(&self.url, connections)
    }

    /// Does the work until it is done, or until the first SIGINT or SIGTERM. Then it closes the database.
    pub async fn run(mut self, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let done = tokio::select! {
            done = work => done,
            () = self.shutdown.requested() => Err(Error::Interrupted),
        };
        done.and(self.close().await)
    }

    async fn close(self) -> Result<(), Error> {
        match self.cluster {
            Some(cluster) => cluster.stop().await,
            None => Ok(()),
        }
    }
}

/// The process that holds the folder's lock runs the cluster. This tries to start the cluster, and otherwise to reach the running one,
/// again and again, because the other process may be just starting or stopping it.
async fn started_or_running(environment: &Environment) -> Result<(String, Option<Cluster>), Error> {
    let data_dir = environment.data_dir()?;
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let already_running = match Cluster::start(Options::persistent(&data_dir)).await {
            Ok(cluster) => return Ok((cluster.url(), Some(cluster))),
            Err(error @ Error::AlreadyRunning { .. }) => error,
            Err(error) => return Err(error),
        };
        if let Some(url) = Cluster::url_of_running(&data_dir).await? {
            return Ok((url, None));
        }
        if Instant::now() >= deadline {
            return Err(already_running);
        }
        tokio::time::sleep(POLL_PAUSE).await;
    }
}
