//! `POST /events`: one event, or many atomically.

use crate::App;
use annals_domain::event::{FieldFault, MAX_BATCH};
use annals_domain::{Caller, Event, NewEvent, TenantId};
use annals_http::{
    ApiError, Authenticated, Framing, JsonBody, MAX_ERRORS, Params, Problem, RequestContext, WrittenJson,
    idempotency_key, marked_if_replayed,
};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// Appends one event, or the batch `{"events": […]}`. 201; 200 if all events had been appended before.
pub async fn post(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    headers: HeaderMap,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let key = idempotency_key(&headers)?.map(|key| key.as_str().to_owned());
    match body {
        Value::Object(mut members) if members.contains_key("events") => {
            let events = members.remove("events").unwrap_or_default();
            let events = read_batch(&app, &caller, events, &members, key.clone()).await?;
            refuse_other_batch(&app, &caller, key.as_deref(), events.len()).await?;
            append_batch(&app, &caller, events, &context).await
        }
        single => {
            let event = read_single(single, &caller, key)?;
            append_single(&app, &caller, event, &context).await
        }
    }
}

async fn append_single(app: &App, caller: &Caller, event: NewEvent, context: &Value) -> Result<Response, ApiError> {
    let stored = app.append.append_stored(caller, vec![event], context).await;
    let stored = stored.map_err(|e| ApiError::from_append(e, Framing::Single))?;
    let event = stored
        .events
        .first()
        .ok_or_else(|| ApiError::Internal("an appended event is missing".into()))?;
    answer_single(event, stored.replayed)
}

/// The answer with one event, and its address in `Location`.
pub(super) fn answer_single(event: &Event, is_replayed: bool) -> Result<Response, ApiError> {
    let location = HeaderValue::from_str(&format!("/api/v1/events/{}", event.id));
    let location = location.map_err(|e| ApiError::Internal(Box::new(e)))?;
    let answer = ([(header::LOCATION, location)], WrittenJson::of(event)?);
    Ok(appended(answer, is_replayed))
}

async fn append_batch(
    app: &App,
    caller: &Caller,
    events: Vec<NewEvent>,
    context: &Value,
) -> Result<Response, ApiError> {
    let stored = app.append.append_stored(caller, events, context).await;
    let stored = stored.map_err(|e| ApiError::from_append(e, Framing::Batch))?;
    let body = WrittenJson::of(&Batch { items: stored.events })?;
    Ok(appended(body, stored.replayed))
}

/// The answer to a batch. `json!` would parse the data of every event and write them again.
#[derive(Serialize)]
struct Batch {
    items: Vec<Event>,
}

/// The status of an answer to a request that makes something: 201, or 200 if an earlier one had made it.
pub(super) fn created_or_found(is_replayed: bool) -> StatusCode {
    if is_replayed {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    }
}

/// The answer, with 200 if nothing was appended, because all events had been appended before.
fn appended(answer: impl IntoResponse, is_replayed: bool) -> Response {
    marked_if_replayed((created_or_found(is_replayed), answer), is_replayed)
}

fn read_single(json: Value, caller: &Caller, key: Option<String>) -> Result<NewEvent, ApiError> {
    let json = with_key(json, key)?;
    let (event, tenant) = NewEvent::from_json(json, "").map_err(ApiError::malformed)?;
    if is_other_tenant(tenant, caller) {
        return Err(tenant_forged(vec![forged_tenant("")]));
    }
    Ok(event)
}

/// The events of a batch. If some cannot be read, the answer also names the faults that the catalog finds in the others, so that a client
/// can correct all of them before it sends the batch again.
async fn read_batch(
    app: &App,
    caller: &Caller,
    events: Value,
    rest: &Map<String, Value>,
    key: Option<String>,
) -> Result<Vec<NewEvent>, ApiError> {
    let (read, mut faults) = read_members(members_of(events, rest)?, caller, key)?;
    if faults.is_empty() {
        let events: Vec<NewEvent> = read.into_iter().map(|(_, event)| event).collect();
        refuse_repeated_keys(&events)?;
        return Ok(events);
    }
    let forged = faults.iter().all(|(_, fault)| fault.code == TENANT_FORGED);
    let members = read.iter().map(|(member, event)| (*member, event));
    let others = app.append.faults(caller, members).await?;
    faults.extend(
        others
            .into_iter()
            .map(|other| (other.member, Framing::Batch.fault(other))),
    );
    faults.sort_by_key(|(member, _)| *member);
    let faults: Vec<FieldFault> = faults.into_iter().map(|(_, fault)| fault).collect();
    match forged {
        true => Err(tenant_forged(faults)),
        false => Err(ApiError::malformed(faults)),
    }
}

