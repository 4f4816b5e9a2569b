//! A pooled connection while it is in use.
//!
//! Invariant: a connection goes back to the pool only when every answer that it owes has arrived and no transaction is open on it;
//! otherwise it is closed. Two cases would break this without help. A request that is cancelled leaves statements unanswered, and a
//! transaction that is dropped would be ended by a `rollback` whose answer is not awaited. In both cases the pooler sees an idle
//! ReadyForQuery and may give the server connection away before the next request's answer has arrived; Supavisor has been seen to lose
//! that answer (supavisor issue 1061).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use deadpool_postgres::{ClientWrapper, Object};
use futures_util::TryStreamExt;
use tokio_postgres::types::BorrowToSql;
use tokio_postgres::{Client, Error, Row, RowStream};

use super::StoreError;
use super::error::is_fatal;
use super::session::Param;

/// A connection out of the pool.
pub(super) struct Lease {
    /// None only while it is dropped.
    object: Option<Object>,
    /// Statements that were sent and are not answered yet.
    owed: AtomicUsize,
    /// Whether a transaction is open that outlives a single call.
    open: AtomicBool,
}

impl Lease {
    pub(super) fn of(object: Object) -> Self {
        Self {
            object: Some(object),
            owed: AtomicUsize::new(0),
            open: AtomicBool::new(false),
        }
    }

    /// Statements without parameters or answers.
    pub(super) async fn batch_execute(&self, words: &str) -> Result<(), Error> {
        self.answered(self.client().batch_execute(words)).await
    }

    /// One statement, without a name on the server.
    pub(super) async fn query_typed(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.answered(self.client().query_typed(sql, params)).await
    }

    /// One statement that is a transaction of its own.
    ///
    /// PostgreSQL reports an error before it is ready for the next statement, and the client hands the error on at once. Within a
    /// transaction the answer to `commit` comes after both. Here the readiness is waited for: the next request would be sent before
    /// the transaction's end has arrived, and a pooler may lose its answer. If an error comes so early that the client cannot wait,
    /// the statement stays owed and the connection is closed.
    pub(super) async fn query_alone(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.owed.fetch_add(1, Ordering::Relaxed);
        let params = params.iter().map(|(value, kind)| (*value, kind.clone()));
        let mut answer = pin!(self.client().query_typed_raw(sql, params).await?);
        let mut rows = Vec::new();
        let failed = loop {
            match answer.try_next().await {
                Ok(Some(row)) => rows.push(row),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        let is_ready = failed.is_none() || answer.try_next().await.is_ok_and(|row| row.is_none());
        if is_ready {
            self.owed.fetch_sub(1, Ordering::Relaxed);
        }
        failed.map_or(Ok(rows), Err)
    }

    /// One statement whose rows come one by one. Only within a transaction: the rows that nobody reads are still owed, and an open
    /// transaction is what closes the connection then.
    pub(super) async fn query_typed_raw<P, I>(&self, sql: &str, params: I) -> Result<RowStream, Error>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, tokio_postgres::types::Type)>,
    {
        self.client().query_typed_raw(sql, params).await
    }

    /// Begins a transaction with these words (`begin; set local role …`), in one round trip.
    pub(super) async fn begin(&self, words: &str) -> Result<Transaction<'_>, Error> {
        self.open.store(true, Ordering::Relaxed);
        if let Err(error) = self.batch_execute(words).await {
            // `begin` may have worked where a word after it did not.
            let _rolled_back = self.close("rollback").await;
            return Err(error);
        }
        Ok(Transaction(self))
    }

    /// Ends the transaction with this word.
    pub(super) async fn close(&self, word: &str) -> Result<(), Error> {
        let closed = self.batch_execute(word).await;
        // A commit that the server refuses has ended the transaction as well.
        let refused = |error: &Error| error.as_db_error().is_some_and(|db| !is_fatal(db));
        if closed.as_ref().err().is_none_or(refused) {
            self.open.store(false, Ordering::Relaxed);
        }
        closed
    }

    /// Takes the connection out of the pool, for a transaction that lasts longer than one piece of work. The pool has room for
    /// another one at once.
    pub(super) fn detach(mut self) -> ClientWrapper {
        match self.object.take() {
            Some(object) => Object::take(object),
            None => unreachable!("only dropping empties a lease"),
        }
    }

    fn client(&self) -> &Client {
        match &self.object {
            Some(object) => object,
            None => unreachable!("only dropping empties a lease"),
        }
    }

    /// Counts a statement as owed from when it is sent until it is answered. A future that is dropped in between leaves it counted.
    async fn answered<T>(&self, statement: impl Future<Output = T>) -> T {
        self.owed.fetch_add(1, Ordering::Relaxed);
        let answer = statement.await;
        self.owed.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let unsettled = self.owed.load(Ordering::Relaxed) > 0 || self.open.load(Ordering::Relaxed);
        if let Some(object) = self.object.take_if(|_| unsettled) {
            drop(Object::take(object));
        }
    }
}

/// A transaction of several statements. It is ended by [`Transaction::end`]; dropped without that, its connection is closed.
pub(super) struct Transaction<'a>(&'a Lease);

impl Transaction<'_> {
    /// One statement.
    pub(super) async fn query_typed(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.0.query_typed(sql, params).await
    }

    /// Commits what was done, or rolls back what failed. Either way the server's answer is awaited, so that the connection can serve
    /// the next request.
    pub(super) async fn end<T>(self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match done {
            Ok(value) => {
                self.0.close("commit").await?;
                Ok(value)
            }
            Err(error @ StoreError::ConnectionLost(_)) => Err(error),
            Err(error) => {
                // Where even this fails, the connection is closed, and the first error is the one that says why.
                let _rolled_back = self.0.close("rollback").await;
                Err(error)
            }
        }
    }
}
