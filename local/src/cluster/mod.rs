//! A private PostgreSQL cluster: found or fetched, started, provisioned, and stopped again.
//!
//! Place in the flow: `serve` starts one and hands its [`Cluster::url`] to the migrations and the pool; tests and benches
//! start one in [`Home::Temporary`]. What is set up here is what Supabase or RDS give before the first migration: a database
//! and a migrating role that owns it, may create roles and is no superuser. So a migration that needs more than a managed
//! PostgreSQL grants fails on the laptop first.
//!
//! Invariant: nothing is left behind. A persistent cluster that outlives a killed `serve` is adopted by the next one and
//! stopped at its end; a temporary one is watched by a process that outlives ours (`watchdog`).

mod account;
mod binaries;
mod fetch;
mod options;
mod provision;
mod server;
mod site;
mod watchdog;

pub use options::{FAST_BUT_UNSAFE, Home, Options};

use crate::data_dir::{self, Lock};
use crate::{Error, secrets};
use account::Account;
use binaries::Binaries;
use server::{Listening, Server};
use site::Site;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use watchdog::Watchdog;

/// The migrating role: owns the database, may create roles, is no superuser.
pub const OWNER: &str = "annals_owner";
/// The database that [`Cluster::url`] names.
pub const DATABASE: &str = "annals";
/// How often [`Cluster::keep_running`] looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sets the cluster up; tests may use it to make databases.
const SUPERUSER: &str = "annals_superuser";

/// A running cluster. Dropping it stops it too, but [`Cluster::stop`] reports what went wrong.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    listening: Listening,
    passwords: Passwords,
    keeper: Option<Keeper>,
}

#[derive(Debug)]
struct Passwords {
    superuser: String,
    owner: String,
}

/// What ends with the cluster, according to its home.
#[derive(Debug)]
enum Keeper {
    /// Held to the end: the next server may come once this one is down.
    Folder(Lock),
    Temporary(Watchdog),
}

impl Cluster {
    /// Starts the cluster, or adopts the one that a killed predecessor left running in the same folder.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let account = Account::for_server().await?;
        match options.home.clone() {
            Home::Folder(data_dir) => Self::start_in(&data_dir, account, options).await,
            Home::Temporary => Self::start_temporary(account, options).await,
        }
    }

    /// URL of the database `annals` in the cluster that another process runs on this data folder; none while it is not ready.
    pub async fn url_of_running(data_dir: &Path) -> Result<Option<String>, Error> {
        let Some(listening) = server::listening_at(&site::place_of(data_dir)) else {
            return Ok(None);
        };
        let password = secrets::read_or_generate(&data_dir.join("owner-password"))?;
        let url = url(OWNER, &password, listening.port, DATABASE);
        // A file that a crash left behind says the same, and so does a cluster whose database is still to be made.
        Ok(provision::answers(&url).await.then_some(url))
    }

    async fn start_in(data_dir: &Path, account: Account, options: Options) -> Result<Self, Error> {
        data_dir::create(data_dir)?;
        let lock = data_dir::lock(data_dir)?;
        let passwords = Passwords {
            superuser: secrets::read_or_generate(&data_dir.join("superuser-password"))?,
            owner: secrets::read_or_generate(&data_dir.join("owner-password"))?,
        };
        let (site, account) = Site::persistent(data_dir, account)?;
        let binaries = Binaries::find(&account, options.programs.as_deref(), site.major_version()?).await?;
        let server = Server::new(binaries, account, site);
        Self::run(server, options, passwords, Keeper::Folder(lock)).await
    }

    async fn start_temporary(account: Account, options: Options) -> Result<Self, Error> {
        let passwords = Passwords {
            superuser: secrets::generate(),
            owner: secrets::generate(),
        };
        let binaries = Binaries::find(&account, options.programs.as_deref(), None).await?;
        let site = Site::temporary(&account)?;
        // Before initdb, so that there is no moment in which our death would leave the folder behind.
        let watchdog = Watchdog::over(&site, &binaries, &account)?;
        let server = Server::new(binaries, account, site);
        Self::run(server, options, passwords, Keeper::Temporary(watchdog)).await
    }

    async fn run(server: Server, options: Options, passwords: Passwords, keeper: Keeper) -> Result<Self, Error> {
        server.initialise(SUPERUSER, &passwords.superuser, &options).await?;
        let listening = server.start_or_adopt(&options).await?;
        let cluster = Self {
            server,
            listening,
            passwords,
            keeper: Some(keeper),
        };
        provision::owner_and_database(&cluster.superuser_url_of("postgres"), &cluster.passwords.owner).await?;
        Ok(cluster)
    }

    /// Starts the server again whenever it has died, for as long as this is awaited: nobody else does that for a private one.
    /// The address stays, so that pools find it by themselves.
    pub async fn keep_running(&self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            // A connection that says nothing leaves no line in the server's log.
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.listening.port))
                .await
                .is_ok()
            {
                continue;
            }
            match self.server.start_if_dead().await {
                Ok(true) => tracing::warn!("postgresql had died; it runs again"),
                Ok(false) => {}
                // Processes that it left behind may hold its memory for a moment.
                Err(error) => tracing::warn!(
                    error = crate::error::one_line(&error),
                    "postgresql has died and does not start; trying again"
                ),
            }
        }
    }

    /// URL of the database `annals` for the migrating role, over TCP.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The same for another database of this cluster.
    pub fn url_of(&self, database: &str) -> String {
        self.url_for(OWNER, &self.passwords.owner, database)
    }

    /// URL of the database `annals` for the superuser. For tests: nothing that serves requests connects like this.
    pub fn superuser_url(&self) -> String {
        self.superuser_url_of(DATABASE)
    }

    /// The same for another database of this cluster, such as `postgres` to make databases from.
    pub fn superuser_url_of(&self, database: &str) -> String {
        self.url_for(SUPERUSER, &self.passwords.superuser, database)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listening.port
    }

    /// Folder of the Unix socket, open to the server's account (and root) alone.
    pub fn socket_dir(&self) -> &Path {
        &self.listening.socket_dir
    }

    /// Folder that holds everything of the cluster.
    pub fn location(&self) -> &Path {
        &self.server.site.place
    }

    fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        url(role, password, self.listening.port, database)
    }

    /// Stops the cluster: a fast shutdown (open transactions are rolled back) that the next start needs no recovery after.
    /// A temporary one vanishes with its folder.
    pub async fn stop(mut self) -> Result<(), Error> {
        let server = self.server.clone();
        match self.keeper.take() {
            Some(Keeper::Folder(_lock)) => server.stop().await,
            Some(Keeper::Temporary(watchdog)) => watchdog.release(),
            None => Ok(()),
        }
    }
}

fn url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}")
}

impl Drop for Cluster {
    /// For the way out through an error or a panic, where nobody could await [`Cluster::stop`].
    fn drop(&mut self) {
        let stopped = match self.keeper.take() {
            Some(Keeper::Folder(_lock)) => self.server.stop_blocking(),
            Some(Keeper::Temporary(watchdog)) => watchdog.release(),
            None => Ok(()),
        };
        if let Err(error) = stopped {
            tracing::warn!(
                error = crate::error::one_line(&error),
                "the private cluster may still run"
            );
        }
    }
}
