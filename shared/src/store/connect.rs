//! Connections: one pool per process, made lazily, verified by TLS where the address asks for it.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::StoreError;
use super::catalog::CatalogCache;
use crate::config::DatabaseConfig;

/// How long a request waits for a connection before it answers 503.
const WAIT: Duration = Duration::from_secs(5);
/// The login that serves requests; a connection made as another role becomes it first.
const API_ROLE: &str = "annals_api";

/// The database, shared by all requests of a process.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    pub(super) catalogs: Arc<CatalogCache>,
}

/// An address that is none.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `DATABASE_URL` cannot be read.
    #[error("DATABASE_URL is not a PostgreSQL connection address")]
    Address(#[source] tokio_postgres::Error),
    /// The pool could not be made.
    #[error("no connection pool")]
    Pool(#[from] deadpool_postgres::BuildError),
}

impl Store {
    /// A store at the configured address. Nothing is connected yet, so that a function starts while its database is away.
    ///
    /// # Errors
    /// An address that cannot be read.
    pub fn new(config: &DatabaseConfig) -> Result<Self, ConnectError> {
        let mut address: tokio_postgres::Config = config.url.parse().map_err(ConnectError::Address)?;
        address
            .application_name("annals")
            .connect_timeout(WAIT)
            .keepalives_idle(Duration::from_secs(30));
        let manager_config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let logs_in_as_api = address.get_user() == Some(API_ROLE);
        let manager = match address.get_ssl_mode() {
            SslMode::Disable => Manager::from_config(address, tokio_postgres::NoTls, manager_config),
            _ => Manager::from_config(address, MakeRustlsConnect::new(tls()), manager_config),
        };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT),
                create: Some(WAIT),
                recycle: Some(WAIT),
            })
            .post_create(Hook::async_fn(move |client, _| {
                Box::pin(async move {
                    // Locally the address is the migrating role's. Deployed functions log in as annals_api, and a pooler in
                    // transaction mode would not keep a session's role.
                    if logs_in_as_api {
                        return Ok(());
                    }
                    client
                        .batch_execute("set role annals_api")
                        .await
                        .map_err(HookError::Backend)
                })
            }))
            .build()?;
        Ok(Self {
            pool,
            catalogs: Arc::default(),
        })
    }

    /// A connection from the pool.
    pub(super) async fn connection(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) if error.as_db_error().is_some_and(|db| !is_passing(db.code().code())) => {
                StoreError::Database(error)
            }
            other => StoreError::Unavailable(Box::new(other)),
        })
    }
}

/// Whether an error at connecting may go away by itself: the server is starting, stopping or full.
fn is_passing(code: &str) -> bool {
    matches!(&code[..2], "08" | "53" | "57")
}

pub(super) fn tls() -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    if let Some(pem) = crate::config::database_ca() {
        let given: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .filter_map(Result::ok)
            .collect();
        let (added, ignored) = roots.add_parsable_certificates(given);
        tracing::debug!(added, ignored, "certificates of DATABASE_CA");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    match rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() {
        Ok(builder) => builder.with_root_certificates(roots).with_no_client_auth(),
        Err(_) => unreachable!("the provider supports its own default versions"),
    }
}
