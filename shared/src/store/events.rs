//! Reading the log as a caller: one event, a filtered page, a stream's history, what is not yet projected.
//!
//! Events of older versions are lifted as they are read, unless somebody asks for what is stored.

use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::pages::{cut_by_bytes, is_full};
use super::session::As;
use super::{Store, StoreError, Usage};
use crate::domain::{Caller, Catalog, Event, EventId, TenantId, Timestamp, naming};

/// Columns of an event, in the answer's order; every statement here selects them from `annals.events e`, a head `h`
/// and [`withheld_context!`] `w`.
macro_rules! event_columns {
    () => {
        "e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version,
       e.data::text, coalesce(w.metadata, e.metadata)::text as metadata, coalesce(w.recorded, e.recorded)::text as recorded, e.created_by, e.user_id, e.source, e.\"timestamp\", e.created_at, e.correlation_id,
       e.command_id, e.causation_id, e.idempotency_key, coalesce(e.aggregate_version <= h.projected_version, false) as processed,
       (select r.revision from annals.catalog_revision r) as catalog_revision"
    };
}
/// `offset 0`: by the whole key, whatever the planner believes (see the entities' tail).
macro_rules! joined_head {
    () => {
        "left join lateral (
       select * from annals.heads h
        where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h on true"
    };
}

/// What is kept apart of an event that its stream's starter sees although others appended it, for callers who may read it. For all
/// other events nothing is looked up.
macro_rules! withheld_context {
    () => {
        "
  left join lateral (
       select w.metadata, w.recorded from annals.withheld_context w
        where w.event_number = e.event_number and e.starter_sees and e.started_by <> e.created_by offset 0) as w on true"
    };
}

/// What the module `user` calls the person who acted, where there is such a user and the caller may see it.
macro_rules! actor_name {
    () => {
        "\n, (select left(n.state ->> 'name', 200)
           from annals.entities n
          where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
            and e.created_by like 'user:%' and jsonb_typeof(n.state -> 'name') = 'string') as actor_name"
    };
}

const FIND_EVENT: &str = concat!(
    "-- find_event\nselect ",
    event_columns!(),
    actor_name!(),
    " from annals.events e ",
    joined_head!(),
    withheld_context!(),
    " where e.tenant_id = $2 and e.id = $1"
);

pub(super) const FIND_EVENT_BY_KEY: &str = concat!(
    "-- find_event_by_key\nselect ",
    event_columns!(),
    " from annals.events e ",
    joined_head!(),
    withheld_context!(),
    " where e.tenant_id = $1 and e.posted_by = $2 and e.idempotency_key = $3"
);

const FIND_EVENTS: &str = concat!(
    "-- find_events\nselect ",
    event_columns!(),
    " from unnest($1::uuid[]) with ordinality as i (id, place)
  join annals.events e on e.tenant_id = $2 and e.id = i.id ",
    joined_head!(),
    withheld_context!(),
    " order by i.place"
);

pub(super) use {actor_name, event_columns, joined_head, withheld_context};

/// Filters that are null fall away when the statement is planned, which happens anew at each call: no statement is prepared.
/// Types come as a list; each takes its page from the index by type, and the pages are merged, so that a rare type among
/// millions of events is found at once.
macro_rules! filters {
    () => {
        " e.tenant_id = $1
    and ($2::text is null or e.aggregate_type = $2)
    and ($3::text is null or e.aggregate_id = $3)
    and ($4::uuid is null or (e.created_by = 'user:' || $4 or (e.user_id = $4 and e.created_by not like 'user:%')))
    and ($5::text is null or e.created_by = $5)
    and ($6::text is null or e.correlation_id = $6)
    and ($7::uuid is null or e.causation_id = $7)
    and ($8::timestamptz is null or e.created_at >= $8)
    and ($9::timestamptz is null or e.created_at < $9)
    and ($10::boolean is null or coalesce(e.aggregate_version <= h.projected_version, false) = $10)
    and ($14::bigint is null or e.event_number >= $14)
    and ($15::bigint is null or e.event_number <= $15)
    and ($16::text is null or e.source = $16)
    and ($17::text is null or e.command_id = $17)"
    };
}

