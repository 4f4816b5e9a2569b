//! Creates the migrating role and its database, as a managed PostgreSQL does. This is all that the superuser is used for.

use crate::Error;
use tokio_postgres::{Client, NoTls};

/// The migrating role: owns the database, may create roles, is no superuser.
pub const OWNER: &str = "annals_owner";
/// The database that [`Cluster::url`](super::Cluster::url) names.
pub const DATABASE: &str = "annals";

/// Creates the role and the database if they are missing, and sets the role's password to the one in the data folder.
///
/// Every start repeats every step and skips what exists, because an earlier process may have been killed between two steps.
pub(super) async fn owner_and_database(superuser_url: &str, password: &str) -> Result<(), Error> {
    let (client, connection) =
        tokio_postgres::connect(superuser_url, NoTls)
            .await
            .map_err(|source| Error::Database {
                doing: "connect to the private cluster".to_owned(),
                source,
            })?;
    let connection = tokio::spawn(connection);
    let provisioned = provision(&client, password).await.map_err(|source| Error::Database {
        doing: "set up the private cluster".to_owned(),
        source,
    });
    drop(client);
    // The connection ends by itself when the client is dropped. It is awaited, so that no session of the superuser outlives this function.
    let _ended = connection.await;
    provisioned
}

/// Whether a server accepts connections at this URL, with the role and the database in it.
pub(super) async fn answers(url: &str) -> bool {
    match tokio_postgres::connect(url, NoTls).await {
        Ok((client, connection)) => {
            drop(client);
            connection.await.is_ok()
        }
        Err(_) => false,
    }
}

async fn provision(client: &Client, password: &str) -> Result<(), tokio_postgres::Error> {
    if client
        .query_opt("-- find_owner\nselect from pg_roles where rolname = $1", &[&OWNER])
        .await?
        .is_none()
    {
        client
            .batch_execute(&format!("-- create_owner\ncreate role {OWNER} login createrole"))
            .await?;
    }
    // DDL takes no parameters. The password needs no escaping, because it has only hexadecimal digits (`secrets::generate`).
    client
        .batch_execute(&format!(
            "-- set_owner_password\nalter role {OWNER} password '{password}'"
        ))
        .await?;
    if client
        .query_opt(
            "-- find_database\nselect from pg_database where datname = $1",
            &[&DATABASE],
        )
        .await?
        .is_none()
    {
        client
            .batch_execute(&format!("-- create_database\ncreate database {DATABASE} owner {OWNER}"))
            .await?;
    }
    Ok(())
}
