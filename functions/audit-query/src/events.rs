//! `GET /events…`: filtered lists of the log, the feed of new events, single events, and events that are not projected yet.

use std::time::{Duration, Instant};

use crate::App;
use annals_http::{ApiError, Authenticated, Cursor, Page, Params, Path, WrittenJson, revalidated};
use annals_store::Order;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use uuid::Uuid;

use crate::event_list::{AscendingPage, EventList, EventQuery, MARK_TIMEOUT};
use crate::request::order;

/// `GET /events`.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let mut query = EventQuery::read(&mut params)?;
    query.filter.processed = params.boolean("processed")?;
    let order = order(&mut params)?;
    let cursor = query.cursor("events", order, &caller);
    EventList::read(query, order, cursor, params)?.page(&app, &caller).await
}

/// Longest wait of `/events/feed`. API Gateway allows 30 s for an answer; the rest is for the work before and after the wait.
const MAX_WAIT_SECONDS: u64 = 20;
/// Pause after the first poll for new events. It doubles up to the longest pause. A poll reads the highest number and one list of locks,
/// and takes no transaction id.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// `GET /events/feed?after=&limit=&wait=`: the events after a cursor. If there are none yet, it waits for them up to `wait` seconds.
/// `after=now` begins at the end of the log. It does not take `processed`, because an event before the cursor may become processed later
/// and would be missed.
pub async fn feed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let query = EventQuery::read(&mut params)?;
    let cursor = query.cursor("events", Order::Asc, &caller);
    let after = params.one("after")?;
    let read_wait = |value: &str| value.parse().ok().filter(|seconds| *seconds <= MAX_WAIT_SECONDS);
    let wait = params.read("wait", "must be a whole number of seconds from 0 to 20", read_wait)?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let mut position = match after.as_deref() {
        None => 0,
        Some("now") => app.store.high_water_mark_or_older(MARK_TIMEOUT).await?,
        Some(after) => cursor.decode_number(after)?,
    };
    let list = EventList {
        query,
        order: Order::Asc,
        cursor,
        after: None,
        limit,
        reading,
    };
    let deadline = Instant::now() + Duration::from_secs(wait.unwrap_or(0));
    let mut pause = FIRST_PAUSE;
    loop {
        let AscendingPage { page, mark } = list.ascending_page(&app, &caller, position).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if !page.is_empty() || left.is_zero() {
            return Ok(page.of_feed(list.cursor.encode(&mark.to_string())));
        }
        position = mark;
        // The connection is back in the pool during the pause, so `local` can serve other requests with it. On Lambda an environment serves
        // one request at a time: a waiting reader occupies it, and its connection, until the answer (template.yaml, `RouteSettings`).
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// `GET /events/{id}?upcast=`. 304 if `If-None-Match` has the tag of the answer.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let reading = params.reading()?;
    params.end()?;
    let id = Uuid::try_parse(&id).map_err(|_| ApiError::no_such_event())?;
    let found = app.store.find_event(&caller, id.into(), reading).await?;
    let event = found.ok_or_else(ApiError::no_such_event)?;
    Ok(revalidated(&headers, WrittenJson::of(&event)?))
}

/// `GET /events/unprocessed`: oldest first, the events of parked streams included.
pub async fn unprocessed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Page, ApiError> {
    let cursor = Cursor::of("unprocessed", &caller.tenant_id());
    EventList::read(EventQuery::unprocessed(), Order::Asc, cursor, params)?
        .page(&app, &caller)
        .await
}
