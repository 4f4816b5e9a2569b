//! Time travel: an entity as of a recorded time, as of a version, or as of a business time.
//!
//! Recorded times and versions rise together, so what was recorded by a given time is the beginning of the stream. It is loaded from
//! the newest snapshot in it, or from the projected state, and the few events after that. Business times have no such order. An entity
//! as of a business time is therefore folded from all events with this or an earlier business time, in the order of business time. The
//! database sorts them once, and they are folded one by one as they arrive.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::catalog::retry_if_outdated;
use crate::connection::statement::{As, Param};
use crate::log::pages::MAX_BYTES;
use crate::read_models::facts::{EventText, skipped};
use crate::read_models::stored_entity::entity_from;
use crate::{Stopped, Store, StoreError, StoredEntity, Usage};
use annals_domain::{Caller, Catalog, Entity, Timestamp};

/// Events that are read at a time, also limited by bytes, so memory holds one such page and the state.
const PAGE: i64 = 250;

/// Which events count: those up to a version or a recorded time (if both are given, only the time applies), and of these, those up to
/// a business time. Without any limit: all events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// No event after this version.
    pub version: Option<i32>,
    /// No event recorded after this time.
    pub at: Option<Timestamp>,
    /// No event with a later business time.
    pub valid_at: Option<Timestamp>,
}

/// An entity within [`Bounds`], and how it was loaded.
#[derive(Debug)]
pub struct PastEntity {
    /// The entity; `None` if the stream begins later.
    pub found: Option<StoredEntity>,
    /// The stream's current version.
    pub head_version: i32,
    /// Whether the recorded time asked for is in the future.
    pub in_future: bool,
    /// Revision of the catalog that it was folded by.
    pub catalog_revision: i64,
    /// Version of the snapshot that it was loaded from. `None` if no snapshot was used.
    pub snapshot: Option<i32>,
    /// Number of events that were read.
    pub events_read: usize,
}

const FIND_PAST: &str = "-- find_past
select * from annals.find_past($1, $2, $3, $4, $5)";

/// A stream's events for a fold, by version.
pub(crate) const LIST_FACTS: &str = "-- list_facts
select * from annals.list_facts($1, $2, $3, $4, $5, $6)";
/// `offset 0` makes PostgreSQL sort before it converts the data to text, because the text is much larger than the sorted rows.
const LIST_VALID: &str = concat!(
    "-- list_true_facts
select e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data::text, ",
    skipped!(),
    ", (select r.revision from annals.catalog_revision r) as revision
  from (
    select * from annals.events e
     where e.tenant_id = $1 and e.aggregate_type = $2 and e.aggregate_id = $3 and e.aggregate_version <= $4 and e.\"timestamp\" <= $5
     order by e.\"timestamp\", e.aggregate_version offset 0) as e
 order by e.\"timestamp\", e.aggregate_version"
);

/// The progress of loading an entity.
struct Load<'a> {
    caller: &'a Caller,
    aggregate_type: &'a str,
    aggregate_id: &'a str,
    upto: i32,
    catalog: std::sync::Arc<Catalog>,
    revision: i64,
    entity: Option<Entity>,
    events_read: usize,
    stopped: Option<Stopped>,
}

impl Store {
    /// The entity within these bounds; `None` if it does not exist or the caller may not see it.
    pub async fn find_entity_at(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
        bounds: Bounds,
    ) -> Result<Option<PastEntity>, StoreError> {
        retry_if_outdated(|| self.try_entity_at(caller, aggregate_type, aggregate_id, bounds)).await
    }

    async fn try_entity_at(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
        bounds: Bounds,
    ) -> Result<Option<PastEntity>, StoreError> {
        let version = bounds.version.unwrap_or(i32::MAX);
        let at = bounds.at.map(|t| t.as_datetime());
        // Snapshots are folded in the order of recording, so they are useless for a business time.
        let from_states = bounds.valid_at.is_none();
        let params: [Param<'_>; 5] = [
            (&aggregate_type, Type::TEXT),
            (&aggregate_id, Type::TEXT),
            (&version, Type::INT4),
            (&at, Type::TIMESTAMPTZ),
            (&from_states, Type::BOOL),
        ];
        let rows = self.read(As::Caller(caller), FIND_PAST, &params).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let corrupt: i64 = row.try_get("corrupt")?;
        if corrupt > 0 {
            tracing::warn!(
                aggregate.type = aggregate_type,
                snapshots.corrupt = corrupt,
                "snapshots with a wrong digest were ignored"
            );
        }
        let revision = row.try_get("revision")?;
        let mut load = Load {
            caller,
            aggregate_type,
            aggregate_id,
            upto: row.try_get("upto")?,
            catalog: self.outline_at(caller, revision).await?,
            revision,
            entity: entity_from(row)?,
            events_read: 0,
            stopped: None,
        };
        let is_snapshot: Option<bool> = row.try_get("is_snapshot")?;
        let base = load.entity.as_ref().map(|entity| entity.version);
        match bounds.valid_at {
            None => self.fold_recorded(&mut load).await?,
            Some(valid_at) => self.fold_valid_time(&mut load, valid_at).await?,
        }
        let snapshot = base.filter(|_| is_snapshot == Some(true));
        // It is neither a hit nor a miss if the projected state was used, or if a business time needs all events.
        let usage = Usage {
            snapshot_hits: i64::from(snapshot.is_some()),
            snapshot_misses: i64::from(base.is_none() && from_states && load.events_read > 0),
            snapshots_corrupt: corrupt,
            ..Usage::default()
        };
        self.tally(caller.tenant_id(), usage).await;
        past_from(row, load, snapshot).map(Some)
    }

