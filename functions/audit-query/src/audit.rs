//! `GET /audit/…`: the questions that auditors ask.

use annals::App;
use annals::domain::Timestamp;
use annals::domain::diff::FieldPath;
use annals::http::{ApiError, Authenticated, Cursor, Page, Params, Path};
use annals::store::{AuditQuery, HistoryEvent, Order};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::events::{Asked, PATIENCE, order, page};

/// `GET /audit/entity/{id}?entity_type=&field=…`: what happened to an entity, newest first, and what each event changed.
pub async fn entity(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let mut asked = Asked::of_audit(&mut params)?;
    asked.filter.aggregate_id = Some(id);
    asked.read_actor(&mut params)?;
    let order = order(&mut params)?;
    let field = params.read(
        "field",
        "must be a field's name, such as price, or a JSON pointer, such as /address/city",
        FieldPath::parse,
    )?;
    let cursor = Cursor::of("audit_entity", &(asked.scope(), order, &field, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    // The mark first, then what patterns stand for, then the page, as for every list that a reader goes on reading.
    let settled_to = match order {
        Order::Asc => Some(app.store.settled_mark_or_older(PATIENCE).await?.max(after.unwrap_or(0))),
        Order::Desc => None,
    };
    let filter = asked.resolved(&app, &caller).await?;
    let query = AuditQuery {
        filter: &filter,
        order,
        after,
        settled_to,
        limit: limit.plus_one(),
        field: field.as_ref(),
        reading,
    };
    let found = app.store.list_audited(&caller, query).await?;
    let encode = |number: i64| cursor.encode(&number.to_string());
    let after_entry = |entry: &HistoryEvent| encode(entry.event.event_number);
    let page = Page::searched(&found.entries, limit, after_entry, found.looked_to.map(encode))?;
    match settled_to {
        Some(settled_to) => asked.with_cursor(page, &encode(settled_to)),
        None => Ok(page),
    }
}

/// `GET /audit/user/{id}`: what an actor did, newest first. A uuid is a person; `agent:pricing` and the like are actors.
pub async fn user(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let mut asked = Asked::of_audit(&mut params)?;
    match Uuid::try_parse(&id) {
        Ok(user_id) => asked.filter.user_id = Some(user_id),
        Err(_) => asked.filter.created_by = Some(id),
    }
    let order = order(&mut params)?;
    let cursor = Cursor::of("audit_user", &(asked.scope(), order, caller.tenant_id()));
    page(&app, &caller, asked, order, cursor, params).await
}

/// Longest look back: a hundred years.
const MAX_HOURS: u32 = 876_600;

/// `GET /audit/recent?hours=24&entity_type=…`: what happened lately, newest first.
pub async fn recent(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let read = |value: &str| {
        value
            .parse::<u32>()
            .ok()
            .filter(|hours| (1..=MAX_HOURS).contains(hours))
    };
    let hours = params.read("hours", "must be a whole number from 1 to 876600", read)?;
    let mut asked = Asked::of_audit(&mut params)?;
    asked.read_actor(&mut params)?;
    let hours = match (hours, asked.filter.from) {
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "contradictory_parameters",
                "hours and from both say where the list begins: give one of them",
            ));
        }
        (None, Some(_)) => None,
        (hours, None) => Some(hours.unwrap_or(24)),
    };
    // The cursor belongs to the question (so many hours), not to the moment it was asked at: the next page asks a little later.
    let order = order(&mut params)?;
    let cursor = Cursor::of("audit_recent", &(asked.scope(), order, hours, caller.tenant_id()));
    if let Some(hours) = hours {
        asked.filter.from = Some(Timestamp::from(Utc::now() - TimeDelta::hours(i64::from(hours))));
    }
    page(&app, &caller, asked, order, cursor, params).await
}

/// `GET /audit/count/{id}?entity_type=`: how many events an entity has.
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
