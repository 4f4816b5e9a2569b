//! A transaction that stays open from call to call: for locks that must last as long as a piece of work.

use tokio_postgres::Row;

use crate::store::connect::Object;
use crate::store::session::Param;
use crate::store::{Store, StoreError};

/// The transaction. Dropped, it takes its connection along: the server then lets go of everything, and nobody else is given a
/// connection in the middle of a transaction.
pub(super) struct Held {
    client: Option<Object>,
}

impl Held {
    /// Begins one, by these words.
    pub(super) async fn begin(store: &Store, words: &str) -> Result<Self, StoreError> {
        let held = Self {
            client: Some(store.connection().await?),
        };
        held.execute(words).await?;
        Ok(held)
    }

    /// Its connection.
    pub(super) fn client(&self) -> Result<&Object, StoreError> {
        self.client
            .as_ref()
            .ok_or_else(|| StoreError::Unexpected("a transaction that is over".to_owned()))
    }

    /// Statements without parameters or answers.
    pub(super) async fn execute(&self, words: &str) -> Result<(), StoreError> {
        Ok(self.client()?.batch_execute(words).await?)
    }

    /// One statement.
    pub(super) async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(self.client()?.query_typed(sql, params).await?)
    }

    /// Commits; the connection goes back to the pool.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.execute("commit").await?;
        self.client = None;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            drop(Object::take(client));
        }
    }
}
