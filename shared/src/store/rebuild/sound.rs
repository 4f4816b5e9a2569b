//! Streams that are right already: what a fold from zero gives stands in the live read models, byte for byte.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::shadow::Shadow;
use crate::domain::{Entity, Timestamp};
use crate::store::StoreError;
use crate::store::append::tenant_stream_columns;
use crate::store::entities::parse_object;
use crate::store::projection::StateRow;
use crate::store::session::{As, Param};

/// Their states come as text, which two of them share only if they are the same: what was `1.0` is not `1.00`.
const LIVE_ENTITIES: &str = "-- list_live_entities
select * from annals.live_entities($1, $2, $3)";

impl Shadow {
    /// Which of these states, by their places, are those of the live entities, with rows in their state tables that say the same.
    /// None are where the rebuild is to hold every stream.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_sound(&self, states: &[StateRow]) -> Result<HashSet<usize>, StoreError> {
        let mut sound = HashSet::new();
        if self.compared_since.is_none() {
            return Ok(sound);
        }
        let mut first = 0;
        for of_type in states.chunk_by(|a, b| a.stream.aggregate_type == b.stream.aggregate_type) {
            for row in self.live_entities(of_type).await? {
                let place = usize::try_from(row.try_get::<_, i64>("place")? - 1).unwrap_or(usize::MAX);
                if of_type.get(place).is_some_and(|state| is_live(state, &row)) {
                    sound.insert(first + place);
                }
            }
            first += of_type.len();
        }
        Ok(sound)
    }

    /// A state that its table could not hold says nothing of a row there, and those beside it are not told apart from it.
    async fn live_entities(&self, of_type: &[StateRow]) -> Result<Vec<Row>, StoreError> {
        let (tenants, types, ids) = tenant_stream_columns(of_type.iter().map(|state| &state.stream));
        let params: [Param<'_>; 3] = [
            (&types.first(), Type::TEXT),
            (&tenants, Type::UUID_ARRAY),
            (&ids, Type::TEXT_ARRAY),
        ];
        match self.store.read(As::Projector, LIVE_ENTITIES, &params).await {
            Err(error) if error.poison().is_some() => Ok(Vec::new()),
            outcome => outcome,
        }
    }
}

/// Whether the row of [`LIVE_ENTITIES`] is this state. One that cannot be read is none that was written by Annals.
fn is_live(state: &StateRow, row: &Row) -> bool {
    row.try_get("started_by")
        .is_ok_and(|live: &str| live == state.started_by)
        && entity_from(row).is_ok_and(|live| live == state.entity)
}

fn entity_from(row: &Row) -> Result<Entity, StoreError> {
    let time =
        |column: &str| Ok::<_, StoreError>(row.try_get::<_, Option<DateTime<Utc>>>(column)?.map(Timestamp::from));
    let missing = || StoreError::Unexpected("an entity without its times".to_owned());
    Ok(Entity {
        version: row.try_get("version")?,
        created_at: time("created_at")?.ok_or_else(missing)?,
        updated_at: time("updated_at")?.ok_or_else(missing)?,
        deleted_at: time("deleted_at")?,
        state: parse_object(row.try_get("state")?)?,
    })
}
