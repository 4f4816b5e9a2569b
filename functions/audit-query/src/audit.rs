//! `GET /audit/…`: the questions that auditors ask.

use annals::App;
use annals::domain::Timestamp;
use annals::http::{ApiError, Authenticated, Page, Params, Path};
use annals::store::{EventFilter, Order};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::events::newest;

/// `GET /audit/entity/{id}?entity_type=`: what happened to an entity, newest first.
pub async fn entity(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let filter = EventFilter {
        aggregate_id: Some(id),
        aggregate_type: params.one("entity_type")?,
        ..EventFilter::default()
    };
    newest(&app, &caller, "audit_entity", filter, params).await
}

/// `GET /audit/user/{id}`: what somebody did, newest first. A uuid is a person; `agent:pricing` and the like are actors.
pub async fn user(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Page, ApiError> {
    let filter = match Uuid::try_parse(&id) {
        Ok(user_id) => EventFilter {
            user_id: Some(user_id),
            ..EventFilter::default()
        },
        Err(_) => EventFilter {
            created_by: Some(id),
            ..EventFilter::default()
        },
    };
    newest(&app, &caller, "audit_user", filter, params).await
}

/// Longest look back: a hundred years.
const MAX_HOURS: u32 = 876_600;

/// `GET /audit/recent?hours=24&entity_type=`: what happened lately, newest first.
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
    let hours = params
        .read("hours", "must be a whole number of hours from 1", read)?
        .unwrap_or(24);
    let filter = EventFilter {
        aggregate_type: params.one("entity_type")?,
        ..EventFilter::default()
    };
    // The cursor belongs to the question (so many hours), not to the moment it was asked at: the next page asks a little later.
    let from = Timestamp::from(Utc::now() - TimeDelta::hours(i64::from(hours)));
    let cursor = annals::http::Cursor::of("audit_recent", &(&filter, hours, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let (limit, reading) = (params.limit()?, params.reading()?);
    params.end()?;
    let filter = EventFilter {
        from: Some(from),
        ..filter
    };
    let found = app
        .store
        .list_events(&caller, &filter, Order::Desc, after, limit.plus_one(), reading)
        .await?;
    Page::cut(&found, limit, |event| cursor.encode(&event.event_number.to_string()))
}

/// `GET /audit/count/{id}?entity_type=`: how many events an entity has.
pub async fn count(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let entity_type = params.one("entity_type")?;
    params.end()?;
    let count = app
        .store
        .count_entity_events(&caller, &id, entity_type.as_deref())
        .await?;
    Ok(Json(json!({"entity_id": id, "count": count})).into_response())
}
