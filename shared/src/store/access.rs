//! How a connection is made: where the address comes from, what it logs in with, and which authorities it trusts.
//!
//! An address that is kept in a secret is fetched once per process. If the database refuses the login, the secret is fetched
//! again, and if it has changed, the new login is tried at once. So a rotation costs one connection a second try, and no request fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::DbError;
use tokio_postgres::{Client, Config, NoTls};

use super::connect::ConnectError;
use super::tls;
use super::told::told;
use crate::config::{self, AddressSetting, LoginSetting};
use crate::rds::Signer;
use crate::secrets::{Doubt, SecretError, Secrets, Values};

/// How long a connection may take to be made.
pub(super) const WAIT: Duration = Duration::from_secs(5);
/// Data that is not acknowledged for this long counts as lost: after a failover the other end is gone without closing the connection.
const SILENCE: Duration = Duration::from_secs(5);
/// The database of a secret that names none: RDS and Supabase always have it.
const DEFAULT_DATABASE: &str = "postgres";
/// The login that serves requests.
const API_ROLE: &str = "annals_api";

/// How a process reaches its database.
#[derive(Clone)]
pub struct Access {
    /// Where the address comes from.
    pub address: Address,
    /// What lets a connection in.
    pub login: Login,
    /// Certificates in PEM of the authorities that alone are believed; the usual ones otherwise.
    pub authorities: Option<String>,
    /// A connection that was not used for so long is tried before it is used.
    pub tried_after: Duration,
}

/// Where the database's address comes from.
#[derive(Clone)]
pub enum Address {
    /// It is known.
    Url(String),
    /// It is a secret's `DATABASE_URL`, or its `host`, `port`, `username`, `password` and `dbname`.
    Secret(Arc<Secrets>),
}

/// What a connection is let in by.
#[derive(Clone)]
pub enum Login {
    /// The address' password.
    Password,
    /// A token of RDS', made for each connection.
    Iam(Signer),
}

/// An address that was read, and the secret that it stands in.
struct Target {
    config: Config,
    values: Option<Arc<Values>>,
}

/// A session that is open, and the task that drives it.
pub(super) type Session = (Client, JoinHandle<()>);

impl Access {
    /// Nothing outlives this on the way: the shortest of the idle limits that firewalls, NAT and balancers are known to have is
    /// above it, and a Lambda environment that was frozen has usually slept longer.
    const TRIED_AFTER: Duration = Duration::from_secs(30);

