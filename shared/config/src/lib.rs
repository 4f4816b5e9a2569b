//! Configuration: environment variables, read once at start. The functions' own variables are named in this file, those of the AWS SDK
//! in the `settings` of `annals-aws`. Types that hold passwords have no `Debug`.

use std::env;
use std::net::SocketAddr;
use std::num::NonZeroI32;

/// The configuration of a function.
#[derive(Clone)]
pub struct Config {
    /// How to reach the database.
    pub database: DatabaseSettings,
    /// How tokens are verified.
    pub auth: AuthConfig,
    /// `JWT_SHARED_SECRET`, true or false: whether `JWT_SECRET` is in the same secret as the database's address (`SECRET_ARN`).
    pub jwt_secret_is_stored: bool,
}

/// A database with a known address.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`.
    pub url: String,
    /// Maximum number of connections.
    pub pool_size: usize,
}

/// How a function reaches PostgreSQL.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// Where the database's address is found.
    pub address: AddressSetting,
    /// How a connection authenticates.
    pub login: LoginSetting,
    /// `DATABASE_POOL_SIZE`: maximum number of connections, 1 by default. A function serves one request at a time and needs one.
    pub pool_size: usize,
}

/// Where the database's address is found.
#[derive(Clone)]
pub enum AddressSetting {
    /// In `DATABASE_URL`.
    Url(String),
    /// In the secret of AWS Secrets Manager with this ARN (`SECRET_ARN`): as `DATABASE_URL`, or in the parts that RDS writes (`host`,
    /// `username` and others).
    Secret(String),
}

/// `DATABASE_AUTH`: how a connection authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSetting {
    /// `password`: with the password in the address.
    Password,
    /// `iam`: with a token of RDS, made for each connection.
    Iam,
}

/// How tokens are verified. At least one key is required: `JWT_SECRET`, `JWT_JWKS`, `JWT_JWKS_URL`, or the `JWT_SECRET` in the secret
/// (`JWT_SHARED_SECRET` together with `SECRET_ARN`).
#[derive(Clone, Default)]
pub struct AuthConfig {
    /// `JWT_SECRET`: shared secret of HS256 tokens.
    pub secret: Option<String>,
    /// `JWT_JWKS`: a key set as JSON, for functions without access to the internet.
    pub jwks: Option<String>,
    /// `JWT_JWKS_URL`: address of the key set. It is fetched again if a key is unknown.
    pub jwks_url: Option<String>,
    /// `JWT_AUDIENCE`: the `aud` that tokens must have; `authenticated` by default.
    pub audience: String,
    /// `JWT_ISSUER`: the `iss` that tokens must have. Unset: any.
    pub issuer: Option<String>,
    /// `JWT_REQUIRE_ROLE`, true or false: whether a token without `app_metadata.role` is refused. Otherwise it is a plain user's.
    /// On Supabase, for example, anybody may sign up, so only what the project itself writes into a token may allow posting.
    pub requires_role: bool,
}

/// A variable is missing or unusable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The variable is not set.
    #[error("{0} is not set")]
    Missing(&'static str),
    /// The variable's value cannot be used.
    #[error("{0} is not {1}")]
    Invalid(&'static str, &'static str),
}

impl Config {
    /// Reads the environment.
    ///
    /// # Errors
    /// [`ConfigError`]: a variable is missing or unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        let auth = AuthConfig::from_env();
        let kept = variable("JWT_SHARED_SECRET").is_some_and(|kept| kept == "true") && secret_arn().is_some();
        if auth.secret.is_none() && !kept && auth.jwks.is_none() && auth.jwks_url.is_none() {
            return Err(ConfigError::Missing("JWT_SECRET, JWT_JWKS or JWT_JWKS_URL"));
        }
        Ok(Self {
            database: DatabaseSettings::from_env()?,
            auth,
            jwt_secret_is_stored: kept,
        })
    }
}

