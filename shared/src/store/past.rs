//! Time travel: an entity as it was recorded, as it was at some version, or as it was true.
//!
//! Recorded time and versions rise together, so what was recorded by some time is a stretch of the stream from its beginning:
//! the newest snapshot below its end and the few events after it. Business time knows no such order: what was true at some
//! time is folded from all events of an earlier or the same business time, in its order. They are sorted once, by the database,
//! and folded one by one as they come.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::catalog::{CATALOG_TRIES, catalog_unsteady};
use super::entities::{base_entity, sees_state};
use super::facts::{data_from, fact_columns, fact_from, skipped};
use super::pages::cut_facts;
use super::session::{As, Param};
use super::{Stopped, Store, StoreError, StoredEntity, Usage};
use crate::domain::{Caller, Catalog, Entity, Timestamp};

/// Recorded events that are read at a time, cut by bytes: memory holds one such page and the state.
const PAGE: i64 = 250;

/// Where to look: what was recorded by a version or a time, and of that, what was true by a business time. Both absent is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// No event after this version.
    pub version: Option<i32>,
    /// No event recorded after this time.
    pub at: Option<Timestamp>,
    /// No event of a later business time.
    pub valid_at: Option<Timestamp>,
}

/// An entity of the past.
#[derive(Debug)]
pub struct PastEntity {
    /// The entity; none where the stream begins later.
    pub found: Option<StoredEntity>,
    /// Version that the stream is at now.
    pub head_version: i32,
    /// Whether the recorded time asked for is still to come.
    pub in_future: bool,
    /// The catalog's revision that it was folded by.
    pub catalog_revision: i64,
    /// Version of the snapshot that it was loaded from.
    pub snapshot: Option<i32>,
    /// How many events were read.
    pub events_read: usize,
}

/// The projected state serves as a snapshot where it is not too new. Digests are computed for the snapshot that is taken and for
/// newer ones, which were passed over.
const FIND_PAST: &str = concat!(
    "-- find_past
select h.aggregate_type, h.aggregate_id, h.version as head_version, h.projected_version, h.started_by, u.version as upto,
       coalesce($7 > clock_timestamp(), false) as in_future, (select r.revision from annals.catalog_revision r) as revision,
       b.version as entity_version, b.created_at as entity_created_at, b.updated_at as entity_updated_at, b.deleted_at,
       b.state::text, b.is_snapshot,
       (select count(*) from annals.snapshots s
         where s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id and $8
           and s.version <= u.version and s.version > coalesce(b.version, 0) and s.shape = annals.shape_of($1, $2)
           and s.digest <> annals.snapshot_digest(s)) as corrupt
  from annals.heads h
 cross join lateral (
       select case when $7 is null then least($6::int, h.version)
                   else annals.version_at(h.tenant_id, h.aggregate_type, h.aggregate_id, h.version, $7) end as version offset 0) as u
  left join lateral (
       (select n.version, n.created_at, n.updated_at, n.deleted_at, n.state, false as is_snapshot
          from annals.entities n
         where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
           and n.version <= u.version and $8 and not annals.is_reshaping($1, $2))
        union all
       (select s.version, s.created_at, s.updated_at, s.deleted_at, s.state, true
          from annals.snapshots s
         where s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id
           and s.version <= u.version and $8 and s.shape = annals.shape_of($1, $2) and s.digest = annals.snapshot_digest(s)
         order by s.version desc limit 1)
        order by version desc, is_snapshot limit 1) as b on true
 where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = $3 and ",
    sees_state!()
);

