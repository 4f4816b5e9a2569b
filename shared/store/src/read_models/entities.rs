//! Entities: the projected state plus the events that the projector has not reached yet, so a reader sees its own writes.

use std::collections::HashSet;

use tokio_postgres::types::Type;

use crate::catalog::retry_if_outdated;
use crate::connection::statement::{As, Param};
use crate::log::pages::page_bytes;
use crate::read_models::facts::skipped;
use crate::read_models::stored_entity::StoredEntity;
use crate::read_models::tails::EntityRead;
use crate::read_models::work::guessed_bytes;
use crate::{Store, StoreError};
use annals_domain::Caller;

/// Whether the caller sees the state of the stream `h`. Callers who see the tenant ($4) see every state. Others ($5) see the state of
/// streams that they started and in which they see every event. If one event is hidden, the state is too, because a fold without it
/// would be wrong.
macro_rules! sees_state {
    () => {
        "($4 or (h.started_by = $5 and annals.starter_sees_all(h.aggregate_type, h.aggregate_id)))"
    };
}

/// Only the first row of a stream carries the state, so that a long tail does not repeat it.
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
/// `offset 0` forces each lookup to use the whole key. Right after a large load the planner has no statistics, and a plain join would
/// scan the tenant once per stream.
///
/// The first 64 events of a tail come with the entity; the others are read afterwards (`LIST_TAIL` in `tails`).
macro_rules! tail {
    () => {
        "left join lateral (
       select * from annals.entities n
        where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
          and not (select annals.needs_rebuild($1, $2)) offset 0) as n on true
  left join lateral (
       select * from annals.events e
        where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
          and e.aggregate_version > coalesce(n.version, 0) and e.aggregate_version <= h.version
        order by e.aggregate_version limit 64) as e on true"
    };
}

/// Rows of many entities, cut at `PAGE_BYTES` of text: first by a guess of their size, before values are decompressed (see `work`), then by
/// their real size.
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
       s.packed_state::text as state, s.packed_data::text as data, s.running_guess >= ",
            page_bytes!(),
            " as is_last
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
            ") as r) as g) as s where s.running_guess - s.guess < ",
            page_bytes!(),
            " offset 0) as t) as w
 where running_bytes - bytes < ",
            page_bytes!(),
            " order by aggregate_id, aggregate_version"
        )
    };
}

const FIND_ENTITY: &str = "-- find_entity
select * from annals.find_entity($1, $2)";

const FIND_ENTITIES: &str = concat!(
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

/// Runs as the projector, because callers do not see these entities.
const FIND_TAKEN: &str = "-- find_taken_entities
select h.aggregate_id
  from (select distinct unnest($3) as aggregate_id) as k
 cross join lateral (
       select * from annals.heads h
        where h.tenant_id = $1 and h.aggregate_type = $2 and h.aggregate_id = k.aggregate_id offset 0) as h
 where h.started_by <> $4 or annals.has_hidden_events($1, $2, h.aggregate_id, $4, $5)";

impl Store {
    /// The current entity; `None` if it does not exist or the caller may not see it.
    pub async fn find_entity(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_id: &str,
    ) -> Result<Option<StoredEntity>, StoreError> {
        let params: [Param<'_>; 2] = [(&aggregate_type, Type::TEXT), (&aggregate_id, Type::TEXT)];
        Ok(self
            .read_entities(EntityRead::Separate, caller, FIND_ENTITY, &params)
            .await?
            .pop())
    }

    /// Those of the entities that exist but whose state the caller does not see, because another actor started them or added events
    /// that are hidden from the caller. The answer reveals no more than the refusal of an append would.
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

    /// Those of the entities that exist and that the caller may see, by id. `keep` reduces each one, because many are held at a time.
    pub async fn find_entities<T>(
        &self,
        caller: &Caller,
        aggregate_type: &str,
        aggregate_ids: &[&str],
        keep: impl Fn(StoredEntity) -> T,
    ) -> Result<Vec<T>, StoreError> {
        self.find_entities_by(EntityRead::Separate, caller, aggregate_type, aggregate_ids, keep)
            .await
    }

    pub(crate) async fn find_entities_by<T>(
        &self,
        read: EntityRead<'_>,
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
            let found = self.read_entities(read, caller, FIND_ENTITIES, &params).await?;
            left = left_after(left, &found);
            kept.extend(found.into_iter().map(&keep));
        }
        Ok(kept)
    }

    /// Up to `limit` entities of an aggregate type after an id, ordered by id, deleted ones included.
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
        self.read_entities(EntityRead::Separate, caller, LIST_ENTITIES_PAGE, &params)
            .await
    }

    /// Reads entities and folds their tails by one revision of the catalog. Starts again if the catalog changes in between.
    async fn read_entities(
        &self,
        read: EntityRead<'_>,
        caller: &Caller,
        sql: &str,
        params: &[Param<'_>],
    ) -> Result<Vec<StoredEntity>, StoreError> {
        retry_if_outdated(|| async {
            let rows = read.rows(self, caller, sql, params).await?;
            self.fold_rows(caller, &rows, read).await
        })
        .await
    }
}

/// The ids to read next: those after the last entity, if the read was cut there.
fn left_after<'a>(mut ids: Vec<&'a str>, found: &[StoredEntity]) -> Vec<&'a str> {
    match found.last().filter(|last| last.ends_read) {
        Some(last) => ids.retain(|id| *id > last.aggregate_id.as_str()),
        None => ids.clear(),
    }
    ids
}
