//! The error of a program that is newer than the database.

use std::fmt;

/// Number of the newest migration that was compiled in. (`build.rs` determines it. Embedding the migrations themselves would make every
/// function's zip larger.)
pub(crate) const NEEDED: &str = env!("ANNALS_NEWEST_MIGRATION");

/// The database's schema is older than the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaOutdated {
    /// Number of the newest migration that was applied; `None` if the database has no migrations of Annals, or only some before
    /// `schema_version`.
    pub found: Option<i32>,
}

impl fmt::Display for SchemaOutdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(found) => write!(f, "the database's schema is at V{found}")?,
            None => write!(f, "the database has no schema version yet")?,
        }
        write!(f, ", this program needs V{NEEDED}: run the migrations")
    }
}

impl std::error::Error for SchemaOutdated {}
