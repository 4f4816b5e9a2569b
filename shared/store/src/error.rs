//! Errors of the store, grouped by what a caller can do about them.

use std::borrow::Cow;

use tokio_postgres::error::{DbError, Severity, SqlState};

use crate::migrations::outdated::SchemaOutdated;
use annals_domain::FoldError;

/// The database refused a request, and the caller may know why. Raised by `annals.refuse` or by a named constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in general. The API answers each kind with one HTTP status.
    pub kind: RefusalKind,
    /// Stable code, e.g. `version_conflict`.
    pub code: String,
    /// Human-readable explanation.
    pub message: String,
    /// Index of the batch member that was refused, from 0; `None` if it is not about one member.
    pub member: Option<usize>,
    /// The number that the code is about, if there is one. For `version_conflict`: the actual version of the stream.
    pub figure: Option<i64>,
    /// Fields of the event that the code is about. For `idempotency_key_reused`: those that differ from the first use of the key.
    pub fields: Vec<String>,
}

/// Why a request was refused, in general.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request cannot be understood.
    Malformed,
    /// The claims do not identify a caller.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The present state does not allow it.
    Conflict,
    /// Something in the request is too large.
    TooLarge,
    /// The request was understood, but its content breaks a rule.
    Unprocessable,
    /// Something changed meanwhile, so the request must be retried.
    Retry,
}

impl RefusalKind {
    /// The kind of an SQLSTATE that `annals.refuse` raises (`PT` and three digits, as PostgREST expects it). `None` for all other codes: one
    /// with other digits is a bug in our SQL and must not look like a mistake of the client.
    fn of_sqlstate(code: &str) -> Option<Self> {
        Some(match code.strip_prefix("PT")? {
            "400" => Self::Malformed,
            "401" => Self::Unauthenticated,
            "403" => Self::Forbidden,
            "409" => Self::Conflict,
            "413" => Self::TooLarge,
            "422" => Self::Unprocessable,
            "503" => Self::Retry,
            _ => return None,
        })
    }
}

