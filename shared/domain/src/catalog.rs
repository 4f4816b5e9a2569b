//! The catalog in memory: built-in event types and types of tenants. Schemas are parsed and compiled when they are first needed.

mod kind;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::kind::{EventKind, MissingUpcaster, Requires, UpcastError, has_scalar_field};
use super::diff::Changes;
use super::fold::{Entity, Fact, MAX_STATE_BYTES, TooLarge};
use super::ids::TenantId;
use super::time::Timestamp;
use super::upcast::MAX_UPCAST_BYTES;

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
        self.fold_by(tenant_id, entity, event, Entity::try_apply)
    }

    /// Folds as [`Self::fold`] does, and returns what the event changed in the state.
    ///
    /// # Errors
    /// As [`Self::fold`].
    pub fn fold_noting(
        &self,
        tenant_id: TenantId,
        entity: &mut Entity,
        event: &StoredFact<'_>,
    ) -> Result<Changes, FoldError> {
        self.fold_by(tenant_id, entity, event, Entity::try_apply_noting)
    }

    fn fold_by<T: Default>(
        &self,
        tenant_id: TenantId,
        entity: &mut Entity,
        event: &StoredFact<'_>,
        apply: impl Fn(&mut Entity, &Fact<'_>) -> Result<T, TooLarge>,
    ) -> Result<T, FoldError> {
        if event.skipped {
            entity.skip(event.version);
            return Ok(T::default());
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
            return apply(entity, &fact).map_err(|TooLarge| FoldError::StateTooLarge);
        }
        let mut data = event.data.clone();
        kind.upcast(event.schema_version, &mut data)?;
        fact.data = &data;
        apply(entity, &fact).map_err(|TooLarge| FoldError::StateTooLarge)
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
