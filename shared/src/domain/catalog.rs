//! The catalog as a function holds it: every event type that a tenant may use, its schemas parsed and compiled when first needed.

use std::collections::{BTreeMap, HashMap};
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
use super::upcast::{MAX_LIFTED_BYTES, Upcaster};
use super::weight::text_bytes;

/// An event type with all its versions.
#[derive(Debug)]
pub struct EventKind {
    /// Tenant that registered it; none: built in.
    pub tenant_id: Option<TenantId>,
    /// Its name.
    pub event_type: EventType,
    /// Whose streams hold it.
    pub aggregate_type: AggregateType,
    /// The version of an event that names none.
    pub current_version: SchemaVersion,
    /// One sentence for people.
    pub description: String,
    /// What it does to state.
    pub effect: Effect,
    /// Roles that may post it.
    pub posters: Vec<Role>,
    /// What must be there before it.
    pub requires: Option<Requires>,
    /// Whether who started a stream sees events of this type that others append to it.
    pub starter_sees: bool,
    /// Whether Annals alone appends it.
    pub closed: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Schema and example of each version; empty in an outline.
    pub versions: BTreeMap<String, Arc<EventSchema>>,
    /// What lifts data of old versions, by the version that it lifts.
    pub upcasters: BTreeMap<String, Upcaster>,
    /// How its events are compensated; none: they cannot be.
    pub inverse: Option<Inverse>,
}

/// What an event's stream must be like before the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Requires {
    /// It has no events.
    New,
    /// It has some.
    Existing,
}

impl Requires {
    /// The word for it in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Existing => "existing",
        }
    }

    /// What that word stands for.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::New, Self::Existing].into_iter().find(|one| one.as_str() == name)
    }
}

/// Data that cannot be lifted: nothing leads from their version to the current one. Registrations that would cause it are
/// refused, so this says that the catalog was tampered with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version {version} of {event_type} cannot be read as its current version: no upcaster leads there")]
pub struct NoWay {
    /// The type.
    pub event_type: EventType,
    /// The version that the data follow.
    pub version: String,
}

/// A stored event, as a fold meets it.
#[derive(Debug, Clone, Copy)]
pub struct StoredFact<'a> {
    /// What happened.
    pub event_type: &'a str,
    /// Version of the schema that the data follow.
    pub schema_version: &'a str,
    /// Its place in the stream.
    pub version: i32,
    /// Its recorded time.
    pub created_at: Timestamp,
    /// Its data as they are stored.
    pub data: &'a Map<String, Value>,
    /// Whether staff decided to leave it out.
    pub skipped: bool,
}

/// An event that cannot be folded, because of what the catalog lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The type.
    #[error("the log holds events of type {0}, which the catalog does not know: register the type again")]
    UnknownType(String),
    /// A way to the current version.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// Room: data that have become too large as they were lifted.
    #[error("lifted to the current version, the data have over {MAX_LIFTED_BYTES} bytes of JSON")]
    LiftedTooLarge,
    /// Room: the state after it.
    #[error("the state would have over {MAX_STATE_BYTES} bytes of JSON")]
    StateTooLarge,
}

impl FoldError {
    /// Stable code: of a parked stream, and of an answer that has to do without the event.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownType(_) | Self::NoWay(_) => "unfoldable_event",
            Self::LiftedTooLarge => "lifted_too_large",
            Self::StateTooLarge => "state_too_large",
        }
    }

    /// Whether the event is at fault, and not the catalog: its stream waits before it, and is read up to there.
    pub fn is_about_size(&self) -> bool {
        matches!(self, Self::LiftedTooLarge | Self::StateTooLarge)
    }
}

impl From<UpcastError> for FoldError {
    fn from(error: UpcastError) -> Self {
        match error {
            UpcastError::NoWay(error) => Self::NoWay(error),
            UpcastError::TooLarge => Self::LiftedTooLarge,
        }
    }
}

/// Why data are not lifted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpcastError {
    /// Nothing leads to the current version.
    #[error(transparent)]
    NoWay(#[from] NoWay),
    /// Lifted, they would be too large.
    #[error("lifted, the data have over {MAX_LIFTED_BYTES} bytes of JSON")]
    TooLarge,
}

/// Bytes of memory, estimated, that a type takes beside what it says, and so does each of its versions.
const KIND: usize = 2 * 1024;
/// How many times as much as its text a parsed value takes at worst.
const PARSED: usize = 24;

impl EventKind {
    /// Bytes of memory that it takes, estimated; its compiled schemas not included.
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

