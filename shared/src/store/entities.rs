//! Entities: the projected state plus whatever the projector has not reached yet, so that a reader sees its own writes.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::catalog::{CATALOG_TRIES, catalog_unsteady};
use super::facts::skipped;
use super::session::{As, Param};
use super::tails::Rest;
use super::work::guessed_bytes;
use super::{Store, StoreError};
use crate::domain::fold::SizeBound;
use crate::domain::{Caller, Entity, FoldError, Timestamp};

/// Whether the caller sees the state of the stream `h`: callers who see the tenant ($4) see every state, others ($5) that of streams
/// which they started and see every event of. Where one event is hidden the state is too, because a fold without it would be wrong.
macro_rules! sees_state {
    () => {
        "($4 or (h.started_by = $5 and annals.starter_sees_all(h.aggregate_type, h.aggregate_id)))"
    };
}
pub(super) use sees_state;

/// Only the first row of a stream carries the state: a long tail must not repeat it.
macro_rules! entity_columns {
    () => {
        concat!(
            "h.aggregate_type, h.aggregate_id, h.version as head_version, h.projected_version, h.started_by,
       n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
       e.aggregate_version, e.event_type, e.version as schema_version, e.created_at,
       ",
            skipped!(),
            ",
       (select r.revision from annals.catalog_revision r) as revision"
        )
    };
}
macro_rules! state {
    () => {
        "case when e.aggregate_version is null or e.aggregate_version = coalesce(n.version, 0) + 1 then n.state end"
    };
}
/// `offset 0` keeps each look-up a look-up by the whole key: right after a large load the planner has no statistics, and a plain
/// join would walk the tenant once per stream.
///
/// Of a long tail the first 64 events come with the entity; the others are read after it ([`LIST_TAIL`]).
macro_rules! tail {
    () => {
        "left join lateral (
       select * from annals.entities n
        where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
          and not (select annals.is_reshaping($1, $2)) offset 0) as n on true
  left join lateral (
       select * from annals.events e
        where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
          and e.aggregate_version > coalesce(n.version, 0) and e.aggregate_version <= h.version
        order by e.aggregate_version limit 64) as e on true"
    };
}

