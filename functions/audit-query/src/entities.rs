//! `GET /entities/…`: what things look like now, the caller's own last write included.

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Cursor, EntityAnswer, Page, Params, Path};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::past;

/// `GET /entities/{type}/{id}`; a deleted entity is shown, marked as such. `?at=`, `?version=` and `?valid_at=` ask for the past.
/// 304 where `If-None-Match` names what the answer would be.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let bounds = past::bounds(&mut params)?;
    params.end()?;
    if let Some(bounds) = bounds {
        return past::find(&app, &caller, &aggregate_type, &aggregate_id, bounds).await;
    }
    let found = app.store.find_entity(&caller, &aggregate_type, &aggregate_id).await?;
    match found {
        Some(entity) => EntityAnswer::from(entity).to_reader(&headers),
        None => Err(missing(&app, &caller, &aggregate_type, &aggregate_id).await),
    }
}

/// 404, which says whether it is the kind that there is not, or the entity.
pub(crate) async fn missing(app: &App, caller: &Caller, aggregate_type: &str, aggregate_id: &str) -> ApiError {
    match refuse_unknown(app, caller, aggregate_type).await {
        Err(unknown) => unknown,
        Ok(()) => ApiError::no_such_entity(aggregate_type, aggregate_id),
    }
}

/// `GET /entities/{type}/{id}/snapshots`: which there are, newest first, without their states.
pub async fn snapshots(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let found = app
        .store
        .list_snapshots(&caller, &aggregate_type, &aggregate_id)
        .await?;
    if found.is_empty() {
        refuse_unknown(&app, &caller, &aggregate_type).await?;
    }
    Ok(Json(json!({"items": found, "next_cursor": null})).into_response())
}

/// `GET /entities/{type}?deleted=`: by id, deleted ones only when asked for.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(aggregate_type): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let deleted = params.boolean("deleted")?.unwrap_or(false);
    let cursor = Cursor::of("entities", &(&aggregate_type, deleted, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode(&c)).transpose()?;
    let limit = params.limit()?;
    params.end()?;
    refuse_unknown(&app, &caller, &aggregate_type).await?;
    let found = app
        .store
        .list_entities(&caller, &aggregate_type, after.as_deref(), limit.plus_one())
        .await?;
    let found: Vec<EntityAnswer> = found.into_iter().map(EntityAnswer::from).collect();
    Page::filtered(
        &found,
        limit,
        |entity| entity.deleted == deleted,
        |entity| cursor.encode(&entity.aggregate_id),
    )
}

async fn refuse_unknown(app: &App, caller: &Caller, aggregate_type: &str) -> Result<(), ApiError> {
    let known = app
        .store
        .outline(caller)
        .await?
        .knows_aggregate(caller.tenant_id(), aggregate_type)
        || app
            .store
            .fresh_outline(caller)
            .await?
            .knows_aggregate(caller.tenant_id(), aggregate_type);
    if known {
        Ok(())
    } else {
        Err(ApiError::no_such_kind(aggregate_type))
    }
}
