//! `POST /events`: one event, or many atomically.

use annals::App;
use annals::domain::event::{FieldFault, MAX_BATCH};
use annals::domain::{Caller, Event, NewEvent, TenantId};
use annals::http::{ApiError, Authenticated, JsonBody, MAX_ERRORS, Params, Problem, RequestContext, idempotency_key};
use annals::intake::{self, Framing};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// Appends what the body asks for: `{"events": […]}` is a batch, anything else one event.
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
    let events = vec![event];
    let appended = intake::append(app, caller, &events, context, Framing::Single)
        .await
        .map_err(|e| ApiError::from_intake(e, Framing::Single))?;
    let replayed = appended.iter().all(|a| a.replayed);
    let stored = intake::stored_events(app, caller, events, &appended, context).await?;
    let event = stored
        .first()
        .ok_or_else(|| ApiError::Internal("an appended event is missing".into()))?;
    answer_single(event, status(replayed))
}

/// One event, and where it is to be found.
pub(super) fn answer_single(event: &Event, status: StatusCode) -> Result<Response, ApiError> {
    let location = HeaderValue::from_str(&format!("/api/v1/events/{}", event.id));
    let location = location.map_err(|e| ApiError::Internal(Box::new(e)))?;
    Ok((status, [(header::LOCATION, location)], Json(event)).into_response())
}

async fn append_batch(
    app: &App,
    caller: &Caller,
    events: Vec<NewEvent>,
    context: &Value,
) -> Result<Response, ApiError> {
    let appended = intake::append(app, caller, &events, context, Framing::Batch)
        .await
        .map_err(|e| ApiError::from_intake(e, Framing::Batch))?;
    let replayed = appended.iter().all(|a| a.replayed);
    let items = intake::stored_events(app, caller, events, &appended, context).await?;
    Ok((status(replayed), Json(Batch { items })).into_response())
}

/// A batch's answer. A type of its own because `json!` would read every event's data once more, to write it once more.
#[derive(Serialize)]
struct Batch {
    items: Vec<Event>,
}

/// 200 where nothing new was appended because everything had been before.
fn status(replayed: bool) -> StatusCode {
    if replayed { StatusCode::OK } else { StatusCode::CREATED }
}

fn read_single(json: Value, caller: &Caller, key: Option<String>) -> Result<NewEvent, ApiError> {
    let json = with_key(json, key)?;
    let (event, tenant) = NewEvent::from_json(json, "").map_err(ApiError::malformed)?;
    if is_other_tenant(tenant, caller) {
        return Err(tenant_forged(vec![forged_tenant("")]));
    }
    Ok(event)
}

/// The events of a batch. Where some cannot be read, what the catalog has against the others is told as well: a client that
/// mends its batch should not learn of one kind of fault after the other.
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
    let others = intake::faults(app, caller, members, Framing::Batch).await?;
    faults.extend(others.into_iter().map(|other| (other.member, other.fault)));
    faults.sort_by_key(|(member, _)| *member);
    let faults: Vec<FieldFault> = faults.into_iter().map(|(_, fault)| fault).collect();
    match forged {
        true => Err(tenant_forged(faults)),
        false => Err(ApiError::malformed(faults)),
    }
}

fn members_of(events: Value, rest: &Map<String, Value>) -> Result<Vec<Value>, ApiError> {
    if let Some(name) = rest.keys().next() {
        return Err(ApiError::malformed(vec![FieldFault::new(
            format!("/{name}"),
            "unknown_field",
            "stands beside events",
        )]));
    }
    let Value::Array(events) = events else {
        return Err(ApiError::malformed(vec![FieldFault::new(
            "/events",
            "wrong_type",
            "must be a list of events",
        )]));
    };
    if events.is_empty() || events.len() > MAX_BATCH {
        let fault = FieldFault::new("/events", "invalid_value", format!("must hold 1 to {MAX_BATCH} events"));
        return Err(ApiError::unprocessable(
            "batch_size",
            format!("a batch holds 1 to {MAX_BATCH} events"),
            vec![fault],
        ));
    }
    Ok(events)
}

/// Members of a batch that could be read, and what is wrong with those that could not, each with its place.
type Members = (Vec<(usize, NewEvent)>, Vec<(usize, FieldFault)>);

/// A key in the header stands for the whole batch: each member without one of its own gets the header's and its place.
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

/// A header's key that was used before belongs to a batch of that many events: one that is shorter or longer is another
/// request, even where the members that both have are the same.
async fn refuse_other_batch(app: &App, caller: &Caller, key: Option<&str>, events: usize) -> Result<(), ApiError> {
    let Some(key) = key else { return Ok(()) };
    let used = async |member: usize| app.store.find_event_by_key(caller, &format!("{key}/{member}")).await;
    if used(0).await?.is_none() || (used(events - 1).await?.is_some() && used(events).await?.is_none()) {
        return Ok(());
    }
    let detail = "the idempotency key belongs to a batch of another length";
    let fault = FieldFault::new(
        "/events",
        "differs",
        "is not as long as what was sent under this key before",
    );
    Err(ApiError::unprocessable("idempotency_key_reused", detail, vec![fault]))
}

fn refuse_repeated_keys(events: &[NewEvent]) -> Result<(), ApiError> {
    let mut seen = std::collections::HashSet::new();
    for (member, event) in events.iter().enumerate() {
        if let Some(key) = &event.idempotency_key
            && !seen.insert(key)
        {
            let pointer = format!("{}/idempotency_key", Framing::Batch.pointer(member));
            let fault = FieldFault::new(
                pointer,
                "idempotency_key_repeated",
                "another event of the batch has this key",
            );
            return Err(ApiError::unprocessable(
                "idempotency_key_repeated",
                "two events of the batch have the same key",
                vec![fault],
            ));
        }
    }
    Ok(())
}

/// The event with the header's key; header and body may repeat each other but not differ.
fn with_key(mut json: Value, key: Option<String>) -> Result<Value, ApiError> {
    if let (Some(key), Some(members)) = (key, json.as_object_mut()) {
        let key = Value::String(key);
        match members.get("idempotency_key") {
            Some(own) if !own.is_null() && *own != key => {
                return Err(ApiError::bad_request(
                    "idempotency_keys_differ",
                    "the header and the body name different idempotency keys",
                ));
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
    FieldFault::new(format!("{at}/tenant_id"), TENANT_FORGED, "is the token's")
}

fn tenant_forged(faults: Vec<FieldFault>) -> ApiError {
    let problem = Problem::new(StatusCode::FORBIDDEN, TENANT_FORGED, "tenant_id is the token's");
    problem.with_errors(faults).into()
}
