//! Makes sure that PostgreSQL accepts the login that serves requests, with the password in its secret.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Client;

use crate::connection::access::{Access, Login, is_server_unavailable};
use crate::connection::error::ConnectError;
use crate::migrations::migrate::MigrateError;

/// What was done about the login `annals_api`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiLogin {
    /// Nothing: the login was accepted already.
    Unchanged,
    /// It was refused. Password or membership was set, and it is accepted now.
    Set,
}

/// Makes sure that `annals_api` can log in. If the login is refused, the migrating role sets the password from the secret or, with IAM
/// authentication, grants RDS' role `rds_iam`. A login that works is not changed, because a pooler that keeps a copy of the salted hash
/// could no longer log in with a new one.
///
/// # Errors
/// The address names another role, or the login is still refused.
pub async fn ensure_api_login(owner: &Access, api: &Access) -> Result<ApiLogin, MigrateError> {
    match api.open().await {
        Ok(_) => return Ok(ApiLogin::Unchanged),
        Err(error) if !is_login_refused(&error) => return Err(error.into()),
        Err(_) => {}
    }
    let (client, _driver) = owner.open().await?;
    match &api.login {
        Login::Iam(_) => grant_iam(&client).await?,
        Login::Password => set_password(&client, &api.api_password().await?).await?,
    }
    api.open().await?;
    Ok(ApiLogin::Set)
}

/// Whether a server or a pooler refused this login. One that is full, starting or stopping refuses every login, also a correct one.
fn is_login_refused(error: &ConnectError) -> bool {
    match error {
        ConnectError::Login(error) | ConnectError::Database(error) => {
            error.as_db_error().is_some_and(|db| !is_server_unavailable(db))
        }
        _ => false,
    }
}

/// Sets the password as a salted hash, so that neither the server nor its log sees the password.
async fn set_password(client: &Client, password: &[u8]) -> Result<(), MigrateError> {
    let hash = scram_sha_256(password);
    // The hash consists of Base64 and punctuation: it needs no quoting.
    let sql = format!("-- set_api_password\nalter role annals_api password '{hash}'");
    Ok(client.batch_execute(&sql).await?)
}

async fn grant_iam(client: &Client) -> Result<(), MigrateError> {
    Ok(client
        .batch_execute("-- grant_iam\ngrant rds_iam to annals_api")
        .await?)
}