/// A stream's facts in the order of versions.
pub(super) const LIST_RECORDED: &str = concat!(
    "-- list_recorded_facts",
    cut_facts!(
        "\nselect ",
        fact_columns!(),
        " from annals.events e
 where e.tenant_id = $1 and e.aggregate_type = $2 and e.aggregate_id = $3 and e.aggregate_version <= $4
   and e.aggregate_version > $5 order by e.aggregate_version limit $6"
    )
);
/// `offset 0`: sorted before data are written out as text, which are much larger than what is sorted.
const LIST_TRUE: &str = concat!(
    "-- list_true_facts\nselect ",
    fact_columns!(),
    " from (
    select * from annals.events e
     where e.tenant_id = $1 and e.aggregate_type = $2 and e.aggregate_id = $3 and e.aggregate_version <= $4 and e.\"timestamp\" <= $5
     order by e.\"timestamp\", e.aggregate_version offset 0) as e
 order by e.\"timestamp\", e.aggregate_version"
);

/// What a load has come to.
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
    /// The entity within these bounds, if the caller may see it.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_entity_at(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
        bounds: Bounds,
    ) -> Result<Option<PastEntity>, StoreError> {
        for _ in 0..CATALOG_TRIES {
            match self.try_entity_at(caller, aggregate_type, aggregate_id, bounds).await {
                Err(StoreError::Outdated) => {}
                other => return other,
            }
        }
        Err(catalog_unsteady())
    }

    async fn try_entity_at(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
        bounds: Bounds,
    ) -> Result<Option<PastEntity>, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let version = bounds.version.unwrap_or(i32::MAX);
        let at = bounds.at.map(|t| t.as_datetime());
        // Snapshots know recorded order only.
        let from_states = bounds.valid_at.is_none();
        let params: [Param<'_>; 8] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_id, Type::TEXT),
            (&sees_tenant, Type::BOOL),
            (&actor, Type::TEXT),
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
                "snapshots are not what was written, and were passed over"
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
            entity: base_entity(row)?,
            events_read: 0,
            stopped: None,
        };
        let is_snapshot: Option<bool> = row.try_get("is_snapshot")?;
        let base = load.entity.as_ref().map(|entity| entity.version);
        match bounds.valid_at {
            None => self.fold_recorded(&mut load).await?,
            Some(valid_at) => self.fold_true(&mut load, valid_at).await?,
        }
        let snapshot = base.filter(|_| is_snapshot == Some(true));
        // Neither where the projected state served, nor where business time asks for all events.
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
            let mut params = load.params().to_vec();
            params.extend([(&reached as _, Type::INT4), (&PAGE as _, Type::INT8)]);
            let rows = self.read(As::Caller(load.caller), LIST_RECORDED, &params).await?;
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

    async fn fold_true(&self, load: &mut Load<'_>, valid_at: Timestamp) -> Result<(), StoreError> {
        let valid_at = valid_at.as_datetime();
        let of = &*load;
        let fold = || async move {
            let mut params = of.params().to_vec();
            params.push((&valid_at, Type::TIMESTAMPTZ));
            let mut truth = Truth::default();
            let each = |row: &Row| truth.take(of, row);
            self.read_each(of.caller, LIST_TRUE, &params, each).await?;
            Ok(truth)
        };
        let folded = self.twice_if_lost(fold).await?;
        load.events_read = folded.events;
        load.stopped.clone_from(&folded.stopped);
        load.entity = folded.told();
        Ok(())
    }
}

impl Load<'_> {
    /// Whose stream, and how far.
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
        let data = data_from(row)?;
        let fact = fact_from(row, &data)?;
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

/// What an answer says about an event that was folded into the entity.
struct FoldedFact {
    version: i32,
    recorded_at: Timestamp,
    /// Whether staff left it out.
    skipped: bool,
}

/// A fold in the order of business time. The version that is told is the highest among the events folded, and the times are the
/// first and the last that any of them was recorded at.
#[derive(Default)]
struct Truth {
    entity: Option<Entity>,
    version: i32,
    recorded: Option<(Timestamp, Timestamp)>,
    events: usize,
    /// What comes after it is not folded.
    stopped: Option<Stopped>,
}

impl Truth {
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
            // What was left out moves the version alone.
            Some(recorded) if skipped => recorded,
            Some((first, last)) => (first.min(recorded_at), last.max(recorded_at)),
        });
        Ok(())
    }

    fn told(self) -> Option<Entity> {
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
