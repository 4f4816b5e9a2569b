//! Migrations: the folder `migrations/`, compiled in, applied in order, each in its own transaction.

use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// One migration at a time per database. PostgreSQL's advisory locks end there, so V1 itself sees to it that two databases of
/// one cluster may create their roles at the same time.
const LOCK: i64 = 0x616e_6e61_6c73;

/// What a migration run did.
#[derive(Debug)]
pub struct MigrationReport {
    /// Names of the migrations that were applied now, in order.
    pub applied: Vec<String>,
}

/// Why the database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// It cannot be reached, or refused a statement.
    #[error("the database could not be migrated")]
    Database(#[from] tokio_postgres::Error),
    /// A migration failed, or one that was applied before has been edited since.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
}

/// Brings the database at this address up to date, as the role that the address names; does nothing where that is so already.
///
/// # Errors
/// [`MigrateError`]; migrations before the failing one stay applied.
pub async fn migrate(url: &str) -> Result<MigrationReport, MigrateError> {
    let config: tokio_postgres::Config = url.parse()?;
    match config.get_ssl_mode() {
        SslMode::Disable => {
            let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
            run(client, connection).await
        }
        _ => {
            let (client, connection) = config.connect(MakeRustlsConnect::new(super::connect::tls())).await?;
            run(client, connection).await
        }
    }
}

async fn run(
    mut client: tokio_postgres::Client,
    connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
) -> Result<MigrationReport, MigrateError> {
    let driver = tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "-- take_migration_lock\nselect pg_advisory_lock({LOCK}); create schema if not exists annals;"
        ))
        .await?;
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("annals.schema_history");
    let report = runner.run_async(&mut client).await?;
    client
        .batch_execute(
            "-- close_schema_history\nalter table annals.schema_history enable row level security;
             comment on table annals.schema_history is 'Migrations that were applied, with their checksums.';
             comment on column annals.schema_history.version is 'Number of the migration.';
             comment on column annals.schema_history.name is 'What its file is called after the number.';
             comment on column annals.schema_history.applied_on is 'When it was applied, RFC 3339.';
             comment on column annals.schema_history.checksum is 'Of its text: one that was applied is never edited.';",
        )
        .await?;
    drop(client);
    if let Ok(ended) = driver.await {
        ended?;
    }
    Ok(MigrationReport {
        applied: report
            .applied_migrations()
            .iter()
            .map(|m| format!("V{}__{}", m.version(), m.name()))
            .collect(),
    })
}
