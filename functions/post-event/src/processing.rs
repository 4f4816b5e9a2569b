//! What staff decides about projection: a parked event is retried or left out, a sweep or a rebuild is asked for.

use annals::App;
use annals::domain::event::Part;
use annals::domain::reason::Reason;
use annals::domain::{AggregateId, AggregateType, EventType, NewEvent};
use annals::http::{ApiError, Authenticated, JsonBody, NoBody, Params, Path, RequestContext};
use annals::intake::{self, Framing};
use annals::store::Reading;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, json};
use uuid::Uuid;

use crate::reason::reason_at;

/// A decision as it is sent.
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

/// `PUT /events/{id}/processing`: the decision becomes an event, which the projector carries out when it meets it. The answer
/// is that event; the parked stream follows within moments, and whatever comes of it shows in `/projector/status`. There is one decision:
/// the append marks the parked stream (`annals.mark_decision`), and a second one is refused until a retry has failed.
pub async fn decide(
    State(app): State<App>,
    who: Authenticated,
    RequestContext(context): RequestContext,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let caller = who.staff()?;
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::no_such_event())?;
    let decision: Decision =
        serde_json::from_value(body).map_err(|e| ApiError::bad_request("malformed_request", e.to_string()))?;
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
    let appended = intake::append(&app, &caller, &events, &context, Framing::Single)
        .await
        .map_err(|e| ApiError::from_intake(e, Framing::Single))?;
    let stored = intake::stored_events(&app, &caller, events, &appended, &context).await?;
    Ok(Json(stored.first()).into_response())
}

/// `POST /projector/sweep`: asks the projector to go along the log now rather than at its next tick.
pub async fn sweep(
    State(app): State<App>,
    who: Authenticated,
    params: Params,
    _none: NoBody,
) -> Result<Response, ApiError> {
    params.end()?;
    who.staff()?;
    app.queue.ask_for_sweep().await;
    Ok((StatusCode::ACCEPTED, Json(json!({"status": "requested"}))).into_response())
}

/// A rebuild as it is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RebuildBody {
    module: Option<String>,
}

/// `POST /projector/rebuild`: asks for the tenant's read models, or those of one module, to be made anew from the log. The
/// projector does it; `/projector/status` tells how it is getting on.
pub async fn rebuild(
    State(app): State<App>,
    who: Authenticated,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let caller = who.staff()?;
    let body: RebuildBody =
        serde_json::from_value(body).map_err(|e| ApiError::bad_request("malformed_request", e.to_string()))?;
    let id = app.store.request_rebuild(&caller, body.module.as_deref()).await?;
    app.queue.ask_for_rebuilds().await;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "status": "requested"}))).into_response())
}

impl Action {
    fn into_event(self, parked: Uuid, reason: Option<Reason>) -> Result<NewEvent, ApiError> {
        let event_type = match self {
            Self::Retry => "projection.retried",
            Self::Skip if reason.is_none() => {
                return Err(ApiError::unprocessable(
                    "reason_required",
                    "say why in reason: skipping leaves the event out of the entity's state",
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
        let internal = |_| ApiError::Internal("a name of ours is not acceptable".into());
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
