//! A private PostgreSQL cluster: finds or downloads PostgreSQL, starts the server, sets up the database, and stops the server at the end.
//!
//! `serve` starts a cluster and passes its [`Cluster::url`] to the migrations and the pool. Tests and benchmarks start one in
//! [`Home::Temporary`]. The cluster is set up like a new database of Supabase or RDS: the migrating role owns it and may create roles, but
//! is no superuser. A migration that needs more rights than a managed PostgreSQL gives therefore fails on a developer's machine first.
//!
//! Invariant: no server is left running for good. If `serve` is killed, its persistent cluster keeps running; the next `serve` adopts it
//! and stops it at its end. A temporary cluster is stopped by a process that outlives ours (`watchdog`).

mod account;
mod binaries;
mod fetch;
mod location;
mod options;
mod provision;
mod server;
mod version;
mod watchdog;

pub use options::{FAST_BUT_UNSAFE, Home, Options};

use crate::data_dir::{self, Lock};
use crate::{Error, secrets};
use account::Account;
use binaries::Binaries;
use location::Location;
use server::{Listening, Server};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;
use watchdog::Watchdog;

pub use self::provision::{DATABASE, OWNER};

/// How often [`Cluster::keep_running`] checks the server.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Sets up the cluster. Tests may use it to create databases.
const SUPERUSER: &str = "annals_superuser";

/// A running cluster. Dropping it stops the server, too, but only [`Cluster::stop`] returns errors.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    listening: Listening,
    passwords: Passwords,
    guard: Option<Guard>,
}

#[derive(Debug)]
struct Passwords {
    superuser: String,
    owner: String,
}

/// What is held while the cluster runs.
#[derive(Debug)]
enum Guard {
    /// The lock of the data folder. It is held until the server has stopped; only then may another one start.
    Folder(Lock),
    /// The process that stops and removes a temporary cluster.
    Temporary(Watchdog),
}

