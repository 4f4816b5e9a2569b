//! Entities: the projected state plus whatever the projector has not reached yet, so that a reader sees its own writes.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::catalog::{CATALOG_TRIES, catalog_unsteady};
use super::session::{As, Param};
use super::{Store, StoreError};
use crate::domain::{Caller, Entity, StoredFact, Timestamp};

/// The state stands in a stream's first row only: a long tail must not repeat it. Whoever does not see the tenant sees state
/// of streams that it started and sees every event of, and not of those where somebody let it appear: half a fold is no state.
macro_rules! entity_columns {
    () => {
        "h.aggregate_type, h.aggregate_id, h.version as head_version, h.projected_version, h.started_by,
       n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
       case when e.aggregate_version is null or e.aggregate_version = coalesce(n.version, 0) + 1 then n.state::text end as state,
       e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data::text,
       exists (select from annals.skipped_events s
                where s.tenant_id = h.tenant_id and s.aggregate_type = h.aggregate_type and s.aggregate_id = h.aggregate_id
                  and s.aggregate_version = e.aggregate_version) as skipped,
       (select r.revision from annals.catalog_revision r) as revision"
    };
}
/// `offset 0` keeps each look-up a look-up by the whole key: right after a large load the planner has no statistics, and a plain
/// join would walk the tenant once per stream.
macro_rules! tail {
    () => {
        "left join lateral (
       select * from annals.entities n
        where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
          and not (select annals.is_reshaping($1, $2)) offset 0) as n on true
  left join lateral (
       select * from annals.events e
        where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
          and e.aggregate_version > coalesce(n.version, 0) and e.aggregate_version <= h.version offset 0) as e on true"
    };
}

const FIND_ENTITY: &str = concat!(
    "-- find_entity\nselect ",
    entity_columns!(),
    " from annals.heads h ",
    tail!(),
    " where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = $3 and ($4 or (h.started_by = $5 and annals.starter_sees_all(h.aggregate_type, h.aggregate_id)))
  order by e.aggregate_version"
);

pub(super) const FIND_ENTITIES: &str = concat!(
    "-- find_entities\nselect ",
    entity_columns!(),
    " from (select distinct unnest($3) as aggregate_id) as k
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = k.aggregate_id and ($4 or (h.started_by = $5 and annals.starter_sees_all(h.aggregate_type, h.aggregate_id))) offset 0) as h
  ",
    tail!(),
    " order by h.aggregate_id, e.aggregate_version"
);

const LIST_ENTITIES_PAGE: &str = concat!(
    "-- list_entities_page\nselect ", entity_columns!(), " from (
    select * from annals.heads h
     where h.tenant_id = $1 and h.aggregate_type = $2 and ($3::text is null or h.aggregate_id > $3) and ($4 or (h.started_by = $5 and annals.starter_sees_all(h.aggregate_type, h.aggregate_id)))
     order by h.aggregate_id limit $6) as h ", tail!(),
    " order by h.aggregate_id, e.aggregate_version"
);

/// As the projector, because nobody else sees them.
const FIND_TAKEN: &str = "-- find_taken_entities
select h.aggregate_id
  from (select distinct unnest($3) as aggregate_id) as k
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = k.aggregate_id offset 0) as h
 where h.started_by <> $4
    or exists (select from annals.events e
                where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
                  and not e.starter_sees and e.started_by <> e.created_by and e.user_id is distinct from $5 offset 0)";

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
    /// The entity at its stream's last version.
    pub entity: Entity,
}

impl Store {
    /// The entity as it stands, if the caller may see it.
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

    /// Those of the entities that exist and whose state the caller does not see, because somebody else has started them or has added
    /// what is hidden. Whoever asks learns no more than an append would tell.
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

    /// Those of the entities that exist and that the caller may see, by id.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_entities(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_ids: &[&str],
    ) -> Result<Vec<StoredEntity>, StoreError> {
        let (sees_tenant, actor) = (caller.role().sees_tenant(), caller.actor().as_str());
        let params: [Param<'_>; 5] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_type, Type::TEXT),
            (&aggregate_ids, Type::TEXT_ARRAY),
            (&sees_tenant, Type::BOOL),
            (&actor, Type::TEXT),
        ];
        self.read_entities(caller, FIND_ENTITIES, &params).await
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
            match self.fold_rows(caller, &rows).await {
                Err(StoreError::Outdated) => {}
                other => return other,
            }
        }
        Err(catalog_unsteady())
    }

    /// Folds each entity's tail into its projected state.
    pub(super) async fn fold_rows(&self, caller: &Caller, rows: &[Row]) -> Result<Vec<StoredEntity>, StoreError> {
        let Some(row) = rows.first() else {
            return Ok(Vec::new());
        };
        let catalog = self.outline_at(caller, row.try_get("revision")?).await?;
        let mut found: Vec<StoredEntity> = Vec::new();
        for row in rows {
            let aggregate_id: String = row.try_get("aggregate_id")?;
            if found.last().is_none_or(|last| last.aggregate_id != aggregate_id) {
                found.push(entity_from(row, aggregate_id)?);
            }
            let (Some(version), Some(last)) = (row.try_get::<_, Option<i32>>("aggregate_version")?, found.last_mut())
            else {
                continue;
            };
            let data = parse_object(row.try_get("data")?)?;
            let fact = StoredFact {
                event_type: row.try_get("event_type")?,
                schema_version: row.try_get("schema_version")?,
                version,
                created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
                data: &data,
                skipped: row.try_get("skipped")?,
            };
            catalog.fold(caller.tenant_id(), &mut last.entity, &fact)?;
        }
        Ok(found)
    }
}

fn entity_from(row: &Row, aggregate_id: String) -> Result<StoredEntity, StoreError> {
    let entity = match base_entity(row)? {
        Some(entity) => entity,
        None => Entity::before(Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?)),
    };
    Ok(StoredEntity {
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id,
        projected_version: row.try_get("projected_version")?,
        started_by: row.try_get("started_by")?,
        entity,
    })
}

/// The projected entity in a row with columns `entity_version`, `entity_created_at`, `entity_updated_at`, `deleted_at`, `state`.
pub(super) fn base_entity(row: &Row) -> Result<Option<Entity>, StoreError> {
    let Some(version) = row.try_get::<_, Option<i32>>("entity_version")? else {
        return Ok(None);
    };
    let state: Option<String> = row.try_get("state")?;
    let state = state.ok_or_else(|| StoreError::Unexpected("a stream with a gap".to_owned()))?;
    Ok(Some(Entity {
        version,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("entity_created_at")?),
        updated_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("entity_updated_at")?),
        deleted_at: row
            .try_get::<_, Option<DateTime<Utc>>>("deleted_at")?
            .map(Timestamp::from),
        state: parse_object(state)?,
    }))
}

/// A JSON object from a column of text.
pub(super) fn parse_object(text: String) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_str(&text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON object: {e}")))
}
