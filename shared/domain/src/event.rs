//! Events: as a client requests one ([`NewEvent`]) and as the log holds it ([`Event`]).

mod fields;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use self::fields::Fields;
use super::actor::Actor;
use super::catalog::{EventKind, UpcastError};
use super::ids::{AggregateId, AggregateType, EventId, EventType, SchemaVersion, StreamId, TenantId, Text};
use super::time::Timestamp;
use super::weight::text_bytes;

pub use super::fault::FieldFault;
pub use super::weight::MAX_DATA_BYTES;

/// Maximum bytes of `metadata` as JSON text.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Maximum number of events in one atomic batch.
pub const MAX_BATCH: usize = 500;

/// What is wrong with one of several events that were sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFault {
    /// Index of the event among those that were sent, from 0.
    pub member: usize,
    /// Code of the whole problem if this is its first fault, such as `schema_violation`. The code of `fault` may be more precise.
    pub code: &'static str,
    /// The field, with a pointer inside the event (`/data/email`), and what is wrong with it.
    pub fault: FieldFault,
}

/// The `source` of an event that was sent without one.
pub const DEFAULT_SOURCE: &str = "api";

/// An event to be appended. What the server decides (tenant, version, number, recorded time) is not here.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Chosen before the append. If the answer of the append is lost, the event is looked up by this id.
    pub id: EventId,
    /// Type of the event.
    pub event_type: EventType,
    /// Type of the aggregate.
    pub aggregate_type: AggregateType,
    /// Id of the aggregate.
    pub aggregate_id: AggregateId,
    /// Version of the schema that the data follow. `None`: the catalog's current one.
    pub version: Option<SchemaVersion>,
    /// The facts that the event records: a JSON object that follows the schema.
    pub data: Map<String, Value>,
    /// Context, as the client sent it.
    pub metadata: Map<String, Value>,
    /// Actor. `None`: the token's.
    pub created_by: Option<Actor>,
    /// The person who acted. `None`: the token's.
    pub user_id: Option<Uuid>,
    /// Where it came from. `None`: `api`.
    pub source: Option<Text<100>>,
    /// Business time: when it happened. `None`: the recorded time.
    pub timestamp: Option<Timestamp>,
    /// Groups the events of one flow.
    pub correlation_id: Option<Text<128>>,
    /// Id of the event that caused it.
    pub causation_id: Option<Uuid>,
    /// Id of the command that led to it.
    pub command_id: Option<Text<128>>,
    /// A retry with the same key returns the original event.
    pub idempotency_key: Option<Text<255>>,
    /// Version that the stream must have before the append. 0: the stream must not exist. `None`: any.
    pub expected_version: Option<i32>,
    /// The part of Annals that appends it. `None`: a client does.
    pub part: Option<Part>,
}

/// Parts of Annals that append events of their own. They check the stream themselves, so the catalog's `requires` is not applied
/// to them. A type that names such a part in `appended_by` can be appended only by that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Decisions about parked events.
    Processing,
    /// Results of large uploads.
    Import,
    /// Compensations.
    Compensation,
    /// The compensation of a deletion. Its data are the entity's state, which the type's schema for new entities may not accept.
    Restoration,
}

impl Part {
    /// Its name in the catalog's `appended_by`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Import => "import",
            Self::Compensation | Self::Restoration => "compensation",
        }
    }
}

impl NewEvent {
    /// An event with only the fields that every event needs, for events that Annals itself posts.
    pub fn plain(
        event_type: EventType,
        aggregate_type: AggregateType,
        aggregate_id: AggregateId,
        data: Map<String, Value>,
    ) -> Self {
        Self {
            id: EventId::generate(),
            event_type,
            aggregate_type,
            aggregate_id,
            version: None,
            data,
            metadata: Map::new(),
            created_by: None,
            user_id: None,
            source: None,
            timestamp: None,
            correlation_id: None,
            causation_id: None,
            command_id: None,
            idempotency_key: None,
            expected_version: None,
            part: None,
        }
    }

    /// The stream that it is appended to.
    pub fn stream(&self, tenant_id: TenantId) -> StreamId {
        StreamId {
            tenant_id,
            aggregate_type: self.aggregate_type.clone(),
            aggregate_id: self.aggregate_id.clone(),
        }
    }

