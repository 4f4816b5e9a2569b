//! The database of a command that does its work and ends: `replay`, and whatever else reads or mends the log.
//!
//! With DATABASE_URL it is that one, as it stands: `migrate` is a command of its own. Otherwise it is the private cluster's,
//! brought to the current schema: started for as long as the command takes, or, where `cargo run` serves the same data folder
//! meanwhile, the one that runs already.

use crate::Error;
use crate::cli::Environment;
use crate::cluster::{Cluster, Options};
use crate::engine::{self, Place};
use crate::shutdown::Shutdown;
use annals::config::DatabaseConfig;
use annals::store::Store;
use std::time::Duration;
use tokio::time::Instant;

/// Longest wait for a server that another process is starting.
const START: Duration = Duration::from_secs(300);
/// How often that is looked at.
const POLL: Duration = Duration::from_millis(100);

/// A database to work on; where its cluster is our own, it ends with the work.
pub struct Database {
    url: String,
    cluster: Option<Cluster>,
    shutdown: Shutdown,
}

impl Database {
    /// Finds the database that the environment names, or starts it. Signals are caught from here on, so that an interrupt
    /// while the cluster starts leaves no server behind.
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
        // Where another process is doing the same, this waits for it and finds nothing left to do.
        match engine::migrate(&database.url, Place::Folder(&environment.data_dir()?)).await {
            Ok(()) => Ok(database),
            Err(error) => database.close().await.and(Err(error)),
        }
    }

    /// A pool of connections to it; all of them act as the functions' roles.
    pub fn store(&self, connections: usize) -> Result<Store, Error> {
        Store::new(&DatabaseConfig {
            url: self.url.clone(),
            pool_size: connections,
        })
        .map_err(|source| Error::Start(Box::new(source)))
    }

    /// Does the work, to its end or to the first SIGINT or SIGTERM, and lets go of the database.
    pub async fn run(mut self, work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
        let done = tokio::select! {
            done = work => done,
            () = self.shutdown.asked() => Err(Error::Interrupted),
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

/// The folder's lock decides: whoever holds it runs the cluster. Looked at again and again, because the holder may just be
/// starting it, or ending.
async fn started_or_running(environment: &Environment) -> Result<(String, Option<Cluster>), Error> {
    let data_dir = environment.data_dir()?;
    let deadline = Instant::now() + START;
    loop {
        let held = match Cluster::start(Options::persistent(&data_dir)).await {
            Ok(cluster) => return Ok((cluster.url(), Some(cluster))),
            Err(held @ Error::AlreadyRunning { .. }) => held,
            Err(error) => return Err(error),
        };
        if let Some(url) = Cluster::url_of_running(&data_dir).await? {
            return Ok((url, None));
        }
        if Instant::now() >= deadline {
            return Err(held);
        }
        tokio::time::sleep(POLL).await;
    }
}
