//! Whether the database has the schema that this program was built for.
//!
//! Code and migrations are deployed separately (`sam sync`, `cargo lambda deploy`, a migration by hand), so new code may meet an old
//! schema. It is found out when the first connection is made, in the one round trip that meeting the database costs anyway, and
//! no request pays for it later. Too old means that every request is refused (503 `schema_outdated`) until the migrations have run;
//! then the next connection notices. A newer schema is fine: migrations keep what deployed code calls.

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

/// What the database says; none, where it has never heard of such a question.
async fn newest_migration(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    let (begun, rows, ended) = join3(
        client.batch_execute(As::Projector.begin(Writes::No)),
        client.query_typed(NEWEST_MIGRATION, &[]),
        client.batch_execute("commit"),
    )
    .await;
    let rows = match begun.and(rows) {
        Err(error) if is_unknown(&error) => return Ok(None),
        other => other?,
    };
    ended?;
    rows.first().map_or(Ok(None), |row| row.try_get(0))
}

/// Whether the role, the schema or the function is missing, or not ours to use: an empty database, or one before V52.
fn is_unknown(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| !is_fatal(db) && matches!(db.code().code(), "22023" | "3F000" | "42501" | "42704" | "42883"))
}