impl Cluster {
    /// Starts the cluster. If a killed process has left it running in the same folder, it is adopted.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let account = Account::for_server().await?;
        match options.home.clone() {
            Home::Folder(data_dir) => Self::start_in(&data_dir, account, options).await,
            Home::Temporary => Self::start_temporary(account, options).await,
        }
    }

    /// URL of the database `annals` in the cluster that another process runs on this data folder. `None` if the cluster is not ready.
    pub async fn url_of_running(data_dir: &Path) -> Result<Option<String>, Error> {
        let Some(listening) = server::listening_at(&location::folder_of(data_dir)) else {
            return Ok(None);
        };
        let password = secrets::read_or_generate(&data_dir.join("owner-password"))?;
        let url = url(OWNER, &password, listening.port, DATABASE);
        // The pid file is not enough: a crash may have left it, or the cluster's database may not exist yet.
        Ok(provision::answers(&url).await.then_some(url))
    }

    async fn start_in(data_dir: &Path, account: Account, options: Options) -> Result<Self, Error> {
        data_dir::create(data_dir)?;
        let lock = data_dir::lock(data_dir)?;
        let passwords = Passwords {
            superuser: secrets::read_or_generate(&data_dir.join("superuser-password"))?,
            owner: secrets::read_or_generate(&data_dir.join("owner-password"))?,
        };
        let (location, account) = Location::persistent(data_dir, account)?;
        let binaries = Binaries::find(&account, options.programs.as_deref(), location.major_version()?).await?;
        let server = Server::new(binaries, account, location);
        Self::run(server, options, passwords, Guard::Folder(lock)).await
    }

    async fn start_temporary(account: Account, options: Options) -> Result<Self, Error> {
        let passwords = Passwords {
            superuser: secrets::generate(),
            owner: secrets::generate(),
        };
        let binaries = Binaries::find(&account, options.programs.as_deref(), None).await?;
        let location = Location::temporary(&account)?;
        // Started before initdb, so that the folder is removed even if this process is killed during initdb.
        let watchdog = Watchdog::over(&location, &binaries, &account)?;
        let server = Server::new(binaries, account, location);
        Self::run(server, options, passwords, Guard::Temporary(watchdog)).await
    }

    async fn run(server: Server, options: Options, passwords: Passwords, guard: Guard) -> Result<Self, Error> {
        server.initialise(SUPERUSER, &passwords.superuser, &options).await?;
        let listening = server.start_or_adopt(&options).await?;
        let cluster = Self {
            server,
            listening,
            passwords,
            guard: Some(guard),
        };
        provision::owner_and_database(&cluster.superuser_url_of("postgres"), &cluster.passwords.owner).await?;
        Ok(cluster)
    }

    /// Starts the server again whenever it has died, as long as this future is polled. A private cluster has no other supervisor. The
    /// address stays the same, so pools connect again by themselves.
    pub async fn keep_running(&self) -> Infallible {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            // A connection that sends nothing leaves no line in the server's log.
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.listening.port))
                .await
                .is_ok()
            {
                continue;
            }
            match self.server.start_if_dead().await {
                Ok(true) => tracing::warn!("postgresql died and was started again"),
                Ok(false) => {}
                // Processes that the dead server has left may keep its shared memory for a moment.
                Err(error) => tracing::warn!(
                    error = annals_telemetry::chain(&error),
                    "postgresql died and does not start; trying again"
                ),
            }
        }
    }

    /// URL of the database `annals` for the migrating role, by TCP.
    pub fn url(&self) -> String {
        self.url_of(DATABASE)
    }

    /// The same for another database of this cluster.
    pub fn url_of(&self, database: &str) -> String {
        self.url_for(OWNER, &self.passwords.owner, database)
    }

    /// A shell command that opens psql as the superuser. It reads the password from the data folder when it is run.
    pub fn psql_command(&self, data_dir: &Path) -> String {
        let file = data_dir.join("superuser-password").display().to_string();
        let quoted = file.replace('\'', r"'\''");
        let url = self.url_for(SUPERUSER, &format!("$(cat '{quoted}')"), DATABASE);
        format!("psql \"{url}\"")
    }

    /// URL of the database `annals` for the superuser. Only for tests: nothing that serves requests connects as superuser.
    pub fn superuser_url(&self) -> String {
        self.superuser_url_of(DATABASE)
    }

    /// The same for another database of this cluster, such as `postgres`, from which databases are created.
    pub fn superuser_url_of(&self, database: &str) -> String {
        self.url_for(SUPERUSER, &self.passwords.superuser, database)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.listening.port
    }

    /// Folder of the Unix socket. Only the server's account and root may enter it.
    pub fn socket_dir(&self) -> &Path {
        &self.listening.socket_dir
    }

    /// Folder of the cluster. It holds everything except, sometimes, the socket.
    pub fn location(&self) -> &Path {
        &self.server.location.folder
    }

    fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        url(role, password, self.listening.port, database)
    }

    /// Stops the cluster by a fast shutdown: open transactions are rolled back, and the next start needs no recovery. A temporary cluster
    /// is removed with its folder.
    pub async fn stop(mut self) -> Result<(), Error> {
        let server = self.server.clone();
        match self.guard.take() {
            Some(Guard::Folder(_lock)) => server.stop().await,
            Some(Guard::Temporary(watchdog)) => watchdog.release(),
            None => Ok(()),
        }
    }
}

fn url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgresql://{role}:{password}@127.0.0.1:{port}/{database}")
}

impl Drop for Cluster {
    /// Stops the server after an error or a panic, when [`Cluster::stop`] cannot be awaited.
    fn drop(&mut self) {
        let stopped = match self.guard.take() {
            Some(Guard::Folder(_lock)) => self.server.stop_blocking(),
            Some(Guard::Temporary(watchdog)) => watchdog.release(),
            None => Ok(()),
        };
        if let Err(error) = stopped {
            tracing::warn!(
                error = annals_telemetry::chain(&error),
                "the private cluster could not be stopped and may still run"
            );
        }
    }
}
