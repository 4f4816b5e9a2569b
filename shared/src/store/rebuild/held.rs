//! A transaction that stays open from call to call: for locks that must last as long as a piece of work.

use tokio_postgres::Row;

use crate::store::lease::Lease;
use crate::store::session::Param;
use crate::store::{Store, StoreError};

/// The transaction. Dropped, it takes its connection along (see [`Lease`]): the server then lets go of everything, and nobody else is
/// given a connection in the middle of a transaction.
pub(super) struct Held {
    client: Lease,
}

impl Held {
    /// Begins one, by these words.
    pub(super) async fn begin(store: &Store, words: &str) -> Result<Self, StoreError> {
        let client = store.connection().await?;
        client.begin(words).await?;
        Ok(Self { client })
    }

    /// Its connection.
    pub(super) fn client(&self) -> &Lease {
        &self.client
    }

    /// Statements without parameters or answers.
    pub(super) async fn execute(&self, words: &str) -> Result<(), StoreError> {
        Ok(self.client.batch_execute(words).await?)
    }

    /// One statement.
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.client.query_typed(sql, params).await?)
    }

    /// Commits; the connection goes back to the pool.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.client.close("commit").await?)
    }
}
