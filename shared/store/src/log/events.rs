//! Reads events as a caller: one event, events by id or key, a filtered page, a count.
//!
//! Events of older schema versions are upcast to the current version when they are read, unless the stored data are asked for.

mod columns;
mod json_object;
mod lists;
mod reading;
mod upcasting;
mod written;

use tokio_postgres::types::Type;
use uuid::Uuid;

pub(crate) use self::columns::{EventRow, event_columns, event_from, joined_head, named_event_from, withheld_context};
pub use self::lists::{EventFilter, FieldFilter, Order, PageRange};
pub use self::reading::Reading;
pub(crate) use self::upcasting::upcast;
pub use self::written::WrittenEvent;
use crate::connection::statement::{As, Param};
use crate::{Store, StoreError};
use annals_domain::{Caller, Event, EventId};

pub(crate) const FIND_EVENT_BY_KEY: &str = concat!(
    "-- find_event_by_key\nselect ",
    event_columns!(),
    " from annals.events e ",
    joined_head!(),
    withheld_context!(),
    " where e.tenant_id = $1 and e.posted_by = $2 and e.idempotency_key = $3"
);

/// Not cut by bytes: they are one event, or those of one request.
const FIND_EVENTS: &str = "-- find_events
select * from annals.find_events(false, null, cardinality($1), 9223372036854775807, ids => $1)";

const COUNT_ENTITY: &str = "-- count_entity_events
select count(*) as events from annals.events e
 where e.tenant_id = $1 and e.aggregate_id = $2 and ($3::text is null or e.aggregate_type = $3)";

impl Store {
    /// The event with this id; `None` if it does not exist or the caller may not see it.
    pub async fn find_event(
        &self,
        caller: &Caller,
        id: EventId,
        reading: Reading,
    ) -> Result<Option<Event>, StoreError> {
        let ids = vec![*id.as_uuid()];
        let rows = self
            .read(As::Caller(caller), FIND_EVENTS, &[(&ids, Type::UUID_ARRAY)])
            .await?;
        let mut event = rows.first().map(named_event_from).transpose()?;
        if let (Reading::Current, Some(row)) = (reading, rows.first()) {
            let catalog = self.outline_since(caller, row.try_get("catalog_revision")?).await?;
            let usage = upcast(&catalog, event.iter_mut());
            self.tally(caller.tenant_id(), usage).await;
        }
        Ok(event)
    }

    /// The event that the caller appended with this idempotency key.
    pub async fn find_event_by_key(&self, caller: &Caller, key: &str) -> Result<Option<Event>, StoreError> {
        let actor = caller.actor().as_str();
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&actor, Type::TEXT),
            (&key, Type::TEXT),
        ];
        let rows = self.read(As::Caller(caller), FIND_EVENT_BY_KEY, &params).await?;
        rows.first().map(event_from).transpose()
    }

    /// The events with these ids, in the order of the ids. Ids that the caller may not see are left out.
    pub async fn find_events(&self, caller: &Caller, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let ids: Vec<Uuid> = ids.iter().map(|id| *id.as_uuid()).collect();
        let rows = self
            .read(As::Caller(caller), FIND_EVENTS, &[(&ids, Type::UUID_ARRAY)])
            .await?;
        rows.iter().map(event_from).collect()
    }

    /// How many events of an entity the caller may see, of all aggregate types unless one is given.
    pub async fn count_entity_events(
        &self,
        caller: &Caller,
        aggregate_id: &str,
        aggregate_type: Option<&str>,
    ) -> Result<i64, StoreError> {
        let params: [Param<'_>; 3] = [
            (caller.tenant_uuid(), Type::UUID),
            (&aggregate_id, Type::TEXT),
            (&aggregate_type, Type::TEXT),
        ];
        let row = self.read_row(As::Caller(caller), COUNT_ENTITY, &params).await?;
        Ok(row.try_get("events")?)
    }
}
