//! How a connection is opened: where the address comes from, how it logs in, and which authorities it trusts.
//!
//! An address in a secret is fetched once per process. If the database refuses the login, the secret is fetched again, and if it has
//! changed, the new login is tried immediately. After a rotation, one connection therefore needs a second attempt, and no request
//! fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config, NoTls};

use crate::connection::error::ConnectError;
use crate::connection::tls;
use crate::redacted_error::redacted_error;
use annals_aws::rds::TokenSigner;
use annals_aws::secrets::{RefreshReason, SecretError, SecretValues, Secrets};
use annals_config::{AddressSetting, LoginSetting};

/// Time limit for opening a connection.
pub(crate) const WAIT: Duration = Duration::from_secs(5);
/// Data that is not acknowledged for this long counts as lost. After a failover the old server is gone without having closed the
/// connection.
const SILENCE: Duration = Duration::from_secs(5);
/// The database if the secret names none. RDS and Supabase always have it.
const DEFAULT_DATABASE: &str = "postgres";
/// The role that serves requests.
const API_ROLE: &str = "annals_api";

/// How a process reaches its database.
#[derive(Clone)]
pub struct Access {
    /// Where the address comes from.
    pub address: Address,
    /// How a connection authenticates.
    pub login: Login,
    /// Certificates (PEM) of the only authorities that are trusted; `None`: the usual ones.
    pub authorities: Option<String>,
    /// A connection that was idle for this long is probed before use.
    pub probe_after: Duration,
}

/// Where the database's address comes from.
#[derive(Clone)]
pub enum Address {
    /// A known connection URL.
    Url(String),
    /// A secret with `DATABASE_URL`, or with `host`, `port`, `username`, `password` and `dbname`.
    Secret(Arc<Secrets>),
}

/// How a connection authenticates.
#[derive(Clone)]
pub enum Login {
    /// With the password in the address.
    Password,
    /// With an RDS token (IAM), made for each connection.
    Iam(TokenSigner),
}

/// A parsed address, and the secret that it comes from.
struct Target {
    config: Config,
    values: Option<Arc<SecretValues>>,
}

/// An open session, and the task that drives its connection.
pub(crate) type Session = (Client, JoinHandle<()>);

impl Access {
    /// The shortest idle limit known of firewalls, NAT and load balancers is longer than this. A Lambda environment that was frozen has
    /// usually been idle for longer.
    const PROBE_AFTER: Duration = Duration::from_secs(30);