macro_rules! list_page {
    ($name:literal, $compare:literal, $direction:literal) => {
        concat!(
            "-- ",
            $name,
            cut_by_bytes!(["event_number", $direction], [];
                "\nselect e.*, h.projected_version as head_projected from annals.events e ",
                joined_head!(),
                " where",
                filters!(),
                " and ($11::bigint is null or e.event_number ",
                $compare,
                " $11) and $13::text[] is null
  order by e.event_number ",
                $direction,
                " limit $12")
        )
    };
}
macro_rules! list_page_of_types {
    ($name:literal, $compare:literal, $direction:literal) => {
        concat!(
            "-- ",
            $name,
            cut_by_bytes!(["event_number", $direction], [];
                "\nselect p.* from unnest($13::text[]) as t (event_type)
  cross join lateral (
       select e.*, h.projected_version as head_projected from annals.events e ",
                joined_head!(),
                " where e.event_type = t.event_type and",
                filters!(),
                " and ($11::bigint is null or e.event_number ",
                $compare,
                " $11)
  order by e.event_number ",
                $direction,
                " limit $12) as p
  order by p.event_number ",
                $direction,
                " limit $12")
        )
    };
}
const LIST_NEWEST: &str = list_page!("list_events_newest", "<", " desc");
const LIST_OLDEST: &str = list_page!("list_events_oldest", ">", " asc");
const LIST_NEWEST_OF_TYPES: &str = list_page_of_types!("list_events_of_types_newest", "<", " desc");
const LIST_OLDEST_OF_TYPES: &str = list_page_of_types!("list_events_of_types_oldest", ">", " asc");

/// What is not projected yet lies behind the sweep's checkpoint or in parked streams: everything else up to the checkpoint is
/// projected. So the search looks at those two and not at the log, whatever its size. Only for callers who see the tenant: others
/// do not see which streams are parked.
macro_rules! list_unprocessed {
    ($name:literal, $compare:literal, $direction:literal) => {
        concat!(
            "-- ",
            $name,
            cut_by_bytes!(["event_number", $direction], [
                ", exists (select from annals.parked_streams s
        where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id and not s.retrying) as is_parked"];
                "\nselect e.*, h.projected_version as head_projected from (
    select e.* from annals.events e
     where e.tenant_id = $1 and e.event_number > (select position from annals.checkpoints where name = 'sweep')
    union all
    select e.* from annals.parked_streams p
     cross join lateral (
           select * from annals.events e
            where e.tenant_id = p.tenant_id and e.aggregate_type = p.aggregate_type and e.aggregate_id = p.aggregate_id
              and e.aggregate_version >= p.aggregate_version offset 0) as e
     where p.tenant_id = $1 and e.event_number <= (select position from annals.checkpoints where name = 'sweep')) as e ",
                joined_head!(),
                " where",
                filters!(),
                " and ($11::bigint is null or e.event_number ",
                $compare,
                " $11) and ($13::text[] is null or e.event_type = any ($13))
  order by e.event_number ",
                $direction,
                " limit $12")
        )
    };
}
const LIST_NEWEST_UNPROCESSED: &str = list_unprocessed!("list_unprocessed_newest", "<", " desc");
const LIST_OLDEST_UNPROCESSED: &str = list_unprocessed!("list_unprocessed_oldest", ">", " asc");

const COUNT_ENTITY: &str = "-- count_entity_events
select count(*) as events from annals.events e
 where e.tenant_id = $1 and e.aggregate_id = $2 and ($3::text is null or e.aggregate_type = $3)";

/// Which events a page holds; absent means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct EventFilter {
    /// One of these types; patterns are resolved before.
    pub event_types: Option<Vec<String>>,
    /// Of aggregates of this kind.
    pub aggregate_type: Option<String>,
    /// Of this aggregate.
    pub aggregate_id: Option<String>,
    /// Of this person.
    pub user_id: Option<Uuid>,
    /// Of this actor.
    pub created_by: Option<String>,
    /// Of this flow.
    pub correlation_id: Option<String>,
    /// Caused by this event.
    pub causation_id: Option<Uuid>,
    /// Recorded then or later.
    pub from: Option<Timestamp>,
    /// Recorded before then.
    pub to: Option<Timestamp>,
    /// Held by read models, or not.
    pub processed: Option<bool>,
    /// From this source.
    pub source: Option<String>,
    /// Answering this command.
    pub command_id: Option<String>,
}

/// Which data a read gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Lifted to the current version of their types; `recorded.migration_applied` and `metadata.migration_applied` say where that
    /// changed something.
    Current,
    /// As they were stored.
    AsStored,
}

/// Order of a page, by event number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Oldest first.
    Asc,
    /// Newest first.
    Desc,
}