    async fn fold_recorded(&self, load: &mut Load<'_>) -> Result<(), StoreError> {
        loop {
            let reached = load.entity.as_ref().map_or(0, |entity| entity.version);
            if reached >= load.upto || load.stopped.is_some() {
                return Ok(());
            }
            let stream = (load.aggregate_type, load.aggregate_id);
            let rows = self.list_facts(load.caller, stream, (reached, load.upto), PAGE).await?;
            let mut entity = load.entity.take();
            for row in &rows {
                if let Err(stopped) = load.fold(row, &mut entity)? {
                    load.stopped = Some(stopped);
                    break;
                }
            }
            load.entity = entity;
            load.events_read += rows.len();
            if rows.is_empty() {
                return Ok(());
            }
        }
    }

    /// At most `limit` events of a stream after the first version and up to the second, for a fold. They are cut at [`MAX_BYTES`].
    pub(crate) async fn list_facts(
        &self,
        caller: &Caller,
        (aggregate_type, aggregate_id): (&str, &str),
        (after, upto): (i32, i32),
        limit: i64,
    ) -> Result<Vec<Row>, StoreError> {
        let params: [Param<'_>; 6] = [
            (&aggregate_type, Type::TEXT),
            (&aggregate_id, Type::TEXT),
            (&after, Type::INT4),
            (&upto, Type::INT4),
            (&limit, Type::INT8),
            (&MAX_BYTES, Type::INT8),
        ];
        self.read(As::Caller(caller), LIST_FACTS, &params).await
    }

    async fn fold_valid_time(&self, load: &mut Load<'_>, valid_at: Timestamp) -> Result<(), StoreError> {
        let valid_at = valid_at.as_datetime();
        let of = &*load;
        let fold = || async move {
            let mut params = of.params().to_vec();
            params.push((&valid_at, Type::TIMESTAMPTZ));
            let mut fold = ValidTimeFold::default();
            let each = |row: &Row| fold.take(of, row);
            self.read_each(of.caller, LIST_VALID, &params, each).await?;
            Ok(fold)
        };
        let folded = self.retry_if_lost(fold).await?;
        load.events_read = folded.events;
        load.stopped.clone_from(&folded.stopped);
        load.entity = folded.into_entity();
        Ok(())
    }
}

impl Load<'_> {
    /// The first parameters of [`LIST_VALID`]: stream and last version.
    fn params(&self) -> [Param<'_>; 4] {
        [
            (self.caller.tenant_uuid(), Type::UUID),
            (&self.aggregate_type, Type::TEXT),
            (&self.aggregate_id, Type::TEXT),
            (&self.upto, Type::INT4),
        ]
    }

    /// Folds an event into the entity, unless it is too large.
    fn fold(&self, row: &Row, entity: &mut Option<Entity>) -> Result<Result<FoldedFact, Stopped>, StoreError> {
        if row.try_get::<_, i64>("revision")? != self.revision {
            return Err(StoreError::Outdated);
        }
        let event = EventText::from_row(row)?;
        let data = event.data()?;
        let fact = event.fact(&data);
        let entity = entity.get_or_insert_with(|| Entity::before(fact.created_at));
        if let Err(error) = self.catalog.fold(self.caller.tenant_id(), entity, &fact) {
            return Ok(Err(Stopped::by(fact.version, error)?));
        }
        Ok(Ok(FoldedFact {
            version: fact.version,
            recorded_at: fact.created_at,
            skipped: fact.skipped,
        }))
    }
}

/// An event that was folded into the entity.
struct FoldedFact {
    version: i32,
    recorded_at: Timestamp,
    /// Whether staff decided to leave the event out of the state.
    skipped: bool,
}

/// A fold in the order of business time. The resulting version is the highest of the folded events; the resulting times are the first and
/// the last recorded time among them.
#[derive(Default)]
struct ValidTimeFold {
    entity: Option<Entity>,
    version: i32,
    recorded: Option<(Timestamp, Timestamp)>,
    events: usize,
    /// The event that was too large. Events after it are not folded.
    stopped: Option<Stopped>,
}

impl ValidTimeFold {
    fn take(&mut self, load: &Load<'_>, row: &Row) -> Result<(), StoreError> {
        if self.stopped.is_some() {
            return Ok(());
        }
        self.events += 1;
        let FoldedFact {
            version,
            recorded_at,
            skipped,
        } = match load.fold(row, &mut self.entity)? {
            Ok(folded) => folded,
            Err(stopped) => {
                self.stopped = Some(stopped);
                return Ok(());
            }
        };
        self.version = self.version.max(version);
        self.recorded = Some(match self.recorded {
            None => (recorded_at, recorded_at),
            // A skipped event changes only the version, unless it is the first.
            Some(recorded) if skipped => recorded,
            Some((first, last)) => (first.min(recorded_at), last.max(recorded_at)),
        });
        Ok(())
    }

    fn into_entity(self) -> Option<Entity> {
        let (created_at, updated_at) = self.recorded?;
        Some(Entity {
            version: self.version,
            created_at,
            updated_at,
            ..self.entity?
        })
    }
}

fn past_from(row: &Row, load: Load<'_>, snapshot: Option<i32>) -> Result<PastEntity, StoreError> {
    let (projected_version, started_by) = (row.try_get("projected_version")?, row.try_get("started_by")?);
    Ok(PastEntity {
        found: load.entity.map(|entity| StoredEntity {
            aggregate_type: load.aggregate_type.to_owned(),
            aggregate_id: load.aggregate_id.to_owned(),
            projected_version,
            started_by,
            entity,
            stopped: load.stopped,
            ends_read: false,
        }),
        head_version: row.try_get("head_version")?,
        in_future: row.try_get("in_future")?,
        catalog_revision: load.revision,
        snapshot,
        events_read: load.events_read,
    })
}
