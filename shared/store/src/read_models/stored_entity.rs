//! An entity as it is read: the projected state and the events after it.

use annals_domain::fold::SizeBound;
use annals_domain::{Entity, FoldError, Timestamp};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::json_text::{json_text, parse_object};
use crate::StoreError;

/// An entity with the progress of its projection.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntity {
    /// Aggregate type.
    pub aggregate_type: String,
    /// Aggregate id.
    pub aggregate_id: String,
    /// Version up to which the read models hold it.
    pub projected_version: i32,
    /// Actor of its first event.
    pub started_by: String,
    /// The entity at the last version of its stream, or as far as it can be folded.
    pub entity: Entity,
    /// The event that could not be folded, if there is one.
    pub stopped: Option<Stopped>,
    /// Whether a list was cut after this entity because it was full.
    pub ends_read: bool,
}

/// An event that is too large to be folded. Its stream stops before it until staff decides to leave it out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stopped {
    /// Version of the event.
    pub version: i32,
    /// `state_too_large` or `lifted_too_large`.
    pub code: &'static str,
}

impl Stopped {
    /// Stops at this event if the error is about size. Other errors are faults of the catalog and are returned.
    pub(crate) fn by(version: i32, error: FoldError) -> Result<Self, FoldError> {
        match error.is_about_size() {
            true => Ok(Self {
                version,
                code: error.code(),
            }),
            false => Err(error),
        }
    }
}

/// An entity whose state is still text. Parsed, a state may take a hundred times the memory, so only one at a time is parsed.
#[derive(Debug, Clone)]
pub struct EntityText {
    version: i32,
    created_at: Timestamp,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
    state: String,
}

impl EntityText {
    /// The entity in a row with the columns `entity_version`, `entity_created_at`, `entity_updated_at`, `deleted_at` and `state`; `None` if
    /// the row has no entity.
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>, StoreError> {
        let Some(version) = row.try_get("entity_version")? else {
            return Ok(None);
        };
        let time = |column| row.try_get::<_, DateTime<Utc>>(column).map(Timestamp::from);
        let deleted_at: Option<DateTime<Utc>> = row.try_get("deleted_at")?;
        let state: Option<String> = row.try_get("state")?;
        Ok(Some(Self {
            version,
            created_at: time("entity_created_at")?,
            updated_at: time("entity_updated_at")?,
            deleted_at: deleted_at.map(Timestamp::from),
            state: state.ok_or_else(|| StoreError::Unexpected("a stream with a gap".to_owned()))?,
        }))
    }

    /// Version of the last event in the state.
    pub fn version(&self) -> i32 {
        self.version
    }

    /// Bytes of the state.
    pub(crate) fn bytes(&self) -> usize {
        self.state.len()
    }

    /// Parses the entity.
    ///
    /// # Errors
    /// The text is not a JSON object. The database does not hold such a text.
    pub fn entity(&self) -> Result<Entity, StoreError> {
        Ok(Entity {
            version: self.version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted_at: self.deleted_at,
            state: parse_object(&self.state)?,
            size: SizeBound::default(),
        })
    }
}

impl From<&Entity> for EntityText {
    fn from(entity: &Entity) -> Self {
        Self {
            version: entity.version,
            created_at: entity.created_at,
            updated_at: entity.updated_at,
            deleted_at: entity.deleted_at,
            state: json_text(&entity.state),
        }
    }
}

/// The parsed entity in a row with the columns of [`EntityText::from_row`].
pub(crate) fn entity_from(row: &Row) -> Result<Option<Entity>, StoreError> {
    EntityText::from_row(row)?.map(|text| text.entity()).transpose()
}
