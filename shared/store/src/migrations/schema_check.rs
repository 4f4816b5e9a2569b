//! Checks that the database has the schema that this program was built for.
//!
//! Code and migrations can be deployed separately (`sam sync`, `cargo lambda deploy`, a migration by hand), so new code may run
//! against an old schema. The check is the first query on the first connection; later requests do not pay for it. If the schema is
//! older than the code, every request is answered 503 `schema_outdated`. After the migrations have run, the next connection finds the
//! schema current. A newer schema is accepted, because migrations keep what deployed code calls.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join3;
use tokio_postgres::Client;

use super::outdated::{NEEDED, SchemaOutdated};
use crate::connection::error::ConnectError;
use crate::connection::statement::{As, Writes};
use crate::error::is_fatal;

const NEWEST_MIGRATION: &str = "-- newest_migration\nselect annals.newest_migration()";

/// Remembers whether the schema was found current, for all connections of a process.
#[derive(Default)]
pub(crate) struct SchemaCheck {
    is_current: AtomicBool,
}

impl SchemaCheck {
    /// Queries this connection, unless the schema was already found current.
    pub(crate) async fn check(&self, client: &Client) -> Result<(), ConnectError> {
        if self.is_current.load(Ordering::Relaxed) {
            return Ok(());
        }
        let found = newest_migration(client).await?;
        // `NEEDED` always parses: `build.rs` takes it from file names.
        if found < NEEDED.parse().ok() {
            return Err(SchemaOutdated { found }.into());
        }
        self.is_current.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// The newest applied migration. `None` if `annals.newest_migration` does not exist.
async fn newest_migration(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    let (begun, rows, ended) = join3(
        client.batch_execute(As::Projector.begin(Writes::No)),
        client.query_typed(NEWEST_MIGRATION, &[]),
        client.batch_execute("commit"),
    )
    .await;
    match begun {
        // The role does not exist. (If `annals_api` is not a member of it, the code is 42501, and migrations do not help: `roles` was
        // applied.)
        Err(error) if is_one_of(&error, &["22023"]) => return Ok(None),
        other => other?,
    }
    let rows = match rows {
        // The schema does not exist; `roles` has not granted a right to it yet; or `schema_version`, which makes the function, was not
        // applied.
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
