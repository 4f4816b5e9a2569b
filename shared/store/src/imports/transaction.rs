//! The transaction of an import that is all or nothing, or a dry run: one transaction from the first row to the last.
//!
//! What earlier rows of the file became is read back within the transaction, so memory holds only about eight bytes per row, which
//! tell whether its id or content has occurred, and the rejected rows of the report. While the transaction is open, readers across
//! streams (the sweep, replays) do not see events that were appended after its beginning. The number of rows of such an import is
//! limited for that reason.

use serde_json::Value;
use tokio_postgres::types::{Json, Type};

use super::leased::LeasedImport;
use super::partitions::ChunkOutcome;
use crate::Store;
use crate::StoreError;
use crate::connection::pool::Connection;
use crate::connection::statement::{AS_PROJECTOR, As, Param, SET_CLAIMS, Writes};
use crate::log::append::{APPEND_EVENTS_ALSO, CheckedEvents, Columns};
use crate::read_models::stored_entity::StoredEntity;
use crate::read_models::tails::EntityRead;
use crate::read_models::work::stream_from;
use annals_domain::{Caller, StreamId};

const LIST_APPENDED_STREAMS: &str = "-- list_streams_of_import
select e.event_number, e.tenant_id, e.aggregate_type, e.aggregate_id
  from annals.events e
 where e.tenant_id = $1 and e.correlation_id = $2 and e.event_number > $3
 order by e.event_number limit $4";

/// The open transaction. Dropping it closes its connection, which rolls it back.
pub struct ImportTransaction {
    store: Store,
    client: Connection,
    caller: Caller,
}

impl Store {
    /// Opens the transaction of an import.
    pub async fn begin_import(&self, import: &LeasedImport) -> Result<ImportTransaction, StoreError> {
        // Detached from the pool, because the transaction lasts as long as the import, and the pool may open another connection
        // meanwhile. Dropping a detached connection closes it.
        let client = self.connection().await?.detach();
        client
            .batch_execute(As::Caller(&import.caller).begin(Writes::Yes))
            .await?;
        let claims = import.caller.database_claims().to_string();
        client.query_typed(SET_CLAIMS, &[(&claims, Type::TEXT)]).await?;
        Ok(ImportTransaction {
            store: self.clone(),
            client,
            caller: import.caller.clone(),
        })
    }

    /// Streams that an import has appended to, in pages of `most` events: the streams of its events after an event number, and the
    /// number of the page's last event; no number if there are no more events.
    pub async fn streams_of_import(
        &self,
        import: &LeasedImport,
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

impl ImportTransaction {
    /// Those of the entities that exist and that the caller may see, including this transaction's events. `keep` reduces each to what is
    /// held in memory.
    pub async fn find_entities<T>(
        &self,
        aggregate_type: &str,
        aggregate_ids: &[&str],
        keep: impl Fn(StoredEntity) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let read = EntityRead::Within(&self.client);
        self.store
            .find_entities_by(read, &self.caller, aggregate_type, aggregate_ids, keep)
            .await
    }

    /// Appends events. If they are refused, the transaction continues as before.
    ///
    /// # Errors
    /// A refusal of the append.
    pub async fn append(&self, checked: CheckedEvents<'_>, recorded: &Value) -> Result<(), StoreError> {
        let columns = Columns::of(checked.events);
        let (claims, recorded) = (Json(self.caller.database_claims()), Json(recorded));
        let revision = Some(checked.catalog_revision);
        let params = columns.params(&claims, &recorded, &revision);
        self.client
            .batch_execute("savepoint rows; set local role annals_api")
            .await?;
        if let Err(error) = self.client.query_typed(APPEND_EVENTS_ALSO, &params).await {
            self.client.batch_execute("rollback to savepoint rows").await?;
            return Err(error.into());
        }
        // Entities are looked up in the caller's role.
        Ok(self
            .client
            .batch_execute("release savepoint rows; set local role authenticated")
            .await?)
    }

    /// Advances the import's one partition to the end of the file and commits.
    ///
    /// # Errors
    /// [`TAKEN_OVER`](super::TAKEN_OVER) if another worker holds the lease by now. After an error nothing was appended. Only if the
    /// connection was lost, the partition's progress shows whether the transaction was committed.
    pub async fn commit(self, import: &LeasedImport, file: &ChunkOutcome<'_>) -> Result<(), StoreError> {
        self.client.batch_execute(AS_PROJECTOR).await?;
        for statement in file.statements(import) {
            self.client.query_typed(statement.sql, &statement.params()).await?;
        }
        Ok(self.client.batch_execute("commit").await?)
    }
}
