//! Errors as logs may hold them.
//!
//! PostgreSQL quotes rows: in its detail ("Failing row contains (…)"), and in messages about values ("invalid input syntax for
//! type date: …"). So of what it says only names go into a log: the code, and which constraint, table or column it was.

use std::error::Error;

use tokio_postgres::error::DbError;

/// An error and its causes in one line, without anything that PostgreSQL quotes.
pub fn told(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    let mut told: Vec<String> = causes
        .map(|cause| match cause.downcast_ref::<DbError>() {
            Some(error) => of_postgres(error),
            None => cause.to_string(),
        })
        .collect();
    // Errors that are another's without a word of their own repeat it.
    told.dedup();
    told.join(": ")
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

/// What a code's class means, in words of ours: PostgreSQL's own may quote.
fn meaning(code: &str) -> &'static str {
    match code.get(..2).unwrap_or_default() {
        "08" => "the connection failed",
        "22" => "a value does not fit its type",
        "23" => "a constraint is violated",
        "25" => "the transaction is in another state",
        "28" => "the login is refused",
        "3D" => "there is no such database",
        "40" => "the transaction was rolled back",
        "42" => "a statement, or a right to it, is wrong",
        "53" => "the server has too little of something: connections, memory, disk",
        "55" => "an object is in another state",
        "57" => "an operator intervened, or the server starts or stops",
        "58" => "the server's system failed",
        "P0" => "a function raised an error",
        "XX" => "the server has an internal error",
        _ => "the server refused",
    }
}
