//! `POST /data/uploads/{id}/revert`: compensates what an upload appended. A small revert runs within the request. The importer does a larger
//! one, and what is left of one that takes too long. `GET` lists the events that were left alone.

use std::time::{Duration, Instant};

use crate::App;
use annals_domain::event::FieldFault;
use annals_domain::reason::Reason;
use annals_domain::{Caller, naming};
use annals_http::{ApiError, Authenticated, Cursor, JsonBody, Listed, Page, Params, Path, RequestContext};
use annals_import::Reverter;
use annals_store::{LeftAlone, RevertRecord, StoreError, UploadRecord, UploadStatus};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::problems::import_problem;
use crate::visible::visible_upload;

/// Maximum number of events of an upload whose revert runs within the request.
const SMALL_EVENTS: i64 = 2_000;
/// How long a revert, or a dry run of one, may work within a request. API Gateway ends a request after 30 s.
const TIME: Duration = Duration::from_secs(10);
/// Maximum number of events left alone that an answer lists.
const LISTED: usize = 100;

/// The body: `{"reason": "…"}`, optional.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
}

/// 200 with the revert that has ended, or with what a dry run has found; 202 while it is running.
pub(crate) async fn revert(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path(id): Path<String>,
    mut params: Params,
    body: Option<JsonBody>,
) -> Result<Response, ApiError> {
    let is_dry_run = params.read("dry_run", "must be true or false", |value| value.parse::<bool>().ok())?;
    let is_dry_run = is_dry_run.unwrap_or_default();
    params.end()?;
    let reason = read_reason(body)?;
    let reverter = Reverter::new(app.store.clone(), app.append.clone());
    let upload = visible_upload(&app, &caller, &id).await?;
    refuse_unrevertible(&upload)?;
    check_permission(&reverter, &caller, &upload).await?;
    let until = Instant::now() + TIME;
    let is_new = upload.status != UploadStatus::Reverting;
    if is_new && is_dry_run {
        return rehearse(&reverter, &caller, &upload, reason, until).await;
    }
    if is_new {
        // The caller's name is recorded now: the importer has the claims and not the token.
        let context = naming::observed(&caller, &context);
        let requested = reverter.request(&caller, &context, &upload, reason.as_ref()).await;
        ignore_earlier(requested)?;
    }
    if !is_dry_run && upload.counts.appended <= SMALL_EVENTS {
        reverter.try_run(upload.upload_id, Some(until)).await;
    }
    progress(&app, &visible_upload(&app, &caller, &id).await?).await
}

/// What a revert would do.
async fn rehearse(
    reverter: &Reverter,
    caller: &Caller,
    upload: &UploadRecord,
    reason: Option<Reason>,
    until: Instant,
) -> Result<Response, ApiError> {
    let found = reverter.rehearse(caller, upload, (until, LISTED)).await;
    let (mut record, left) = found.map_err(import_problem)?;
    record.reason = reason.map(|reason| reason.as_str().to_owned());
    Ok(Json(answer(upload, &revert_json(&record, &left))).into_response())
}

/// If another request came first, this one goes on with its revert.
fn ignore_earlier(requested: Result<(), StoreError>) -> Result<(), StoreError> {
    match requested {
        Err(StoreError::Refused(refusal)) if refusal.code == "already_reverted" => Ok(()),
        other => other,
    }
}

/// What a revert has done so far.
async fn progress(app: &App, upload: &UploadRecord) -> Result<Response, ApiError> {
    let revert = revert_of(app, upload).await?;
    let status = match upload.status.has_ended() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(answer(upload, &revert))).into_response())
}

/// The events that the revert of an upload has left alone, newest first.
pub(crate) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let upload = visible_upload(&app, &caller, &id).await?;
    let cursor = Cursor::of("events_left_alone", &(upload.upload_id, caller.tenant_id()));
    let before = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let limit = params.limit()?;
    params.end()?;
    let before = before.unwrap_or(i64::MAX);
    let left = app
        .store
        .list_left_alone(upload.upload_id, before, limit.plus_one())
        .await?;
    let items: Vec<Item> = left.into_iter().map(Item).collect();
    Page::cut(&items, limit, |item| cursor.encode(&item.0.event_number.to_string()))
}

#[derive(Serialize)]
#[serde(transparent)]
struct Item(LeftAlone);

impl Listed for Item {}

/// The revert of an upload as JSON, with the first events that it has left alone; null if there is none.
pub(crate) async fn revert_of(app: &App, upload: &UploadRecord) -> Result<Value, ApiError> {
    let Some(record) = &upload.revert else {
        return Ok(Value::Null);
    };
    let listed = i64::try_from(LISTED).unwrap_or(i64::MAX);
    let left = app.store.list_left_alone(upload.upload_id, i64::MAX, listed).await?;
    Ok(revert_json(record, &left))
}

fn revert_json(record: &RevertRecord, left: &[LeftAlone]) -> Value {
    let mut revert = json!(record);
    revert["left_alone"] = json!(left);
    revert["left_alone_truncated"] = json!(i64::try_from(left.len()).is_ok_and(|listed| listed < record.events_left));
    revert
}

fn answer(upload: &UploadRecord, revert: &Value) -> Value {
    json!({"upload_id": upload.upload_id, "dataset": upload.dataset, "status": upload.status, "revert": revert})
}

fn read_reason(body: Option<JsonBody>) -> Result<Option<Reason>, ApiError> {
    let body: Body = body.unwrap_or_else(|| JsonBody(json!({}))).read()?;
    let reason = body.reason.map(Reason::try_from).transpose();
    reason.map_err(|fault| ApiError::malformed(vec![FieldFault::new("/reason", "invalid_value", fault.to_string())]))
}

/// Refuses an upload of which nothing can be compensated now.
fn refuse_unrevertible(upload: &UploadRecord) -> Result<(), ApiError> {
    match upload.status {
        UploadStatus::Reverted => {
            let counts = upload.revert.clone().unwrap_or_default();
            let detail = format!(
                "the upload has been reverted: {} events were compensated and {} left alone; this request has changed nothing",
                counts.events_compensated, counts.events_left
            );
            Err(ApiError::conflict("already_reverted", detail))
        }
        UploadStatus::Waiting | UploadStatus::Running => {
            let detail = "the upload has not ended; try again when its status is completed or failed";
            Err(ApiError::conflict("upload_not_ended", detail))
        }
        UploadStatus::Completed | UploadStatus::Failed if upload.counts.appended == 0 => {
            let why = if upload.dry_run {
                "it was a dry run"
            } else {
                "it appended no events"
            };
            Err(ApiError::conflict(
                "nothing_to_revert",
                format!("there is nothing to revert: {why}"),
            ))
        }
        UploadStatus::Completed | UploadStatus::Failed | UploadStatus::Reverting => Ok(()),
    }
}

/// Refuses a caller whose role may not post the compensating events.
async fn check_permission(reverter: &Reverter, caller: &Caller, upload: &UploadRecord) -> Result<(), ApiError> {
    match reverter.forbidden_event_type(caller, upload).await? {
        None => Ok(()),
        Some(event_type) => {
            let role = caller.role().as_str();
            let detail =
                format!("the role {role} may not post {event_type}, which would compensate what the upload appended");
            Err(ApiError::forbidden("event_type_forbidden", detail))
        }
    }
}
