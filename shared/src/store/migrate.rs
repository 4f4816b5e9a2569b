//! Migrations: the folder `migrations/`, compiled in, applied in order, each in its own transaction.

use refinery::Runner;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::access::Access;
use super::connect::ConnectError;

pub(super) mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// One migration at a time per database. PostgreSQL's advisory locks end there, so V1 itself sees to it that two databases of
/// one cluster may create their roles at the same time.
pub(super) const LOCK: i64 = 0x616e_6e61_6c73;

/// What refinery leaves out of its own table.
pub(super) const CLOSE_HISTORY: &str =
    "-- close_schema_history\nalter table annals.schema_history enable row level security;
comment on table annals.schema_history is 'Migrations that were applied, with their checksums.';
comment on column annals.schema_history.version is 'Number of the migration.';
comment on column annals.schema_history.name is 'What its file is called after the number.';
comment on column annals.schema_history.applied_on is 'When it was applied, RFC 3339.';
comment on column annals.schema_history.checksum is 'Of its text: one that was applied is never edited.';";

/// What a migration run did.
#[derive(Debug)]
pub struct MigrationReport {
    /// Names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// Names of migrations that the database has and this program does not know.
    pub ahead: Vec<String>,
}

/// What becomes of a database that a newer program has migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// It is refused: a program should not work on what it does not know.
    Refused,
    /// It is left as it is, which is what a deployment that is rolled back has to live with: no migration goes back.
    Left,
}

/// Why the database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It cannot be reached.
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    /// It refused a statement.
    #[error("the database could not be migrated")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed, or one that was applied before has been edited since.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
}

/// Brings the database at this address up to date, as the role that the address names; does nothing where that is so already.
///
/// # Errors
/// [`MigrateError`]; migrations before the failing one stay applied.
pub async fn migrate(url: &str) -> Result<MigrationReport, MigrateError> {
    migrate_by(&Access::to(url), Ahead::Refused).await
}

/// The same for a database that is reached in this way.
///
/// # Errors
/// [`MigrateError`]; migrations before the failing one stay applied.
pub async fn migrate_by(access: &Access, ahead: Ahead) -> Result<MigrationReport, MigrateError> {
    let (mut client, driver) = access.open().await?;
    let mut driver = EndedWithUs(driver);
    let report = run(&mut client, ahead).await?;
    drop(client);
    if let Ok(ended) = (&mut driver.0).await {
        ended?;
    }
    Ok(report)
}

/// The task that drives a connection. By itself it would wait for the answer to a migration that nobody waits for any more, and
/// keep the locks that this holds and asks for.
struct EndedWithUs(JoinHandle<Result<(), tokio_postgres::Error>>);

impl Drop for EndedWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(client: &mut Client, ahead: Ahead) -> Result<MigrationReport, MigrateError> {
    // A migration whose program was killed must not go on, nor hold the lock against the next.
    client
        .batch_execute(&format!(
            "-- take_migration_lock\nset client_connection_check_interval = '5s';
             select pg_advisory_lock({LOCK}); create schema if not exists annals;"
        ))
        .await?;
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("annals.schema_history");
    let unknown = unknown_to(&runner, client).await?;
    if ahead == Ahead::Left && !unknown.is_empty() {
        runner = runner.set_abort_missing(false);
    }
    let report = runner.run_async(client).await?;
    client.batch_execute(CLOSE_HISTORY).await?;
    Ok(MigrationReport {
        applied: report.applied_migrations().iter().map(name_of).collect(),
        ahead: unknown,
    })
}

/// Migrations of the database that come after all that this program knows.
async fn unknown_to(runner: &Runner, client: &mut Client) -> Result<Vec<String>, MigrateError> {
    let begun = "-- has_history\nselect to_regclass('annals.schema_history') is not null";
    if !client.query_typed(begun, &[]).await?.iter().all(|row| row.get(0)) {
        return Ok(Vec::new());
    }
    let last = runner.get_migrations().iter().map(refinery::Migration::version).max();
    let there = runner.get_applied_migrations_async(client).await?;
    let later = there.iter().filter(|migration| Some(migration.version()) > last);
    Ok(later.map(name_of).collect())
}

fn name_of(migration: &refinery::Migration) -> String {
    format!("V{}__{}", migration.version(), migration.name())
}
