//! Events as columns: the SQL function that appends many events takes an array for each field.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::types::{Json, Type};
use uuid::Uuid;

use crate::connection::statement::Param;
use annals_domain::event::Part;
use annals_domain::{DatabaseClaims, NewEvent};

/// Each field of the events as a column.
pub(crate) struct Columns<'a> {
    ids: Vec<Uuid>,
    event_types: Vec<&'a str>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    versions: Vec<Option<&'a str>>,
    datas: Vec<Json<&'a Map<String, Value>>>,
    metadatas: Vec<Json<&'a Map<String, Value>>>,
    actors: Vec<Option<&'a str>>,
    user_ids: Vec<Option<Uuid>>,
    sources: Vec<Option<&'a str>>,
    happened_ats: Vec<Option<DateTime<Utc>>>,
    correlation_ids: Vec<Option<&'a str>>,
    causation_ids: Vec<Option<Uuid>>,
    command_ids: Vec<Option<&'a str>>,
    keys: Vec<Option<&'a str>>,
    expected_versions: Vec<Option<i32>>,
    parts: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(events: &'a [NewEvent]) -> Self {
        fn column<'a, T>(events: &'a [NewEvent], of: impl Fn(&'a NewEvent) -> T) -> Vec<T> {
            events.iter().map(of).collect()
        }
        Self {
            ids: column(events, |e| *e.id.as_uuid()),
            event_types: column(events, |e| e.event_type.as_str()),
            aggregate_types: column(events, |e| e.aggregate_type.as_str()),
            aggregate_ids: column(events, |e| e.aggregate_id.as_str()),
            versions: column(events, |e| e.version.as_ref().map(|v| v.as_str())),
            datas: column(events, |e| Json(&e.data)),
            metadatas: column(events, |e| Json(&e.metadata)),
            actors: column(events, |e| e.created_by.as_ref().map(|a| a.as_str())),
            user_ids: column(events, |e| e.user_id),
            sources: column(events, |e| e.source.as_ref().map(|s| s.as_str())),
            happened_ats: column(events, |e| e.timestamp.map(|t| t.as_datetime())),
            correlation_ids: column(events, |e| e.correlation_id.as_ref().map(|c| c.as_str())),
            causation_ids: column(events, |e| e.causation_id),
            command_ids: column(events, |e| e.command_id.as_ref().map(|c| c.as_str())),
            keys: column(events, |e| e.idempotency_key.as_ref().map(|k| k.as_str())),
            expected_versions: column(events, |e| e.expected_version),
            parts: column(events, |e| e.part.map(Part::as_str)),
        }
    }

    pub(crate) fn params<'b>(
        &'b self,
        claims: &'b Json<DatabaseClaims<'b>>,
        recorded: &'b Json<&'b Value>,
        revision: &'b Option<i64>,
    ) -> [Param<'b>; 20] {
        [
            (claims, Type::JSONB),
            (&self.ids, Type::UUID_ARRAY),
            (&self.event_types, Type::TEXT_ARRAY),
            (&self.aggregate_types, Type::TEXT_ARRAY),
            (&self.aggregate_ids, Type::TEXT_ARRAY),
            (&self.versions, Type::TEXT_ARRAY),
            (&self.datas, Type::JSONB_ARRAY),
            (&self.metadatas, Type::JSONB_ARRAY),
            (recorded, Type::JSONB),
            (&self.actors, Type::TEXT_ARRAY),
            (&self.user_ids, Type::UUID_ARRAY),
            (&self.sources, Type::TEXT_ARRAY),
            (&self.happened_ats, Type::TIMESTAMPTZ_ARRAY),
            (&self.correlation_ids, Type::TEXT_ARRAY),
            (&self.causation_ids, Type::UUID_ARRAY),
            (&self.command_ids, Type::TEXT_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.expected_versions, Type::INT4_ARRAY),
            (&self.parts, Type::TEXT_ARRAY),
            (revision, Type::INT8),
        ]
    }
}
