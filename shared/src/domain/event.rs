//! Events: as a client asks for one ([`NewEvent`]) and as the log holds it ([`Event`]).

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::actor::Actor;
use super::catalog::{EventKind, UpcastError};
use super::ids::{AggregateId, AggregateType, EventId, EventType, SchemaVersion, StreamId, TenantId, Text, TextFault};
use super::time::Timestamp;
use super::weight::{shortened, text_bytes};

/// Most bytes of `data` as JSON text.
pub const MAX_DATA_BYTES: usize = 256 * 1024;
/// Most bytes of `metadata` as JSON text.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Most events in one atomic batch.
pub const MAX_BATCH: usize = 500;

/// What is wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldFault {
    /// JSON pointer to the field.
    pub pointer: String,
    /// Stable code.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

/// Most characters of a pointer, and of what is said of it: both may repeat what a caller has sent.
const MAX_POINTER: usize = 200;
const MAX_DETAIL: usize = 400;

/// Unknown fields of an event that are named.
const MAX_UNKNOWN: usize = 20;

impl FieldFault {
    /// A fault at a JSON pointer. What is very long is cut.
    pub fn new(pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            pointer: shortened(&pointer.into(), MAX_POINTER),
            code,
            detail: shortened(&detail.into(), MAX_DETAIL),
        }
    }
}

/// An event that somebody wants appended. What the server decides (tenant, versions, numbers, recorded time) is not here.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Made before the append, so that a lost acknowledgement can be settled.
    pub id: EventId,
    /// What happened.
    pub event_type: EventType,
    /// Kind of the aggregate.
    pub aggregate_type: AggregateType,
    /// The aggregate.
    pub aggregate_id: AggregateId,
    /// Version of the schema that data follows; none: the catalog's current one.
    pub version: Option<SchemaVersion>,
    /// The fact.
    pub data: Map<String, Value>,
    /// Context, as the client gave it.
    pub metadata: Map<String, Value>,
    /// Who acted; none: the token's actor.
    pub created_by: Option<Actor>,
    /// The person; none: the token's.
    pub user_id: Option<Uuid>,
    /// Where it came from; none: `api`.
    pub source: Option<Text<100>>,
    /// When it happened; none: when it is recorded.
    pub timestamp: Option<Timestamp>,
    /// Groups the events of one flow.
    pub correlation_id: Option<Text<128>>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// The command that it answers.
    pub command_id: Option<Text<128>>,
    /// Makes a retry return the original.
    pub idempotency_key: Option<Text<255>>,
    /// Version that the stream must be at; 0: it must not exist.
    pub expected_version: Option<i32>,
    /// Which part of Annals appends it by itself; none: it is a client's.
    pub part: Option<Part>,
}

/// Parts of Annals that append events of their own. They have looked at the stream themselves, so the catalog's `requires` is not
/// asked of them; and the types that a part alone may append are closed to everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Decisions about parked events.
    Processing,
    /// What becomes of large uploads.
    Import,
    /// Compensations.
    Compensation,
    /// The compensation of a deletion: its data are the entity's state, which the type's schema for new entities may not describe.
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
    /// An event with nothing but what every event needs; for events that Annals itself posts.
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

    /// The stream that it goes to.
    pub fn stream(&self, tenant_id: TenantId) -> StreamId {
        StreamId {
            tenant_id,
            aggregate_type: self.aggregate_type.clone(),
            aggregate_id: self.aggregate_id.clone(),
        }
    }

    /// Parts that are larger than an event may have, as pointers below `at`. Checked for every event.
    pub fn size_faults(&self, at: &str) -> Vec<FieldFault> {
        [
            ("data", "data_too_large", &self.data, MAX_DATA_BYTES),
            ("metadata", "metadata_too_large", &self.metadata, MAX_METADATA_BYTES),
        ]
        .into_iter()
        .filter_map(|(name, code, members, most)| {
            let bytes = text_bytes(members);
            let detail = || format!("{name} has {bytes} bytes as JSON; an event may have {most}");
            (bytes > most).then(|| FieldFault::new(format!("{at}/{name}"), code, detail()))
        })
        .collect()
    }

    /// Reads an event from a request's JSON, together with the tenant it claims, if it claims one.
    ///
    /// # Errors
    /// Every fault of every field, pointers below `at` (`""`, or `/events/3`).
    pub fn from_json(json: Value, at: &str) -> Result<(Self, Option<TenantId>), Vec<FieldFault>> {
        let Value::Object(members) = json else {
            return Err(vec![FieldFault::new(at, "wrong_type", "an event is a JSON object")]);
        };
        let mut fields = Fields {
            members,
            at,
            faults: Vec::new(),
        };
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
            id: EventId::generate(),
            event_type,
            aggregate_type,
            aggregate_id,
            version,
            data,
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
            part: None,
        };
        Ok((event, tenant_id))
    }
}

