//! A pooled connection while it is in use.
//!
//! Invariant: a connection goes back to the pool only if every answer that it owes has arrived and no transaction is open on it.
//! Otherwise it is closed. Two cases would break this: a cancelled request leaves statements unanswered, and a dropped transaction
//! would be ended by a `rollback` whose answer is not awaited. In both cases a pooler sees an idle ReadyForQuery and may give the
//! server connection to another client before the answer to the next request has arrived. Supavisor was seen to lose that answer
//! (supavisor issue 1061).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use deadpool::managed::Object;
use futures_util::TryStreamExt;
use tokio_postgres::types::BorrowToSql;
use tokio_postgres::{Client, Error, Row, RowStream};

use crate::StoreError;
use crate::connection::pool::{Connection, Connector};
use crate::connection::statement::Param;
use crate::error::is_fatal;

/// A connection taken from the pool. Dropping it returns or closes the connection.
pub(crate) struct Lease {
    /// `None` only during drop.
    object: Option<Object<Connector>>,
    /// Number of statements that were sent and are not answered yet.
    owed: AtomicUsize,
    /// Whether a transaction is open across calls.
    open: AtomicBool,
}

impl Lease {
    pub(crate) fn of(object: Object<Connector>) -> Self {
        Self {
            object: Some(object),
            owed: AtomicUsize::new(0),
            open: AtomicBool::new(false),
        }
    }

    /// Runs statements without parameters and without result rows.
    pub(crate) async fn batch_execute(&self, words: &str) -> Result<(), Error> {
        self.answered(self.client().batch_execute(words)).await
    }

    /// Runs one statement. It is not prepared under a name on the server.
    pub(crate) async fn query_typed(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.answered(self.client().query_typed(sql, params)).await
    }

    /// Runs one statement that is its own transaction.
    ///
    /// PostgreSQL reports an error before it is ready for the next statement, and the client returns the error immediately. Within a
    /// transaction this does no harm, because the answer to `commit` comes after both. Here, the readiness must be awaited: otherwise
    /// the next request would be sent before the end of this transaction has arrived, and a pooler may lose its answer. If the error
    /// arrives so early that the client cannot wait, the statement stays owed and the connection is closed.
    pub(crate) async fn query_alone(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
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

    /// Runs one statement and returns its rows one by one. Only within a transaction: rows that are not read are still owed, and the open
    /// transaction makes sure that the connection is closed.
    pub(crate) async fn query_typed_raw<P, I>(&self, sql: &str, params: I) -> Result<RowStream, Error>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = (P, tokio_postgres::types::Type)>,
    {
        self.client().query_typed_raw(sql, params).await
    }

    /// Begins a transaction with these words (`begin; set local role …`), in one round trip.
    pub(crate) async fn begin(&self, words: &str) -> Result<Transaction<'_>, Error> {
        self.open.store(true, Ordering::Relaxed);
        if let Err(error) = self.batch_execute(words).await {
            // `begin` may have succeeded although a later word failed.
            let _rolled_back = self.close("rollback").await;
            return Err(error);
        }
        Ok(Transaction(self))
    }

    /// Ends the transaction with `commit` or `rollback`.
    pub(crate) async fn close(&self, word: &str) -> Result<(), Error> {
        let closed = self.batch_execute(word).await;
        // If the server refuses a commit, the transaction has ended as well.
        let refused = |error: &Error| error.as_db_error().is_some_and(|db| !is_fatal(db));
        if closed.as_ref().err().is_none_or(refused) {
            self.open.store(false, Ordering::Relaxed);
        }
        closed
    }

    /// Takes the connection out of the pool, for a transaction that lasts long. The pool can open another one in its place immediately.
    pub(crate) fn detach(mut self) -> Connection {
        match self.object.take() {
            Some(object) => Object::take(object),
            None => unreachable!("only drop empties a lease"),
        }
    }

    fn client(&self) -> &Client {
        match &self.object {
            Some(object) => object,
            None => unreachable!("only drop empties a lease"),
        }
    }

    /// Counts a statement as owed from sending to answer. If the future is dropped in between, it stays counted.
    async fn answered<T>(&self, statement: impl Future<Output = T>) -> T {
        self.owed.fetch_add(1, Ordering::Relaxed);
        let answer = statement.await;
        self.owed.fetch_sub(1, Ordering::Relaxed);
        answer
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let is_unusable = self.owed.load(Ordering::Relaxed) > 0 || self.open.load(Ordering::Relaxed);
        if let Some(object) = self.object.take_if(|_| is_unusable) {
            drop(Object::take(object));
        }
    }
}

/// A transaction of several statements. [`Transaction::end`] ends it. If it is dropped without that, its connection is closed.
pub(crate) struct Transaction<'a>(&'a Lease);

impl Transaction<'_> {
    /// Runs one statement.
    pub(crate) async fn query_typed(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        self.0.query_typed(sql, params).await
    }

    /// Commits on success and rolls back on an error. In both cases the server's answer is awaited, so that the connection can serve the
    /// next request.
    pub(crate) async fn end<T>(self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match done {
            Ok(value) => {
                self.0.close("commit").await?;
                Ok(value)
            }
            Err(error @ StoreError::ConnectionLost(_)) => Err(error),
            Err(error) => {
                // If the rollback fails too, the connection is closed. The first error is returned, because it names the cause.
                let _rolled_back = self.0.close("rollback").await;
                Err(error)
            }
        }
    }
}
