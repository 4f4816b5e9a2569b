//! The tables that a rebuild fills beside the live read models: created, written, dropped.

use std::collections::HashSet;

use tokio::sync::OnceCell;
use tokio_postgres::types::Type;

use super::lock_transaction::LockTransaction;
use super::scope::{Purpose, RebuildScope};
use super::tables::Tables;
use crate::connection::statement::{As, Statement};
use crate::log::append::tenant_stream_columns;
use crate::read_models::projection::{Wave, write_children_of};
use crate::read_models::state_row::{EntityColumns, StateRow};
use crate::read_models::work::StateTables;
use crate::{Store, StoreError};
use annals_domain::TenantId;

/// A rebuild's tables, and the open transaction that marks it as running.
pub struct Shadow {
    pub(super) store: Store,
    pub(super) id: i32,
    pub(super) scope: RebuildScope,
    /// Transaction id when comparing began: rows written by older transactions were compared. `None` if the rebuild writes every stream.
    pub(super) compared_since: Option<String>,
    tables: Tables,
    made: OnceCell<()>,
    _running: LockTransaction,
}

const OPEN_SHADOW: &str = "-- open_shadow
select annals.open_shadow($1)";
const COMPARE_SINCE: &str = "-- compare_since
select annals.compare_since($1)::text as since";
const WRITE_SHADOW: &str = "-- write_shadow
select annals.write_shadow($1::text::regclass, $2::text::regclass, $3, $4, $5, $6, $7, $8, $9, $10, $11::text[]::jsonb[])";
const DELETE_CHILD_ROWS: &str = "-- delete_child_rows
select annals.delete_child_rows($1::text::regclass, ($2::text || '_id')::name, $3, $4)";
const ANALYZE_SHADOW: &str = "-- analyze_shadow
select annals.analyze_shadow($1)";
const ANALYZE_REBUILT: &str = "-- analyze_rebuilt
select annals.analyze_rebuilt($1)";

impl Shadow {
    pub(super) async fn open(
        store: Store,
        (id, purpose): (i32, Purpose),
        scope: RebuildScope,
        running: LockTransaction,
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
            _running: running,
        })
    }

    /// Creates the tables, unless that was done already. Folding need not wait for it; [`Shadow::write`] calls it.
    ///
    /// # Errors
    /// A module was added meanwhile.
    pub async fn make_tables(&self) -> Result<(), StoreError> {
        let make = async || {
            self.store
                .write(As::Projector, OPEN_SHADOW, &[(&self.id, Type::INT4)])
                .await?;
            match Tables::list(&self.store, self.id).await? == self.tables {
                true => Ok(()),
                false => Err(StoreError::Unexpected(
                    "a module was added while the rebuild began".to_owned(),
                )),
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

    /// Writes final states, all of them in `wave.states`, with the rows of their children. Rows of these streams that were written
    /// before are replaced. For unchanged streams, given by their indexes, only the children are written.
    ///
    /// # Errors
    /// [`StoreError::Data`] if a table refuses a row. Nothing is written then.
    pub async fn write(&self, wave: &Wave, unchanged: &HashSet<usize>) -> Result<(), StoreError> {
        let states: Vec<&StateRow> = wave
            .states
            .iter()
            .enumerate()
            .filter_map(|(place, row)| (!unchanged.contains(&place)).then_some(row))
            .collect();
        if states.is_empty() && wave.children.is_empty() {
            return Ok(());
        }
        self.make_tables().await?;
        let by_type = states.chunk_by(|a, b| a.stream.aggregate_type == b.stream.aggregate_type);
        let mut statements: Vec<Statement<'_>> = by_type.map(|rows| self.write_states(rows)).collect();
        statements.extend(self.delete_child_rows(wave));
        statements.extend(write_children_of(&self.tables.children, wave));
        let written = self.store.write_all(As::Projector, WRITE_SHADOW, &statements).await;
        written.map(|_| ())
    }

    fn write_states<'a>(&'a self, rows: &[&'a StateRow]) -> Statement<'a> {
        let (tenants, types, ids) = tenant_stream_columns(rows.iter().map(|row| &row.stream));
        let aggregate_type = types.first().copied().unwrap_or_default();
        let columns = EntityColumns::of(rows.iter().map(|row| (row.started_by.as_str(), &row.entity)));
        let statement = Statement::new(WRITE_SHADOW)
            .with(&self.tables.entities, Type::TEXT)
            .with(self.tables.states.get(aggregate_type), Type::TEXT)
            .with(aggregate_type, Type::TEXT)
            .with(tenants, Type::UUID_ARRAY)
            .with(ids, Type::TEXT_ARRAY);
        columns.bind(statement)
    }

    /// The statements that delete the children of a wave's streams, so that a stream that is written again keeps no old children.
    fn delete_child_rows<'a>(&'a self, wave: &'a Wave) -> Vec<Statement<'a>> {
        let mut statements = Vec::new();
        for (aggregate_type, collections) in &self.tables.children.children {
            let of_type = wave
                .states
                .iter()
                .filter(|row| row.stream.aggregate_type.as_str() == aggregate_type);
            let (tenants, _, parents) = tenant_stream_columns(of_type.map(|row| &row.stream));
            for (_, table) in collections.iter().filter(|_| !parents.is_empty()) {
                let statement = Statement::new(DELETE_CHILD_ROWS)
                    .with(table, Type::TEXT)
                    .with(aggregate_type, Type::TEXT)
                    .with(tenants.clone(), Type::UUID_ARRAY)
                    .with(parents.clone(), Type::TEXT_ARRAY);
                statements.push(statement);
            }
        }
        statements
    }

    /// Name of the table of its entities.
    pub(super) fn entities(&self) -> &str {
        &self.tables.entities
    }

    /// Updates the planner's statistics of the new tables.
    pub async fn analyze(&self) -> Result<(), StoreError> {
        self.store
            .write(As::Projector, ANALYZE_SHADOW, &[(&self.id, Type::INT4)])
            .await
            .map(|_| ())
    }

    /// Updates the planner's statistics of the live tables, after the exchange.
    pub async fn analyze_live(&self) -> Result<(), StoreError> {
        self.store
            .write(As::Projector, ANALYZE_REBUILT, &[(&self.id, Type::INT4)])
            .await
            .map(|_| ())
    }

    /// Records the progress.
    pub async fn note_progress(&self, events: i64, streams: i64) -> Result<(), StoreError> {
        self.store.note_progress(self.id, events, streams).await
    }

    /// Ends it as failed. The live tables stay unchanged.
    pub async fn fail(&self, error: &str, tenant: Option<TenantId>) {
        self.store.fail_rebuild(self.id, error, tenant).await;
        self.drop_tables().await;
    }

    /// Drops the tables at the end.
    pub async fn drop_tables(&self) {
        self.store.drop_shadow(self.id).await;
    }
}

async fn begin_comparing(store: &Store, id: i32) -> Result<String, StoreError> {
    let row = store
        .write_row(As::Projector, COMPARE_SINCE, &[(&id, Type::INT4)])
        .await?;
    Ok(row.try_get("since")?)
}
