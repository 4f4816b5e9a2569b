//! Migrations: the folder `migrations/`, compiled in. They are applied in order, each in its own transaction.

use std::time::Duration;

use refinery::error::Kind;
use refinery::{Migration, Runner, Target};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::connection::access::Access;
use crate::connection::error::ConnectError;

pub(crate) mod embedded {
    refinery::embed_migrations!("../../migrations");
}

/// One migration run at a time per database. The lock is on a table that only its owner can reach, because any role that may connect
/// could hold an advisory lock. The lock covers one database only. The migration `roles` itself makes sure that two databases of one
/// cluster can create their roles at the same time.
pub(crate) const CREATE_LOCK: &str = "-- create_migration_lock\ncreate schema if not exists annals_locks;\ncreate table if not exists annals_locks.migrations ()";
pub(crate) const TAKE_LOCK: &str = "lock table annals_locks.migrations in exclusive mode";

/// How long a statement of a migration waits for a lock. A statement that waits for a strong lock blocks every later statement on that
/// table, so it gives up after 2 s, which lets those run, and is tried again.
const LOCK_WAIT: &str = "-- limit_lock_waits\nset lock_timeout = '2s'";
/// Maximum number of retries of a migration that cannot get its locks, and the pause before each.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_secs(1);

/// Row security and comments for refinery's own table.
pub(crate) const CLOSE_HISTORY: &str =
    "-- close_schema_history\nalter table annals.schema_history enable row level security;
comment on table annals.schema_history is 'Migrations that were applied, with their checksums.';
comment on column annals.schema_history.version is 'Number of the migration.';
comment on column annals.schema_history.name is 'What its file is called after the number.';
comment on column annals.schema_history.applied_on is 'When it was applied, RFC 3339.';
comment on column annals.schema_history.checksum is 'Of its text: one that was applied is never edited.';";

/// Result of a migration run.
#[derive(Debug)]
pub struct MigrationReport {
    /// Names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
    /// Names of migrations that the database has and this program does not know.
    pub ahead: Vec<String>,
}

/// How far a run is. It is reported before each migration, and only if there is one to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigrationProgress {
    /// Migrations that this run has applied.
    pub done: usize,
    /// Migrations that this run applies altogether.
    pub total: usize,
}

/// What to do with a database that a newer program has migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Return an error: a program should not work on a schema that it does not know.
    Refused,
    /// Accept it. A deployment that is rolled back needs this, because migrations are never undone.
    Left,
}

/// Why a migration run failed.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database cannot be reached.
    #[error("the database cannot be reached")]
    Connect(#[from] ConnectError),
    /// The database refused a statement of the run itself.
    #[error("the database could not be migrated")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
    /// The database has a migration with the name of one of this program but with other text. It was applied by a development version.
    #[error(
        "the database's migration {0} differs from this version's: another development version of Annals made the database"
    )]
    Edited(String),
    /// The database has a migration that this program does not have.
    #[error(
        "this version of Annals does not have the database's migration {0}: a newer version or another development version made the database"
    )]
    Unknown(String),
}

impl MigrateError {
    /// Whether the database itself is fine, but belongs to another version of Annals.
    pub fn is_of_another_version(&self) -> bool {
        matches!(self, Self::Edited(_) | Self::Unknown(_))
    }

    fn of(error: refinery::Error) -> Self {
        match error.kind() {
            Kind::DivergentVersion(applied, _) => Self::Edited(name_of(applied)),
            Kind::MissingVersion(applied) => Self::Unknown(name_of(applied)),
            _ => Self::Migration(error),
        }
    }
}

impl MigrateError {
    /// Whether another session's lock blocked the migration. A later try may succeed.
    fn is_blocked(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            let code = error.downcast_ref::<tokio_postgres::Error>().and_then(|e| e.code());
            if code.is_some_and(|code| [SqlState::LOCK_NOT_AVAILABLE, SqlState::T_R_DEADLOCK_DETECTED].contains(code)) {
                return true;
            }
            cause = error.source();
        }
        false
    }
}

/// Migrates the database at this address as the role in the address. Does nothing if the schema is current.
///
/// # Errors
/// [`MigrateError`]. Migrations before the failed one stay applied.
pub async fn migrate(url: &str) -> Result<MigrationReport, MigrateError> {
    migrate_by(&Access::to(url), Ahead::Refused, &mut |_| ()).await
}

/// Migrates a database with this access. Each progress is given to `report`.
///
/// # Errors
/// [`MigrateError`]. Migrations before the failed one stay applied.
pub async fn migrate_by(
    access: &Access,
    ahead: Ahead,
    report: &mut (dyn FnMut(MigrationProgress) + Send),
) -> Result<MigrationReport, MigrateError> {
    // The lock needs its own session: each migration is a transaction, and a table lock ends with its transaction.
    let (lock_holder, driver) = access.open().await?;
    let _lock_driver = AbortOnDrop(driver);
    acquire_lock(&lock_holder).await?;
    let (mut client, driver) = access.open().await?;
    let mut driver = AbortOnDrop(driver);
    let done = run(&mut client, ahead, report).await?;
    drop(client);
    let _ended = (&mut driver.0).await;
    lock_holder.batch_execute("commit").await?;
    Ok(done)
}