/// Rows of many entities, cut where they have 4 MiB of text: first by what that is guessed to be, before values are unpacked (see
/// `work`), and then by what it is.
macro_rules! cut_tails {
    ($($rows:tt)*) => {
        concat!(
            "
select * from (
select t.*, sum(coalesce(octet_length(t.state), 0) + coalesce(octet_length(t.data), 0)) over (order by t.aggregate_id, t.aggregate_version)
           as running_bytes,
       coalesce(octet_length(t.state), 0) + coalesce(octet_length(t.data), 0) as bytes
  from (
select s.aggregate_type, s.aggregate_id, s.head_version, s.projected_version, s.started_by, s.entity_version, s.entity_created_at,
       s.entity_updated_at, s.deleted_at, s.aggregate_version, s.event_type, s.schema_version, s.created_at, s.skipped, s.revision,
       s.packed_state::text as state, s.packed_data::text as data, s.running_guess >= 4194304 as is_last
  from (
select g.*, sum(g.guess) over (order by g.aggregate_id, g.aggregate_version) as running_guess
  from (
select r.*, coalesce(",
            guessed_bytes!("r.packed_state"),
            ", 0) + coalesce(",
            guessed_bytes!("r.packed_data"),
            ", 0) as guess
  from (select ",
            entity_columns!(),
            ", ",
            state!(),
            " as packed_state, e.data as packed_data",
            $($rows)*,
            ") as r) as g) as s where s.running_guess - s.guess < 4194304 offset 0) as t) as w
 where running_bytes - bytes < 4194304 order by aggregate_id, aggregate_version"
        )
    };
}

const FIND_ENTITY: &str = concat!(
    "-- find_entity\nselect ",
    entity_columns!(),
    ", (",
    state!(),
    ")::text as state, e.data::text from annals.heads h ",
    tail!(),
    " where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = $3 and ",
    sees_state!(),
    "
  order by e.aggregate_version"
);

pub(super) const FIND_ENTITIES: &str = concat!(
    "-- find_entities",
    cut_tails!(
        " from (select distinct unnest($3) as aggregate_id) as k
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = k.aggregate_id and ",
        sees_state!(),
        " offset 0) as h
  ",
        tail!()
    )
);

const LIST_ENTITIES_PAGE: &str = concat!(
    "-- list_entities_page",
    cut_tails!(
        " from (
    select * from annals.heads h
     where h.tenant_id = $1 and h.aggregate_type = $2 and ($3::text is null or h.aggregate_id > $3) and ",
        sees_state!(),
        "
     order by h.aggregate_id limit $6) as h ",
        tail!()
    )
);

/// As the projector, because callers do not see these entities.
const FIND_TAKEN: &str = "-- find_taken_entities
select h.aggregate_id
  from (select distinct unnest($3) as aggregate_id) as k
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = k.aggregate_id offset 0) as h
 where h.started_by <> $4 or annals.has_hidden_events($1, $2, h.aggregate_id, $4, $5)";

/// An entity with the progress of its projection.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntity {
    /// Kind of the aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// Version up to which read models hold it.
    pub projected_version: i32,
    /// Actor of its first event.
    pub started_by: String,
    /// The entity at its stream's last version, or as far as that can be folded.
    pub entity: Entity,
    /// What kept it from that version.
    pub stopped: Option<Stopped>,
    /// Whether it is the last of a list that ends for want of room.
    pub ends_read: bool,
}

/// An event that is too large to be folded: its stream waits before it until staff has it left out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stopped {
    /// Its version.
    pub version: i32,
    /// `state_too_large` or `lifted_too_large`.
    pub code: &'static str,
}

impl Stopped {
    /// By this event; other errors are the catalog's, and stay errors.
    pub(super) fn by(version: i32, error: FoldError) -> Result<Self, FoldError> {
        match error.is_about_size() {
            true => Ok(Self {
                version,
                code: error.code(),
            }),
            false => Err(error),
        }
    }
}

impl Store {
    /// The entity as it is now, if the caller may see it.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_entity(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<Option<StoredEntity>, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let params: [Param<'_>; 5] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_id, Type::TEXT),
            (&sees_tenant, Type::BOOL),
            (&actor, Type::TEXT),
        ];
        Ok(self.read_entities(caller, FIND_ENTITY, &params).await?.pop())
    }

    /// Those of the entities that exist and whose state the caller does not see, because another actor has started them or has added
    /// events that are hidden from the caller. The answer says no more than the refusal of an append would.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_taken(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<HashSet<String>, StoreError> {
        if caller.role().sees_tenant() || aggregate_ids.is_empty() {
            return Ok(HashSet::new());
        }
        let params: [Param<'_>; 5] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_ids, Type::TEXT_ARRAY),
            (&caller.actor().as_str(), Type::TEXT),
            (&caller.user_id(), Type::UUID),
        ];
        let rows = self.read(As::Projector, FIND_TAKEN, &params).await?;
        rows.iter().map(|row| Ok(row.try_get("aggregate_id")?)).collect()
    }

    /// Those of the entities that exist and that the caller may see, by id, as `keep` leaves them: many of them are held at once.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_entities<T>(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_ids: &[&str],
        keep: impl Fn(StoredEntity) -> T,
    ) -> Result<Vec<T>, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let (mut left, mut kept) = (aggregate_ids.to_vec(), Vec::new());
        while !left.is_empty() {
            let params: [Param<'_>; 5] = [
                (caller.tenant_uuid(), Type::UUID),
                (&aggregate_type, Type::TEXT),
                (&left, Type::TEXT_ARRAY),
                (&sees_tenant, Type::BOOL),
                (&actor, Type::TEXT),
            ];
            let found = self.read_entities(caller, FIND_ENTITIES, &params).await?;
            left = left_after(left, &found);
            kept.extend(found.into_iter().map(&keep));
        }
        Ok(kept)
    }

    /// Up to `limit` entities of a kind, deleted ones included, by id, after an id.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_entities(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<StoredEntity>, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let params: [Param<'_>; 6] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&after, Type::TEXT),
            (&sees_tenant, Type::BOOL),
            (&actor, Type::TEXT),
            (&limit, Type::INT8),
        ];
        self.read_entities(caller, LIST_ENTITIES_PAGE, &params).await
    }

    /// Reads entities and folds their tails by one and the same catalog: begun again where it changes in between.
    async fn read_entities(
        &self,
        caller: &Caller,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<StoredEntity>, StoreError> {
        for _ in 0..CATALOG_TRIES {
            let rows = self.read(As::Caller(caller), sql, params).await?;
            match self.fold_rows(caller, &rows, Rest::ByItself).await {
                Err(StoreError::Outdated) => {}
                other => return other,
            }
        }
        Err(catalog_unsteady())
    }
}

/// The ids to ask for next: those after the last that was found, where reading ended with it.
pub(super) fn left_after<'a>(mut ids: Vec<&'a str>, found: &[StoredEntity]) -> Vec<&'a str> {
    match found.last().filter(|last| last.ends_read) {
        Some(last) => ids.retain(|id| *id > last.aggregate_id.as_str()),
        None => ids.clear(),
    }
    ids
}

/// The projected entity in a row with columns `entity_version`, `entity_created_at`, `entity_updated_at`, `deleted_at`, `state`.
pub(super) fn base_entity(row: &Row) -> Result<Option<Entity>, StoreError> {
    let Some(version) = row.try_get::<_, Option<i32>>("entity_version")? else {
        return Ok(None);
    };
    let state: Option<&str> = row.try_get("state")?;
    let state = state.ok_or_else(|| StoreError::Unexpected("a stream with a gap".to_owned()))?;
    Ok(Some(Entity {
        version,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("entity_created_at")?),
        updated_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("entity_updated_at")?),
        deleted_at: row
            .try_get::<_, Option<DateTime<Utc>>>("deleted_at")?
            .map(Timestamp::from),
        state: parse_object(state)?,
        size: SizeBound::default(),
    }))
}

/// A JSON object from a column of text.
pub(super) fn parse_object(text: &str) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON object: {e}")))
}
