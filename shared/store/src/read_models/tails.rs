//! Makes entities from rows: folds the events that are not projected yet (the tail) into the projected state.

use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::connection::statement::{As, Param};
use crate::log::pages::is_full;
use crate::read_models::facts::EventText;
use crate::read_models::past::LIST_FACTS;
use crate::read_models::stored_entity::{Stopped, StoredEntity, entity_from};
use crate::{Store, StoreError};
use annals_domain::weight::footprint_of;
use annals_domain::{Caller, Catalog, Entity, Timestamp};

/// A list of entities ends when their states take this much memory (an estimate), or when this many events have been read for them.
const MAX_FOOTPRINT: usize = 64 << 20;
const MAX_EVENTS: usize = 2_000;

/// Events that are read at a time of a tail that is longer than what came with the entity. They have at most 16 MiB of data, so they are not
/// cut by bytes.
const PAGE: i64 = 64;

/// How entities, and the rest of a long tail, are read.
#[derive(Clone, Copy)]
pub(crate) enum EntityRead<'a> {
    /// In a transaction of its own.
    Separate,
    /// Within an open transaction, so that events appended in it are included.
    Within(&'a tokio_postgres::Client),
}

impl EntityRead<'_> {
    /// The rows of a statement.
    pub(crate) async fn rows(
        self,
        store: &Store,
        caller: &Caller,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        match self {
            Self::Separate => store.read(As::Caller(caller), sql, params).await,
            Self::Within(client) => Ok(client.query_typed(sql, params).await?),
        }
    }
}

impl Store {
    /// Folds each entity's tail into its projected state, and reads the rest of a tail that the rows do not hold completely. If a
    /// limit is reached, the last entity has `ends_read` set, and the caller asks for the entities after it.
    pub(crate) async fn fold_rows(
        &self,
        caller: &Caller,
        rows: &[Row],
        read: EntityRead<'_>,
    ) -> Result<Vec<StoredEntity>, StoreError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let revision = first.try_get("revision")?;
        let catalog = self.outline_at(caller, revision).await?;
        let rows_are_cut = is_full(last)?;
        let (mut found, mut footprint, mut events): (Vec<StoredEntity>, usize, usize) = (Vec::new(), 0, 0);
        let streams = rows.chunk_by(|a, b| a.get::<_, &str>("aggregate_id") == b.get::<_, &str>("aggregate_id"));
        let mut streams = streams.peekable();
        while let Some(of_stream) = streams.next() {
            let is_last = streams.peek().is_none();
            let head_version: i32 = of_stream[0].try_get("head_version")?;
            let mut stored = stored_from(&of_stream[0])?;
            fold_tail(&catalog, caller, &mut stored, of_stream)?;
            while stored.entity.version < head_version && stored.stopped.is_none() {
                if is_last && rows_are_cut && !found.is_empty() {
                    break;
                }
                let params: [Param<'_>; 6] = [
                    (&stored.aggregate_type, Type::TEXT),
                    (&stored.aggregate_id, Type::TEXT),
                    (&stored.entity.version, Type::INT4),
                    (&head_version, Type::INT4),
                    (&PAGE, Type::INT8),
                    (&i64::MAX, Type::INT8),
                ];
                let more = read.rows(self, caller, LIST_FACTS, &params).await?;
                if more.is_empty() || more[0].try_get::<_, i64>("revision")? != revision {
                    return Err(StoreError::Outdated);
                }
                events += more.len();
                fold_tail(&catalog, caller, &mut stored, &more)?;
            }
            if stored.entity.version < head_version && stored.stopped.is_none() {
                // The next page returns it.
                break;
            }
            footprint += footprint_of(&stored.entity.state);
            found.push(stored);
            if footprint > MAX_FOOTPRINT || events > MAX_EVENTS {
                break;
            }
        }
        let is_whole = streams.peek().is_none() && !rows_are_cut;
        if let Some(last) = found.last_mut() {
            last.ends_read = !is_whole;
        }
        Ok(found)
    }
}

/// Folds the events of these rows, up to one that is too large.
fn fold_tail(catalog: &Catalog, caller: &Caller, stored: &mut StoredEntity, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        // The one row of a stream without a tail holds no event.
        if row.try_get::<_, Option<i32>>("aggregate_version")?.is_none() {
            continue;
        }
        let event = EventText::from_row(row)?;
        let data = event.data()?;
        let fact = event.fact(&data);
        if let Err(error) = catalog.fold(caller.tenant_id(), &mut stored.entity, &fact) {
            stored.stopped = Some(Stopped::by(fact.version, error)?);
            break;
        }
    }
    Ok(())
}

fn stored_from(row: &Row) -> Result<StoredEntity, StoreError> {
    let entity = match entity_from(row)? {
        Some(entity) => entity,
        None => Entity::before(Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?)),
    };
    Ok(StoredEntity {
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        projected_version: row.try_get("projected_version")?,
        started_by: row.try_get("started_by")?,
        entity,
        stopped: None,
        ends_read: false,
    })
}
