//! Unchanged streams: their live read models equal the fold from zero, byte for byte.

use std::collections::HashSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::shadow::Shadow;
use crate::StoreError;
use crate::connection::statement::{As, Param};
use crate::read_models::state_row::StateRow;
use crate::read_models::stored_entity::entity_from;
use annals_domain::{AggregateType, TenantId};

/// States are compared as text, so two are equal only if they are written in the same way: `1.0` is not `1.00`.
const LIVE_ENTITIES: &str = "-- list_live_entities
select l.id, l.started_by, l.version as entity_version, l.created_at as entity_created_at, l.updated_at as entity_updated_at, l.deleted_at,
       l.state
  from annals.live_entities($1, $2, $3, $4) as l";

impl Shadow {
    /// Indexes of those states that equal the live entities and whose rows in the state tables equal them too. Empty if the rebuild
    /// must write every stream. `states` must be ordered by tenant, aggregate type and id, because live entities are read in ranges of
    /// ids.
    pub async fn find_unchanged(&self, states: &[StateRow]) -> Result<HashSet<usize>, StoreError> {
        let (mut unchanged, mut first) = (HashSet::new(), 0);
        if self.compared_since.is_none() {
            return Ok(unchanged);
        }
        for stretch in states.chunk_by(|a, b| kind(a) == kind(b)) {
            for row in self.live_entities(stretch).await? {
                let id: &str = row.try_get("id")?;
                let place = stretch.binary_search_by(|state| state.stream.aggregate_id.as_str().cmp(id));
                unchanged.extend(
                    place
                        .ok()
                        .filter(|at| is_live(&stretch[*at], &row))
                        .map(|at| first + at),
                );
            }
            first += stretch.len();
        }
        Ok(unchanged)
    }

    /// A live state that its table cannot hold makes the whole query fail. Then no stream of this range counts as unchanged.
    async fn live_entities(&self, stretch: &[StateRow]) -> Result<Vec<Row>, StoreError> {
        let [first, last] = [stretch.first(), stretch.last()].map(|state| state.map(|s| &s.stream));
        let params: [Param<'_>; 4] = [
            (&first.map(|stream| stream.aggregate_type.as_str()), Type::TEXT),
            (&first.map(|stream| *stream.tenant_id.as_uuid()), Type::UUID),
            (&first.map(|stream| stream.aggregate_id.as_str()), Type::TEXT),
            (&last.map(|stream| stream.aggregate_id.as_str()), Type::TEXT),
        ];
        match self.store.read(As::Projector, LIVE_ENTITIES, &params).await {
            Err(error) if error.poison().is_some() => Ok(Vec::new()),
            outcome => outcome,
        }
    }
}

/// The part of a stream's name before its id. Streams with an equal part are ordered by id.
fn kind(state: &StateRow) -> (TenantId, &AggregateType) {
    (state.stream.tenant_id, &state.stream.aggregate_type)
}

/// Whether the row of [`LIVE_ENTITIES`] equals this state. A row that cannot be read was not written by Annals, so it differs.
fn is_live(state: &StateRow, row: &Row) -> bool {
    row.try_get("started_by")
        .is_ok_and(|live: &str| live == state.started_by)
        && entity_from(row).is_ok_and(|live| live.as_ref() == Some(&state.entity))
}
