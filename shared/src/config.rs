//! Configuration: environment variables, read once at start, every name in one place. None of it can be printed: it holds
//! passwords.

use std::env;
use std::net::SocketAddr;
use std::num::NonZeroI32;

/// Everything that a function needs to know.
#[derive(Clone)]
pub struct Config {
    /// Where the log is.
    pub database: DatabaseSettings,
    /// How tokens are verified.
    pub auth: AuthConfig,
    /// `JWT_SHARED_SECRET`, true or false: whether `JWT_SECRET` is kept where the database's address is (`SECRET_ARN`).
    pub shared_secret_is_kept: bool,
    /// `WAKE_QUEUE_URL`: the SQS queue between writing and projecting.
    pub wake_queue_url: Option<String>,
    /// `UPLOAD_BUCKET`: the bucket that large files are sent to.
    pub upload_bucket: Option<String>,
}

/// A database whose address is known.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`.
    pub url: String,
    /// Connections at most.
    pub pool_size: usize,
}

/// How a function reaches PostgreSQL.
#[derive(Clone)]
pub struct DatabaseSettings {
    /// Where the address stands.
    pub address: AddressSetting,
    /// What a connection is let in by.
    pub login: LoginSetting,
    /// `DATABASE_POOL_SIZE`: connections at most. A function serves one request at a time and needs one.
    pub pool_size: usize,
}

/// Where the database's address stands.
#[derive(Clone)]
pub enum AddressSetting {
    /// In `DATABASE_URL`.
    Url(String),
    /// In the secret of AWS Secrets Manager that `SECRET_ARN` names, under `DATABASE_URL`.
    Secret(String),
}

/// `DATABASE_AUTH`: what a connection is let in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginSetting {
    /// `password`: the address'.
    Password,
    /// `iam`: a token of RDS', made for each connection.
    Iam,
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
    /// `JWT_REQUIRE_ROLE`, true or false: whether a token without `app_metadata.role` is refused instead of being a plain user's.
    /// Where everybody may sign up, as on Supabase, only what the project itself writes into a token says who may post.
    pub requires_role: bool,
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
        let kept = variable("JWT_SHARED_SECRET").is_some_and(|kept| kept == "true") && secret_arn().is_some();
        if auth.secret.is_none() && !kept && auth.jwks.is_none() && auth.jwks_url.is_none() {
            return Err(ConfigError::Missing("JWT_SECRET, JWT_JWKS or JWT_JWKS_URL"));
        }
        Ok(Self {
            database: DatabaseSettings::from_env()?,
            auth,
            shared_secret_is_kept: kept,
            wake_queue_url: wake_queue_url(),
            upload_bucket: upload_bucket().ok(),
        })
    }
}

impl DatabaseSettings {
    /// Reads `DATABASE_URL` or `SECRET_ARN`, `DATABASE_AUTH` and `DATABASE_POOL_SIZE`.
    ///
    /// # Errors
    /// No address, an unknown kind of login, or a size that is no positive number.
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
    /// `TRACE_DAEMON_ADDRESS`, a collector's; without it `AWS_XRAY_DAEMON_ADDRESS`, which Lambda sets: where traces are sent.
    pub trace_daemon: Option<SocketAddr>,
}

/// Which deployed function this is. None anywhere else.
pub fn deployed() -> Option<Deployed> {
    Some(Deployed {
        stack: variable("STACK_NAME").unwrap_or_else(|| "none".to_owned()),
        function: variable("AWS_LAMBDA_FUNCTION_NAME")?,
        trace_daemon: first_address([variable("TRACE_DAEMON_ADDRESS"), variable("AWS_XRAY_DAEMON_ADDRESS")]),
    })
}

/// The first of these that is given. If it is invalid, no traces are sent. They are not sent to the second address instead.
fn first_address(given: [Option<String>; 2]) -> Option<SocketAddr> {
    given.into_iter().flatten().next()?.parse().ok()
}

/// `SECRET_ARN`: the secret of AWS Secrets Manager that holds the database's address, and `JWT_SECRET`.
pub fn secret_arn() -> Option<String> {
    variable("SECRET_ARN")
}

/// `API_SECRET_ARN` and `API_DATABASE_AUTH`: how the functions are to log in to the database that is migrated, if that is to be
/// seen to.
///
/// # Errors
/// An unknown kind of login.
pub fn api_login() -> Result<Option<(AddressSetting, LoginSetting)>, ConfigError> {
    let login = login_setting("API_DATABASE_AUTH")?;
    Ok(variable("API_SECRET_ARN").map(|arn| (AddressSetting::Secret(arn), login)))
}

/// `WAKE_QUEUE_URL`: the SQS queue between writing and projecting.
pub fn wake_queue_url() -> Option<String> {
    variable("WAKE_QUEUE_URL")
}

/// `SWEEP_BY_WAKE_UPS`, true or false: whether wake-ups ask for sweeps, because the schedule does so too seldom.
pub fn sweep_by_wake_ups() -> bool {
    variable("SWEEP_BY_WAKE_UPS").is_some_and(|asked| asked == "true")
}

/// `UPLOAD_BUCKET`: the bucket that large files are sent to.
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

/// `DATABASE_CA`: certificates in PEM of the authorities that alone may sign the database's. Unset: the public ones, and RDS' or
/// Supabase's own for their hosts.
pub fn database_ca() -> Option<String> {
    variable("DATABASE_CA")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collectors_address_goes_before_the_one_that_lambda_sets() {
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