/// Takes typed fields out of a JSON object and remembers what was wrong. `null` counts as absent.
struct Fields<'a> {
    members: Map<String, Value>,
    at: &'a str,
    faults: Vec<FieldFault>,
}

impl Fields<'_> {
    fn fault(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        self.faults
            .push(FieldFault::new(format!("{}/{name}", self.at), code, detail));
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn string(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(name, "wrong_type", "must be a string");
                None
            }
        }
    }

    fn text<T: TryFrom<String, Error = TextFault>>(&mut self, name: &str) -> Option<T> {
        let text = self.string(name)?;
        T::try_from(text)
            .map_err(|fault| self.fault(name, fault.code(), fault.to_string()))
            .ok()
    }

    fn required_text<T: TryFrom<String, Error = TextFault>>(&mut self, name: &str) -> Option<T> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.fault(name, "required", "is required");
        }
        self.text(name)
    }

    /// The field or, where it is absent, `metadata.correlation_id`, so that `?correlation_id=` finds the event either way. Metadata
    /// itself stays as it was sent. Two different ones are refused: neither is known to be the right one.
    fn correlation_id(&mut self, metadata: Option<&Map<String, Value>>) -> Option<Text<128>> {
        let field = self.text("correlation_id");
        let noted = match metadata.and_then(|metadata| metadata.get("correlation_id")) {
            None | Some(Value::Null) => return field,
            Some(Value::String(text)) => Text::try_from(text.clone()),
            Some(_) => {
                self.fault("metadata/correlation_id", "wrong_type", "must be a string");
                return None;
            }
        };
        match (field, noted) {
            (Some(field), Ok(noted)) if field != noted => {
                self.fault(
                    "metadata/correlation_id",
                    "correlation_id_differs",
                    "differs from correlation_id; give one of them, or the same twice",
                );
                None
            }
            (_, Ok(noted)) => Some(noted),
            (_, Err(fault)) => {
                self.fault("metadata/correlation_id", "invalid_value", fault.to_string());
                None
            }
        }
    }

    fn uuid(&mut self, name: &str) -> Option<Uuid> {
        let text = self.string(name)?;
        Uuid::try_parse(&text)
            .map_err(|_| self.fault(name, "invalid_value", "must be a uuid"))
            .ok()
    }

    fn timestamp(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.string(name)?;
        Timestamp::parse(&text)
            .map_err(|fault| self.fault(name, "invalid_value", fault.to_string()))
            .ok()
    }

    fn whole_number(&mut self, name: &str) -> Option<i32> {
        let value = self.take(name)?;
        let number = value
            .as_i64()
            .and_then(|n| i32::try_from(n).ok())
            .filter(|n| (0..i32::MAX).contains(n));
        if number.is_none() {
            self.fault(name, "invalid_value", "must be a whole number from 0 to 2147483646");
        }
        number
    }

    fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(members) => Some(members),
            _ => {
                self.fault(name, "wrong_type", "must be an object");
                None
            }
        }
    }

    fn required_object(&mut self, name: &str) -> Option<Map<String, Value>> {
        if self.members.get(name).is_none_or(Value::is_null) {
            self.fault(name, "required", "is required");
        }
        self.object(name)
    }

    fn finish(mut self) -> Vec<FieldFault> {
        for name in std::mem::take(&mut self.members).keys().take(MAX_UNKNOWN) {
            self.fault(
                &name.replace('~', "~0").replace('/', "~1"),
                "unknown_field",
                "is not a field of an event",
            );
        }
        self.faults
    }
}

