//! Whether the database has the schema that this program was built for.
//!
//! Code and migrations can be deployed separately (`sam sync`, `cargo lambda deploy`, a migration by hand), so new code may run against an
//! old schema. The check is the first query on the first connection; later requests do not pay for it. If the schema is older than the
//! code, every request is answered 503 `schema_outdated` until the migrations have run; then the next connection finds it current. A newer
//! schema is accepted: migrations keep what deployed code calls.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join3;
use tokio_postgres::Client;

use super::connect::ConnectError;
use super::error::is_fatal;
use super::session::{As, Writes};

/// Number of the newest migration in the folder that was compiled in. (`build.rs` counts, because the migrations themselves would make
/// every function's zip larger.)
const NEEDED: &str = env!("ANNALS_NEWEST_MIGRATION");

const NEWEST_MIGRATION: &str = "-- newest_migration\nselect annals.newest_migration()";

/// The database's schema is older than the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaOutdated {
    /// Number of the newest migration that was applied; none, if the database has none of Annals' or one from before V52.
    pub found: Option<i32>,
}

impl fmt::Display for SchemaOutdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(found) => write!(f, "the database's schema is at V{found}")?,
            None => write!(f, "the database's schema is older than V52")?,
        }
        write!(f, ", this program needs V{NEEDED}: run the migrations")
    }
}

impl std::error::Error for SchemaOutdated {}

/// What a process knows of its database's schema.
#[derive(Default)]
pub(super) struct SchemaCheck {
    is_current: AtomicBool,
}

impl SchemaCheck {
    /// Looks on this connection, unless the schema was found current before.
    pub(super) async fn check(&self, client: &Client) -> Result<(), ConnectError> {
        if self.is_current.load(Ordering::Relaxed) {
            return Ok(());
        }
        let found = newest_migration(client).await?;
        // `NEEDED` is a number: `build.rs` makes it from file names.
        if found < NEEDED.parse().ok() {
            return Err(SchemaOutdated { found }.into());
        }
        self.is_current.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The newest applied migration, or none if `annals.newest_migration` does not exist.
async fn newest_migration(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    let (begun, rows, ended) = join3(
        client.batch_execute(As::Projector.begin(Writes::No)),
        client.query_typed(NEWEST_MIGRATION, &[]),
        client.batch_execute("commit"),
    )
    .await;
    match begun {
        // The role does not exist. One that `annals_api` is not a member of is 42501, and migrations do not help: V1 was applied.
        Err(error) if is_one_of(&error, &["22023"]) => return Ok(None),
        other => other?,
    }
    let rows = match rows {
        // No such schema; no right to it, because V1 has not granted it yet; no such function, before V52.
        Err(error) if is_one_of(&error, &["3F000", "42501", "42883"]) => return Ok(None),
        other => other?,
    };
    ended?;
    rows.first().map_or(Ok(None), |row| row.try_get(0))
}

fn is_one_of(error: &tokio_postgres::Error, codes: &[&str]) -> bool {
    let db = error.as_db_error().filter(|db| !is_fatal(db));
    db.is_some_and(|db| codes.contains(&db.code().code()))
}
