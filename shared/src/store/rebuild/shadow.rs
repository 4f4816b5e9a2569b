//! The read models that a rebuild makes beside the live ones: opened, written, dropped.

use std::collections::HashSet;

use tokio::sync::OnceCell;
use tokio_postgres::types::Type;

use super::held::Held;
use super::tables::Tables;
use super::{Purpose, RebuildScope};
use crate::domain::TenantId;
use crate::store::append::tenant_stream_columns;
use crate::store::lease::Transaction;
use crate::store::projection::{EntityColumns, StateRow, Wave, write_wave};
use crate::store::session::{As, Param, Writes, lost_is_unavailable};
use crate::store::work::StateTables;
use crate::store::{Store, StoreError};

/// A rebuild's tables, and the lock that says that it runs: both are this value's.
pub struct Shadow {
    pub(super) store: Store,
    pub(super) id: i32,
    pub(super) scope: RebuildScope,
    /// Rows that an older transaction left were there when comparing began; none: it holds every stream.
    pub(super) compared_since: Option<String>,
    tables: Tables,
    made: OnceCell<()>,
    _keeper: Held,
}

const OPEN_SHADOW: &str = "-- open_shadow
select annals.open_shadow($1)";
const COMPARE_SINCE: &str = "-- compare_since
select annals.compare_since($1)::text as since";
const WRITE_SHADOW: &str = "-- write_shadow
select annals.write_shadow($1::text::regclass, $2::text::regclass, $3, $4, $5, $6, $7, $8, $9, $10, $11::text[]::jsonb[])";
const DELETE_FAMILIES: &str = "-- delete_families
select annals.delete_families($1::text::regclass, ($2::text || '_id')::name, $3, $4)";
const ANALYZE_SHADOW: &str = "-- analyze_shadow
select annals.analyze_shadow($1)";

impl Shadow {
    pub(super) async fn open(
        store: Store,
        (id, purpose): (i32, Purpose),
        scope: RebuildScope,
        keeper: Held,
    ) -> Result<Self, StoreError> {
        let compared_since = match purpose {
            Purpose::Rebuild => Some(begin_comparing(&store, id).await?),
            Purpose::Verify => None,
        };
        Ok(Self {
            tables: Tables::list(&store, id).await?,
            store,
            id,
            scope,
            compared_since,
            made: OnceCell::new(),
            _keeper: keeper,
        })
    }

    /// Makes its tables. Folding need not wait for it: writing does, and makes them if nobody has.
    ///
    /// # Errors
    /// The database's; that a module came meanwhile.
    pub async fn make_tables(&self) -> Result<(), StoreError> {
        let make = async || {
            self.store
                .write(As::Projector, OPEN_SHADOW, &[(&self.id, Type::INT4)])
                .await?;
            match Tables::list(&self.store, self.id).await? == self.tables {
                true => Ok(()),
                false => Err(StoreError::Unexpected("a module came as the rebuild began".to_owned())),
            }
        };
        self.made.get_or_try_init(make).await?;
        Ok(())
    }

    /// The rebuild's id.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// The tables of child collections that it fills.
    pub fn child_tables(&self) -> &StateTables {
        &self.tables.children
    }

    /// Writes final states, all of them in `wave.states`, with the rows that follow from them. What stands there of these streams
    /// already is replaced. Of the sound ones, named by their places, only what follows is written.
    ///
    /// # Errors
    /// [`StoreError::Data`] where a table refuses a row: nothing is written then.
    pub async fn write(&self, wave: &Wave, sound: &HashSet<usize>) -> Result<(), StoreError> {
        let states: Vec<&StateRow> = wave
            .states
            .iter()
            .enumerate()
            .filter_map(|(place, row)| (!sound.contains(&place)).then_some(row))
            .collect();
        if states.is_empty() && wave.children.is_empty() {
            return Ok(());
        }
        self.make_tables().await?;
        let client = self.store.connection().await?;
        let written = async {
            let transaction = client.begin(As::Projector.begin(Writes::Yes)).await?;
            let written = self.write_all(&transaction, &states, wave).await;
            transaction.end(written).await
        };
        written.await.map_err(lost_is_unavailable)
    }

