//! `GET /audit/…`: lists of events for auditors.

use crate::App;
use annals_domain::Timestamp;
use annals_domain::diff::FieldPath;
use annals_http::{ApiError, Authenticated, Cursor, Page, Params, Path};
use annals_store::{AuditQuery, HistoryEvent, Order};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::event_list::{EventList, EventQuery, MARK_TIMEOUT};
use crate::request::order;

/// `GET /audit/entity/{id}?entity_type=&field=…`: the events of an entity, newest first, each with what it changed.
pub async fn entity(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let mut query = EventQuery::read_audit(&mut params)?;
    query.filter.aggregate_id = Some(id);
    query.read_actor(&mut params)?;
    let order = order(&mut params)?;
    let field = params.read(
        "field",
        "must be a field's name, such as price, or a JSON pointer, such as /address/city",
        FieldPath::parse,
    )?;
    let cursor = Cursor::of("audit_entity", &(query.scope(), order, &field, caller.tenant_id()));
    let list = EventList::read(query, order, cursor, params)?;
    // First the high-water mark, then the types that patterns match, then the events: see `EventList::ascending_page`.
    let mark = match order {
        Order::Asc => {
            let mark = app.store.high_water_mark_or_older(MARK_TIMEOUT).await?;
            Some(mark.max(list.after.unwrap_or(0)))
        }
        Order::Desc => None,
    };
    let filter = list.query.resolve(&app, &caller).await?;
    let query = AuditQuery {
        filter: &filter,
        order,
        after: list.after,
        high_water_mark: mark,
        limit: list.limit.plus_one(),
        field: field.as_ref(),
        reading: list.reading,
    };
    let found = app.store.list_audited(&caller, query).await?;
    let encode = |number: i64| list.cursor.encode(&number.to_string());
    let after_entry = |entry: &HistoryEvent| encode(entry.event.event_number);
    let page = Page::searched(&found.entries, list.limit, after_entry, found.examined_to.map(encode))?;
    match mark {
        Some(mark) => list.query.with_cursor(page, &encode(mark)),
        None => Ok(page),
    }
}

/// `GET /audit/user/{id}`: the events of an actor, newest first. A uuid is the id of a user; anything else, such as `agent:pricing`, is the
/// name of an actor.
pub async fn user(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let mut query = EventQuery::read_audit(&mut params)?;
    match Uuid::try_parse(&id) {
        Ok(user_id) => query.filter.user_id = Some(user_id),
        Err(_) => query.filter.created_by = Some(id),
    }
    let order = order(&mut params)?;
    let cursor = query.cursor("audit_user", order, &caller);
    EventList::read(query, order, cursor, params)?.page(&app, &caller).await
}

/// Largest value of `hours`: a hundred years.
const MAX_HOURS: u32 = 876_600;

/// `GET /audit/recent?hours=24&entity_type=…`: the events of the last hours, newest first.
pub async fn recent(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let read_hours = |value: &str| value.parse::<u32>().ok().filter(|n| (1..=MAX_HOURS).contains(n));
    let hours = params.read("hours", "must be a whole number from 1 to 876600", read_hours)?;
    let mut query = EventQuery::read_audit(&mut params)?;
    query.read_actor(&mut params)?;
    let hours = match (hours, query.filter.from) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "contradictory_parameters",
                "give either hours or from, not both",
            ));
        }
        (None, Some(_)) => None,
        (hours, None) => Some(hours.unwrap_or(24)),
    };
    let order = order(&mut params)?;
    // The cursor belongs to the number of hours, not to the start time that follows from it, because each page is requested a little later.
    let cursor = Cursor::of("audit_recent", &(query.scope(), order, hours, caller.tenant_id()));
    if let Some(hours) = hours {
        query.filter.from = Some(Timestamp::from(Utc::now() - TimeDelta::hours(i64::from(hours))));
    }
    EventList::read(query, order, cursor, params)?.page(&app, &caller).await
}

/// `GET /audit/count/{id}?entity_type=`: the number of an entity's events.
pub async fn count(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let entity_type = params.aggregate_type("entity_type")?;
    params.end()?;
    let count = app
        .store
        .count_entity_events(&caller, &id, entity_type.as_deref())
        .await?;
    Ok(Json(json!({"entity_id": id, "count": count})).into_response())
}