fn members_of(events: Value, rest: &Map<String, Value>) -> Result<Vec<Value>, ApiError> {
    let malformed = |pointer: String, code, detail| ApiError::malformed(vec![FieldFault::new(pointer, code, detail)]);
    if let Some(name) = rest.keys().next() {
        return Err(malformed(
            format!("/{name}"),
            "unknown_field",
            "is not allowed beside events",
        ));
    }
    let Value::Array(events) = events else {
        return Err(malformed(
            "/events".to_owned(),
            "wrong_type",
            "must be a list of events",
        ));
    };
    if events.is_empty() || events.len() > MAX_BATCH {
        let detail = format!("must contain 1 to {MAX_BATCH} events");
        let fault = FieldFault::new("/events", "invalid_value", detail.clone());
        return Err(ApiError::unprocessable(
            "batch_size",
            format!("a batch {detail}"),
            vec![fault],
        ));
    }
    Ok(events)
}

/// The events of a batch that could be read, and the faults of the others, each with its index.
type Members = (Vec<(usize, NewEvent)>, Vec<(usize, FieldFault)>);

/// An idempotency key in the header is for the whole batch: an event without a key of its own gets the header's key and its index, `key/3`.
fn read_members(events: Vec<Value>, caller: &Caller, key: Option<String>) -> Result<Members, ApiError> {
    let (mut read, mut faults) = (Vec::with_capacity(events.len()), Vec::new());
    for (member, json) in events.into_iter().enumerate() {
        let json = match &key {
            Some(key) if json.get("idempotency_key").is_none_or(Value::is_null) => {
                with_key(json, Some(format!("{key}/{member}")))?
            }
            _ => json,
        };
        let at = Framing::Batch.pointer(member);
        match NewEvent::from_json(json, &at) {
            Ok((event, tenant)) => {
                if is_other_tenant(tenant, caller) {
                    faults.push((member, forged_tenant(&at)));
                }
                read.push((member, event));
            }
            Err(more) => faults.extend(more.into_iter().map(|fault| (member, fault))),
        }
        if faults.len() >= MAX_ERRORS {
            break;
        }
    }
    Ok((read, faults))
}

/// Refuses a key in the header that was used for a batch of another length. A shorter or longer batch is another request, even if
/// the events that both have are the same.
async fn refuse_other_batch(app: &App, caller: &Caller, key: Option<&str>, events: usize) -> Result<(), ApiError> {
    let Some(key) = key else { return Ok(()) };
    let used = async |member: usize| app.store.find_event_by_key(caller, &format!("{key}/{member}")).await;
    if used(0).await?.is_none() || (used(events - 1).await?.is_some() && used(events).await?.is_none()) {
        return Ok(());
    }
    let detail = "the idempotency key was used for a batch of a different length; use a new key for a new batch";
    let differs = "differs in length from the first batch with this key";
    let fault = FieldFault::new("/events", "differs", differs);
    Err(ApiError::unprocessable("idempotency_key_reused", detail, vec![fault]))
}

fn refuse_repeated_keys(events: &[NewEvent]) -> Result<(), ApiError> {
    let mut seen = std::collections::HashSet::new();
    for (member, event) in events.iter().enumerate() {
        if let Some(key) = &event.idempotency_key
            && !seen.insert(key)
        {
            let pointer = format!("{}/idempotency_key", Framing::Batch.pointer(member));
            let code = "idempotency_key_repeated";
            let fault = FieldFault::new(pointer, code, "another event of the batch has this key");
            let detail = "two events of the batch have the same key";
            return Err(ApiError::unprocessable(code, detail, vec![fault]));
        }
    }
    Ok(())
}

/// The event with the header's key. If the body has a key too, both must be the same.
fn with_key(mut json: Value, key: Option<String>) -> Result<Value, ApiError> {
    if let (Some(key), Some(members)) = (key, json.as_object_mut()) {
        let key = Value::String(key);
        match members.get("idempotency_key") {
            Some(own) if !own.is_null() && *own != key => {
                let detail = "the header and the body have different idempotency keys; send only one";
                return Err(ApiError::bad_request("idempotency_keys_differ", detail));
            }
            _ => {
                members.insert("idempotency_key".to_owned(), key);
            }
        }
    }
    Ok(json)
}

const TENANT_FORGED: &str = "tenant_forged";

fn is_other_tenant(claimed: Option<TenantId>, caller: &Caller) -> bool {
    claimed.is_some_and(|tenant| tenant != caller.tenant_id())
}

fn forged_tenant(at: &str) -> FieldFault {
    FieldFault::new(format!("{at}/tenant_id"), TENANT_FORGED, "must be the token's tenant")
}

fn tenant_forged(faults: Vec<FieldFault>) -> ApiError {
    let detail = "tenant_id must be the token's tenant; leave it out";
    Problem::new(StatusCode::FORBIDDEN, TENANT_FORGED, detail)
        .with_errors(faults)
        .into()
}
