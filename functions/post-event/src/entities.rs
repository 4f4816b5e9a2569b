//! Generic create, update and delete: plain REST on any module, which emits `{type}.created`, `.updated` and `.deleted`.
//!
//! A body is the entity's fields, with `id` where the client chooses it. Why and how come along as query parameters (`reason`,
//! `correlation_id`, `causation_id`), so that they cannot be mistaken for fields.

mod remarks;
mod verb;

use annals::App;
use annals::domain::event::FieldFault;
use annals::domain::{AggregateId, Caller, Event, NewEvent, Timestamp};
use annals::http::{ApiError, Authenticated, JsonBody, Params, Path, Problem, RequestContext};
use annals::intake::{self, Framing, IntakeError};
use annals::store::{StoreError, StoredEntity};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use self::remarks::Remarks;
use self::verb::Verb;

/// Where `recorded` of a keyed request whose event depends on what it found keeps the digest of what was sent.
const REQUEST_DIGEST: &str = "request_digest";

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
    let mut event = remarks.applied_to(verb.event(id.clone(), fields));
    event.expected_version = Some(0);
    match append(&app, &caller, event, &context).await {
        Err(IntakeError::Store(StoreError::Refused(refusal))) if refusal.code == "version_conflict" => {
            Err(ApiError::conflict(
                "already_exists",
                format!("there is a {} {id} already", verb.aggregate_type),
            ))
        }
        Err(error) => Err(from_fields(error, "")),
        Ok(replayed) => {
            let mut response = answer(
                &app,
                &caller,
                &verb,
                &id,
                if replayed { StatusCode::OK } else { StatusCode::CREATED },
            )
            .await?;
            let location = format!(
                "/api/v1/entities/{}/{}",
                verb.aggregate_type,
                percent_encode(id.as_str())
            );
            if let Ok(location) = HeaderValue::from_str(&location) {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
    }
}

/// `PATCH /entities/{type}/{id}`: the body's fields become the entity's; the event holds what they were and what they are.
/// Fields that are so already are no change, and no change is no event.
pub async fn update(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let remarks = Remarks::read(params, &headers)?;
    let verb = Verb::find(&app, &caller, aggregate_type, "updated").await?;
    let fields = fields_of(body)?;
    let required = required_version(&headers)?;
    let same = |event: &Event| asked_for_by(event, &fields);
    for _ in 0..TRIES {
        if let Some(id) = earlier(&app, &caller, &verb, &aggregate_id, &remarks, same).await? {
            return answer(&app, &caller, &verb, &id, StatusCode::OK).await;
        }
        let (id, current) = present(&app, &caller, &verb, &aggregate_id, required).await?;
        let changes = changes(&current.entity.state, &fields);
        if changes.is_empty() {
            return answer(&app, &caller, &verb, &id, StatusCode::OK).await;
        }
        let mut data = Map::new();
        data.insert("changes".to_owned(), Value::Object(changes));
        let mut event = remarks.applied_to(verb.event(id.clone(), data));
        let keyed = remarks.idempotency_key.is_some();
        let recorded = with_digest(&context, keyed.then(|| digest(&fields)));
        event.expected_version = Some(current.entity.version);
        match append(&app, &caller, event, &recorded).await {
            Ok(_) => return answer(&app, &caller, &verb, &id, StatusCode::OK).await,
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(from_fields(error, "/changes")),
        }
    }
    Err(contended())
}

/// `DELETE /entities/{type}/{id}`: marks the entity; its state and history stay.
pub async fn delete(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let remarks = Remarks::read(params, &headers)?;
    let verb = Verb::find(&app, &caller, aggregate_type, "deleted").await?;
    let required = required_version(&headers)?;
    for _ in 0..TRIES {
        if let Some(id) = earlier(&app, &caller, &verb, &aggregate_id, &remarks, |_| true).await? {
            return answer(&app, &caller, &verb, &id, StatusCode::OK).await;
        }
        let (id, current) = present(&app, &caller, &verb, &aggregate_id, required).await?;
        let mut data = Map::new();
        if let Some(Value::String(name)) = current.entity.state.get("name") {
            data.insert("name".to_owned(), json!(name));
        }
        data.insert("deleted_at".to_owned(), json!(Timestamp::now()));
        let mut event = remarks.applied_to(verb.event(id.clone(), data));
        event.expected_version = Some(current.entity.version);
        match append(&app, &caller, event, &context).await {
            Ok(_) => return answer(&app, &caller, &verb, &id, StatusCode::OK).await,
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(ApiError::from_intake(error, Framing::Single)),
        }
    }
    Err(contended())
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

/// The version that `If-Match` demands: `"3"`, or `*` for any that exists.
fn required_version(headers: &HeaderMap) -> Result<Option<i32>, ApiError> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Ok(None);
    };
    let malformed = || ApiError::bad_request("invalid_if_match", "If-Match holds a version in quotes, like \"3\"");
    let text = value.to_str().map_err(|_| malformed())?.trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text
        .strip_prefix('"')
        .and_then(|t| t.strip_suffix('"'))
        .ok_or_else(malformed)?;
    version.parse().map(Some).map_err(|_| malformed())
}

