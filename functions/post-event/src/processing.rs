//! Staff's control of projection: retry or skip a parked event, request a sweep or a rebuild.

use crate::App;
use annals_domain::event::Part;
use annals_domain::reason::Reason;
use annals_domain::{AggregateId, AggregateType, EventType, NewEvent};
use annals_http::{ApiError, Authenticated, Framing, JsonBody, NoBody, Params};
use annals_store::Reading;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, json};
use uuid::Uuid;

use crate::reason::reason_at;
use crate::write_request::{Sender, WriteRequest};

/// The body of a decision: `{"action": "retry" | "skip", "reason": "…"}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    action: Action,
    reason: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Action {
    Retry,
    Skip,
}

/// `PUT /events/{id}/processing`: appends the decision about a parked event as an event, which the answer holds. The projector carries
/// it out when it reaches that event, a moment later; `/projector/status` shows the result. A parked stream takes one decision: the
/// append marks the stream (`annals.mark_decision`), and another decision is refused until a retry has failed.
pub async fn decide(request: WriteRequest<String>, body: JsonBody) -> Result<Response, ApiError> {
    request.params.end()?;
    let Sender { app, caller, observed } = request.by;
    let caller = Authenticated(caller).staff()?;
    let id = Uuid::try_parse(&request.path).map_err(|_| ApiError::no_such_event())?;
    let decision: Decision = body.read()?;
    let reason = reason_at("/reason", decision.reason)?;
    if app.store.find_parked(&caller, &id).await?.is_none() {
        return match app.store.find_event(&caller, id.into(), Reading::AsStored).await? {
            None => Err(ApiError::no_such_event()),
            Some(_) => Err(ApiError::conflict(
                "not_parked",
                "no stream waits for a decision about this event: it is not parked, or the decision has been made already",
            )),
        };
    }
    let events = vec![decision.action.into_event(id, reason)?];
    let stored = app.append.append_stored(&caller, events, &observed).await;
    let stored = stored.map_err(|e| ApiError::from_append(e, Framing::Single))?;
    Ok(Json(stored.events.first()).into_response())
}

/// `POST /projector/sweep`: asks the projector to sweep the log now instead of at the next scheduled time.
pub async fn sweep(
    State(app): State<App>,
    who: Authenticated,
    params: Params,
    _none: NoBody,
) -> Result<Response, ApiError> {
    params.end()?;
    who.staff()?;
    app.queue.request_sweep().await;
    Ok((StatusCode::ACCEPTED, Json(json!({"status": "requested"}))).into_response())
}

/// The body of a request for a rebuild: `{"module": "…"}` names an aggregate type. Without it, all are rebuilt.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RebuildBody {
    module: Option<String>,
}

/// `POST /projector/rebuild`: requests a rebuild of the tenant's read models, or of one aggregate type's, from the log. The projector does
/// it; `/projector/status` shows the progress.
pub async fn rebuild(
    State(app): State<App>,
    who: Authenticated,
    params: Params,
    body: JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let caller = who.staff()?;
    let body: RebuildBody = body.read()?;
    let id = app.store.request_rebuild(&caller, body.module.as_deref()).await?;
    app.queue.request_rebuilds().await;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "status": "requested"}))).into_response())
}

impl Action {
    fn into_event(self, parked: Uuid, reason: Option<Reason>) -> Result<NewEvent, ApiError> {
        let event_type = match self {
            Self::Retry => "projection.retried",
            Self::Skip if reason.is_none() => {
                return Err(ApiError::unprocessable(
                    "reason_required",
                    "a reason is required, because skipping leaves the event out of the entity's state",
                    Vec::new(),
                ));
            }
            Self::Skip => "projection.skipped",
        };
        let mut data = Map::new();
        data.insert("event_id".to_owned(), json!(parked));
        if let Some(reason) = reason {
            data.insert("reason".to_owned(), json!(reason));
        }
        let internal = |_| ApiError::Internal("a built-in name is invalid".into());
        let mut event = NewEvent::plain(
            EventType::try_from(event_type.to_owned()).map_err(internal)?,
            AggregateType::try_from("projection".to_owned()).map_err(internal)?,
            AggregateId::try_from(parked.to_string()).map_err(internal)?,
            data,
        );
        event.causation_id = Some(parked);
        event.part = Some(Part::Processing);
        Ok(event)
    }
}
