//! Generic create, update and delete: plain REST on any module, which emits `{type}.created`, `.updated` and `.deleted`.
//!
//! A body is the entity's fields, with `id` where the client chooses it. Why and how come along as query parameters (`reason`,
//! `correlation_id`, `causation_id`), so that they cannot be mistaken for fields. A DELETE has no fields, and may say its reason
//! in its body.

mod answers;
mod deleted;
mod fields;
mod keyed;
mod patch;
mod remarks;
mod verb;

use annals::App;
use annals::domain::event::FieldFault;
use annals::domain::{AggregateId, Caller, Effect, Entity, Fact, MAX_STATE_BYTES, NewEvent, Timestamp};
use annals::http::{
    ApiError, Authenticated, JsonBody, Params, PatchBody, Path, Problem, RequestContext, required_versions,
};
use annals::intake::{self, Framing, IntakeError};
use annals::store::{Appended, Outcome, StoreError, StoredEntity};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Map, Value, json};

use self::answers::{answer, created};
use self::keyed::{Earlier, Keyed};
pub(super) use self::keyed::{digest_of, kept_for_another, reused, with_digest};
use self::patch::Patch;
use self::remarks::Remarks;
use self::verb::Verb;

/// The code of the refusal of a key that belongs to another request.
const KEY_REUSED: &str = "idempotency_key_reused";

/// How often a change that the client did not tie to a version is worked out again after somebody else's.
pub(super) const TRIES: usize = 20;

/// `POST /entities/{type}`.
pub async fn create(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path(aggregate_type): Path<String>,
    headers: HeaderMap,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let remarks = Remarks::read(params, &headers)?;
    let verb = Verb::find(&app, &caller, aggregate_type, "created").await?;
    let mut fields = fields_of(body)?;
    let id = match fields.remove("id") {
        None | Some(Value::Null) => remarks.new_id(&caller),
        Some(Value::String(id)) => id,
        Some(_) => {
            return Err(ApiError::malformed(vec![FieldFault::new(
                "/id",
                "wrong_type",
                "must be a string",
            )]));
        }
    };
    let id = AggregateId::try_from(id)
        .map_err(|e| ApiError::malformed(vec![FieldFault::new("/id", e.code(), e.to_string())]))?;
    let keyed = Keyed::new(&caller, &verb, id.as_str(), &remarks, || Value::Object(fields.clone()));
    for _ in 0..TRIES {
        // Before the fields are looked at: a retry is answered with its original, whatever the schema has become.
        if let Some(earlier) = keyed.earlier(&app).await? {
            return created(&app, &caller, &verb, &id, earlier.version(), StatusCode::OK).await;
        }
        let mut fields = fields.clone();
        fields::known(&app, &caller, &verb, &fields)
            .await?
            .drop_nulls(&mut fields);
        let mut event = remarks.applied_to(verb.event(id.clone(), fields));
        event.expected_version = Some(0);
        match append(&app, &caller, event, &keyed.recorded(&context)).await {
            Ok(appended) => {
                let status = if appended.replayed {
                    StatusCode::OK
                } else {
                    StatusCode::CREATED
                };
                return created(&app, &caller, &verb, &id, Some(appended.aggregate_version), status).await;
            }
            Err(error) if is_refused(&error, "version_conflict") => {
                return Err(deleted::already_there(&app, &caller, &verb, &id).await?);
            }
            // The key was used meanwhile: by this very request, or by another, which the next look tells.
            Err(error) if is_refused(&error, KEY_REUSED) => {}
            Err(error) => return Err(from_fields(error, "")),
        }
    }
    Err(contended())
}

