//! Filtered pages of events, by event number.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::columns::{actor_name, event_columns, joined_head, withheld_context};
use super::reading::Reading;
use crate::connection::statement::As;
use crate::log::pages::{cut_by_bytes, page_bytes};
use crate::{Store, StoreError};
use annals_domain::{Caller, Event, Timestamp};

/// Filters that are null are removed when the statement is planned. It is planned at each call, because no statement is prepared. A
/// list of types has a statement of its own: each type takes its page from the index by type, and the pages are merged, so a rare type
/// among millions of events is found immediately.
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

/// Events that are not projected yet come after the sweep's checkpoint or belong to parked streams; all others up to the checkpoint
/// are projected. The statement reads those two sources and not the log, whatever its size. Only for callers who see the tenant:
/// others do not see which streams are parked.
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

/// Which events a list returns. An absent field does not filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct EventFilter {
    /// Event types, without wildcards: patterns are resolved before.
    pub event_types: Option<Vec<String>>,
    /// Aggregate type.
    pub aggregate_type: Option<String>,
    /// Aggregate id.
    pub aggregate_id: Option<String>,
    /// The person who acted, or for whom a service acted.
    pub user_id: Option<Uuid>,
    /// Actor.
    pub created_by: Option<String>,
    /// Correlation id.
    pub correlation_id: Option<String>,
    /// Id of the causing event.
    pub causation_id: Option<Uuid>,
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
    /// Whether the read models hold the event.
    pub processed: Option<bool>,
    /// Source, e.g. `api`.
    pub source: Option<String>,
    /// Id of the command that the event answers.
    pub command_id: Option<String>,
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
    /// Whether the list is one of unprocessed events, which the sweep keeps short.
    fn is_short(&self, caller: &Caller) -> bool {
        self.processed == Some(false) && caller.role().sees_tenant()
    }

    fn statement(&self, caller: &Caller, order: Order) -> &'static str {
        match (order, self.is_short(caller), self.event_types.is_some()) {
            (Order::Desc, true, _) => LIST_NEWEST_UNPROCESSED,
            (Order::Asc, true, _) => LIST_OLDEST_UNPROCESSED,
            (Order::Desc, false, false) => LIST_NEWEST,
            (Order::Asc, false, false) => LIST_OLDEST,
            (Order::Desc, false, true) => LIST_NEWEST_OF_TYPES,
            (Order::Asc, false, true) => LIST_OLDEST_OF_TYPES,
        }
    }
}

/// The part of a list that a page covers.
struct Stretch {
    order: Order,
    after: Option<i64>,
    up_to: Option<i64>,
    limit: i64,
}

impl Store {
    /// Up to `limit` events that match the filter, after the event with the number `after`.
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

    /// Up to `limit` events that match the filter, oldest first: those after the number `after`, up to a high-water mark that was
    /// taken before this call. A reader that continues from the high-water mark misses nothing. The filter must be resolved after the
    /// high-water mark was taken, because a type that is registered in between may have events below it. The range of numbers for
    /// `from` and `to` is determined here.
    pub async fn list_up_to_mark(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        (after, high_water_mark): (i64, i64),
        limit: i64,
        reading: Reading,
    ) -> Result<Vec<Event>, StoreError> {
        let stretch = Stretch {
            order: Order::Asc,
            after: Some(after),
            up_to: Some(high_water_mark),
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
        let Stretch { after, limit, .. } = stretch;
        let range = self.find_number_range(caller, filter).await?;
        let last = [range.last, stretch.up_to].into_iter().flatten().min();
        let from = filter.from.map(|t| t.as_datetime());
        let to = filter.to.map(|t| t.as_datetime());
        let rows = self
            .read(
                As::Caller(caller),
                filter.statement(caller, stretch.order),
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
}
