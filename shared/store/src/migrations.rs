//! The schema: applying migrations, printing them as a script, and checking that the database has them.

pub(crate) mod migrate;
pub(crate) mod migration_script;
pub(crate) mod outdated;
pub(crate) mod schema_check;