impl Refusal {
    /// A refusal that is not about a batch member, a number or fields.
    pub fn new(kind: RefusalKind, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
            member: None,
            figure: None,
            fields: Vec::new(),
        }
    }
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused the request, for a reason that the caller may know.
    #[error("refused: {}", .0.code)]
    Refused(Refusal),
    /// The database cannot be reached, or accepts no work now. A later retry may succeed.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database's schema is older than this program needs.
    #[error(transparent)]
    SchemaOutdated(#[from] SchemaOutdated),
    /// The connection broke before the answer arrived. A commit that was on its way may have taken effect or not.
    #[error("the connection was lost")]
    ConnectionLost(#[source] tokio_postgres::Error),
    /// Two transactions conflicted (serialization failure, deadlock, lock timeout). Retry the whole transaction.
    #[error("transactions conflicted")]
    Contention(#[source] tokio_postgres::Error),
    /// The catalog or the read models changed after the work was read. Read it again.
    #[error("the catalog or the read models changed after the work was read")]
    Outdated,
    /// A table refused a value, or a cast failed: the data is at fault.
    #[error("the data does not fit the table (SQLSTATE {code})")]
    Data {
        /// SQLSTATE.
        code: String,
        /// PostgreSQL's message, without the row. It may quote a value, so staff may read it but it must not be logged.
        message: String,
    },
    /// The catalog does not say how to fold an event.
    #[error(transparent)]
    Unfoldable(#[from] FoldError),
    /// Any other database error: a bug.
    #[error("the database failed")]
    Database(#[source] tokio_postgres::Error),
    /// A row does not have the form that the schema guarantees: a bug.
    #[error("unexpected answer of the database: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// Whether the statement gave up waiting for a lock that another session holds.
    pub fn is_locked_out(&self) -> bool {
        matches!(self, Self::Contention(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// Code and message, if a projection failed because of what an event or a module's table holds. A retry is pointless then: the
    /// stream waits for a decision of staff. A missing table or an error of a module's own trigger counts too, because it must stop
    /// only its own streams. Errors about the server itself (authorisation, state, system, internal) do not count.
    pub fn poison(&self) -> Option<(&str, Cow<'_, str>)> {
        match self {
            Self::Data { code, message } => Some((code, message.into())),
            Self::Refused(refusal) => Some((&refusal.code, (&refusal.message).into())),
            Self::Unfoldable(error) => Some((error.code(), error.to_string().into())),
            Self::Database(error) => {
                let db = error.as_db_error()?;
                let of_the_server = matches!(&db.code().code()[..2], "25" | "28" | "55" | "58" | "F0" | "XX");
                (!of_the_server).then(|| (db.code().code(), db.message().into()))
            }
            _ => None,
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return if error.is_closed() || std::error::Error::source(&error).is_some_and(|s| s.is::<std::io::Error>()) {
                Self::ConnectionLost(error)
            } else {
                Self::Database(error)
            };
        };
        // The server, or a pooler in front of it, ends the session. A crashing server reports this even after the commit. Supavisor
        // reports it with XX000 when it has lost its server or is full.
        if is_fatal(db) {
            return Self::ConnectionLost(error);
        }
        if db.constraint() == Some("projection_outdated") {
            return Self::Outdated;
        }
        if let Some(refusal) = refusal_of(db) {
            return Self::Refused(refusal);
        }
        let code = db.code();
        match &code.code()[..2] {
            // LOCK_NOT_AVAILABLE occurs only where a transaction has set a lock timeout.
            _ if [
                SqlState::T_R_SERIALIZATION_FAILURE,
                SqlState::T_R_DEADLOCK_DETECTED,
                SqlState::LOCK_NOT_AVAILABLE,
            ]
            .contains(code) =>
            {
                Self::Contention(error)
            }
            _ if db.constraint() == Some("events_idempotency_key") => Self::Contention(error),
            // For servers and poolers that send these codes without the severity FATAL.
            _ if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN => Self::ConnectionLost(error),
            "08" => Self::ConnectionLost(error),
            // 53: no connections, memory or disk left. 57: a statement was cancelled, or no connections are accepted now.
            "53" | "57" => Self::Unavailable(Box::new(error)),
            "22" | "23" => Self::Data {
                code: code.code().to_owned(),
                message: db.message().to_owned(),
            },
            _ => Self::Database(error),
        }
    }
}

/// Whether the session ends with this error. PostgreSQL sends the severity twice: once translated, once in English. Supavisor sends it
/// once, in English.
pub(crate) fn is_fatal(db: &DbError) -> bool {
    match db.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        None => matches!(db.severity(), "FATAL" | "PANIC"),
    }
}

/// The refusal in an error that was raised by `annals.refuse`, or by a constraint that only the content of a request can violate.
fn refusal_of(db: &DbError) -> Option<Refusal> {
    let refusal = |kind, code: &str, message: &str| Refusal {
        member: db.column().and_then(|column| column.parse().ok()),
        figure: db.detail().and_then(|detail| detail.parse().ok()),
        ..Refusal::new(kind, code, message)
    };
    if let Some(kind) = RefusalKind::of_sqlstate(db.code().code()) {
        let code = db.constraint().unwrap_or("refused");
        let named = db
            .detail()
            .filter(|_| code == "idempotency_key_reused")
            .unwrap_or_default();
        let fields = named.split(',').filter(|field| !field.is_empty()).map(str::to_owned);
        return Some(Refusal {
            fields: fields.collect(),
            ..refusal(kind, code, db.message())
        });
    }
    let (kind, code, message) = match db.constraint()? {
        "event_types_key" | "event_type_versions_key" => (
            RefusalKind::Conflict,
            "version_exists",
            "this version of the event type is already registered",
        ),
        _ => return None,
    };
    Some(refusal(kind, code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_that_the_schema_raises_are_refusals() {
        let kinds = ["PT400", "PT401", "PT403", "PT409", "PT413", "PT422", "PT503"].map(RefusalKind::of_sqlstate);
        assert!(kinds.iter().all(Option::is_some), "{kinds:?}");
        for other in ["PT404", "PT500", "PT", "PT4220", "22023", "P0001"] {
            assert_eq!(RefusalKind::of_sqlstate(other), None, "{other}");
        }
    }
}