    /// Lifts data to the current version. The answer tells what was applied, `1.0_to_2.0`; none where data already are what the
    /// current version says.
    ///
    /// # Errors
    /// That nothing leads there; data are then as they were. That data become larger than [`MAX_LIFTED_BYTES`] on the way; what is
    /// left of them is then of no use.
    pub fn upcast(&self, version: &str, data: &mut Map<String, Value>) -> Result<Option<String>, UpcastError> {
        let way = self.way_from(version)?;
        if way.iter().all(|upcaster| upcaster.is_identity()) {
            return Ok(None);
        }
        for upcaster in way.iter().filter(|upcaster| !upcaster.is_identity()) {
            upcaster.apply(data);
            if text_bytes(data) > MAX_LIFTED_BYTES {
                return Err(UpcastError::TooLarge);
            }
        }
        Ok(Some(format!("{version}_to_{}", self.current_version)))
    }

    /// The upcasters that lead from a version to the current one. A later version than that, which a module may have brought beside
    /// a tenant's own, is read as it is.
    fn way_from(&self, version: &str) -> Result<Vec<&Upcaster>, NoWay> {
        let (mut way, mut reached) = (Vec::new(), version);
        if semver::is_later(version, self.current_version.as_str()) {
            return Ok(way);
        }
        while reached != self.current_version.as_str() {
            // Upcasters lead to later versions only, so a way that is longer than there are upcasters is none.
            match self.upcasters.get(reached).filter(|_| way.len() < self.upcasters.len()) {
                Some(next) => {
                    way.push(next);
                    reached = &next.to_version;
                }
                None => {
                    return Err(NoWay {
                        event_type: self.event_type.clone(),
                        version: version.to_owned(),
                    });
                }
            }
        }
        Ok(way)
    }

    /// Takes over what another has and this one lacks.
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

    /// The type as the API answers with it.
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

/// All event types that were registered when `revision` was current.
#[derive(Debug, Default)]
pub struct Catalog {
    revision: i64,
    is_outline: bool,
    kinds: HashMap<String, Vec<Arc<EventKind>>>,
    own_footprint: usize,
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

    /// A catalog of these types, which were read without their schemas.
    pub fn outline(revision: i64, all: impl IntoIterator<Item = EventKind>) -> Self {
        Self {
            is_outline: true,
            ..Self::new(revision, all)
        }
    }

    /// The same with more types. Those of a name that is built in go on from what that has: a module may bring versions of a type
    /// after a tenant has made it its own.
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

    /// Bytes of memory, estimated, that the types of tenants take.
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

    /// The type as the tenant knows it: its own registration goes before the built-in one.
    pub fn find(&self, tenant_id: TenantId, event_type: &str) -> Option<&Arc<EventKind>> {
        let same_name = self.kinds.get(event_type)?;
        let own = same_name.iter().find(|kind| kind.tenant_id == Some(tenant_id));
        own.or_else(|| same_name.iter().find(|kind| kind.tenant_id.is_none()))
    }

    /// Folds a stored event of the tenant into its entity, lifted to the current version of its type. An event that staff left
    /// out only moves the version.
    ///
    /// Architecture invariant: projector, reads, time travel, snapshots, rebuild and proof all fold through here.
    ///
    /// # Errors
    /// What the catalog lacks, or that the state would be too large; the entity is then as it was.
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

    /// Every type that the tenant knows, by name.
    pub fn list(&self, tenant_id: TenantId) -> Vec<&Arc<EventKind>> {
        let mut found: Vec<_> = self
            .kinds
            .keys()
            .filter_map(|name| self.find(tenant_id, name))
            .collect();
        found.sort_by(|a, b| a.event_type.cmp(&b.event_type));
        found
    }

    /// The types that a name or a pattern (`order.*`) stands for: those that the tenant knows, or, without one, those of all
    /// tenants. None for a name that nobody has registered.
    pub fn matching(&self, tenant_id: Option<TenantId>, asked: &str) -> Vec<&str> {
        let prefix = asked.strip_suffix('*').filter(|prefix| prefix.ends_with('.'));
        let known = self.kinds.keys().map(String::as_str);
        known
            .filter(|name| tenant_id.is_none_or(|tenant| self.find(tenant, name).is_some()))
            .filter(|name| prefix.map_or(*name == asked, |prefix| name.starts_with(prefix)))
            .collect()
    }

    /// Whether any type of the tenant belongs to such aggregates.
    pub fn knows_aggregate(&self, tenant_id: TenantId, aggregate_type: &str) -> bool {
        self.list(tenant_id)
            .iter()
            .any(|kind| kind.aggregate_type.as_str() == aggregate_type)
    }
}
