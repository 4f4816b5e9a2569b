//! An event type with its versions, and upcasting data from one version to the current one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::actor::Role;
use crate::effect::{Effect, Inverse};
use crate::ids::{AggregateType, EventType, SchemaVersion, TenantId};
use crate::schema::EventSchema;
use crate::semver;
use crate::time::Timestamp;
use crate::upcast::{MAX_UPCAST_BYTES, Upcaster};
use crate::weight::text_bytes;

/// An event type with all its versions.
#[derive(Debug)]
pub struct EventKind {
    /// Tenant that registered it. `None`: it is built in.
    pub tenant_id: Option<TenantId>,
    /// Name of the type, e.g. `order.placed`.
    pub event_type: EventType,
    /// Type of the aggregates whose streams hold such events.
    pub aggregate_type: AggregateType,
    /// Version of the schema that applies to an event which names none.
    pub current_version: SchemaVersion,
    /// One human-readable sentence.
    pub description: String,
    /// What such an event does to the state.
    pub effect: Effect,
    /// Roles that may post it.
    pub posters: Vec<Role>,
    /// What the stream must be like before the event. `None`: anything.
    pub requires: Option<Requires>,
    /// Whether the starter of a stream sees events of this type that others append to it.
    pub starter_sees: bool,
    /// Whether only Annals itself appends it.
    pub closed: bool,
    /// Fields of the data by which its events can be found.
    pub indexed: BTreeSet<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Schema and example of each version. Empty in an outline.
    pub versions: BTreeMap<String, Arc<EventSchema>>,
    /// Upcasters by the version that they start from.
    pub upcasters: BTreeMap<String, Upcaster>,
    /// How its events are compensated. `None`: they cannot be.
    pub inverse: Option<Inverse>,
}

/// What an event's stream must be like before the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Requires {
    /// The stream has no events.
    New,
    /// The stream has at least one event.
    Existing,
}

impl Requires {
    /// The name in the catalog: `new` or `existing`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Existing => "existing",
        }
    }

    /// The requirement with that name in the catalog.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::New, Self::Existing].into_iter().find(|one| one.as_str() == name)
    }
}

/// No chain of upcasters leads from the data's version to the current one. Registrations that would cause this are refused, so
/// the catalog was changed manually.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no upcasters lead from version {version} of {event_type} to its current version")]
pub struct MissingUpcaster {
    /// Type of the event.
    pub event_type: EventType,
    /// Version of the schema that the data follow.
    pub version: String,
}

/// Why data cannot be upcast.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpcastError {
    /// No chain of upcasters leads to the current version.
    #[error(transparent)]
    MissingUpcaster(#[from] MissingUpcaster),
    /// The upcast data would be larger than [`MAX_UPCAST_BYTES`].
    #[error("upcast, the data would be larger than {MAX_UPCAST_BYTES} bytes of JSON")]
    TooLarge,
}

/// Estimated bytes of memory that a type takes without its texts. Each of its versions takes as much.
const KIND: usize = 2 * 1024;
/// A parsed value takes at most this many times the memory of its text.
const PARSED: usize = 24;

impl EventKind {
    /// Estimated bytes of memory that it takes, without its compiled schemas.
    pub(super) fn footprint(&self) -> usize {
        let versions: usize = self.versions.values().map(|version| KIND + version.text_bytes()).sum();
        let parsed: usize = self.upcasters.values().map(Upcaster::text_bytes).sum::<usize>()
            + text_bytes(&self.effect)
            + text_bytes(&self.inverse);
        KIND + self.description.len() + versions + PARSED * parsed
    }

    /// Schema and example of the current version.
    pub fn current(&self) -> Option<&EventSchema> {
        self.versions.get(self.current_version.as_str()).map(Arc::as_ref)
    }