/// `PATCH /entities/{type}/{id}`: the body's fields become the entity's, or are merged into them; the event holds what they were
/// and what they are. Fields that are so already are no change, and no change is no event.
pub async fn update(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
    body: PatchBody,
) -> Result<Response, ApiError> {
    let remarks = Remarks::read(params, &headers)?;
    let verb = Verb::find(&app, &caller, aggregate_type, "updated").await?;
    let patch = Patch::read(body)?;
    let required = required_versions(&headers)?;
    let keyed = Keyed::new(&caller, &verb, &aggregate_id, &remarks, || patch.body());
    for _ in 0..TRIES {
        let found = find(&app, &caller, &verb, &aggregate_id).await?;
        if let Some(earlier) = keyed.earlier(&app).await? {
            return answer(&app, &caller, &verb, &aggregate_id, earlier.version(), StatusCode::OK).await;
        }
        let (id, current) = present(found, (&verb, &aggregate_id), required.as_deref())?;
        if current.entity.deleted_at.is_some() {
            return Err(deleted::refusal(&app, &caller, &verb, &current).await?);
        }
        fields::known(&app, &caller, &verb, patch.fields()).await?;
        let changes = patch.changes(&current.entity.state);
        if changes.is_empty() {
            if keyed.keep(&app, (&id, &current), Outcome::Unchanged).await? {
                let version = Some(current.entity.version);
                return answer(&app, &caller, &verb, &aggregate_id, version, StatusCode::OK).await;
            }
            continue;
        }
        let data = verb.told_as_it_may_be(&app, &caller, changes).await?;
        refuse_too_large(&current.entity, &data)?;
        let mut event = remarks.applied_to(verb.event(id, data));
        event.expected_version = Some(current.entity.version);
        match append(&app, &caller, event, &keyed.recorded(&context)).await {
            Ok(appended) => {
                let version = Some(appended.aggregate_version);
                return answer(&app, &caller, &verb, &aggregate_id, version, StatusCode::OK).await;
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(from_fields(error, "/changes")),
        }
    }
    Err(contended())
}

/// `DELETE /entities/{type}/{id}`: marks the entity; its state and history stay. The body may say why: `{"reason": "…"}`.
pub async fn delete(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
    body: Option<JsonBody>,
) -> Result<Response, ApiError> {
    let remarks = Remarks::read(params, &headers)?.with_reason_in(body)?;
    let verb = Verb::find(&app, &caller, aggregate_type, "deleted").await?;
    let required = required_versions(&headers)?;
    let keyed = Keyed::new(&caller, &verb, &aggregate_id, &remarks, || Value::Null);
    for _ in 0..TRIES {
        let found = find(&app, &caller, &verb, &aggregate_id).await?;
        match keyed.earlier(&app).await? {
            Some(Earlier::Kept(Outcome::Deleted)) => return Err(deleted::was_before()),
            Some(earlier) => {
                return answer(&app, &caller, &verb, &aggregate_id, earlier.version(), StatusCode::OK).await;
            }
            None => {}
        }
        let (id, current) = present(found, (&verb, &aggregate_id), required.as_deref())?;
        if current.entity.deleted_at.is_some() {
            if keyed.keep(&app, (&id, &current), Outcome::Deleted).await? {
                return Err(deleted::refusal(&app, &caller, &verb, &current).await?);
            }
            continue;
        }
        let mut data = Map::new();
        if let Some(Value::String(name)) = current.entity.state.get("name") {
            data.insert("name".to_owned(), json!(name));
        }
        data.insert("deleted_at".to_owned(), json!(Timestamp::now()));
        let mut event = remarks.applied_to(verb.event(id, data));
        event.expected_version = Some(current.entity.version);
        match append(&app, &caller, event, &keyed.recorded(&context)).await {
            Ok(appended) => {
                let version = Some(appended.aggregate_version);
                return answer(&app, &caller, &verb, &aggregate_id, version, StatusCode::OK).await;
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(ApiError::from_intake(error, Framing::Single)),
        }
    }
    Err(contended())
}

/// A posted event that would make the state too large is recorded, and its stream waits before it. Here it is known beforehand.
fn refuse_too_large(entity: &Entity, data: &Map<String, Value>) -> Result<(), ApiError> {
    let fact = Fact {
        version: entity.version.saturating_add(1),
        created_at: Timestamp::now(),
        effect: &Effect::Changes,
        data,
    };
    entity.clone().try_apply(&fact).map_err(|_| state_too_large())
}

pub(super) fn state_too_large() -> ApiError {
    let detail = format!("the entity's state would have over {MAX_STATE_BYTES} bytes of JSON");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "state_too_large", detail).into()
}

fn fields_of(body: Value) -> Result<Map<String, Value>, ApiError> {
    match body {
        Value::Object(fields) => Ok(fields),
        _ => Err(ApiError::malformed(vec![FieldFault::new(
            "",
            "wrong_type",
            "an entity is a JSON object of its fields",
        )])),
    }
}

/// The entity as it is now, if the caller may see it.
async fn find(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    aggregate_id: &str,
) -> Result<Option<(AggregateId, StoredEntity)>, ApiError> {
    let Ok(id) = AggregateId::try_from(aggregate_id.to_owned()) else {
        return Ok(None);
    };
    let found = app
        .store
        .find_entity(caller, verb.aggregate_type.as_str(), id.as_str())
        .await?;
    Ok(found.map(|found| (id, found)))
}

/// What was found, if it is there at a version that the client demands.
fn present(
    found: Option<(AggregateId, StoredEntity)>,
    (verb, aggregate_id): (&Verb, &str),
    required: Option<&[i32]>,
) -> Result<(AggregateId, StoredEntity), ApiError> {
    let (id, found) = found.ok_or_else(|| ApiError::no_such_entity(verb.aggregate_type.as_str(), aggregate_id))?;
    if required.is_some_and(|versions| !versions.contains(&found.entity.version)) {
        let detail = format!(
            "the entity is at version {}, which If-Match does not name; read it again and decide anew",
            found.entity.version
        );
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail).into());
    }
    if let Some(stopped) = &found.stopped {
        let detail = format!(
            "the entity's stream waits before version {}, which is too large; staff may have it left out",
            stopped.version
        );
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, stopped.code, detail).into());
    }
    Ok((id, found))
}

