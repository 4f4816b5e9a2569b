//! `POST /events/{id}/compensate`: the event stays, and its declared inverse is appended to its stream, caused by it.
//!
//! What the inverse holds follows from what the entity was and is, so it is worked out at a version of the stream and appended
//! at that version only; where somebody else was faster it is worked out again. That an event is compensated once follows from
//! the same: whoever loses the race finds the other's compensation.

mod ask;
mod work;

use annals::App;
use annals::domain::{Caller, Event, EventId};
use annals::http::{ApiError, Authenticated, JsonBody, Params, Path, RequestContext};
use annals::intake::{self, Framing};
use annals::store::Reading;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use uuid::Uuid;

use self::ask::Ask;
use crate::entities::{TRIES, contended, is_conflict};
use crate::events::answer_single;

/// 201 with the compensating event; 200 with it where it had been appended before, under the same key.
pub async fn compensate(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params,
    body: Option<JsonBody>,
) -> Result<Response, ApiError> {
    params.end()?;
    let ask = Ask::read(body, &headers)?;
    let recorded = ask.recorded(&context);
    let id = Uuid::try_parse(&id).map_err(|_| missing())?;
    let found = app.store.find_event(&caller, id.into(), Reading::AsStored).await?;
    let event = found.ok_or_else(missing)?;
    for _ in 0..TRIES {
        if let Some(earlier) = ask.earlier(&app, &caller, event.id).await? {
            return answer_single(&earlier, StatusCode::OK);
        }
        let Some(inverse) = work::inverse(&app, &caller, &event, &ask).await? else {
            continue;
        };
        let inverse = [inverse];
        match intake::append(&app, &caller, &inverse, &recorded, Framing::Single).await {
            Ok(appended) => {
                let id = appended.first().map(|appended| appended.id);
                let stored = appended_event(&app, &caller, id).await?;
                if ask.made(&stored) {
                    return answer_single(&stored, StatusCode::CREATED);
                }
            }
            Err(error) if is_conflict(&error) => {}
            Err(error) => return Err(ApiError::from_intake(error, Framing::Single)),
        }
    }
    Err(contended())
}

/// The event as it stands in the log. An append that lost its acknowledgement is settled by the event's id, which every
/// compensation of the same event takes: what is found may be another request's.
async fn appended_event(app: &App, caller: &Caller, id: Option<EventId>) -> Result<Event, ApiError> {
    let gone = || ApiError::Internal("an appended event is missing".into());
    let id = id.ok_or_else(gone)?;
    let found = app.store.find_event(caller, id, Reading::AsStored).await?;
    found.ok_or_else(gone)
}

fn missing() -> ApiError {
    ApiError::no_such_event()
}
