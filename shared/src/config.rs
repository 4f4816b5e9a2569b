//! Configuration: environment variables, read once at start, every name in one place. None of it can be printed: it holds
//! passwords.

use std::env;
use std::net::SocketAddr;
use std::num::NonZeroI32;

/// Everything that a function needs to know.
#[derive(Clone)]
pub struct Config {
    /// Where the log is.
    pub database: DatabaseConfig,
    /// How tokens are verified.
    pub auth: AuthConfig,
    /// `WAKE_QUEUE_URL`: the SQS queue between writing and projecting.
    pub wake_queue_url: Option<String>,
}

/// How to reach PostgreSQL.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`.
    pub url: String,
    /// `DATABASE_POOL_SIZE`: connections at most. A function serves one request at a time and needs one.
    pub pool_size: usize,
}

/// How tokens are verified. At least one of secret, key set and key set address must be there.
#[derive(Clone, Default)]
pub struct AuthConfig {
    /// `JWT_SECRET`: shared secret of HS256 tokens.
    pub secret: Option<String>,
    /// `JWT_JWKS`: a key set as JSON, for functions without a way out.
    pub jwks: Option<String>,
    /// `JWT_JWKS_URL`: where the key set is fetched, and fetched again when a key is unknown.
    pub jwks_url: Option<String>,
    /// `JWT_AUDIENCE`: the `aud` that tokens must carry; `authenticated` by default.
    pub audience: String,
    /// `JWT_ISSUER`: the `iss` that tokens must carry; any, when unset.
    pub issuer: Option<String>,
}

/// A variable that is missing or unusable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not set.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// Set to something that cannot be used.
    #[error("{0} is not {1}")]
    Invalid(&'static str, &'static str),
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// A variable that is missing or unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        let auth = AuthConfig::from_env();
        if auth.secret.is_none() && auth.jwks.is_none() && auth.jwks_url.is_none() {
            return Err(ConfigError::Missing("JWT_SECRET, JWT_JWKS or JWT_JWKS_URL"));
        }
        Ok(Self {
            database: DatabaseConfig::from_env()?,
            auth,
            wake_queue_url: variable("WAKE_QUEUE_URL"),
        })
    }
}

impl DatabaseConfig {
    /// Reads `DATABASE_URL` and `DATABASE_POOL_SIZE`.
    ///
    /// # Errors
    /// No address, or a size that is no positive number.
    pub fn from_env() -> Result<Self, ConfigError> {
        let pool_size = match variable("DATABASE_POOL_SIZE") {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .ok_or(ConfigError::Invalid("DATABASE_POOL_SIZE", "a positive number"))?,
        };
        Ok(Self {
            url: variable("DATABASE_URL").ok_or(ConfigError::Missing("DATABASE_URL"))?,
            pool_size,
        })
    }
}

impl AuthConfig {
    /// Reads the `JWT_…` variables.
    pub fn from_env() -> Self {
        Self {
            secret: variable("JWT_SECRET"),
            jwks: variable("JWT_JWKS"),
            jwks_url: variable("JWT_JWKS_URL"),
            audience: variable("JWT_AUDIENCE").unwrap_or_else(|| "authenticated".to_owned()),
            issuer: variable("JWT_ISSUER"),
        }
    }
}

/// An empty variable counts as unset: templates cannot leave one out.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Events of a stream between two snapshots, unless configured: loading any state then reads fewer events than this.
pub const SNAPSHOT_EVERY: NonZeroI32 = NonZeroI32::new(20).unwrap();

/// `SNAPSHOT_EVERY`: events of a stream between two snapshots of it; 0: none are taken.
///
/// # Errors
/// Anything but a number.
pub fn snapshot_every() -> Result<Option<NonZeroI32>, ConfigError> {
    match variable("SNAPSHOT_EVERY") {
        None => Ok(Some(SNAPSHOT_EVERY)),
        Some(text) => match text.parse::<i32>() {
            Ok(every) if every >= 0 => Ok(NonZeroI32::new(every)),
            _ => Err(ConfigError::Invalid("SNAPSHOT_EVERY", "a number of events, or 0")),
        },
    }
}

/// The function that this process is, where it is a deployed one.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// `STACK_NAME`: the stack that it was deployed with.
    pub stack: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets.
    pub function: String,
    /// `AWS_XRAY_DAEMON_ADDRESS`, which Lambda sets: who takes traces.
    pub trace_daemon: Option<SocketAddr>,
}

/// Which deployed function this is. None anywhere else.
pub fn deployed() -> Option<Deployed> {
    Some(Deployed {
        stack: variable("STACK_NAME").unwrap_or_else(|| "none".to_owned()),
        function: variable("AWS_LAMBDA_FUNCTION_NAME")?,
        trace_daemon: variable("AWS_XRAY_DAEMON_ADDRESS").and_then(|address| address.parse().ok()),
    })
}

/// `DATABASE_CA`: certificates in PEM that the database's may be signed by, beside the public authorities. RDS and Supabase sign
/// with authorities of their own.
pub fn database_ca() -> Option<String> {
    variable("DATABASE_CA")
}
