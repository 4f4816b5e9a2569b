//! The columns of an event, and how a row with these columns becomes an event.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use super::reading::Reading;
use crate::log::pages::is_full;
use crate::{Store, StoreError, Usage};
use annals_domain::{Caller, Catalog, Event, EventId, TenantId, Timestamp, naming};

/// Columns of an event in the order of the response, in which [`event_from`] reads them; `annals.listed_event` begins with the same. Every
/// statement that uses them begins with them and selects from `annals.events e`, a head `h` and [`withheld_context!`] `w`.
macro_rules! event_columns {
    () => {
        "e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version,
       e.data::text, coalesce(w.metadata, e.metadata)::text as metadata, coalesce(w.recorded, e.recorded)::text as recorded, e.created_by, e.user_id, e.source, e.\"timestamp\", e.created_at, e.correlation_id,
       e.command_id, e.causation_id, e.idempotency_key, coalesce(e.aggregate_version <= h.projected_version, false) as processed,
       (select r.revision from annals.catalog_revision r) as catalog_revision"
    };
}
/// `offset 0` forces a lookup by the whole key, whatever the planner estimates (see `tail!` in `entities`).
macro_rules! joined_head {
    () => {
        "left join lateral (
       select * from annals.heads h
        where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h on true"
    };
}

/// Metadata and `recorded` of an event that the starter of its stream sees although another actor appended it. They are stored apart, and
/// returned to callers who may read them. For all other events nothing is looked up.
macro_rules! withheld_context {
    () => {
        "
  left join lateral (
       select w.metadata, w.recorded from annals.withheld_context w
        where w.event_number = e.event_number and e.starter_sees and e.started_by <> e.created_by offset 0) as w on true"
    };
}

/// Name of the user who acted, from the state of the aggregate type `user`; null if there is no such user or the caller may not see
/// it.
macro_rules! actor_name {
    () => {
        "\n, (select left(n.state ->> 'name', 200)
           from annals.entities n
          where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
            and e.created_by like 'user:%' and jsonb_typeof(n.state -> 'name') = 'string') as actor_name"
    };
}

pub(crate) use {actor_name, event_columns, joined_head, withheld_context};

impl Store {
    pub(super) async fn events_from(
        &self,
        caller: &Caller,
        rows: &[Row],
        reading: Reading,
    ) -> Result<Vec<Event>, StoreError> {
        let mut events: Vec<Event> = rows.iter().map(named_event_from).collect::<Result<_, _>>()?;
        if let (Some(row), Some(last)) = (rows.last(), events.last_mut()) {
            last.ends_read = is_full(row)?;
        }
        let (Reading::Current, Some(row)) = (reading, rows.first()) else {
            return Ok(events);
        };
        let catalog = self.outline_since(caller, row.try_get("catalog_revision")?).await?;
        let usage = upcast(&catalog, events.iter_mut());
        self.tally(caller.tenant_id(), usage).await;
        Ok(events)
    }
}

/// Upcasts events of older versions and counts them. An event without a path to the current version stays as stored: even if the
/// catalog was damaged, the event must be visible.
pub(crate) fn upcast<'a>(catalog: &Catalog, events: impl Iterator<Item = &'a mut Event>) -> Usage {
    let mut usage = Usage::default();
    for event in events {
        let Some(kind) = catalog.find(event.tenant_id, &event.event_type) else {
            continue;
        };
        match event.upcast(kind) {
            Ok(was_upcast) => usage.upcasts += i64::from(was_upcast),
            Err(error) => {
                tracing::warn!(event.id = %event.id, %error, "event not upcast");
                usage.upcasts_failed += 1;
            }
        }
    }
    usage
}

/// The event in a row that begins with [`event_columns!`]. They are read by position: looking 21 names up in each row takes longer than
/// reading the values.
pub(crate) fn event_from(row: &Row) -> Result<Event, StoreError> {
    let mut columns = Columns { row, next: 0 };
    let mut event = Event {
        id: EventId::from(columns.read::<Uuid>()?),
        event_number: columns.read()?,
        tenant_id: TenantId::from(columns.read::<Uuid>()?),
        event_type: columns.read()?,
        aggregate_type: columns.read()?,
        aggregate_id: columns.read()?,
        aggregate_version: columns.read()?,
        version: columns.read()?,
        data: raw(columns.read()?)?,
        metadata: raw(columns.read()?)?,
        recorded: raw(columns.read()?)?,
        created_by: columns.read()?,
        user_id: columns.read()?,
        source: columns.read()?,
        timestamp: Timestamp::from(columns.read::<DateTime<Utc>>()?),
        created_at: Timestamp::from(columns.read::<DateTime<Utc>>()?),
        correlation_id: columns.read()?,
        command_id: columns.read()?,
        causation_id: columns.read()?,
        idempotency_key: columns.read()?,
        processed: columns.read()?,
        created_by_name: None,
        parked: false,
        not_lifted: None,
        ends_read: false,
    };
    event.created_by_name = naming::of_event(&event.created_by, &event.recorded);
    Ok(event)
}

/// Reads the columns of a row in their order.
struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    fn read<T: FromSql<'a>>(&mut self) -> Result<T, StoreError> {
        let place = self.next;
        self.next += 1;
        Ok(self.row.try_get(place)?)
    }
}

/// An event with the name of the user who acted, if read models have one.
pub(crate) fn named_event_from(row: &Row) -> Result<Event, StoreError> {
    let mut event = event_from(row)?;
    let known: Option<String> = row.try_get("actor_name")?;
    event.created_by_name = known.or(event.created_by_name);
    Ok(event)
}

fn raw(text: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(text).map_err(|e| StoreError::Unexpected(format!("unreadable JSON in the log: {e}")))
}