impl EventFilter {
    /// Whether only events that are not projected are asked for, which the sweep keeps few.
    fn is_short(&self, caller: &Caller) -> bool {
        self.processed == Some(false) && caller.role().sees_tenant()
    }
}

/// Which part of a list a page is.
struct Stretch {
    order: Order,
    after: Option<i64>,
    up_to: Option<i64>,
    limit: i64,
}

impl Store {
    /// The event with this id, if the caller may see it.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_event(
        &self,
        caller: &Caller,
        id: EventId,
        reading: Reading,
    ) -> Result<Option<Event>, StoreError> {
        let rows = self
            .read(
                As::Caller(caller),
                FIND_EVENT,
                &[(id.as_uuid(), Type::UUID), (caller.tenant_uuid(), Type::UUID)],
            )
            .await?;
        Ok(self.events_from(caller, &rows, reading).await?.pop())
    }

    /// The event that the caller appended under this idempotency key.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_event_by_key(&self, caller: &Caller, key: &str) -> Result<Option<Event>, StoreError> {
        let actor = caller.actor().as_str();
        let params: [super::session::Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&actor, Type::TEXT),
            (&key, Type::TEXT),
        ];
        let rows = self.read(As::Caller(caller), FIND_EVENT_BY_KEY, &params).await?;
        rows.first().map(event_from).transpose()
    }

    /// The events with these ids, in their order; ids that the caller may not see are left out.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_events(&self, caller: &Caller, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
        let params: [super::session::Param<'_>; 2] = [(&ids, Type::UUID_ARRAY), (caller.tenant_uuid(), Type::UUID)];
        self.read(As::Caller(caller), FIND_EVENTS, &params)
            .await?
            .iter()
            .map(event_from)
            .collect()
    }

    /// Up to `limit` events that match, on from (and without) the event numbered `after`.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_events(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        order: Order,
        after: Option<i64>,
        limit: i64,
        reading: Reading,
    ) -> Result<Vec<Event>, StoreError> {
        let stretch = Stretch {
            order,
            after,
            up_to: None,
            limit,
        };
        self.list_stretch(caller, filter, stretch, reading).await
    }

    /// Up to `limit` events that match, oldest first, after the event numbered `after` and up to a number that was settled before
    /// this call: whoever goes on from that number misses nothing. The filter must have been worked out after the number was, since a
    /// type that is registered in between may have events below it; the range of numbers that a time comes to is found here.
    ///
    /// # Errors
    /// The database's.
    pub async fn list_settled(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        (after, settled_to): (i64, i64),
        limit: i64,
        reading: Reading,
    ) -> Result<Vec<Event>, StoreError> {
        let stretch = Stretch {
            order: Order::Asc,
            after: Some(after),
            up_to: Some(settled_to),
            limit,
        };
        self.list_stretch(caller, filter, stretch, reading).await
    }

    async fn list_stretch(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        stretch: Stretch,
        reading: Reading,
    ) -> Result<Vec<Event>, StoreError> {
        let Stretch {
            order, after, limit, ..
        } = stretch;
        let sql = match (order, filter.event_types.is_some()) {
            (Order::Desc, _) if filter.is_short(caller) => LIST_NEWEST_UNPROCESSED,
            (Order::Asc, _) if filter.is_short(caller) => LIST_OLDEST_UNPROCESSED,
            (Order::Desc, false) => LIST_NEWEST,
            (Order::Asc, false) => LIST_OLDEST,
            (Order::Desc, true) => LIST_NEWEST_OF_TYPES,
            (Order::Asc, true) => LIST_OLDEST_OF_TYPES,
        };
        let range = self.find_number_range(caller, filter).await?;
        let last = [range.last, stretch.up_to].into_iter().flatten().min();
        let from = filter.from.map(|t| t.as_datetime());
        let to = filter.to.map(|t| t.as_datetime());
        let rows = self
            .read(
                As::Caller(caller),
                sql,
                &[
                    (caller.tenant_uuid(), Type::UUID),
                    (&filter.aggregate_type, Type::TEXT),
                    (&filter.aggregate_id, Type::TEXT),
                    (&filter.user_id, Type::UUID),
                    (&filter.created_by, Type::TEXT),
                    (&filter.correlation_id, Type::TEXT),
                    (&filter.causation_id, Type::UUID),
                    (&from, Type::TIMESTAMPTZ),
                    (&to, Type::TIMESTAMPTZ),
                    (&filter.processed, Type::BOOL),
                    (&after, Type::INT8),
                    (&limit, Type::INT8),
                    (&filter.event_types, Type::TEXT_ARRAY),
                    (&range.first, Type::INT8),
                    (&last, Type::INT8),
                    (&filter.source, Type::TEXT),
                    (&filter.command_id, Type::TEXT),
                ],
            )
            .await?;
        let mut events = self.events_from(caller, &rows, reading).await?;
        if filter.is_short(caller) {
            for (event, row) in events.iter_mut().zip(&rows) {
                event.parked = row.try_get("is_parked")?;
            }
        }
        Ok(events)
    }

    /// How many events the caller may see of an entity, whatever its kind unless one is given.
    ///
    /// # Errors
    /// The database's.
    pub async fn count_entity_events(
        &self,
        caller: &Caller,
        aggregate_id: &str,
        aggregate_type: Option<&str>,
    ) -> Result<i64, StoreError> {
        let params: [super::session::Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_id, Type::TEXT),
            (&aggregate_type, Type::TEXT),
        ];
        let rows = self.read(As::Caller(caller), COUNT_ENTITY, &params).await?;
        let row = rows
            .first()
            .ok_or_else(|| StoreError::Unexpected("no count".to_owned()))?;
        Ok(row.try_get("events")?)
    }
}

