//! Filtered pages of events, by event number.

use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::columns::{EventRow, named_event_from};
use super::reading::Reading;
use super::written::WrittenEvent;
use crate::connection::statement::{As, Param};
use crate::log::pages::{MAX_BYTES, is_full};
use crate::{Store, StoreError};
use annals_domain::{Caller, Event, Timestamp, json};

/// A call of one of the list functions of the migration `event_pages`, which have the same parameters.
macro_rules! list_call {
    ($function:literal) => {
        concat!(
            "-- ",
            $function,
            "\nselect * from annals.",
            $function,
            "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
        )
    };
}

/// A call of one of the list functions of the migration `field_lists`, which have two parameters more: a field, and the values that it may
/// have. The name may have several parts.
macro_rules! field_list_call {
    ($($name:literal),+) => {
        concat!(
            "-- ",
            $($name),+,
            "\nselect * from annals.",
            $($name),+,
            "($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19::text[]::jsonb[])"
        )
    };
}

/// The calls of a list function that both migrations have.
macro_rules! list_calls {
    ($function:literal) => {
        Statements {
            plain: list_call!($function),
            by_field: field_list_call!($function, "_by_field"),
        }
    };
}

/// The same list without and with a field of the data as a filter.
struct Statements {
    plain: &'static str,
    by_field: &'static str,
}

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
    /// A field of the data. With it, `event_types` has the types to search in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<FieldFilter>,
}

/// A field of the data and the values, as JSON, of which it must have one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FieldFilter {
    /// Name of the field.
    pub name: String,
    values: Vec<String>,
}

impl FieldFilter {
    /// The filter that a text asks for: the field is this text, or the number or the boolean that the text writes.
    pub fn new(name: String, text: &str) -> Self {
        let mut values = vec![Value::from(text).to_string()];
        if !text.contains(char::is_whitespace)
            && let Ok(scalar @ (Value::Number(_) | Value::Bool(_))) = json::parse(text.as_bytes())
        {
            values.push(scalar.to_string());
        }
        Self { name, values }
    }
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

    /// The function for the filter with the fewest events. It checks the other filters, too.
    fn statement(&self, caller: &Caller) -> &'static str {
        match (self.narrow_statements(caller), &self.field) {
            (Some(lists), None) => lists.plain,
            (Some(lists), Some(_)) => lists.by_field,
            // A value usually has fewer events than an actor or a type.
            (None, Some(_)) => field_list_call!("list_events_of_field"),
            (None, None) => self.wide_statement(),
        }
    }

    /// The functions for a filter that has fewer events than the value of a field usually has.
    fn narrow_statements(&self, caller: &Caller) -> Option<Statements> {
        Some(if self.is_short(caller) {
            list_calls!("list_events_unprocessed")
        } else if self.aggregate_id.is_some() {
            list_calls!("list_events_of_id")
        } else if self.command_id.is_some() {
            list_calls!("list_events_of_command")
        } else if self.causation_id.is_some() {
            list_calls!("list_events_of_causation")
        } else if self.correlation_id.is_some() {
            list_calls!("list_events_of_correlation")
        } else if !caller.role().sees_tenant() {
            list_calls!("list_events_of_caller")
        } else {
            return None;
        })
    }

    fn wide_statement(&self) -> &'static str {
        if self.created_by.is_some() {
            list_call!("list_events_of_actor")
        } else if self.user_id.is_some() {
            list_call!("list_events_of_person")
        } else if self.event_types.is_some() {
            list_call!("list_events_of_types")
        } else if self.aggregate_type.is_some() {
            list_call!("list_events_of_aggregate_type")
        } else if self.source.as_deref().is_some_and(|source| source != "api") {
            list_call!("list_events_of_source")
        } else {
            list_call!("list_events")
        }
    }
}

/// The part of a list that a page covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRange {
    /// Order of the page.
    pub order: Order,
    /// Only events after the one with this number, in the page's order.
    pub after: Option<i64>,
    /// Only events up to this number: a high-water mark that was taken before. A reader that continues from the high-water mark misses
    /// nothing. The filter must be resolved after the high-water mark was taken, because a type that is registered in between may have
    /// events below it.
    pub up_to: Option<i64>,
    /// Maximum number of events.
    pub limit: i64,
}

impl Store {
    /// A page of events that match the filter, written as the items of an answer.
    pub async fn list_events(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        range: PageRange,
        reading: Reading,
    ) -> Result<Vec<WrittenEvent>, StoreError> {
        let rows = self.list_rows(caller, filter, range).await?;
        let marks_parked = filter.is_short(caller);
        self.written_from(caller, &rows, reading, |row| {
            let mut columns = EventRow::named(row)?;
            columns.parked = marks_parked && row.try_get("is_parked")?;
            Ok(columns)
        })
        .await
    }

    /// A page of events that match the filter, as they were stored.
    pub(crate) async fn list_stored_events(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        range: PageRange,
    ) -> Result<Vec<Event>, StoreError> {
        let rows = self.list_rows(caller, filter, range).await?;
        let mut events: Vec<Event> = rows.iter().map(named_event_from).collect::<Result<_, _>>()?;
        if let (Some(row), Some(last)) = (rows.last(), events.last_mut()) {
            last.ends_read = is_full(row)?;
        }
        Ok(events)
    }

    async fn list_rows(&self, caller: &Caller, filter: &EventFilter, range: PageRange) -> Result<Vec<Row>, StoreError> {
        let is_newest = range.order == Order::Desc;
        let (from, to) = (filter.from.map(|t| t.as_datetime()), filter.to.map(|t| t.as_datetime()));
        let mut params: Vec<Param<'_>> = vec![
            (&is_newest, Type::BOOL),
            (&range.after, Type::INT8),
            (&range.limit, Type::INT8),
            (&MAX_BYTES, Type::INT8),
            (&range.up_to, Type::INT8),
            (&from, Type::TIMESTAMPTZ),
            (&to, Type::TIMESTAMPTZ),
            (&filter.event_types, Type::TEXT_ARRAY),
            (&filter.aggregate_type, Type::TEXT),
            (&filter.aggregate_id, Type::TEXT),
            (&filter.user_id, Type::UUID),
            (&filter.created_by, Type::TEXT),
            (&filter.correlation_id, Type::TEXT),
            (&filter.causation_id, Type::UUID),
            (&filter.command_id, Type::TEXT),
            (&filter.source, Type::TEXT),
            (&filter.processed, Type::BOOL),
        ];
        if let Some(field) = &filter.field {
            params.extend::<[Param<'_>; 2]>([(&field.name, Type::TEXT), (&field.values, Type::TEXT_ARRAY)]);
        }
        self.read(As::Caller(caller), filter.statement(caller), &params).await
    }
}