    /// The faults of an event whose `data` or `metadata` are too large: over [`MAX_DATA_BYTES`] or [`MAX_METADATA_BYTES`] as JSON text.
    /// Pointers begin at the event (`/data`). Events that Annals makes itself are checked, too.
    pub fn size_faults(&self) -> Vec<FieldFault> {
        [
            ("data", "data_too_large", &self.data, MAX_DATA_BYTES),
            ("metadata", "metadata_too_large", &self.metadata, MAX_METADATA_BYTES),
        ]
        .into_iter()
        .filter_map(|(name, code, members, most)| {
            let bytes = text_bytes(members);
            let detail = || format!("{name} has {bytes} bytes as JSON; at most {most} are allowed");
            (bytes > most).then(|| FieldFault::new(format!("/{name}"), code, detail()))
        })
        .collect()
    }

    /// Reads an event from a request's JSON. Also returns the tenant that the JSON names, if it names one.
    ///
    /// # Errors
    /// Every fault of every field, with pointers below `at` (`""`, or `/events/3`).
    pub fn from_json(json: Value, at: &str) -> Result<(Self, Option<TenantId>), Vec<FieldFault>> {
        let Value::Object(members) = json else {
            return Err(vec![FieldFault::new(
                at,
                "wrong_type",
                "an event must be a JSON object",
            )]);
        };
        let mut fields = Fields::of(members, at);
        let event_type = fields.required_text("event_type");
        let aggregate_type = fields.required_text("aggregate_type");
        let aggregate_id = fields.required_text("aggregate_id");
        let data = fields.required_object("data");
        let metadata = fields.object("metadata");
        let version = fields.text("version");
        let created_by = fields.text("created_by");
        let user_id = fields.uuid("user_id");
        let tenant_id = fields.uuid("tenant_id").map(TenantId::from);
        let source = fields.text("source");
        let timestamp = fields.timestamp("timestamp");
        let correlation_id = fields.correlation_id(metadata.as_ref());
        let causation_id = fields.uuid("causation_id");
        let command_id = fields.text("command_id");
        let idempotency_key = fields.text("idempotency_key");
        let expected_version = fields.whole_number("expected_version");
        let faults = fields.finish();
        let (Some(event_type), Some(aggregate_type), Some(aggregate_id), Some(data), true) =
            (event_type, aggregate_type, aggregate_id, data, faults.is_empty())
        else {
            return Err(faults);
        };
        let event = Self {
            version,
            metadata: metadata.unwrap_or_default(),
            created_by,
            user_id,
            source,
            timestamp,
            correlation_id,
            causation_id,
            command_id,
            idempotency_key,
            expected_version,
            ..Self::plain(event_type, aggregate_type, aggregate_id, data)
        };
        Ok((event, tenant_id))
    }
}

/// An event as the log holds it and as the API returns it.
#[derive(Debug, Serialize)]
pub struct Event {
    /// Id of the event: a UUID v7.
    pub id: EventId,
    /// Position over all streams. Increasing, may have gaps.
    pub event_number: i64,
    /// Tenant that it belongs to.
    pub tenant_id: TenantId,
    /// Type of the event.
    pub event_type: String,
    /// Type of the aggregate.
    pub aggregate_type: String,
    /// Id of the aggregate.
    pub aggregate_id: String,
    /// Position in its stream: 1, 2, 3 … without gaps.
    pub aggregate_version: i32,
    /// Version of the schema that the data follow.
    pub version: String,
    /// The facts that the event records: a JSON object that follows the schema.
    pub data: Box<RawValue>,
    /// Context, as the client sent it. If the event was upcast, `migration_applied` is added.
    pub metadata: Box<RawValue>,
    /// What the server observed: who posted it and from where. In answers, `migration_applied` is added if the event was upcast.
    pub recorded: Box<RawValue>,
    /// Actor.
    pub created_by: String,
    /// Display name of the actor. Only if it is known, and only in answers that read the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by_name: Option<String>,
    /// The person who acted.
    pub user_id: Option<Uuid>,
    /// Where it came from.
    pub source: String,
    /// Business time.
    pub timestamp: Timestamp,
    /// Recorded time.
    pub created_at: Timestamp,
    /// Groups the events of one flow.
    pub correlation_id: Option<String>,
    /// Id of the command that led to it.
    pub command_id: Option<String>,
    /// Id of the event that caused it.
    pub causation_id: Option<Uuid>,
    /// Idempotency key of the client.
    pub idempotency_key: Option<String>,
    /// Whether read models include it.
    pub processed: bool,
    /// Whether it waits in a parked stream. Only in lists of unprocessed events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
    /// Why the data were not upcast although the type has a later version: `lifted_too_large`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_lifted: Option<&'static str>,
    /// Whether the page that it was read with was cut after it because of the page's size.
    #[serde(skip)]
    pub ends_read: bool,
}

