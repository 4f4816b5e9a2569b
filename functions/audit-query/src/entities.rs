//! `GET /entities/…`: what things look like now, the caller's own last write included.

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Cursor, EntityAnswer, Page, Params, Path};
use axum::extract::State;

/// `GET /entities/{type}/{id}`; a deleted entity is shown, marked as such.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    params: Params,
) -> Result<EntityAnswer, ApiError> {
    params.end()?;
    let found = app.store.find_entity(&caller, &aggregate_type, &aggregate_id).await?;
    found
        .map(EntityAnswer::from)
        .ok_or_else(|| ApiError::not_found(format!("there is no such {aggregate_type}")))
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
        .catalog(caller)
        .await?
        .knows_aggregate(caller.tenant_id(), aggregate_type)
        || app
            .store
            .fresh_catalog(caller)
            .await?
            .knows_aggregate(caller.tenant_id(), aggregate_type);
    if known {
        Ok(())
    } else {
        Err(ApiError::not_found("there are no such entities"))
    }
}
