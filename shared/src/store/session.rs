//! Transactions in one round trip.
//!
//! A client sends `begin` with the role, the claims, its statement and `commit` without waiting in between; PostgreSQL works
//! through them in order and, after a failure, turns the commit into a rollback. The futures are polled once, in order, before
//! anything is awaited, which is what puts the messages on the wire in order. The connection of a request that is cancelled
//! in between is closed (`lease`).

use std::pin::pin;

use futures_util::TryStreamExt;
use futures_util::future::{join, join_all};
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::lease::Transaction;
use super::{Store, StoreError};
use crate::domain::Caller;
use crate::telemetry::xray::in_postgres;

/// A parameter with its type, since no statement is prepared to find it out.
pub(super) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// In whose name a transaction runs.
#[derive(Debug, Clone, Copy)]
pub(super) enum As<'a> {
    /// A request's caller: role `authenticated` with its claims.
    Caller(&'a Caller),
    /// The projector.
    Projector,
}

/// Makes a transaction the projector's, without the login's time limit.
pub(super) const AS_PROJECTOR: &str = "set local role annals_projector; set local statement_timeout = 0";

pub(super) const SET_CLAIMS: &str = "-- set_claims\nselect set_config('request.jwt.claims', $1, true)";

impl As<'_> {
    /// A request's statements end by the login's time limit (V32), the projector's by nobody's: it folds whole batches and
    /// waits for rebuilds, and what it does is bounded by its function's time. What only reads sees one moment.
    pub(super) fn begin(self, writes: Writes) -> &'static str {
        match (self, writes) {
            (Self::Caller(_), Writes::No) => {
                "begin isolation level repeatable read read only; set local role authenticated"
            }
            (Self::Caller(_), Writes::Yes) => "begin; set local role authenticated",
            (Self::Projector, Writes::No) => {
                "begin isolation level repeatable read read only; set local role annals_projector; set local statement_timeout = 0"
            }
            (Self::Projector, Writes::Yes) => "begin; set local role annals_projector; set local statement_timeout = 0",
        }
    }

    fn claims(self) -> Option<Value> {
        match self {
            Self::Caller(caller) => Some(caller.database_claims()),
            Self::Projector => None,
        }
    }
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    /// It only reads.
    No,
    /// It writes.
    Yes,
}

impl Store {
    /// Runs one reading statement in a transaction of its own, in one round trip.
    ///
    /// A read is repeated once where the connection turns out to be dead: a pooled connection may have died unnoticed while
    /// nobody used it, and reading twice does no harm.
    pub(super) async fn read(&self, who: As<'_>, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let reading = self.twice_if_lost(|| self.one_round_trip(who, Writes::No, [(sql, params)]));
        in_postgres(sql, reading).await.map(|[rows]| rows)
    }

    /// Runs reading statements that see the same moment, in one round trip; traced by the first.
    pub(super) async fn read_together<const N: usize>(
        &self,
        who: As<'_>,
        statements: [(&'static str, &[Param<'_>]); N],
    ) -> Result<[Vec<Row>; N], StoreError> {
        let reading = self.twice_if_lost(|| self.one_round_trip(who, Writes::No, statements));
        in_postgres(statements.first().map_or("", |(sql, _)| sql), reading).await
    }

    /// Runs one reading statement as a caller and hands its rows on one by one as they come: however many there are, memory holds
    /// few. `commit` is under way before the first row is looked at, as with every read, so a request that is cancelled leaves no
    /// transaction open.
    pub(super) async fn read_each(
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

    /// Runs one writing statement in a transaction of its own, in one round trip.
    pub(super) async fn write(&self, who: As<'_>, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let writing = self.one_round_trip(who, Writes::Yes, [(sql, params)]);
        in_postgres(sql, writing).await.map(|[rows]| rows)
    }

    async fn one_round_trip<const N: usize>(
        &self,
        who: As<'_>,
        writes: Writes,
        statements: [(&str, &[Param<'_>]); N],
    ) -> Result<[Vec<Row>; N], StoreError> {
        let client = self.connection().await?;
        let claims = who.claims().map(|claims| claims.to_string());
        let set = async {
            match &claims {
                None => Ok(()),
                Some(claims) => client
                    .query_typed(SET_CLAIMS, &[(claims, Type::TEXT)])
                    .await
                    .map(|_| ()),
            }
        };
        // All are awaited, whichever fails: the connection is to owe nothing afterwards.
        let queries = join_all(statements.map(|(sql, params)| client.query_typed(sql, params)));
        let (((begun, set), rows), ended) = join(
            join(join(client.batch_execute(who.begin(writes)), set), queries),
            client.batch_execute("commit"),
        )
        .await;
        begun?;
        set?;
        let rows: Vec<_> = rows.into_iter().collect::<Result<_, _>>()?;
        ended?;
        rows.try_into()
            .map_err(|_| StoreError::Unexpected("a statement without an answer".to_owned()))
    }

    /// Reads, and once more where the connection turned out to be dead.
    pub(super) async fn twice_if_lost<T, F>(&self, read: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        match read().await {
            Err(StoreError::ConnectionLost(_)) => {
                self.distrust_idle();
                read().await.map_err(lost_is_unavailable)
            }
            other => other,
        }
    }
}

/// Sets a transaction's claims where it runs for a caller; for transactions of several statements.
pub(super) async fn set_claims(client: &Transaction<'_>, caller: &Caller) -> Result<(), StoreError> {
    let claims = caller.database_claims().to_string();
    client.query_typed(SET_CLAIMS, &[(&claims, Type::TEXT)]).await?;
    Ok(())
}

/// For what has been tried again already, or need not be settled.
pub(super) fn lost_is_unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::ConnectionLost(error) => StoreError::Unavailable(Box::new(error)),
        other => other,
    }
}