    /// Access by a known address, with the password that it holds.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            address: Address::Url(url.into()),
            login: Login::Password,
            authorities: config::database_ca(),
            tried_after: Self::TRIED_AFTER,
        }
    }

    /// Access as a function's environment says, its secret fetched at the first need.
    ///
    /// # Errors
    /// IAM authentication in a process that runs as nobody.
    pub fn of(address: AddressSetting, login: LoginSetting) -> Result<Self, ConnectError> {
        let address = match address {
            AddressSetting::Url(url) => Address::Url(url),
            AddressSetting::Secret(arn) => Address::Secret(Secrets::of(arn)),
        };
        let login = match login {
            LoginSetting::Password => Login::Password,
            LoginSetting::Iam => Login::Iam(Signer::of_function()?),
        };
        let usual = Self::to("");
        Ok(Self {
            address,
            login,
            ..usual
        })
    }

    /// The secret, where the address is kept in one.
    pub fn secrets(&self) -> Option<&Arc<Secrets>> {
        match &self.address {
            Address::Url(_) => None,
            Address::Secret(secrets) => Some(secrets),
        }
    }

    /// What can be found wrong without asking anybody.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        if let Some(given) = &self.authorities {
            tls::check_authorities(given)?;
        }
        match &self.address {
            Address::Url(url) => self.read(url).map(|_| ()),
            Address::Secret(_) => Ok(()),
        }
    }

    /// A session as the address' role.
    pub(super) async fn open(&self) -> Result<Session, ConnectError> {
        let target = self.target().await?;
        match self.log_in(&target.config).await {
            Err(ConnectError::Database(refused)) if is_login(&refused) => match self.renewed(&target).await? {
                Some(renewed) => self.log_in(&renewed.config).await,
                None => Err(ConnectError::Login(refused)),
            },
            done => done,
        }
    }

    /// The same, as the role that serves requests: another login becomes it.
    pub(super) async fn open_as_api(&self) -> Result<Session, ConnectError> {
        let session = self.open().await?;
        let target = self.target().await?;
        // Locally the address is the migrating role's. Deployed functions log in as annals_api, and a pooler in transaction mode
        // would not keep a session's role.
        if !target.is_api() {
            let become_api = session.0.batch_execute("set role annals_api");
            become_api.await.map_err(ConnectError::Database)?;
        }
        Ok(session)
    }

    /// The password that the address holds for the role that serves requests.
    pub(super) async fn api_password(&self) -> Result<Vec<u8>, ConnectError> {
        let target = self.target().await?;
        let password = target.config.get_password().filter(|_| target.is_api());
        password.map(<[u8]>::to_vec).ok_or(ConnectError::NotTheApis)
    }

    async fn target(&self) -> Result<Target, ConnectError> {
        match &self.address {
            Address::Url(url) => Ok(Target {
                config: self.read(url)?,
                values: None,
            }),
            Address::Secret(secrets) => self.kept(secrets.values().await?),
        }
    }

    async fn renewed(&self, refused: &Target) -> Result<Option<Target>, ConnectError> {
        let (Address::Secret(secrets), Some(values)) = (&self.address, &refused.values) else {
            return Ok(None);
        };
        let newer = secrets.instead_of(values, Doubt::Login).await?;
        newer.map(|values| self.kept(values)).transpose()
    }

    fn kept(&self, values: Arc<Values>) -> Result<Target, ConnectError> {
        let config = if values.has("DATABASE_URL") {
            self.read(values.get("DATABASE_URL")?)?
        } else if values.has("host") {
            self.settled(of_parts(&values)?)?
        } else {
            return Err(SecretError::Missing("DATABASE_URL and no host").into());
        };
        Ok(Target {
            config,
            values: Some(values),
        })
    }

    fn read(&self, url: &str) -> Result<Config, ConnectError> {
        self.settled(tls::read_address(url)?)
    }

    /// An address with what every connection has.
    fn settled(&self, mut config: Config) -> Result<Config, ConnectError> {
        if matches!(self.login, Login::Iam(_)) && config.get_ssl_mode() == SslMode::Disable {
            return Err(ConnectError::TokenInTheClear);
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

/// The address in a secret as RDS and its rotation write it.
fn of_parts(values: &Values) -> Result<Config, ConnectError> {
    let mut config = Config::new();
    config
        .host(values.get("host")?)
        .user(values.get("username")?)
        .dbname(values.get("dbname").unwrap_or(DEFAULT_DATABASE));
    // IAM authentication needs none. A password login without one fails in the driver.
    if let Ok(password) = values.get("password") {
        config.password(password);
    }
    if let Ok(port) = values.get("port") {
        config.port(port.parse().map_err(|_| ConnectError::Address)?);
    }
    Ok(tls::secured(config))
}

impl Target {
    /// Supabase's pooler wants the project's name behind the role's.
    fn is_api(&self) -> bool {
        let user = self.config.get_user().unwrap_or_default();
        user.split('.').next() == Some(API_ROLE)
    }
}

/// Runs the connection until it closes. Requests waiting on it get the same error.
async fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>>) {
    if let Err(error) = connection.await {
        tracing::debug!(error = told(&error), "connection ended");
    }
}

/// Whether a server or a pooler refused the login itself. PgBouncer says 08P01 (protocol violation) about every client that it
/// refuses, so a full PgBouncer is recognised by its message.
fn is_login(error: &tokio_postgres::Error) -> bool {
    error
        .as_db_error()
        .is_some_and(|db| matches!(db.code().code(), "28P01" | "28000" | "08P01") && !has_no_room(db))
}

/// Whether a login is refused because the server or pooler is full, starts, stops, or has no server behind it. PostgreSQL uses SQLSTATE
/// classes 53 and 57. PgBouncer (08P01) and Supavisor (XX000) use one code for everything, so the message is compared.
pub(super) fn has_no_room(db: &DbError) -> bool {
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
    // PgBouncer repeats the server's reason where its own login is refused: that is an answer about the login.
    if message.contains("authentication failed") {
        return false;
    }
    matches!(&db.code().code()[..2], "53" | "57") || WORDS.iter().any(|words| message.contains(words))
}
