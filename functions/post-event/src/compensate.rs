//! `POST /events/{id}/compensate`: appends the event's declared inverse to the event's stream, caused by it. The event itself stays.
//!
//! The data of the inverse depend on the entity's state before the event and now, so the inverse is computed at one version of the stream
//! and appended at that version only. If another request was faster, it is computed again. The same rule lets an event be compensated only
//! once: the request that loses the race finds the other one's compensation.

mod inverse;
mod request;

use annals_http::{ApiError, Framing, JsonBody};
use annals_store::Reading;
use axum::response::Response;
use uuid::Uuid;

use self::request::CompensationRequest;
use crate::entities::{TRIES, contended, is_conflict};
use crate::events::answer_single;
use crate::write_request::{Sender, WriteRequest};

/// 201 with the compensating event. 200 with that event if the same request, by its idempotency key, has appended it before.
pub async fn compensate(request: WriteRequest<String>, body: Option<JsonBody>) -> Result<Response, ApiError> {
    request.params.end()?;
    let asked = CompensationRequest::read(body, &request.headers)?;
    let id = Uuid::try_parse(&request.path).map_err(|_| ApiError::no_such_event())?;
    let Sender { app, caller, observed } = request.by;
    let observed = asked.observed(&observed);
    let found = app.store.find_event(&caller, id.into(), Reading::AsStored).await?;
    let event = found.ok_or_else(ApiError::no_such_event)?;
    for _ in 0..TRIES {
        if let Some(earlier) = asked.earlier(&app, &caller, event.id).await? {
            return answer_single(&earlier, true);
        }
        let Some(inverse) = inverse::inverse(&app, &caller, &event, &asked).await? else {
            continue;
        };
        match app.append.append_one(&caller, &inverse, &observed).await {
            // All requests to compensate one event compute the same id. If the answer of an append is lost, the append looks its event up
            // by that id, so the event that it returns may be another request's.
            Ok(appended) => {
                let stored = app.store.find_event(&caller, appended.id, Reading::AsStored).await?;
                let stored = stored.ok_or_else(|| ApiError::Internal("an appended event is missing".into()))?;
                if asked.made(&stored) {
                    return answer_single(&stored, false);
                }
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(ApiError::from_append(error, Framing::Single)),
        }
    }
    Err(contended())
}