impl Store {
    async fn events_from(&self, caller: &Caller, rows: &[Row], reading: Reading) -> Result<Vec<Event>, StoreError> {
        let mut events: Vec<Event> = rows.iter().map(named_event_from).collect::<Result<_, _>>()?;
        if let (Some(row), Some(last)) = (rows.last(), events.last_mut()) {
            last.ends_read = is_full(row)?;
        }
        let (Reading::Current, Some(row)) = (reading, rows.first()) else {
            return Ok(events);
        };
        let catalog = self.outline_since(caller, row.try_get("catalog_revision")?).await?;
        let usage = lift(&catalog, events.iter_mut());
        self.tally(caller.tenant_id(), usage).await;
        Ok(events)
    }
}

/// Lifts events of older versions, and tells how many. One that nothing lifts stays as it is stored: that the catalog was
/// tampered with must not hide what happened.
pub(super) fn lift<'a>(catalog: &Catalog, events: impl Iterator<Item = &'a mut Event>) -> Usage {
    let mut usage = Usage::default();
    for event in events {
        let Some(kind) = catalog.find(event.tenant_id, &event.event_type) else {
            continue;
        };
        match event.lift(kind) {
            Ok(lifted) => usage.upcasts += i64::from(lifted),
            Err(error) => {
                tracing::warn!(event.id = %event.id, %error, "event not lifted");
                usage.upcasts_failed += 1;
            }
        }
    }
    usage
}

pub(super) fn event_from(row: &Row) -> Result<Event, StoreError> {
    let created_by: String = row.try_get("created_by")?;
    let recorded = raw(row.try_get("recorded")?)?;
    Ok(Event {
        id: EventId::from(row.try_get::<_, Uuid>("id")?),
        event_number: row.try_get("event_number")?,
        tenant_id: TenantId::from(row.try_get::<_, Uuid>("tenant_id")?),
        event_type: row.try_get("event_type")?,
        aggregate_type: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        aggregate_version: row.try_get("aggregate_version")?,
        version: row.try_get("version")?,
        data: raw(row.try_get("data")?)?,
        metadata: raw(row.try_get("metadata")?)?,
        created_by_name: naming::of_event(&created_by, &recorded),
        recorded,
        created_by,
        user_id: row.try_get("user_id")?,
        source: row.try_get("source")?,
        timestamp: Timestamp::from(row.try_get::<_, chrono::DateTime<chrono::Utc>>("timestamp")?),
        created_at: Timestamp::from(row.try_get::<_, chrono::DateTime<chrono::Utc>>("created_at")?),
        correlation_id: row.try_get("correlation_id")?,
        command_id: row.try_get("command_id")?,
        causation_id: row.try_get("causation_id")?,
        idempotency_key: row.try_get("idempotency_key")?,
        processed: row.try_get("processed")?,
        parked: false,
        not_lifted: None,
        ends_read: false,
    })
}

/// The same with the name of a person who acted, as read models have it.
pub(super) fn named_event_from(row: &Row) -> Result<Event, StoreError> {
    let mut event = event_from(row)?;
    let known: Option<String> = row.try_get("actor_name")?;
    event.created_by_name = known.or(event.created_by_name);
    Ok(event)
}

fn raw(text: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON in the log: {e}")))
}
