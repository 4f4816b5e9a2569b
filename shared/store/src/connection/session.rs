//! Transactions in one round trip.
//!
//! The client sends `begin` with the role, the claims, the statements and `commit` without waiting in between. PostgreSQL executes
//! them in order; after a failure it turns the commit into a rollback. All futures are polled once, in order, before any of them is
//! awaited: this puts the messages on the wire in this order. If a request is cancelled in between, its connection is closed
//! (`lease`).

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_util::TryStreamExt;
use futures_util::future::{join, maybe_done};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use crate::connection::lease::Transaction;
use crate::connection::statement::{As, Param, SET_CLAIMS, Statement, Writes};
use crate::{Store, StoreError};
use annals_domain::Caller;
use annals_telemetry::xray::{in_postgres, statement_name};

impl Store {
    /// Runs one reading statement in its own transaction, in one round trip.
    ///
    /// If the connection turns out to be dead, the read is tried once more: a pooled connection may have died unnoticed while it was
    /// idle, and reading twice does no harm.
    pub(crate) async fn read(&self, who: As<'_>, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let statements = [(sql, params)];
        let reading = self.retry_if_lost(|| self.one_round_trip(who, Writes::No, &statements));
        in_postgres(sql, reading).await.map(only_answer)
    }

    /// Runs a reading statement that always returns one row.
    pub(crate) async fn read_row(&self, who: As<'_>, sql: &str, params: &[Param<'_>]) -> Result<Row, StoreError> {
        only_row(sql, self.read(who, sql, params).await?)
    }

    /// Runs reading statements on the same snapshot, in one round trip. The trace carries the first statement's name.
    pub(crate) async fn read_together<const N: usize>(
        &self,
        who: As<'_>,
        statements: [(&'static str, &[Param<'_>]); N],
    ) -> Result<[Vec<Row>; N], StoreError> {
        let reading = self.retry_if_lost(|| self.one_round_trip(who, Writes::No, &statements));
        let answers = in_postgres(statements.first().map_or("", |(sql, _)| sql), reading).await?;
        let missing = |_| StoreError::Unexpected("a statement without an answer".to_owned());
        answers.try_into().map_err(missing)
    }

    /// Runs one reading statement as a caller and passes its rows on one by one as they arrive, so memory holds only a few. As with every
    /// read, `commit` is sent before the first row is handled, so a cancelled request leaves no transaction open.
    pub(crate) async fn read_each(
        &self,
        caller: &Caller,
        sql: &str,
        params: &[Param<'_>],
        mut each: impl FnMut(&Row) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let client = self.connection().await?;
        let claims = caller.database_claims().to_string();
        let set_params = [(&claims as &(dyn ToSql + Sync), Type::TEXT)];
        let reading = async {
            let begin = client.batch_execute(As::Caller(caller).begin(Writes::No));
            let set = client.query_typed(SET_CLAIMS, &set_params);
            let params = params.iter().map(|(value, kind)| (*value, kind.clone()));
            let ((begun, set), rows) = join(join(begin, set), client.query_typed_raw(sql, params)).await;
            begun?;
            set?;
            let mut rows = pin!(rows?);
            while let Some(row) = rows.try_next().await? {
                each(&row)?;
            }
            Ok(())
        };
        let (read, ended) = in_postgres(sql, async {
            Ok::<_, StoreError>(join(reading, client.batch_execute("commit")).await)
        })
        .await?;
        read.and(ended.map_err(StoreError::from))
    }

    /// Runs one writing statement in its own transaction, in one round trip.
    ///
    /// A write is not repeated. If the connection is lost, it may have taken effect or not, and the error is
    /// [`StoreError::Unavailable`]: the caller retries.
    pub(crate) async fn write(&self, who: As<'_>, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let statements = [(sql, params)];
        let writing = self.one_round_trip(who, Writes::Yes, &statements);
        let written = in_postgres(sql, writing).await;
        written.map(only_answer).map_err(lost_is_unavailable)
    }

    /// Runs a writing statement that always returns one row, as [`Store::write`] does.
    pub(crate) async fn write_row(&self, who: As<'_>, sql: &str, params: &[Param<'_>]) -> Result<Row, StoreError> {
        only_row(sql, self.write(who, sql, params).await?)
    }

    /// Runs writing statements in one transaction, in one round trip. Returns the rows of each. `name` is shown in traces. A lost
    /// connection is handled as in [`Store::write`].
    pub(crate) async fn write_all(
        &self,
        who: As<'_>,
        name: &str,
        statements: &[Statement<'_>],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let params: Vec<Vec<Param<'_>>> = statements.iter().map(Statement::params).collect();
        let with_params = statements.iter().zip(&params);
        let statements: Vec<_> = with_params
            .map(|(statement, params)| (statement.sql, &params[..]))
            .collect();
        let writing = self.one_round_trip(who, Writes::Yes, &statements);
        in_postgres(name, writing).await.map_err(lost_is_unavailable)
    }

    /// Runs one writing statement that is a transaction by itself, with the rights of the login. A lost connection is handled as in
    /// [`Store::write`].
    pub(crate) async fn write_alone(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let client = self.connection().await?;
        let written = in_postgres(sql, client.query_alone(sql, params)).await;
        written.map_err(|error| lost_is_unavailable(error.into()))
    }

    async fn one_round_trip(
        &self,
        who: As<'_>,
        writes: Writes,
        statements: &[(&str, &[Param<'_>])],
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        let client = self.connection().await?;
        let claims = who.claims();
        let set = async {
            match &claims {
                None => Ok(()),
                Some(claims) => client
                    .query_typed(SET_CLAIMS, &[(claims, Type::TEXT)])
                    .await
                    .map(|_| ()),
            }
        };
        let queries = pipelined(statements.iter().map(|(sql, params)| client.query_typed(sql, params)));
        let (((begun, set), rows), ended) = join(
            join(join(client.batch_execute(who.begin(writes)), set), queries),
            client.batch_execute("commit"),
        )
        .await;
        begun?;
        set?;
        // After a failed statement, the others fail because the transaction is aborted. The first error names the cause.
        let rows = rows.into_iter().collect::<Result<_, _>>()?;
        ended?;
        Ok(rows)
    }

    /// Reads, and tries once more if the connection turned out to be dead.
    pub(crate) async fn retry_if_lost<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        match read().await {
            Err(StoreError::ConnectionLost(_)) => {
                self.evict_idle();
                read().await.map_err(lost_is_unavailable)
            }
            other => other,
        }
    }
}

/// The row of a statement that always returns one.
pub(crate) fn only_row(sql: &str, mut rows: Vec<Row>) -> Result<Row, StoreError> {
    match (rows.pop(), rows.len()) {
        (Some(row), 0) => Ok(row),
        _ => {
            let name = statement_name(sql);
            Err(StoreError::Unexpected(format!("{name} did not return one row")))
        }
    }
}

fn only_answer(mut answers: Vec<Vec<Row>>) -> Vec<Row> {
    answers.pop().unwrap_or_default()
}

/// Sends statements in their order and awaits all answers, even if one is an error, so that the connection owes no answer afterwards.
///
/// A statement is sent when its future is first polled. `join_all` guarantees no order of polling for more than 30 futures, so all are
/// polled once, in order, before the first is awaited.
async fn pipelined<F: Future>(statements: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut sent: Vec<_> = statements.map(|statement| Box::pin(maybe_done(statement))).collect();
    poll_fn(|context| {
        for statement in &mut sent {
            let _answered_later = statement.as_mut().poll(context);
        }
        Poll::Ready(())
    })
    .await;
    for statement in &mut sent {
        statement.as_mut().await;
    }
    sent.iter_mut()
        .filter_map(|statement| statement.as_mut().take_output())
        .collect()
}

/// Sets the claims of a caller in a transaction of several statements.
pub(crate) async fn set_claims(client: &Transaction<'_>, caller: &Caller) -> Result<(), StoreError> {
    let claims = caller.database_claims().to_string();
    client.query_typed(SET_CLAIMS, &[(&claims, Type::TEXT)]).await?;
    Ok(())
}

/// A lost connection becomes [`StoreError::Unavailable`]: for reads that were already retried, and for writes, which the caller retries.
pub(crate) fn lost_is_unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::ConnectionLost(error) => StoreError::Unavailable(Box::new(error)),
        other => other,
    }
}
