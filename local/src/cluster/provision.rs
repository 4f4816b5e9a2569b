//! The superuser's only work: the migrating role and its database, as a managed PostgreSQL would hand them over.

use super::{DATABASE, OWNER};
use crate::Error;
use tokio_postgres::{Client, NoTls};

/// Makes the role and the database where they are missing, and sets the role's password to the one we keep.
///
/// Every statement looks first and is repeated on every start, because a predecessor may have been killed between two of them.
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
    // It ends by itself once the client is gone; awaited so that no session of the superuser outlives the set-up.
    let _ended = connection.await;
    provisioned
}

/// Whether a server answers at this address, with the database and the role that it names.
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
    // Hexadecimal digits (secrets::generate), so there is nothing to escape; DDL takes no parameters.
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
