//! The login that serves requests: PostgreSQL has to know the password that its secret holds.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Client;

use super::access::{Access, Login, has_no_room};
use super::connect::ConnectError;
use super::migrate::MigrateError;

/// What was done about the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiLogin {
    /// Nothing: it was accepted.
    AsItWas,
    /// It was refused; now it is accepted.
    Set,
}

/// Makes sure that `annals_api` can log in. If the login is refused, the migrating role gives `annals_api` the password in its
/// secret, or, for IAM authentication, membership of RDS' role. A login that works is not changed: a pooler that keeps a copy of
/// the salted hash could no longer log in with a new one.
///
/// # Errors
/// An address of another role, or a login that is still refused.
pub async fn let_api_in(owner: &Access, api: &Access) -> Result<ApiLogin, MigrateError> {
    match api.open().await {
        Ok(_) => return Ok(ApiLogin::AsItWas),
        Err(error) if !is_answered(&error) => return Err(error.into()),
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

/// Whether a server or a pooler refused the login itself. One that is full, starts or stops refuses every login, the right one too.
fn is_answered(error: &ConnectError) -> bool {
    match error {
        ConnectError::Login(error) | ConnectError::Database(error) => {
            error.as_db_error().is_some_and(|db| !has_no_room(db))
        }
        _ => false,
    }
}

/// As a salted hash, which is all that reaches the server and its log.
async fn set_password(client: &Client, password: &[u8]) -> Result<(), MigrateError> {
    let hash = scram_sha_256(password);
    // Base64 and punctuation: nothing in it needs quoting.
    let sql = format!("-- set_api_password\nalter role annals_api password '{hash}'");
    Ok(client.batch_execute(&sql).await?)
}

async fn grant_iam(client: &Client) -> Result<(), MigrateError> {
    Ok(client
        .batch_execute("-- grant_iam\ngrant rds_iam to annals_api")
        .await?)
}