    /// Access by a known address and the password in it.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            address: Address::Url(url.into()),
            login: Login::Password,
            authorities: annals_config::database_ca(),
            probe_after: Self::PROBE_AFTER,
        }
    }

    /// Access as the function's environment says. A secret is fetched when it is first needed.
    ///
    /// # Errors
    /// IAM authentication in a process without AWS credentials.
    pub fn of(address: AddressSetting, login: LoginSetting) -> Result<Self, ConnectError> {
        let address = match address {
            AddressSetting::Url(url) => Address::Url(url),
            AddressSetting::Secret(arn) => Address::Secret(Secrets::of(arn)),
        };
        let login = match login {
            LoginSetting::Password => Login::Password,
            LoginSetting::Iam => Login::Iam(TokenSigner::of_function()?),
        };
        let usual = Self::to("");
        Ok(Self {
            address,
            login,
            ..usual
        })
    }

    /// The secret, if the address is kept in one.
    pub fn secrets(&self) -> Option<&Arc<Secrets>> {
        match &self.address {
            Address::Url(_) => None,
            Address::Secret(secrets) => Some(secrets),
        }
    }

    /// Checks what can be checked without a connection.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        if let Some(given) = &self.authorities {
            tls::check_authorities(given)?;
        }
        match &self.address {
            Address::Url(url) => self.read(url).map(|_| ()),
            Address::Secret(_) => Ok(()),
        }
    }

    /// Opens a session with the role of the address.
    pub(crate) async fn open(&self) -> Result<Session, ConnectError> {
        let target = self.target().await?;
        match self.log_in(&target.config).await {
            Err(ConnectError::Database(refused)) if is_login_refused(&refused) => match self.renewed(&target).await? {
                Some(renewed) => self.log_in(&renewed.config).await,
                None => Err(ConnectError::Login(refused)),
            },
            done => done,
        }
    }

    /// Opens a session with the role that serves requests. If the address has another login, the session switches its role.
    pub(crate) async fn open_as_api(&self) -> Result<Session, ConnectError> {
        let session = self.open().await?;
        let target = self.target().await?;
        // Locally the address is the migrating role's. Deployed functions log in as annals_api, because a pooler in transaction mode
        // would not keep a session's role.
        if !target.is_api() {
            let become_api = session.0.batch_execute("set role annals_api");
            become_api.await.map_err(ConnectError::Database)?;
        }
        Ok(session)
    }

    /// The password that the address holds for the role that serves requests.
    pub(crate) async fn api_password(&self) -> Result<Vec<u8>, ConnectError> {
        let target = self.target().await?;
        let password = target.config.get_password().filter(|_| target.is_api());
        password.map(<[u8]>::to_vec).ok_or(ConnectError::NotApiLogin)
    }

    async fn target(&self) -> Result<Target, ConnectError> {
        match &self.address {
            Address::Url(url) => Ok(Target {
                config: self.read(url)?,
                values: None,
            }),
            Address::Secret(secrets) => self.target_from(secrets.values().await?),
        }
    }

    async fn renewed(&self, refused: &Target) -> Result<Option<Target>, ConnectError> {
        let (Address::Secret(secrets), Some(values)) = (&self.address, &refused.values) else {
            return Ok(None);
        };
        let newer = secrets.refresh_if_stale(values, RefreshReason::Login).await?;
        newer.map(|values| self.target_from(values)).transpose()
    }

    fn target_from(&self, values: Arc<SecretValues>) -> Result<Target, ConnectError> {
        let config = if values.has("DATABASE_URL") {
            self.read(values.get("DATABASE_URL")?)?
        } else if values.has("host") {
            self.with_defaults(config_from_parts(&values)?)?
        } else {
            return Err(SecretError::Missing("DATABASE_URL and no host").into());
        };
        Ok(Target {
            config,
            values: Some(values),
        })
    }

    fn read(&self, url: &str) -> Result<Config, ConnectError> {
        self.with_defaults(tls::read_address(url)?)
    }

    /// Adds to an address the settings that every connection has.
    fn with_defaults(&self, mut config: Config) -> Result<Config, ConnectError> {
        if matches!(self.login, Login::Iam(_)) && config.get_ssl_mode() == SslMode::Disable {
            return Err(ConnectError::TokenUnencrypted);
        }
        config
            .application_name("annals")
            .connect_timeout(WAIT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        Ok(config)
    }

    async fn log_in(&self, config: &Config) -> Result<Session, ConnectError> {
        let mut config = config.clone();
        if let Login::Iam(signer) = &self.login {
            let [Host::Tcp(host)] = config.get_hosts() else {
                return Err(ConnectError::Address);
            };
            let port = config.get_ports().first().copied().unwrap_or(5432);
            let token = signer.token(host, port, config.get_user().unwrap_or_default()).await?;
            config.password(token);
        }
        if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config.connect(NoTls).await?;
            return Ok((client, tokio::spawn(drive(connection))));
        }
        let connector = tls::connector(&config, self.authorities.as_deref())?;
        let (client, connection) = config.connect(connector).await?;
        Ok((client, tokio::spawn(drive(connection))))
    }
}

/// The address in a secret, in the form that RDS and its rotation write.
fn config_from_parts(values: &SecretValues) -> Result<Config, ConnectError> {
    let mut config = Config::new();
    config
        .host(values.get("host")?)
        .user(values.get("username")?)
        .dbname(values.get("dbname").unwrap_or(DEFAULT_DATABASE));
    // IAM authentication needs no password. A password login without one fails in the driver.
    if let Ok(password) = values.get("password") {
        config.password(password);
    }
    if let Ok(port) = values.get("port") {
        config.port(port.parse().map_err(|_| ConnectError::Address)?);
    }
    Ok(tls::secured(config))
}

impl Target {
    /// Whether the address logs in as `annals_api`. Supabase's pooler wants the project's name after the role's, with a dot between.
    fn is_api(&self) -> bool {
        let user = self.config.get_user().unwrap_or_default();
        user.split('.').next() == Some(API_ROLE)
    }
}

/// Runs the connection until it closes. Requests that wait on it get the same error.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(error = redacted_error(&error), "connection ended");
    }
}

/// Whether a server or a pooler refused this login. PgBouncer sends 08P01 (protocol violation) to every client that it refuses, so a full
/// PgBouncer is recognised by its message.
fn is_login_refused(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| matches!(db.code().code(), "28P01" | "28000" | "08P01") && !is_server_unavailable(db))
}

/// Whether a login failed because the server or pooler is full, starting or stopping, or has no server behind it. PostgreSQL uses the
/// SQLSTATE classes 53 and 57. PgBouncer (08P01) and Supavisor (XX000) use one code for everything, so the message is compared.
pub(crate) fn is_server_unavailable(db: &DbError) -> bool {
    const WORDS: [&str; 9] = [
        "max client",
        "maxclients",
        "no more connections",
        "connections exceeded",
        "login has been failing",
        "server down",
        "cannot connect",
        "shutting down",
        "timeout",
    ];
    let message = db.message().to_ascii_lowercase();
    // PgBouncer repeats the server's reason if its own login is refused. That is an answer about the login.
    if message.contains("authentication failed") {
        return false;
    }
    matches!(&db.code().code()[..2], "53" | "57") || WORDS.iter().any(|words| message.contains(words))
}
