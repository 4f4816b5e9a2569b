//! The catalog in memory: built-in event types and types of tenants. Schemas are parsed and compiled when they are first needed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::actor::Role;
use super::effect::{Effect, Inverse};
use super::fold::{Entity, Fact, MAX_STATE_BYTES, TooLarge};
use super::ids::{AggregateType, EventType, SchemaVersion, TenantId};
use super::schema::EventSchema;
use super::semver;
use super::time::Timestamp;
use super::upcast::{MAX_UPCAST_BYTES, Upcaster};
use super::weight::text_bytes;

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

/// A stored event, as the fold needs it.
#[derive(Debug, Clone, Copy)]
pub struct StoredFact<'a> {
    /// Type of the event.
    pub event_type: &'a str,
    /// Version of the schema that the data follow.
    pub schema_version: &'a str,
    /// Version in the stream.
    pub version: i32,
    /// Recorded time.
    pub created_at: Timestamp,
    /// Data as stored, not upcast.
    pub data: &'a Map<String, Value>,
    /// Whether staff excluded it from the state.
    pub skipped: bool,
}

/// Why an event cannot be folded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The catalog does not have the type.
    #[error("the log has events of type {0}, which is not in the catalog: register the type again")]
    UnknownType(String),
    /// The catalog has no upcasters that lead to the current version.
    #[error(transparent)]
    MissingUpcaster(#[from] MissingUpcaster),
    /// The data became larger than [`MAX_UPCAST_BYTES`] while they were upcast.
    #[error("upcast to the current version, the data would be larger than {MAX_UPCAST_BYTES} bytes of JSON")]
    UpcastTooLarge,
    /// The state after the event would be larger than [`MAX_STATE_BYTES`].
    #[error("the state would be larger than {MAX_STATE_BYTES} bytes of JSON")]
    StateTooLarge,
}

impl FoldError {
    /// Stable code. A parked stream has it, and so has an answer that leaves the event out.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownType(_) | Self::MissingUpcaster(_) => "unfoldable_event",
            Self::UpcastTooLarge => "lifted_too_large",
            Self::StateTooLarge => "state_too_large",
        }
    }

    /// Whether the data or the state would be too large. The stream can then be read up to the event. All other errors are faults of the
    /// catalog.
    pub fn is_about_size(&self) -> bool {
        matches!(self, Self::UpcastTooLarge | Self::StateTooLarge)
    }
}

impl From<UpcastError> for FoldError {
    fn from(error: UpcastError) -> Self {
        match error {
            UpcastError::MissingUpcaster(error) => Self::MissingUpcaster(error),
            UpcastError::TooLarge => Self::UpcastTooLarge,
        }
    }
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
    fn footprint(&self) -> usize {
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

    /// Adds the versions and upcasters that `from` has and this type lacks.
    fn inherit(&mut self, from: &Self) {
        for (version, schema) in &from.versions {
            let own = self.versions.entry(version.clone());
            own.or_insert_with(|| Arc::clone(schema));
        }
        for (version, upcaster) in &from.upcasters {
            let own = self.upcasters.entry(version.clone());
            own.or_insert_with(|| upcaster.clone());
        }
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
            "upcasters": self.upcasters.values().collect::<Vec<_>>(),
            "inverse": self.inverse,
            "built_in": self.tenant_id.is_none(),
            "created_at": self.created_at,
            "versions": versions,
        })
    }
}

/// Event types as they were at catalog revision `revision`.
#[derive(Debug, Default)]
pub struct Catalog {
    revision: i64,
    is_outline: bool,
    kinds: HashMap<String, Vec<Arc<EventKind>>>,
    own_footprint: usize,
}

/// What names and patterns of event types resolve to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedTypes {
    /// Names of the types that match.
    pub types: Vec<String>,
    /// The names and patterns that match no type.
    pub unmatched: Vec<String>,
}

impl Catalog {
    /// A catalog of these types.
    pub fn new(revision: i64, all: impl IntoIterator<Item = EventKind>) -> Self {
        let (built_in, own): (Vec<_>, Vec<_>) = all.into_iter().partition(|kind| kind.tenant_id.is_none());
        let nothing = Self {
            revision,
            ..Self::default()
        };
        nothing.with(built_in).with(own)
    }

    /// A catalog of these types, which were read without their schemas and examples.
    pub fn outline(revision: i64, all: impl IntoIterator<Item = EventKind>) -> Self {
        Self {
            is_outline: true,
            ..Self::new(revision, all)
        }
    }