impl DatabaseSettings {
    /// Reads `DATABASE_URL` or `SECRET_ARN`, `DATABASE_AUTH` and `DATABASE_POOL_SIZE`.
    ///
    /// # Errors
    /// No address, an unknown kind of authentication, or a pool size that is not a positive number.
    pub fn from_env() -> Result<Self, ConfigError> {
        let pool_size = match variable("DATABASE_POOL_SIZE") {
            None => 1,
            Some(text) => text
                .parse()
                .ok()
                .filter(|n| *n > 0)
                .ok_or(ConfigError::Invalid("DATABASE_POOL_SIZE", "a positive number"))?,
        };
        let login = login_setting("DATABASE_AUTH")?;
        let url = variable("DATABASE_URL").map(AddressSetting::Url);
        let secret = || secret_arn().map(AddressSetting::Secret);
        Ok(Self {
            address: url
                .or_else(secret)
                .ok_or(ConfigError::Missing("DATABASE_URL or SECRET_ARN"))?,
            login,
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
            requires_role: variable("JWT_REQUIRE_ROLE").is_some_and(|required| required == "true"),
        }
    }
}

/// An empty variable counts as unset, because templates cannot leave one out.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Default number of a stream's events between two snapshots. Loading any state then reads fewer events than this.
pub const SNAPSHOT_EVERY: NonZeroI32 = NonZeroI32::new(20).unwrap();

/// `SNAPSHOT_EVERY`: number of a stream's events between two snapshots. `None` if it is 0: no snapshots are taken.
///
/// # Errors
/// Anything except a number of at least 0.
pub fn snapshot_every() -> Result<Option<NonZeroI32>, ConfigError> {
    match variable("SNAPSHOT_EVERY") {
        None => Ok(Some(SNAPSHOT_EVERY)),
        Some(text) => match text.parse::<i32>() {
            Ok(every) if every >= 0 => Ok(NonZeroI32::new(every)),
            _ => Err(ConfigError::Invalid("SNAPSHOT_EVERY", "a number of events, or 0")),
        },
    }
}

/// The deployed function that this process runs.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// `STACK_NAME`: the stack that it belongs to.
    pub stack: String,
    /// `AWS_LAMBDA_FUNCTION_NAME`, set by Lambda.
    pub function: String,
    /// Where traces are sent: `TRACE_DAEMON_ADDRESS`, the address of a collector, or else `AWS_XRAY_DAEMON_ADDRESS`, which Lambda
    /// sets.
    pub trace_daemon: Option<SocketAddr>,
}

/// The deployed function that this process runs. `None` if it does not run on Lambda.
pub fn deployed() -> Option<Deployed> {
    Some(Deployed {
        stack: variable("STACK_NAME").unwrap_or_else(|| "none".to_owned()),
        function: variable("AWS_LAMBDA_FUNCTION_NAME")?,
        trace_daemon: first_address([variable("TRACE_DAEMON_ADDRESS"), variable("AWS_XRAY_DAEMON_ADDRESS")]),
    })
}

/// The first address that is set. If it is invalid, no traces are sent, not even to the second address.
fn first_address(given: [Option<String>; 2]) -> Option<SocketAddr> {
    given.into_iter().flatten().next()?.parse().ok()
}

/// `SECRET_ARN`: the secret of AWS Secrets Manager that holds the database's address, and possibly `JWT_SECRET`.
pub fn secret_arn() -> Option<String> {
    variable("SECRET_ARN")
}

/// `API_SECRET_ARN` and `API_DATABASE_AUTH`: the secret and authentication that functions will use for the database that is
/// migrated. `None`: the migration does not set up their login.
///
/// # Errors
/// An unknown kind of authentication.
pub fn api_login() -> Result<Option<(AddressSetting, LoginSetting)>, ConfigError> {
    let login = login_setting("API_DATABASE_AUTH")?;
    Ok(variable("API_SECRET_ARN").map(|arn| (AddressSetting::Secret(arn), login)))
}

/// `WAKE_QUEUE_URL`: the SQS queue for wake-ups of the projector.
pub fn wake_queue_url() -> Option<String> {
    variable("WAKE_QUEUE_URL")
}

/// `SWEEP_BY_WAKE_UPS`, true or false: whether wake-ups also request sweeps, for stacks whose schedule runs less often than each
/// minute.
pub fn sweep_by_wake_ups() -> bool {
    variable("SWEEP_BY_WAKE_UPS").is_some_and(|value| value == "true")
}

/// `UPLOAD_BUCKET`: the bucket for large files.
///
/// # Errors
/// It is not set.
pub fn upload_bucket() -> Result<String, ConfigError> {
    variable("UPLOAD_BUCKET").ok_or(ConfigError::Missing("UPLOAD_BUCKET"))
}

fn login_setting(name: &'static str) -> Result<LoginSetting, ConfigError> {
    match variable(name).as_deref() {
        None | Some("password") => Ok(LoginSetting::Password),
        Some("iam") => Ok(LoginSetting::Iam),
        Some(_) => Err(ConfigError::Invalid(name, "password or iam")),
    }
}

/// `DATABASE_CA`: PEM certificates of the only authorities that may sign the database's certificate. Unset: the public ones, and
/// those of RDS or Supabase for their hosts.
pub fn database_ca() -> Option<String> {
    variable("DATABASE_CA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collectors_address_takes_precedence_over_lambdas() {
        let address = |own: Option<&str>, lambdas: Option<&str>| {
            let found = first_address([own.map(str::to_owned), lambdas.map(str::to_owned)]);
            found.map(|address| address.to_string())
        };
        let (collector, daemon) = ("127.0.0.1:2001", "169.254.79.129:2000");
        assert_eq!(address(Some(collector), Some(daemon)).as_deref(), Some(collector));
        assert_eq!(address(None, Some(daemon)).as_deref(), Some(daemon));
        assert_eq!(address(Some("collector"), Some(daemon)), None);
        assert_eq!(address(None, None), None);
    }
}
