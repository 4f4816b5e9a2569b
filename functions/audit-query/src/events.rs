//! `GET /events…`: the log as it stands, filtered, and what is not projected yet.

use annals::App;
use annals::domain::{Caller, Event};
use annals::http::{ApiError, Authenticated, Cursor, Limit, Page, Params, Path};
use annals::store::{EventFilter, Order};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

/// `GET /events`.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let types = params.all("event_type");
    let filter = EventFilter {
        event_types: resolve_types(&app, &caller, &types).await?,
        aggregate_type: params.one("aggregate_type")?,
        aggregate_id: params.one("aggregate_id")?,
        user_id: params.uuid("user_id")?,
        created_by: params.one("created_by")?,
        correlation_id: params.one("correlation_id")?,
        causation_id: params.uuid("causation_id")?,
        from: params.timestamp("from")?,
        to: params.timestamp("to")?,
        processed: params.boolean("processed")?,
    };
    let order = params.read("order", "must be asc or desc", |value| match value {
        "asc" => Some(Order::Asc),
        "desc" => Some(Order::Desc),
        _ => None,
    })?;
    let order = order.unwrap_or(Order::Desc);
    // A cursor belongs to the patterns as they were asked for: what they stand for may grow between two pages.
    let asked = EventFilter {
        event_types: Some(types),
        ..filter.clone()
    };
    let cursor = Cursor::of("events", &(asked, order, caller.tenant_id()));
    page_after(&app, &caller, &cursor, filter, order, params).await
}

/// A page of the events that match, by event number.
pub(crate) async fn page(
    app: &App,
    caller: &Caller,
    list: &str,
    filter: EventFilter,
    order: Order,
    params: Params,
) -> Result<Page, ApiError> {
    let cursor = Cursor::of(list, &(&filter, order, caller.tenant_id()));
    page_after(app, caller, &cursor, filter, order, params).await
}

async fn page_after(
    app: &App,
    caller: &Caller,
    cursor: &Cursor,
    filter: EventFilter,
    order: Order,
    mut params: Params,
) -> Result<Page, ApiError> {
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let found = app
        .store
        .list_events(caller, &filter, order, after, limit.plus_one(), reading)
        .await?;
    by_number(&found, limit, cursor)
}

fn by_number(found: &[Event], limit: Limit, cursor: &Cursor) -> Result<Page, ApiError> {
    Page::cut(found, limit, |event| cursor.encode(&event.event_number.to_string()))
}

/// The types that names and patterns (`order.*`) stand for. A pattern that fits nothing finds nothing, and so does a name that
/// the catalog lacks: a filter describes events, it does not order any.
async fn resolve_types(app: &App, caller: &Caller, names: &[String]) -> Result<Option<Vec<String>>, ApiError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut types: Vec<String> = Vec::new();
    // Patterns are resolved against a fresh catalog: a type registered a moment ago by another function must not be left out.
    let catalog = if names.iter().any(|name| name.ends_with(".*")) {
        Some(app.store.fresh_outline(caller).await?)
    } else {
        None
    };
    for name in names {
        match (name.strip_suffix('*').filter(|prefix| prefix.ends_with('.')), &catalog) {
            (Some(prefix), Some(catalog)) => {
                let known = catalog.list(caller.tenant_id());
                types.extend(
                    known
                        .iter()
                        .map(|kind| kind.event_type.to_string())
                        .filter(|name| name.starts_with(prefix)),
                );
            }
            _ => types.push(name.clone()),
        }
    }
    types.sort();
    types.dedup();
    Ok(Some(types))
}

/// `GET /events/{id}?upcast=`.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let reading = params.reading()?;
    params.end()?;
    let missing = || ApiError::not_found("there is no such event");
    let id = Uuid::try_parse(&id).map_err(|_| missing())?;
    let found = app.store.find_event(&caller, id.into(), reading).await?;
    let event = found.ok_or_else(missing)?;
    Ok(Json(event).into_response())
}

/// `GET /events/unprocessed`: oldest first.
pub async fn unprocessed(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let cursor = Cursor::of("unprocessed", &caller.tenant_id());
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let found = app
        .store
        .list_unprocessed(&caller, after.unwrap_or(0), limit.plus_one(), reading)
        .await?;
    by_number(&found, limit, &cursor)
}