    async fn write_all(&self, client: &Transaction<'_>, states: &[&StateRow], wave: &Wave) -> Result<(), StoreError> {
        for rows in states.chunk_by(|a, b| a.stream.aggregate_type == b.stream.aggregate_type) {
            self.write_states(client, rows).await?;
        }
        self.delete_families(client, wave).await?;
        write_wave(client, &self.tables.children, wave).await
    }

    async fn write_states(&self, client: &Transaction<'_>, rows: &[&StateRow]) -> Result<(), StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(rows.iter().map(|row| &row.stream));
        let aggregate_type = types.first().copied().unwrap_or_default();
        let state_table = self.tables.states.get(aggregate_type);
        let columns = EntityColumns::of(rows.iter().map(|row| (row.started_by.as_str(), &row.entity)));
        let params: [Param<'_>; 11] = [
            (&self.tables.entities, Type::TEXT),
            (&state_table, Type::TEXT),
            (&aggregate_type, Type::TEXT),
            (&tenants, Type::UUID_ARRAY),
            (&ids, Type::TEXT_ARRAY),
            (&columns.versions, Type::INT4_ARRAY),
            (&columns.started_bys, Type::TEXT_ARRAY),
            (&columns.deleted_ats, Type::TIMESTAMPTZ_ARRAY),
            (&columns.created_ats, Type::TIMESTAMPTZ_ARRAY),
            (&columns.updated_ats, Type::TIMESTAMPTZ_ARRAY),
            (&columns.states, Type::TEXT_ARRAY),
        ];
        client.query_typed(WRITE_SHADOW, &params).await?;
        Ok(())
    }

    async fn delete_families(&self, client: &Transaction<'_>, wave: &Wave) -> Result<(), StoreError> {
        for (aggregate_type, collections) in &self.tables.children.children {
            let of_type = wave
                .states
                .iter()
                .filter(|row| row.stream.aggregate_type.as_str() == aggregate_type);
            let (tenants, _, parents) = tenant_stream_columns(of_type.map(|row| &row.stream));
            for (_, table) in collections.iter().filter(|_| !parents.is_empty()) {
                let params: [Param<'_>; 4] = [
                    (table, Type::TEXT),
                    (aggregate_type, Type::TEXT),
                    (&tenants, Type::UUID_ARRAY),
                    (&parents, Type::TEXT_ARRAY),
                ];
                client.query_typed(DELETE_FAMILIES, &params).await?;
            }
        }
        Ok(())
    }

    /// Its entities' table.
    pub(super) fn entities(&self) -> &str {
        &self.tables.entities
    }

    /// Lets the planner know how much there is.
    ///
    /// # Errors
    /// The database's.
    pub async fn analyze(&self) -> Result<(), StoreError> {
        self.store
            .write(As::Projector, ANALYZE_SHADOW, &[(&self.id, Type::INT4)])
            .await
            .map(|_| ())
    }

    /// Records how far it is.
    ///
    /// # Errors
    /// The database's.
    pub async fn note_progress(&self, events: i64, streams: i64) -> Result<(), StoreError> {
        self.store.note_progress(self.id, events, streams).await
    }

    /// Ends it without success; live tables are as they were.
    pub async fn fail(&self, error: &str, tenant: Option<TenantId>) {
        self.store.fail_rebuild(self.id, error, tenant).await;
        self.drop_tables().await;
    }

    /// Drops the tables, in the end.
    pub async fn drop_tables(&self) {
        self.store.drop_shadow(self.id).await;
    }
}

async fn begin_comparing(store: &Store, id: i32) -> Result<String, StoreError> {
    let rows = store.write(As::Projector, COMPARE_SINCE, &[(&id, Type::INT4)]).await?;
    let row = rows
        .first()
        .ok_or_else(|| StoreError::Unexpected("a rebuild without a row".to_owned()))?;
    Ok(row.try_get("since")?)
}
