//! An import that appends all or nothing, or only says what it would append: one transaction, from the first row to the last.
//!
//! What the file's earlier rows became is read back within it, so that of the file no more is kept in memory than eight bytes a row,
//! which tell whether its id or content was met, and the refused rows of the report. While it is open, readers across streams (the sweep, replays) wait with what was appended after its beginning, which is why such imports are
//! bounded.

use deadpool_postgres::ClientWrapper;
use serde_json::Value;
use tokio_postgres::types::{Json, Type};

use super::lanes::{REPORT_ROWS, SETTLE_ROWS, SettledRows, report_params};
use super::{HeldImport, StoreError};
use crate::domain::{Caller, NewEvent, StreamId};
use crate::store::Store;
use crate::store::append::{APPEND_EVENTS, Columns};
use crate::store::entities::{FIND_ENTITIES, StoredEntity, left_after};
use crate::store::session::{AS_PROJECTOR, As, Param, SET_CLAIMS, Writes};
use crate::store::tails::Rest;
use crate::store::uploads::RejectedColumns;
use crate::store::work::stream_from;

const LIST_APPENDED_STREAMS: &str = "-- list_streams_of_import
select e.event_number, e.tenant_id, e.aggregate_type, e.aggregate_id
  from annals.events e
 where e.tenant_id = $1 and e.correlation_id = $2 and e.event_number > $3
 order by e.event_number limit $4";

/// The open transaction. Dropped, it is rolled back, because its connection goes with it.
pub struct WholeImport {
    store: Store,
    client: ClientWrapper,
    caller: Caller,
}

impl Store {
    /// Opens the transaction of an import as a whole.
    ///
    /// # Errors
    /// The database's.
    pub async fn begin_whole(&self, import: &HeldImport) -> Result<WholeImport, StoreError> {
        // Taken out of the pool: what is dropped there comes back with whatever transaction is open on it.
        let client = self.connection().await?.detach();
        client
            .batch_execute(As::Caller(&import.caller).begin(Writes::Yes))
            .await?;
        let claims = import.caller.database_claims().to_string();
        client.query_typed(SET_CLAIMS, &[(&claims, Type::TEXT)]).await?;
        Ok(WholeImport {
            store: self.clone(),
            client,
            caller: import.caller.clone(),
        })
    }

    /// Streams that an import has appended to, so many at a time: those of its events after a number of the log, in their order, and
    /// the number to go on after; none where there are no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn streams_of_import(
        &self,
        import: &HeldImport,
        after: i64,
        most: i64,
    ) -> Result<(Vec<StreamId>, Option<i64>), StoreError> {
        let params: [Param<'_>; 4] = [
            (import.caller.tenant_uuid(), Type::UUID),
            (&import.id.to_string(), Type::TEXT),
            (&after, Type::INT8),
            (&most, Type::INT8),
        ];
        let rows = self.read(As::Projector, LIST_APPENDED_STREAMS, &params).await?;
        let streams = rows.iter().map(stream_from).collect::<Result<_, _>>()?;
        let last = rows.last().map(|row| row.try_get("event_number")).transpose()?;
        Ok((streams, last))
    }
}

impl WholeImport {
    /// Those of the entities that exist and that the caller may see, with what this transaction has appended, as `keep` leaves them.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_entities<T>(
        &self,
        aggregate_type: &str,
        aggregate_ids: &[&str],
        keep: impl Fn(StoredEntity) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let (sees_tenant, actor) = (self.caller.role().sees_tenant(), self.caller.actor().as_str());
        let (mut left, mut kept) = (aggregate_ids.to_vec(), Vec::new());
        while !left.is_empty() {
            let params: [Param<'_>; 5] = [
                (self.caller.tenant_uuid(), Type::UUID),
                (&aggregate_type, Type::TEXT),
                (&left, Type::TEXT_ARRAY),
                (&sees_tenant, Type::BOOL),
                (&actor, Type::TEXT),
            ];
            let rows = self.client.query_typed(FIND_ENTITIES, &params).await?;
            let found = self
                .store
                .fold_rows(&self.caller, &rows, Rest::Within(&self.client))
                .await?;
            left = left_after(left, &found);
            kept.extend(found.into_iter().map(&keep));
        }
        Ok(kept)
    }

    /// Appends events. What refuses them leaves the transaction as it was before.
    ///
    /// # Errors
    /// The append's.
    pub async fn append(&self, events: &[NewEvent], recorded: &Value, catalog_revision: i64) -> Result<(), StoreError> {
        let columns = Columns::of(events);
        let (claims, recorded, revision) = (
            Json(self.caller.database_claims()),
            Json(recorded),
            Some(catalog_revision),
        );
        let params = columns.params(&claims, &recorded, &revision);
        self.client
            .batch_execute("savepoint rows; set local role annals_api")
            .await?;
        if let Err(error) = self.client.query_typed(APPEND_EVENTS, &params).await {
            self.client.batch_execute("rollback to savepoint rows").await?;
            return Err(error.into());
        }
        // What is looked up next is looked up as the caller again.
        Ok(self
            .client
            .batch_execute("release savepoint rows; set local role authenticated")
            .await?)
    }

    /// Commits, with all rows noted as settled.
    ///
    /// # Errors
    /// The database's, or that somebody else works on the import; then nothing was appended, unless the connection was lost:
    /// then the lane tells.
    pub async fn commit(self, import: &HeldImport, rows: &SettledRows<'_>) -> Result<(), StoreError> {
        self.client.batch_execute(AS_PROJECTOR).await?;
        self.client.query_typed(SETTLE_ROWS, &rows.params(import)).await?;
        if !rows.reported.is_empty() {
            let report = RejectedColumns::of(rows.reported)?;
            let params = report_params(&import.id, &report);
            self.client.query_typed(REPORT_ROWS, &params).await?;
        }
        Ok(self.client.batch_execute("commit").await?)
    }
}