/// Appends one event.
async fn append(app: &App, caller: &Caller, event: NewEvent, recorded: &Value) -> Result<Appended, IntakeError> {
    let appended = intake::append(app, caller, &[event], recorded, Framing::Single).await?;
    let one = appended.into_iter().next();
    one.ok_or_else(|| StoreError::Unexpected("an append without an answer".to_owned()).into())
}

/// Another request was faster: with the entity, or with the key.
pub(super) fn is_conflict(error: &IntakeError) -> bool {
    is_refused(error, "version_conflict") || is_refused(error, KEY_REUSED)
}

fn is_refused(error: &IntakeError, code: &str) -> bool {
    matches!(error, IntakeError::Store(StoreError::Refused(refusal)) if refusal.code == code)
}

pub(super) fn contended() -> ApiError {
    ApiError::conflict(
        "version_conflict",
        "the entity is being changed by others all the time; try again",
    )
}

/// The client sent fields, not an event: `/data/email` and `/data/changes/email/new` are its `/email`.
fn from_fields(error: IntakeError, below: &str) -> ApiError {
    let error = match error {
        IntakeError::Checked { code, faults } => {
            let prefix = format!("/data{below}");
            let faults = faults.into_iter().map(|mut fault| {
                if let Some(rest) = fault.pointer.strip_prefix(&prefix) {
                    fault.pointer = if below.is_empty() {
                        rest.to_owned()
                    } else {
                        without_new(rest)
                    };
                }
                fault
            });
            IntakeError::Checked {
                code,
                faults: faults.collect(),
            }
        }
        other => other,
    };
    ApiError::from_intake(error, Framing::Single)
}

/// `/email/new` and what lies below it, as the client sent it: `/address/new/city` is its `/address/city`.
fn without_new(pointer: &str) -> String {
    let after_field = pointer
        .strip_prefix('/')
        .and_then(|path| path.find('/'))
        .map(|slash| slash + 1);
    let Some((field, below)) = after_field.map(|place| pointer.split_at(place)) else {
        return pointer.to_owned();
    };
    match below.strip_prefix("/new") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{field}{rest}"),
        _ => pointer.to_owned(),
    }
}