/// An event as the log holds it and as the API answers with it.
#[derive(Debug, Serialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Position over all streams.
    pub event_number: i64,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// What happened.
    pub event_type: String,
    /// Kind of the aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// Position in its stream.
    pub aggregate_version: i32,
    /// Version of the schema that data follows.
    pub version: String,
    /// The fact.
    pub data: Box<RawValue>,
    /// Context, in the client's words; of a lifted event also `migration_applied`.
    pub metadata: Box<RawValue>,
    /// What the server observed: who posted it from where, and in answers whether it was lifted.
    pub recorded: Box<RawValue>,
    /// Who acted.
    pub created_by: String,
    /// What who acted is called, for people to read; only where it is known, and only where the log is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by_name: Option<String>,
    /// The person.
    pub user_id: Option<Uuid>,
    /// Where it came from.
    pub source: String,
    /// Business time.
    pub timestamp: Timestamp,
    /// Recorded time.
    pub created_at: Timestamp,
    /// Groups the events of one flow.
    pub correlation_id: Option<String>,
    /// The command that it answers.
    pub command_id: Option<String>,
    /// The event that caused it.
    pub causation_id: Option<Uuid>,
    /// The client's key.
    pub idempotency_key: Option<String>,
    /// Whether read models hold it.
    pub processed: bool,
    /// Whether it waits in a parked stream; only in lists of unprocessed events.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
    /// Why data are as they are stored, though the type has a later version: `lifted_too_large`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_lifted: Option<&'static str>,
    /// Whether the page that it was read with ends with it because there is as much data in it as a page may have.
    #[serde(skip)]
    pub ends_read: bool,
}

/// See [`Event::not_lifted`]; a fold says the same of such an event.
const LIFTED_TOO_LARGE: &str = "lifted_too_large";

/// An event that cannot be lifted; it is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum LiftError {
    /// Nothing leads to the current version, or lifted data would be too large.
    #[error(transparent)]
    Upcast(#[from] UpcastError),
    /// What the log holds is no object.
    #[error("the log holds JSON that is no object")]
    Json(#[from] serde_json::Error),
}

impl Event {
    /// Lifts data to the current version of the event's type and returns whether that changed anything. If so,
    /// `recorded.migration_applied` says from where, `1.0_to_2.0`, and so does `metadata.migration_applied`, which the sources show. No
    /// caller can write either: `recorded` is the server's, and events with that member of metadata are refused when they are posted.
    /// Data that would be too large stay as they are stored, and `not_lifted` says so.
    ///
    /// # Errors
    /// [`LiftError`]: for sizes; otherwise only if the catalog was tampered with.
    pub fn lift(&mut self, kind: &EventKind) -> Result<bool, LiftError> {
        if self.version == kind.current_version.as_str() {
            return Ok(false);
        }
        let mut data: Map<String, Value> = serde_json::from_str(self.data.get())?;
        let applied = match kind.upcast(&self.version, &mut data) {
            Ok(Some(applied)) => applied,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.not_lifted = (error == UpcastError::TooLarge).then_some(LIFTED_TOO_LARGE);
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
    fn every_fault_is_named_at_once() {
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
    fn null_is_the_same_as_absent() {
        let event = json!({"event_type": "a.b", "aggregate_type": "a", "aggregate_id": "1", "data": {}, "user_id": null, "metadata": null});
        assert_eq!(faults(event), []);
    }
}