    /// The same catalog with more types. A tenant's type with the name of a built-in type inherits the versions that it lacks: a
    /// module may bring new versions after a tenant has registered the type itself.
    pub fn with(&self, more: impl IntoIterator<Item = EventKind>) -> Self {
        let (mut kinds, mut own_footprint) = (self.kinds.clone(), self.own_footprint);
        for mut kind in more {
            if kind.tenant_id.is_some() {
                own_footprint += kind.footprint();
            }
            let same_name = kinds.entry(kind.event_type.as_str().to_owned()).or_default();
            if let Some(built_in) = same_name.iter().find(|known| known.tenant_id.is_none()) {
                kind.inherit(built_in);
            }
            same_name.push(Arc::new(kind));
        }
        Self {
            kinds,
            own_footprint,
            ..*self
        }
    }

    /// Estimated bytes of memory that the types of tenants take.
    pub fn own_footprint(&self) -> usize {
        self.own_footprint
    }

    /// Whether schemas and examples were left out.
    pub fn is_outline(&self) -> bool {
        self.is_outline
    }

    /// The database's count of catalog changes when this was read.
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The type as the tenant sees it. The tenant's own registration takes precedence over the built-in type.
    pub fn find(&self, tenant_id: TenantId, event_type: &str) -> Option<&Arc<EventKind>> {
        let same_name = self.kinds.get(event_type)?;
        let own = same_name.iter().find(|kind| kind.tenant_id == Some(tenant_id));
        own.or_else(|| same_name.iter().find(|kind| kind.tenant_id.is_none()))
    }

    /// Folds a stored event of the tenant into its entity, upcast to the current version of its type. An event that staff
    /// excluded only changes the version.
    ///
    /// Architecture invariant: the projector, reads, time travel, snapshots, rebuild and verification all fold through this
    /// function.
    ///
    /// # Errors
    /// [`FoldError`]. The entity is then unchanged.
    pub fn fold(&self, tenant_id: TenantId, entity: &mut Entity, event: &StoredFact<'_>) -> Result<(), FoldError> {
        if event.skipped {
            entity.skip(event.version);
            return Ok(());
        }
        let kind = self
            .find(tenant_id, event.event_type)
            .ok_or_else(|| FoldError::UnknownType(event.event_type.to_owned()))?;
        let mut fact = Fact {
            version: event.version,
            created_at: event.created_at,
            effect: &kind.effect,
            data: event.data,
        };
        if event.schema_version == kind.current_version.as_str() {
            return entity.try_apply(&fact).map_err(|TooLarge| FoldError::StateTooLarge);
        }
        let mut data = event.data.clone();
        kind.upcast(event.schema_version, &mut data)?;
        fact.data = &data;
        entity.try_apply(&fact).map_err(|TooLarge| FoldError::StateTooLarge)
    }

    /// Every type that the tenant sees, sorted by name.
    pub fn list(&self, tenant_id: TenantId) -> Vec<&Arc<EventKind>> {
        let mut found: Vec<_> = self
            .kinds
            .keys()
            .filter_map(|name| self.find(tenant_id, name))
            .collect();
        found.sort_by(|a, b| a.event_type.cmp(&b.event_type));
        found
    }

    /// The event types that names and patterns (`order.*`) match, each once, in the order of their names. `tenant_id` limits them to
    /// the types that this tenant knows.
    pub fn resolve(&self, tenant_id: Option<TenantId>, asked: &[String]) -> ResolvedTypes {
        let (mut types, mut unmatched) = (BTreeSet::new(), Vec::new());
        for asked in asked {
            let found = self.matching(tenant_id, asked);
            if found.is_empty() {
                unmatched.push(asked.clone());
            }
            types.extend(found.into_iter().map(str::to_owned));
        }
        ResolvedTypes {
            types: types.into_iter().collect(),
            unmatched,
        }
    }

    fn matching(&self, tenant_id: Option<TenantId>, asked: &str) -> Vec<&str> {
        let prefix = asked.strip_suffix('*').filter(|prefix| prefix.ends_with('.'));
        let known = self.kinds.keys().map(String::as_str);
        known
            .filter(|name| tenant_id.is_none_or(|tenant| self.find(tenant, name).is_some()))
            .filter(|name| prefix.map_or(*name == asked, |prefix| name.starts_with(prefix)))
            .collect()
    }

    /// Whether the tenant has any event type for this aggregate type.
    pub fn knows_aggregate(&self, tenant_id: TenantId, aggregate_type: &str) -> bool {
        self.list(tenant_id)
            .iter()
            .any(|kind| kind.aggregate_type.as_str() == aggregate_type)
    }
}
