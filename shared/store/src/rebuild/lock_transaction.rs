//! A transaction that stays open across calls, for locks that must last as long as a piece of work.

use tokio_postgres::Row;

use crate::connection::lease::Lease;
use crate::connection::session::only_row;
use crate::connection::statement::Param;
use crate::{Store, StoreError};

/// The open transaction. Dropping it closes its connection (see [`Lease`]): the server then releases all locks, and the pool does not
/// hand out a connection in the middle of a transaction.
pub(super) struct LockTransaction {
    client: Lease,
}

impl LockTransaction {
    /// Begins a transaction with these words (`begin; set local role …`).
    pub(super) async fn begin(store: &Store, words: &str) -> Result<Self, StoreError> {
        let client = store.connection().await?;
        client.begin(words).await?;
        Ok(Self { client })
    }

    /// The connection of the transaction.
    pub(super) fn client(&self) -> &Lease {
        &self.client
    }

    /// Runs statements without parameters and without result rows.
    pub(super) async fn execute(&self, words: &str) -> Result<(), StoreError> {
        Ok(self.client.batch_execute(words).await?)
    }

    /// Runs one statement.
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.client.query_typed(sql, params).await?)
    }

    /// Runs one statement that always returns one row.
    pub(super) async fn query_row(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, StoreError> {
        only_row(sql, self.query(sql, params).await?)
    }

    /// Commits. The connection goes back to the pool.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.client.close("commit").await?)
    }
}