/// The entity as it is now, at the version that the client demands.
async fn present(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    aggregate_id: &str,
    required: Option<i32>,
) -> Result<(AggregateId, StoredEntity), ApiError> {
    let missing = || ApiError::not_found(format!("there is no such {}", verb.aggregate_type));
    let id = AggregateId::try_from(aggregate_id.to_owned()).map_err(|_| missing())?;
    let found = app
        .store
        .find_entity(caller, verb.aggregate_type.as_str(), id.as_str())
        .await?
        .ok_or_else(missing)?;
    if required.is_some_and(|version| version != found.entity.version) {
        let detail = format!("the entity is at version {}", found.entity.version);
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "version_mismatch", detail).into());
    }
    if found.entity.deleted_at.is_some() {
        return Err(ApiError::conflict("entity_deleted", "the entity has been deleted"));
    }
    Ok((id, found))
}

/// The entity, where this very change was made before under the same key. What an update's event holds depends on what it
/// found, so a retry's would differ from the original's; what the client asked for is what has to be the same.
async fn earlier(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    aggregate_id: &str,
    remarks: &Remarks,
    asks_the_same: impl Fn(&Event) -> bool,
) -> Result<Option<AggregateId>, ApiError> {
    let Some(key) = &remarks.idempotency_key else {
        return Ok(None);
    };
    let Some(event) = app.store.find_event_by_key(caller, key.as_str()).await? else {
        return Ok(None);
    };
    let same_entity = event.event_type == verb.event_type.as_str() && event.aggregate_id == aggregate_id;
    if !(same_entity && asks_the_same(&event)) {
        let detail = "the idempotency key belongs to another request";
        return Err(ApiError::unprocessable("idempotency_key_reused", detail, Vec::new()));
    }
    Ok(Some(AggregateId::stored(event.aggregate_id)))
}

/// Whether the event was asked for by these fields; a keyed change keeps a digest of what the client sent in `recorded`,
/// because its data does not show fields that had their values already.
fn asked_for_by(event: &Event, fields: &Map<String, Value>) -> bool {
    digest_of(event).is_some_and(|asked| asked == digest(fields))
}

/// What the server observed of a request, with the digest of what was sent.
pub(super) fn with_digest(recorded: &Value, digest: Option<String>) -> Value {
    let mut recorded = recorded.clone();
    if let (Some(digest), Some(members)) = (digest, recorded.as_object_mut()) {
        members.insert(REQUEST_DIGEST.to_owned(), Value::String(digest));
    }
    recorded
}

/// The digest of what was sent for an event.
pub(super) fn digest_of(event: &Event) -> Option<String> {
    let recorded: Value = serde_json::from_str(event.recorded.get()).ok()?;
    Some(recorded.get(REQUEST_DIGEST)?.as_str()?.to_owned())
}

/// The fields in a few letters, the same however their numbers are spelt.
fn digest(fields: &Map<String, Value>) -> String {
    annals::domain::json::digest(&Value::Object(fields.clone()))
}

fn changes(state: &Map<String, Value>, fields: &Map<String, Value>) -> Map<String, Value> {
    fields
        .iter()
        .filter(|(field, new)| !annals::domain::json::same(state.get(*field).unwrap_or(&Value::Null), new))
        .map(|(field, new)| (field.clone(), json!({"old": state.get(field), "new": new})))
        .collect()
}

/// Appends one event; whether it had been appended before, under its key.
async fn append(app: &App, caller: &Caller, event: NewEvent, context: &Value) -> Result<bool, IntakeError> {
    let appended = intake::append(app, caller, &[event], context, Framing::Single).await?;
    Ok(appended.iter().all(|a| a.replayed))
}

/// Somebody else was faster: with the entity, or with this very request under its key.
pub(super) fn is_conflict(error: &IntakeError) -> bool {
    matches!(error, IntakeError::Store(StoreError::Refused(refusal))
             if matches!(&*refusal.code, "version_conflict" | "idempotency_key_reused"))
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
                        rest.strip_suffix("/new").unwrap_or(rest).to_owned()
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

async fn answer(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    id: &AggregateId,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let found = app
        .store
        .find_entity(caller, verb.aggregate_type.as_str(), id.as_str())
        .await?;
    let found = found.ok_or_else(|| ApiError::Internal("an entity is missing after its event".into()))?;
    Ok((status, annals::http::EntityAnswer::from(found)).into_response())
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