    /// Upcasts data to the current version. Returns what was applied, e.g. `1.0_to_2.0`, or `None` if the data already are what the current
    /// version describes.
    ///
    /// # Errors
    /// [`UpcastError::MissingUpcaster`]: the data are then unchanged. [`UpcastError::TooLarge`]: the data are then half upcast
    /// and must not be used.
    pub fn upcast(&self, version: &str, data: &mut Map<String, Value>) -> Result<Option<String>, UpcastError> {
        let path = self.upcast_path(version)?;
        if path.iter().all(|upcaster| upcaster.is_identity()) {
            return Ok(None);
        }
        for upcaster in path.iter().filter(|upcaster| !upcaster.is_identity()) {
            upcaster.apply(data);
            if text_bytes(data) > MAX_UPCAST_BYTES {
                return Err(UpcastError::TooLarge);
            }
        }
        Ok(Some(format!("{version}_to_{}", self.current_version)))
    }

    /// The upcasters that lead from a version to the current one. Data of a later version are read as they are: a module may
    /// bring a later version of a type that a tenant has registered itself.
    fn upcast_path(&self, version: &str) -> Result<Vec<&Upcaster>, MissingUpcaster> {
        let (mut path, mut reached) = (Vec::new(), version);
        if semver::is_later(version, self.current_version.as_str()) {
            return Ok(path);
        }
        while reached != self.current_version.as_str() {
            // Upcasters lead only to later versions, so a chain cannot be longer than the number of upcasters.
            match self
                .upcasters
                .get(reached)
                .filter(|_| path.len() < self.upcasters.len())
            {
                Some(next) => {
                    path.push(next);
                    reached = &next.to_version;
                }
                None => {
                    return Err(MissingUpcaster {
                        event_type: self.event_type.clone(),
                        version: version.to_owned(),
                    });
                }
            }
        }
        Ok(path)
    }

    /// Adds the versions, upcasters and indexed fields that `from` has and this type lacks.
    pub(super) fn inherit(&mut self, from: &Self) {
        for (version, schema) in &from.versions {
            let own = self.versions.entry(version.clone());
            own.or_insert_with(|| Arc::clone(schema));
        }
        for (version, upcaster) in &from.upcasters {
            let own = self.upcasters.entry(version.clone());
            own.or_insert_with(|| upcaster.clone());
        }
        self.indexed.extend(from.indexed.iter().cloned());
    }

    /// Whether events of the type can be found by this field of their data: a version of the type describes it as a string, a number or a
    /// boolean.
    pub fn is_indexable(&self, field: &str) -> bool {
        self.versions
            .values()
            .any(|version| has_scalar_field(&version.schema(), field))
    }

    /// The type as JSON, as the API returns it.
    pub fn to_json(&self) -> Value {
        let versions: Vec<Value> = self
            .versions
            .iter()
            .map(|(version, data)| json!({"version": version, "schema": data.schema(), "example": data.example()}))
            .collect();
        let current = self.current();
        json!({
            "event_type": self.event_type,
            "aggregate_type": self.aggregate_type,
            "description": self.description,
            "version": self.current_version,
            "schema": current.map(EventSchema::schema),
            "example": current.map(EventSchema::example),
            "effect": self.effect,
            "posters": self.posters,
            "requires": self.requires,
            "starter_sees": self.starter_sees,
            "closed": self.closed,
            "indexed": self.indexed,
            "upcasters": self.upcasters.values().collect::<Vec<_>>(),
            "inverse": self.inverse,
            "built_in": self.tenant_id.is_none(),
            "created_at": self.created_at,
            "versions": versions,
        })
    }
}

/// Whether a schema of data describes a top-level field as a string, a number or a boolean; it may also be null.
pub fn has_scalar_field(schema: &Value, field: &str) -> bool {
    let described = &schema["properties"][field];
    let is_scalar = |name: &Value| matches!(name.as_str(), Some("string" | "integer" | "number" | "boolean"));
    match (&described["type"], &described["enum"]) {
        (Value::Array(types), _) => types.iter().any(is_scalar) && types.iter().all(|t| is_scalar(t) || *t == "null"),
        (Value::Null, Value::Array(values)) => values.iter().all(|value| !value.is_array() && !value.is_object()),
        (one, _) => is_scalar(one),
    }
}
