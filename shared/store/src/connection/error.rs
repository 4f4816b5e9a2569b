//! Errors of opening a connection.

use annals_aws::secrets::SecretError;
use annals_aws::signer::SignError;
use deadpool::managed::BuildError;

use crate::migrations::outdated::SchemaOutdated;

/// Why no connection could be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be parsed. The driver's error is dropped because it would quote the address with its password.
    #[error("DATABASE_URL is not a PostgreSQL connection address")]
    Address,
    /// The given authorities are not certificates.
    #[error("DATABASE_CA does not hold certificates")]
    Authorities,
    /// With IAM authentication, the connection must be encrypted: a token is as good as a password for 15 minutes.
    #[error(
        "IAM authentication needs an encrypted connection: DATABASE_URL has sslmode=disable, or names this machine"
    )]
    TokenUnencrypted,
    /// The secret that holds the address cannot be read.
    #[error("the secret with the database's address cannot be read")]
    Secret(#[from] SecretError),
    /// No IAM token could be made.
    #[error("no token for the database")]
    Token(#[from] SignError),
    /// The database refuses the login, and the secret holds no newer one.
    #[error("the database refuses the login")]
    Login(#[source] tokio_postgres::Error),
    /// The address in the functions' secret does not log in as `annals_api`.
    #[error("DATABASE_URL of the functions does not log in as annals_api with a password")]
    NotApiLogin,
    /// The server is not reachable, is not the expected one, or accepts no connection.
    #[error("no connection to the database")]
    Database(#[from] tokio_postgres::Error),
    /// The database's schema is older than this program needs.
    #[error(transparent)]
    SchemaOutdated(#[from] SchemaOutdated),
    /// The pool could not be built.
    #[error("no connection pool")]
    Pool(#[from] BuildError),
}
