//! Streams that are right already: what a fold from zero gives stands in the live read models, byte for byte.

use std::collections::HashSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::history::entity_from;
use super::shadow::Shadow;
use crate::domain::{AggregateType, TenantId};
use crate::store::StoreError;
use crate::store::projection::StateRow;
use crate::store::session::{As, Param};

/// Their states come as text, which two of them share only if they are the same: what was `1.0` is not `1.00`.
const LIVE_ENTITIES: &str = "-- list_live_entities
select * from annals.live_entities($1, $2, $3, $4)";

impl Shadow {
    /// Which of these states, by their places, are those of the live entities, with rows in their state tables that say the same.
    /// None are where the rebuild is to hold every stream. They are looked for by stretches of names: what comes in the order of names is found quickly.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_sound(&self, states: &[StateRow]) -> Result<HashSet<usize>, StoreError> {
        let (mut sound, mut first) = (HashSet::new(), 0);
        if self.compared_since.is_none() {
            return Ok(sound);
        }
        for stretch in states.chunk_by(|a, b| kind(a) == kind(b)) {
            for row in self.live_entities(stretch).await? {
                let id: &str = row.try_get("id")?;
                let place = stretch.binary_search_by(|state| state.stream.aggregate_id.as_str().cmp(id));
                sound.extend(
                    place
                        .ok()
                        .filter(|at| is_live(&stretch[*at], &row))
                        .map(|at| first + at),
                );
            }
            first += stretch.len();
        }
        Ok(sound)
    }

    /// A live state that its table could not hold spoils the whole look, and then none is sound.
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

/// Whose names stand in one order.
fn kind(state: &StateRow) -> (TenantId, &AggregateType) {
    (state.stream.tenant_id, &state.stream.aggregate_type)
}

/// Whether the row of [`LIVE_ENTITIES`] is this state. One that cannot be read is none that was written by Annals.
fn is_live(state: &StateRow, row: &Row) -> bool {
    row.try_get("started_by")
        .is_ok_and(|live: &str| live == state.started_by)
        && entity_from(row).is_ok_and(|live| live == state.entity)
}
