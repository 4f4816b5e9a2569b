//! The login that requests come by, made fit for use: its password is in a secret, and PostgreSQL has to know it.

use postgres_protocol::password::scram_sha_256;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use super::access::{Access, Login};
use super::connect::ConnectError;
use super::migrate::MigrateError;

/// What was done about the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiLogin {
    /// Nothing: it was let in.
    AsItWas,
    /// It was turned away; now it is let in.
    Set,
}

/// Sees to it that `annals_api` is let in by its address: where it is turned away, the migrating role gives it the password
/// that the address holds, or, for IAM authentication, membership of RDS' role for that. A login that works stays as it is,
/// because poolers know passwords by their salted hashes, and would not know a new one.
///
/// # Errors
/// An address of another role's, or one that is not let in all the same.
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

/// Whether it was a server, or a pooler before it, that turned the login away: each has its own words for it. One that is full, starts
/// or stops says nothing about the login.
fn is_answered(error: &ConnectError) -> bool {
    match error {
        ConnectError::Login(_) => true,
        ConnectError::Database(error) => error.as_db_error().is_some_and(|db| !has_no_room(db)),
        _ => false,
    }
}

/// PostgreSQL and PgBouncer have codes for it. Supavisor's code says nothing, so its words have to.
fn has_no_room(db: &DbError) -> bool {
    matches!(&db.code().code()[..2], "53" | "57") || db.message().to_ascii_lowercase().contains("max client")
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
