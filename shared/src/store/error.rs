//! What can go wrong in the store, sorted by what a caller can do about it.

use std::borrow::Cow;

use tokio_postgres::error::{DbError, Severity, SqlState};

use super::schema_check::SchemaOutdated;
use crate::domain::FoldError;

/// The database refused a request for a reason that the caller should hear: raised by `annals.refuse`, or by a named
/// constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status that fits.
    pub status: u16,
    /// Stable code, e.g. `version_conflict`.
    pub code: String,
    /// For people.
    pub message: String,
    /// Which member of a batch, from 0.
    pub member: Option<usize>,
    /// A figure that the code calls for: the actual version of a stream.
    pub figure: Option<i64>,
    /// Fields of the event that the code is about: those that differ from what an idempotency key was used for.
    pub fields: Vec<String>,
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request is not acceptable.
    #[error("refused: {}", .0.code)]
    Refused(Refusal),
    /// The database cannot be reached, or takes no work now. Try again later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database has not been migrated to what this program needs.
    #[error(transparent)]
    SchemaOutdated(#[from] SchemaOutdated),
    /// The connection broke while a commit was under way: whether it took place must be found out.
    #[error("the connection was lost")]
    ConnectionLost(#[source] tokio_postgres::Error),
    /// Two transactions got in each other's way: try the whole again at once.
    #[error("transactions got in each other's way")]
    Contention(#[source] tokio_postgres::Error),
    /// The catalog or the read models were changed since the work was read: read it again.
    #[error("the work was read before a change to the catalog")]
    Outdated,
    /// A value that a table refuses, or a cast that fails: the data is at fault.
    #[error("the data does not fit the table (SQLSTATE {code})")]
    Data {
        /// SQLSTATE.
        code: String,
        /// PostgreSQL's message, without the row. It may quote a value: staff may read it, a log may not.
        message: String,
    },
    /// An event that the catalog does not tell how to fold.
    #[error(transparent)]
    Unfoldable(#[from] FoldError),
    /// Anything else, which is a fault of ours.
    #[error("the database failed")]
    Database(#[source] tokio_postgres::Error),
    /// A row that is not what the schema promises: a fault of ours.
    #[error("the database answered with something unexpected: {0}")]
    Unexpected(String),
}

impl StoreError {
    /// Whether somebody keeps a lock for longer than the statement was to wait for it.
    pub fn is_locked_out(&self) -> bool {
        matches!(self, Self::Contention(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
    }

    /// Whether a projection failed because of what an event or a module's table holds, so that trying again is pointless and
    /// the stream has to wait for a person: SQLSTATE and message. A missing table or a module's own trigger counts: it must stop
    /// its own streams, not everybody's. What the server says of itself (authorisation, state, system, internal) does not.
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
        // The server, or a pooler before it, ends the session: a crash says so even after the commit, and Supavisor says so with XX000
        // when it has lost its server or is full.
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
            // The last one only where a transaction has set itself a limit to wait.
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
            // Without a severity that says so.
            _ if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN => Self::ConnectionLost(error),
            "08" => Self::ConnectionLost(error),
            // No connections, memory or disk left; a statement cancelled, no connections accepted now.
            "53" | "57" => Self::Unavailable(Box::new(error)),
            "22" | "23" => Self::Data {
                code: code.code().to_owned(),
                message: db.message().to_owned(),
            },
            _ => Self::Database(error),
        }
    }
}

/// Whether the session is over with this error. PostgreSQL says its severity twice, once in the language of the server's messages;
/// Supavisor says it once, in English.
pub(super) fn is_fatal(db: &DbError) -> bool {
    match db.parsed_severity() {
        Some(severity) => matches!(severity, Severity::Fatal | Severity::Panic),
        None => matches!(db.severity(), "FATAL" | "PANIC"),
    }
}

/// The refusal in an error raised by `annals.refuse` (SQLSTATE `PT` and an HTTP status), or by a constraint that only a
/// request's own content can break.
fn refusal_of(db: &DbError) -> Option<Refusal> {
    let refusal = |status, code: &str, message: &str| Refusal {
        status,
        code: code.to_owned(),
        message: message.to_owned(),
        member: db.column().and_then(|column| column.parse().ok()),
        figure: db.detail().and_then(|detail| detail.parse().ok()),
        fields: Vec::new(),
    };
    if let Some(status) = db
        .code()
        .code()
        .strip_prefix("PT")
        .and_then(|status| status.parse().ok())
    {
        let code = db.constraint().unwrap_or("refused");
        let named = db
            .detail()
            .filter(|_| code == "idempotency_key_reused")
            .unwrap_or_default();
        let fields = named.split(',').filter(|field| !field.is_empty()).map(str::to_owned);
        return Some(Refusal {
            fields: fields.collect(),
            ..refusal(status, code, db.message())
        });
    }
    match db.constraint()? {
        "events_user_is_actor" => Some(refusal(
            422,
            "user_is_not_actor",
            "created_by names another user than user_id",
        )),
        "events_data_shape" => Some(refusal(422, "data_too_large", "data is too large to store")),
        "events_metadata_shape" => Some(refusal(422, "metadata_too_large", "metadata is too large to store")),
        "event_types_key" | "event_type_versions_key" => {
            Some(refusal(409, "version_exists", "this version of the type is registered"))
        }
        _ => None,
    }
}
