//! Generic create, update and delete of entities of any aggregate type. They emit `{type}.created`, `.updated` and `.deleted`.
//!
//! A body is the entity's fields, with `id` if the client chooses it. What is said about the change (`reason`, `correlation_id`,
//! `causation_id`) comes as query parameters, so that it cannot be mistaken for fields. A DELETE has no fields, so its body may give the
//! reason.
//!
//! Every request goes the same way: read the request, read the entity, look the idempotency key up, decide, append at the version that
//! was read, answer. If another request was faster, all of it after the first step is repeated.

mod answers;
mod change;
mod change_context;
mod deleted;
mod digest;
mod edit;
mod fields;
mod keyed;
mod patch;
mod refusals;
mod verb;

use annals_domain::AggregateId;
use annals_domain::event::FieldFault;
use annals_http::{ApiError, JsonBody, PatchBody, required_versions};
use annals_store::KeptOutcome;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value};

use self::change::Change;
use self::change_context::ChangeContext;
pub(super) use self::digest::{digest_of, with_digest};
use self::edit::{Decision, Edit};
pub(super) use self::keyed::{kept_for_another, reused};
use self::patch::{Patch, fields_of};
pub(super) use self::refusals::{contended, is_conflict, state_too_large};
use self::refusals::{from_fields, is_key_reused, is_version_conflict};
use self::verb::Verb;
use crate::write_request::WriteRequest;

/// Maximum attempts at a change. If another request was faster, the change is decided again, unless `If-Match` excludes the new version.
pub(super) const TRIES: usize = 20;

/// `POST /entities/{type}`: creates an entity from the body's fields. 201; 200 for a retry.
pub async fn create(request: WriteRequest<String>, JsonBody(body): JsonBody) -> Result<Response, ApiError> {
    let context = ChangeContext::read(request.params, &request.headers)?;
    let verb = Verb::find(&request.by, request.path, "created").await?;
    let mut fields = fields_of(body)?;
    let id = match fields.remove("id") {
        None | Some(Value::Null) => context.new_id(&request.by.caller),
        Some(Value::String(id)) => id,
        Some(_) => return Err(refused_id("wrong_type", "must be a string".to_owned())),
    };
    let id = AggregateId::try_from(id).map_err(|e| refused_id(e.code(), e.to_string()))?;
    let body = || Value::Object(fields.clone());
    let change = Change::new(request.by, verb, id.as_str().to_owned(), context, body);
    append_creation(&change, id, fields).await
}

/// `PATCH /entities/{type}/{id}`: the body's fields replace the entity's, or are merged into them. The event holds the old and the new
/// value of each field that changes. If none changes, nothing is appended.
pub async fn update(request: WriteRequest<(String, String)>, body: PatchBody) -> Result<Response, ApiError> {
    let context = ChangeContext::read(request.params, &request.headers)?;
    let (aggregate_type, aggregate_id) = request.path;
    let verb = Verb::find(&request.by, aggregate_type, "updated").await?;
    let patch = Patch::read(body)?;
    let required = required_versions(&request.headers)?;
    let change = Change::new(request.by, verb, aggregate_id, context, || patch.body());
    append_edit(&change, &Edit::Update(patch), required.as_deref()).await
}

/// `DELETE /entities/{type}/{id}`: marks the entity as deleted; its state and its history stay. The body may give the reason:
/// `{"reason": "…"}`.
pub async fn delete(request: WriteRequest<(String, String)>, body: Option<JsonBody>) -> Result<Response, ApiError> {
    let context = ChangeContext::read(request.params, &request.headers)?.with_reason_in(body)?;
    let (aggregate_type, aggregate_id) = request.path;
    let verb = Verb::find(&request.by, aggregate_type, "deleted").await?;
    let required = required_versions(&request.headers)?;
    let change = Change::new(request.by, verb, aggregate_id, context, || Value::Null);
    append_edit(&change, &Edit::Delete, required.as_deref()).await
}

async fn append_creation(change: &Change, id: AggregateId, fields: Map<String, Value>) -> Result<Response, ApiError> {
    for _ in 0..TRIES {
        // Before the fields are checked: a retry is answered with its original, even if the schema has changed since.
        if let Some(earlier) = change.earlier().await? {
            return change.created(earlier.version(), true).await;
        }
        let mut fields = fields.clone();
        fields::known(change, &fields).await?.drop_nulls(&mut fields);
        match change.append(id.clone(), fields, 0).await {
            Ok(appended) => {
                return change
                    .created(Some(appended.aggregate_version), appended.replayed)
                    .await;
            }
            Err(error) if is_version_conflict(&error) => return Err(deleted::already_there(change).await?),
            // The key was used meanwhile: by the same request or by another one. The next look-up tells which.
            Err(error) if is_key_reused(&error) => {}
            Err(error) => return Err(from_fields(error, "")),
        }
    }
    Err(contended())
}

async fn append_edit(change: &Change, edit: &Edit, required: Option<&[i32]>) -> Result<Response, ApiError> {
    for _ in 0..TRIES {
        let found = change.find().await?;
        if let Some(earlier) = change.earlier().await? {
            return change.answer_again(earlier).await;
        }
        let current = change.present(found, required)?;
        match edit.decide(change, &current).await? {
            Decision::Append(data) => {
                let id = AggregateId::stored(current.aggregate_id.clone());
                match change.append(id, data, current.entity.version).await {
                    Ok(appended) => return change.changed(&appended).await,
                    Err(error) if is_conflict(&error) => {}
                    Err(error) => return Err(edit.refusal(error)),
                }
            }
            Decision::Nothing(outcome) => {
                if change.keep_key(&current, outcome).await? {
                    return match outcome {
                        KeptOutcome::Unchanged => change.answer(Some(current.entity.version), StatusCode::OK).await,
                        KeptOutcome::Deleted => Err(deleted::refusal(change, &current).await?),
                    };
                }
            }
        }
    }
    Err(contended())
}

fn refused_id(code: &'static str, detail: String) -> ApiError {
    ApiError::malformed(vec![FieldFault::new("/id", code, detail)])
}
