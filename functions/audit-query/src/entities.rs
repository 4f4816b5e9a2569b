//! `GET /entities/…`: the present state of entities. A caller always sees its own last write.

use crate::App;
use annals_http::{ApiError, Authenticated, Cursor, EntityAnswer, Page, Params, Path};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::not_found::{check_type_exists, not_found};
use crate::past;
use crate::request::after_key;

/// `GET /entities/{type}/{id}`. A deleted entity is shown and marked as deleted. `?at=`, `?version=` and `?valid_at=` ask for a past state.
/// 304 if `If-None-Match` has the tag of the answer.
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
        None => Err(not_found(&app, &caller, &aggregate_type, &aggregate_id).await),
    }
}

/// `GET /entities/{type}/{id}/snapshots`: a stream's snapshots, newest first, without their states.
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
        check_type_exists(&app, &caller, &aggregate_type).await?;
    }
    Ok(Json(json!({"items": found, "next_cursor": null})).into_response())
}

/// `GET /entities/{type}?deleted=`: sorted by id. Deleted entities are listed only with `deleted=true`, and then alone.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(aggregate_type): Path<String>,
    mut params: Params,
) -> Result<Page, ApiError> {
    let deleted = params.boolean("deleted")?.unwrap_or(false);
    let cursor = Cursor::of("entities", &(&aggregate_type, deleted, caller.tenant_id()));
    let after = after_key(&mut params, &cursor)?;
    let limit = params.limit()?;
    params.end()?;
    check_type_exists(&app, &caller, &aggregate_type).await?;
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
