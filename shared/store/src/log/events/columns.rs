//! The columns of an event, and how a row with these columns becomes an event.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

use crate::StoreError;
use annals_domain::{Event, EventId, TenantId, Timestamp, naming};

/// Columns of an event in the order of the response, in which [`EventRow`] reads them; `annals.listed_event` begins with the same. Every
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

/// The columns of an event, borrowed from its row. A page is written from them directly: an [`Event`] would copy fifteen texts, and check
/// three that are known to be JSON.
pub(crate) struct EventRow<'a> {
    pub(crate) id: Uuid,
    pub(crate) event_number: i64,
    pub(crate) tenant_id: TenantId,
    pub(crate) event_type: &'a str,
    pub(crate) aggregate_type: &'a str,
    pub(crate) aggregate_id: &'a str,
    pub(crate) aggregate_version: i32,
    pub(crate) version: &'a str,
    pub(crate) data: &'a str,
    pub(crate) metadata: &'a str,
    pub(crate) recorded: &'a str,
    pub(crate) created_by: &'a str,
    pub(crate) created_by_name: Option<Cow<'a, str>>,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) source: &'a str,
    pub(crate) timestamp: Timestamp,
    pub(crate) created_at: Timestamp,
    pub(crate) correlation_id: Option<&'a str>,
    pub(crate) command_id: Option<&'a str>,
    pub(crate) causation_id: Option<Uuid>,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) processed: bool,
    pub(crate) parked: bool,
}

impl<'a> EventRow<'a> {
    /// The event in a row that begins with [`event_columns!`]. They are read by position: looking 21 names up in each row takes longer
    /// than reading the values.
    pub(crate) fn of(row: &'a Row) -> Result<Self, StoreError> {
        let event = Self::nameless(row)?;
        let created_by_name = naming::of_event(event.created_by, event.recorded);
        Ok(Self {
            created_by_name,
            ..event
        })
    }

    /// The same from a row that also has the column `actor_name`: the name of the user who acted, if read models have one.
    pub(crate) fn named(row: &'a Row) -> Result<Self, StoreError> {
        let event = Self::nameless(row)?;
        let known: Option<&str> = row.try_get("actor_name")?;
        let created_by_name = match known {
            Some(name) => Some(Cow::Borrowed(name)),
            None => naming::of_event(event.created_by, event.recorded),
        };
        Ok(Self {
            created_by_name,
            ..event
        })
    }

    fn nameless(row: &'a Row) -> Result<Self, StoreError> {
        let mut columns = Columns { row, next: 0 };
        Ok(Self {
            id: columns.read()?,
            event_number: columns.read()?,
            tenant_id: TenantId::from(columns.read::<Uuid>()?),
            event_type: columns.read()?,
            aggregate_type: columns.read()?,
            aggregate_id: columns.read()?,
            aggregate_version: columns.read()?,
            version: columns.read()?,
            data: columns.read()?,
            metadata: columns.read()?,
            recorded: columns.read()?,
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
        })
    }

    /// The event, with copies of all texts.
    pub(crate) fn to_event(&self) -> Result<Event, StoreError> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Ok(Event {
            id: EventId::from(self.id),
            event_number: self.event_number,
            tenant_id: self.tenant_id,
            event_type: self.event_type.to_owned(),
            aggregate_type: self.aggregate_type.to_owned(),
            aggregate_id: self.aggregate_id.to_owned(),
            aggregate_version: self.aggregate_version,
            version: self.version.to_owned(),
            data: raw(self.data)?,
            metadata: raw(self.metadata)?,
            recorded: raw(self.recorded)?,
            created_by: self.created_by.to_owned(),
            created_by_name: self.created_by_name.as_deref().map(str::to_owned),
            user_id: self.user_id,
            source: self.source.to_owned(),
            timestamp: self.timestamp,
            created_at: self.created_at,
            correlation_id: owned(self.correlation_id),
            command_id: owned(self.command_id),
            causation_id: self.causation_id,
            idempotency_key: owned(self.idempotency_key),
            processed: self.processed,
            parked: self.parked,
            not_lifted: None,
            ends_read: false,
        })
    }
}

/// The event in a row that begins with [`event_columns!`].
pub(crate) fn event_from(row: &Row) -> Result<Event, StoreError> {
    EventRow::of(row)?.to_event()
}

/// An event with the name of the user who acted, if read models have one.
pub(crate) fn named_event_from(row: &Row) -> Result<Event, StoreError> {
    EventRow::named(row)?.to_event()
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

fn raw(text: &str) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(text.to_owned())
        .map_err(|e| StoreError::Unexpected(format!("unreadable JSON in the log: {e}")))
}
