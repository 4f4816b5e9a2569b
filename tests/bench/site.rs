//! A private cluster with durable settings, and two equally migrated databases: one for Annals and one for ceilings.

use std::path::PathBuf;

use local::cluster::{Cluster, DATABASE, OWNER, Options};
use tests::connect;

use crate::measure::parent_of;

/// Durable settings, without checkpoints, which would slow down whichever phase they fall into.
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "512MB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
];
/// The database for ceilings.
const CEILING: &str = "ceiling";
/// Settings that are printed with the figures.
const SHOWN: &str = "select string_agg(name || ' ' || current_setting(name), ', ' order by name) from pg_settings where name in \
    ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_sync_method', 'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'jit')";

/// The cluster and the addresses of its databases.
pub struct Site {
    cluster: Cluster,
    /// Process id of the postmaster, the parent of every server process.
    pub postmaster: u32,
    /// The path of a program from the server's installation.
    pub pgbench: PathBuf,
}

impl Site {
    /// Starts the cluster and migrates both databases.
    pub async fn start() -> Self {
        let cluster = Cluster::start(Options::ephemeral().with_settings(SETTINGS))
            .await
            .expect("a private cluster");
        annals_store::migrate(&cluster.url()).await.expect("migrations");
        let admin = connect(&cluster.superuser_url_of("postgres")).await;
        admin
            .batch_execute(&format!("create database {CEILING} template {DATABASE} owner {OWNER}"))
            .await
            .expect("a second database");
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

    /// Address of the ceilings' database, for the same role, which owns it.
    pub fn ceiling_url(&self) -> String {
        self.cluster.url_of(CEILING)
    }

    /// Address of a new database, migrated and empty.
    pub async fn fresh_database(&self, name: &str) -> String {
        let admin = connect(&self.cluster.superuser_url_of("postgres")).await;
        admin
            .batch_execute(&format!("create database {name} owner {OWNER}"))
            .await
            .expect("a database");
        let url = self.cluster.url_of(name);
        annals_store::migrate(&url).await.expect("migrations");
        url
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
