//! A private cluster with durable settings, and its databases: migrated ones for Annals, and ones with the reference table.

use std::path::PathBuf;

use local::cluster::{Cluster, OWNER, Options};
use tests::{connect, parent_of};

use crate::reference::TABLE;

/// Durable settings, without checkpoints and autovacuum, which would slow down whichever phase they fall into. Without autovacuum, no table is
/// analysed unless Annals does it itself, so the planner has no statistics.
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
];
/// Settings that are printed with the figures.
const SHOWN: &str = "select string_agg(name || ' ' || current_setting(name), ', ' order by name) from pg_settings where name in \
    ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'autovacuum', 'jit')";

/// The cluster and the addresses of its databases.
pub struct Site {
    cluster: Cluster,
    /// Process id of the postmaster, the parent of every server process.
    pub postmaster: u32,
    /// The path of a program from the server's installation.
    pub pgbench: PathBuf,
}

impl Site {
    /// Starts the cluster and migrates Annals' database.
    pub async fn start() -> Self {
        let cluster = Cluster::start(Options::ephemeral().with_settings(SETTINGS))
            .await
            .expect("a private cluster");
        annals_store::migrate(&cluster.url()).await.expect("migrations");
        let admin = connect(&cluster.superuser_url_of("postgres")).await;
        let row = admin
            .query_one(
                "select setting, pg_backend_pid() from pg_config where name = 'BINDIR'",
                &[],
            )
            .await
            .expect("the programs' folder");
        Self {
            pgbench: PathBuf::from(row.get::<_, String>(0)).join("pgbench"),
            postmaster: parent_of(row.get(1)).unwrap_or_default(),
            cluster,
        }
    }

    /// Address of Annals' database, for the migrating role.
    pub fn annals_url(&self) -> String {
        self.cluster.url()
    }

    /// Address of a new database, migrated and empty.
    pub async fn fresh_database(&self, name: &str) -> String {
        let url = self.empty_database(name).await;
        annals_store::migrate(&url).await.expect("migrations");
        url
    }

    /// Address of a new database with an empty reference table.
    pub async fn reference_database(&self, name: &str) -> String {
        let url = self.empty_database(name).await;
        connect(&url)
            .await
            .batch_execute(TABLE)
            .await
            .expect("the reference table");
        url
    }

    async fn empty_database(&self, name: &str) -> String {
        let admin = connect(&self.cluster.superuser_url_of("postgres")).await;
        let create = format!("create database {name} owner {OWNER}");
        admin.batch_execute(&create).await.expect("a database");
        self.cluster.url_of(name)
    }

    /// Describes the server and its settings.
    pub async fn describe(&self) -> String {
        let client = connect(&self.annals_url()).await;
        let row = client
            .query_one(&format!("select version(), ({SHOWN})"), &[])
            .await
            .expect("the settings");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        format!(
            "{}\n{}\n{cores} cores",
            row.get::<_, String>(0),
            row.get::<_, String>(1)
        )
    }

    /// Stops the cluster and deletes it.
    pub async fn stop(self) {
        self.cluster.stop().await.expect("the cluster stops");
    }
}
