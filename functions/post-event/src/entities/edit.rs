//! What an update or a delete does to the entity as it was read.

use annals_domain::{Effect, Entity, Fact, Timestamp};
use annals_http::{ApiError, Framing};
use annals_store::{AppendError, KeptOutcome, StoredEntity};
use serde_json::{Map, Value, json};

use super::change::Change;
use super::patch::Patch;
use super::refusals::{from_fields, state_too_large};
use super::{deleted, fields};

/// An edit of an entity that exists.
pub(super) enum Edit {
    /// Fields change.
    Update(Patch),
    /// The entity is marked as deleted.
    Delete,
}

/// What an edit leads to.
pub(super) enum Decision {
    /// An event with these data.
    Append(Map<String, Value>),
    /// No event: the entity is already as the request wants it.
    Nothing(KeptOutcome),
}

impl Edit {
    /// Decides.
    ///
    /// # Errors
    /// The refusal of the edit, or the database's errors.
    pub(super) async fn decide(&self, change: &Change, current: &StoredEntity) -> Result<Decision, ApiError> {
        let is_deleted = current.entity.deleted_at.is_some();
        match self {
            Self::Update(_) if is_deleted => Err(deleted::refusal(change, current).await?),
            Self::Update(patch) => update(change, patch, &current.entity).await,
            Self::Delete if is_deleted => Ok(Decision::Nothing(KeptOutcome::Deleted)),
            Self::Delete => Ok(Decision::Append(deletion(&current.entity))),
        }
    }

    /// The answer to an append that failed, with pointers into what the client sent.
    pub(super) fn refusal(&self, error: AppendError) -> ApiError {
        match self {
            Self::Update(_) => from_fields(error, "/changes"),
            Self::Delete => ApiError::from_append(error, Framing::Single),
        }
    }
}

async fn update(change: &Change, patch: &Patch, entity: &Entity) -> Result<Decision, ApiError> {
    fields::known(change, patch.fields()).await?;
    let changes = patch.changes(&entity.state);
    if changes.is_empty() {
        return Ok(Decision::Nothing(KeptOutcome::Unchanged));
    }
    let data = change.verb.data_of(&change.by, changes).await?;
    refuse_too_large(entity, &data)?;
    Ok(Decision::Append(data))
}

fn deletion(entity: &Entity) -> Map<String, Value> {
    let mut data = Map::new();
    if let Some(Value::String(name)) = entity.state.get("name") {
        data.insert("name".to_owned(), json!(name));
    }
    data.insert("deleted_at".to_owned(), json!(Timestamp::now()));
    data
}

/// Refuses an update that would make the state too large. Posted as an event, it would be appended, and its stream would be parked.
fn refuse_too_large(entity: &Entity, data: &Map<String, Value>) -> Result<(), ApiError> {
    let fact = Fact {
        version: entity.version.saturating_add(1),
        created_at: Timestamp::now(),
        effect: &Effect::Changes,
        data,
    };
    entity.clone().try_apply(&fact).map_err(|_| state_too_large())
}
