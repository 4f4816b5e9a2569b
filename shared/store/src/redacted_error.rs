//! Errors in a form that logs may hold.
//!
//! PostgreSQL quotes values: in the detail of an error ("Failing row contains (…)") and in messages ("invalid input syntax for type
//! date: …"). Therefore only names go into a log: the SQLSTATE, and the constraint, table or column.

use std::error::Error;

use annals_telemetry::chain_of;
use tokio_postgres::error::DbError;

/// An error and its causes in one line, without any value that PostgreSQL quotes.
pub fn redacted_error(error: &(dyn Error + 'static)) -> String {
    chain_of(error, |cause| match cause.downcast_ref::<DbError>() {
        Some(error) => of_postgres(error),
        None => cause.to_string(),
    })
}

fn of_postgres(error: &DbError) -> String {
    let code = error.code().code();
    let names = [
        ("constraint", error.constraint()),
        ("table", error.table()),
        ("column", error.column()),
        ("type", error.datatype()),
        ("raised in", error.routine()),
    ];
    let names: String = names
        .iter()
        .filter_map(|(what, name)| Some(format!(", {what} {}", (*name)?)))
        .collect();
    format!("{} (SQLSTATE {code}{names})", meaning(code))
}

/// The meaning of an SQLSTATE class, in our own words, because PostgreSQL's message may quote values.
fn meaning(code: &str) -> &'static str {
    match code.get(..2).unwrap_or_default() {
        "08" => "the connection failed",
        "22" => "a value does not fit its type",
        "23" => "a constraint is violated",
        "25" => "the transaction is in the wrong state",
        "28" => "the login is refused",
        "3D" => "there is no such database",
        "40" => "the transaction was rolled back",
        "42" => "a statement is wrong, or a right is missing",
        "53" => "the server has no connections, memory or disk left",
        "55" => "an object is in use or in the wrong state",
        "57" => "an operator intervened, or the server starts or stops",
        "58" => "the server's operating system failed",
        "P0" => "a function raised an error",
        "XX" => "the server has an internal error",
        _ => "the server refused",
    }
}
