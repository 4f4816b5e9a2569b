//! The migrations as an SQL script, for places where only SQL can be run: Supabase's editor, or another migration tool.

use std::fmt::Write;

use crate::migrations::migrate::{CLOSE_HISTORY, CREATE_LOCK, TAKE_LOCK, embedded};

/// Migrations after the given number, as a script of one transaction. It has the same result as a migration run: their effect and
/// their entries in `annals.schema_history`, so later runs know that they were applied.
pub fn migration_script(after: Option<i32>) -> String {
    let mut migrations = embedded::migrations::runner().get_migrations().clone();
    migrations.retain(|migration| Some(migration.version()) > after);
    migrations.sort();
    let mut script = format!(
        "begin;\n{CREATE_LOCK};\n{TAKE_LOCK};\ncreate schema if not exists annals;\n\
         create table if not exists annals.schema_history (\n    version int4 primary key,\n    name varchar(255),\n    \
         applied_on varchar(255),\n    checksum varchar(255)\n);\n"
    );
    for migration in &migrations {
        let (version, name, checksum) = (migration.version(), migration.name(), migration.checksum());
        let sql = migration.sql().unwrap_or_default();
        // Names need no quoting: refinery accepts only letters, digits and underscores in file names.
        let _written = write!(
            script,
            "\n-- V{version}__{name}\n{sql}\ninsert into annals.schema_history (version, name, applied_on, checksum) values \
             ({version}, '{name}', to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '{checksum}');\n"
        );
    }
    script + "\n" + CLOSE_HISTORY + "\n\ncommit;\n"
}
