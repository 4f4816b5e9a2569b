//! Migrations: the folder `migrations/`, compiled in, applied in order, each in its own transaction.

use std::time::Duration;

use refinery::Runner;
use refinery::error::Kind;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::access::Access;
use super::connect::ConnectError;

pub(super) mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// One migration at a time per database. The lock is on a table that only its owner can reach: an advisory lock could be held by
/// anyone who may connect. It ends with the database, so V1 itself sees to it that two databases of one cluster may create their
/// roles at the same time.
pub(super) const CREATE_LOCK: &str = "-- create_migration_lock\ncreate schema if not exists annals_locks;\ncreate table if not exists annals_locks.migrations ()";
pub(super) const TAKE_LOCK: &str = "lock table annals_locks.migrations in exclusive mode";

/// How long a statement of a migration waits for a lock. A statement that waits for a strong lock also blocks every later statement on
/// that table. So it gives up after 2 s, lets those run, and is tried again.
const LOCK_WAIT: &str = "-- limit_lock_waits\nset lock_timeout = '2s'";
/// A migration that cannot get its locks is tried so many times, with this pause in between.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_secs(1);

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
    /// A migration failed.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
    /// It has a migration of this name that is not the one this program has: it was made while that was still being worked on.
    #[error(
        "its migration {0} is not the one that this version of Annals has: another development version made the database"
    )]
    Edited(String),
    /// It has a migration that this program does not have.
    #[error(
        "this version of Annals does not have its migration {0}: a newer one, or another development version, made the database"
    )]
    Unknown(String),
}

impl MigrateError {
    /// Whether the database is sound, and another version of Annals the one to use it.
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
    /// Whether another session's lock was in the way, which may be gone at the next try.
    fn is_held_up(&self) -> bool {
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
    // The lock takes a session of its own: each migration is a transaction, and a lock on a table ends with its transaction.
    let (keeper, driver) = access.open().await?;
    let _keepers = EndedWithUs(driver);
    take_lock(&keeper).await?;
    let (mut client, driver) = access.open().await?;
    let mut driver = EndedWithUs(driver);
    let report = run(&mut client, ahead).await?;
    drop(client);
    let _ended = (&mut driver.0).await;
    keeper.batch_execute("commit").await?;
    Ok(report)
}

/// Waits until no other run migrates this database, and keeps others waiting for as long as the session lives.
async fn take_lock(keeper: &Client) -> Result<(), MigrateError> {
    // A run whose program was killed must not hold the lock against the next.
    let words = "-- keep_migration_lock\nset client_connection_check_interval = '5s'; set idle_in_transaction_session_timeout = 0";
    keeper.batch_execute(words).await?;
    let mut tries = TRIES;
    while let Err(error) = keeper.batch_execute(CREATE_LOCK).await {
        // Another run creates the same schema or table at this moment: then it is there at the next try.
        let twin = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_TABLE,
            SqlState::DUPLICATE_SCHEMA,
        ];
        if tries == 0 || !error.code().is_some_and(|code| twin.contains(code)) {
            return Err(error.into());
        }
        tries -= 1;
    }
    Ok(keeper.batch_execute(&format!("begin; {TAKE_LOCK}")).await?)
}

/// The task that drives a connection. By itself it would wait for the answer to a migration that nobody waits for any more, and
/// keep the locks that this holds and asks for.
struct EndedWithUs(JoinHandle<()>);

impl Drop for EndedWithUs {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(client: &mut Client, ahead: Ahead) -> Result<MigrationReport, MigrateError> {
    // A migration whose program was killed must not go on.
    let words = "-- begin_migrating\nset client_connection_check_interval = '5s'; create schema if not exists annals;";
    client.batch_execute(words).await?;
    client.batch_execute(LOCK_WAIT).await?;
    let mut applied = Vec::new();
    let mut tries_left = TRIES;
    loop {
        match run_once(client, ahead, &mut applied).await {
            Err(error) if error.is_held_up() && tries_left > 0 => {
                tracing::warn!(
                    migrate.tries_left = tries_left,
                    "another session's lock holds the migration up"
                );
                tries_left -= 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
            Ok(ahead) => return Ok(MigrationReport { applied, ahead }),
        }
    }
}

/// Applies what is not applied yet; names of migrations that the database has and this program does not know.
async fn run_once(client: &mut Client, ahead: Ahead, applied: &mut Vec<String>) -> Result<Vec<String>, MigrateError> {
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("annals.schema_history");
    let unknown = unknown_to(&runner, client).await?;
    if ahead == Ahead::Left && !unknown.is_empty() {
        runner = runner.set_abort_missing(false);
    }
    let done = runner.run_async(client).await;
    let report = match &done {
        Ok(report) => Some(report),
        Err(error) => error.report(),
    };
    applied.extend(
        report
            .into_iter()
            .flat_map(|report| report.applied_migrations())
            .map(name_of),
    );
    done.map_err(MigrateError::of)?;
    // Only if needed: `alter table` waits for every session that is reading the table.
    let is_closed =
        "-- is_history_closed\nselect relrowsecurity from pg_class where oid = 'annals.schema_history'::regclass";
    if !client.query_typed(is_closed, &[]).await?.iter().all(|row| row.get(0)) {
        client.batch_execute(CLOSE_HISTORY).await?;
    }
    Ok(unknown)
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