/// Value of [`Event::not_lifted`] if the upcast data would be too large. `FoldError::code` is the same for such an event.
const UPCAST_TOO_LARGE: &str = "lifted_too_large";

/// Why an event cannot be upcast. The event is then unchanged.
#[derive(Debug, thiserror::Error)]
pub enum EventUpcastError {
    /// No chain of upcasters leads to the current version, or the upcast data would be too large.
    #[error(transparent)]
    Upcast(#[from] UpcastError),
    /// The log holds JSON that is not an object.
    #[error("the log holds JSON that is not an object")]
    Json(#[from] serde_json::Error),
}

impl Event {
    /// Upcasts data to the current version of the event's type. Returns whether that changed anything. If so,
    /// `recorded.migration_applied` and `metadata.migration_applied` name the versions, e.g. `1.0_to_2.0`. No caller can write
    /// either: only the server writes `recorded`, and events with that member in their metadata are refused. If the upcast data
    /// would be too large, data stay as stored and `not_lifted` is set.
    ///
    /// # Errors
    /// [`EventUpcastError`]: the data would be too large, or the catalog or the log was changed manually.
    pub fn upcast(&mut self, kind: &EventKind) -> Result<bool, EventUpcastError> {
        if self.version == kind.current_version.as_str() {
            return Ok(false);
        }
        let mut data: Map<String, Value> = serde_json::from_str(self.data.get())?;
        let applied = match kind.upcast(&self.version, &mut data) {
            Ok(Some(applied)) => applied,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.not_lifted = (error == UpcastError::TooLarge).then_some(UPCAST_TOO_LARGE);
                return Err(error.into());
            }
        };
        let applied = Value::String(applied);
        let metadata = with_member(&self.metadata, "migration_applied", applied.clone())?;
        let recorded = with_member(&self.recorded, "migration_applied", applied)?;
        self.data = serde_json::value::to_raw_value(&data)?;
        self.metadata = metadata;
        self.recorded = recorded;
        self.version = kind.current_version.as_str().to_owned();
        Ok(true)
    }
}

fn with_member(object: &RawValue, name: &str, value: Value) -> Result<Box<RawValue>, serde_json::Error> {
    let mut members: Map<String, Value> = serde_json::from_str(object.get())?;
    members.insert(name.to_owned(), value);
    serde_json::value::to_raw_value(&members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(json: Value) -> Vec<(String, &'static str)> {
        NewEvent::from_json(json, "")
            .map_or_else(|f| f.into_iter().map(|f| (f.pointer, f.code)).collect(), |_| Vec::new())
    }

    #[test]
    fn all_faults_are_reported_together() {
        let found = faults(
            json!({"event_type": "Sale", "aggregate_id": "", "data": [], "expected_version": -1, "version": 1, "colour": "red"}),
        );
        let expected = [
            ("/event_type", "invalid_value"),
            ("/aggregate_type", "required"),
            ("/aggregate_id", "invalid_value"),
            ("/data", "wrong_type"),
            ("/version", "wrong_type"),
            ("/expected_version", "invalid_value"),
            ("/colour", "unknown_field"),
        ];
        assert_eq!(found, expected.map(|(p, c)| (p.to_owned(), c)));
    }

    #[test]
    fn a_whole_number_may_be_written_with_a_point_or_an_exponent() {
        for (written, expected) in [
            ("7", Some(7)),
            ("7.0", Some(7)),
            ("70e-1", Some(7)),
            ("7.5", None),
            ("1e30", None),
            ("-1.0", None),
        ] {
            let number: Value = serde_json::from_str(written).expect("a number");
            let event = json!({"event_type": "a.b", "aggregate_type": "a", "aggregate_id": "1", "data": {}, "expected_version": number});
            let read = NewEvent::from_json(event, "")
                .ok()
                .and_then(|(event, _)| event.expected_version);
            assert_eq!(read, expected, "{written}");
        }
    }

    #[test]
    fn null_equals_absent() {
        let event = json!({"event_type": "a.b", "aggregate_type": "a", "aggregate_id": "1", "data": {}, "user_id": null, "metadata": null});
        assert_eq!(faults(event), []);
    }
}