/// Waits until no other run migrates this database, and keeps other runs waiting while the session lives.
async fn acquire_lock(lock_holder: &Client) -> Result<(), MigrateError> {
    // If the program is killed, its session must not hold the lock against the next run.
    let words = "-- keep_migration_lock\nset client_connection_check_interval = '5s'; set idle_in_transaction_session_timeout = 0";
    lock_holder.batch_execute(words).await?;
    let mut tries = TRIES;
    while let Err(error) = lock_holder.batch_execute(CREATE_LOCK).await {
        // Another run creates the same schema or table at this moment. At the next try it exists.
        let created_concurrently = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_SCHEMA,
        ];
        if tries == 0 || !error.code().is_some_and(|code| created_concurrently.contains(code)) {
            return Err(error.into());
        }
        tries -= 1;
    }
    Ok(lock_holder.batch_execute(&format!("begin; {TAKE_LOCK}")).await?)
}

/// The task that drives a connection, aborted on drop. Otherwise it would wait for the result of a migration that no code awaits any
/// more, and keep the locks that the migration holds or waits for.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(
    client: &mut Client,
    ahead: Ahead,
    report: &mut (dyn FnMut(MigrationProgress) + Send),
) -> Result<MigrationReport, MigrateError> {
    // If the program is killed, its migration must not continue.
    let words = "-- begin_migrating\nset client_connection_check_interval = '5s'; create schema if not exists annals;";
    client.batch_execute(words).await?;
    client.batch_execute(LOCK_WAIT).await?;
    let mut applied = Vec::new();
    let mut tries_left = TRIES;
    loop {
        match run_once(client, ahead, &mut applied, report).await {
            Err(error) if error.is_blocked() && tries_left > 0 => {
                tracing::warn!(
                    migrate.tries_left = tries_left,
                    "another session's lock blocks the migration"
                );
                tries_left -= 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
            Ok(ahead) => return Ok(MigrationReport { applied, ahead }),
        }
    }
}

/// Applies what is not applied yet. Returns names of migrations that the database has and this program does not know.
///
/// refinery reports nothing while it runs, so it runs once per migration, each time up to that one. The last run is up to the newest: it
/// applies nothing, and compares what is applied with this program's migrations also if nothing was left to apply.
async fn run_once(
    client: &mut Client,
    ahead: Ahead,
    applied: &mut Vec<String>,
    report: &mut (dyn FnMut(MigrationProgress) + Send),
) -> Result<Vec<String>, MigrateError> {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("annals.schema_history");
    let there = applied_in(client, &runner).await?;
    let unknown = unknown_to(&runner, &there);
    if ahead == Ahead::Left && !unknown.is_empty() {
        runner = runner.set_abort_missing(false);
    }
    let missing = missing_of(&runner, &there);
    let total = applied.len() + missing.len();
    for target in missing.into_iter().map(Target::Version) {
        report(MigrationProgress {
            done: applied.len(),
            total,
        });
        runner = runner.set_target(target);
        run_to_target(client, &runner, applied).await?;
    }
    run_to_target(client, &runner.set_target(Target::Latest), applied).await?;
    // Only if needed, because `alter table` waits for every session that reads the table.
    let is_closed =
        "-- is_history_closed\nselect relrowsecurity from pg_class where oid = 'annals.schema_history'::regclass";
    if !client.query_typed(is_closed, &[]).await?.iter().all(|row| row.get(0)) {
        client.batch_execute(CLOSE_HISTORY).await?;
    }
    Ok(unknown)
}

async fn run_to_target(client: &mut Client, runner: &Runner, applied: &mut Vec<String>) -> Result<(), MigrateError> {
    let done = runner.run_async(client).await.map_err(MigrateError::of)?;
    applied.extend(done.applied_migrations().iter().map(name_of));
    Ok(())
}

/// Migrations that the database has.
async fn applied_in(client: &mut Client, runner: &Runner) -> Result<Vec<Migration>, MigrateError> {
    let begun = "-- has_history\nselect to_regclass('annals.schema_history') is not null";
    if !client.query_typed(begun, &[]).await?.iter().all(|row| row.get(0)) {
        return Ok(Vec::new());
    }
    Ok(runner.get_applied_migrations_async(client).await?)
}

/// Those of them that come after the last one that this program knows.
fn unknown_to(runner: &Runner, there: &[Migration]) -> Vec<String> {
    let last = runner.get_migrations().iter().map(Migration::version).max();
    let later = there.iter().filter(|migration| Some(migration.version()) > last);
    later.map(name_of).collect()
}

/// Numbers of this program's migrations that the database does not have, in order.
fn missing_of(runner: &Runner, there: &[Migration]) -> Vec<i32> {
    let versions = runner.get_migrations().iter().map(Migration::version);
    let mut missing: Vec<_> = versions
        .filter(|version| there.iter().all(|applied| applied.version() != *version))
        .collect();
    missing.sort_unstable();
    missing
}

fn name_of(migration: &Migration) -> String {
    format!("V{}__{}", migration.version(), migration.name())
}
