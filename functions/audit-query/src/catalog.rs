//! `GET /events/types…`: which events exist, what their data must look like, who may post them.

use annals::App;
use annals::domain::{EventKind, EventType};
use annals::http::{ApiError, Authenticated, Cursor, Listed, Page, Params, Path};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// `GET /events/types?aggregate_type=`: by name.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let aggregate_type = params.aggregate_type("aggregate_type")?;
    let cursor = Cursor::of("types", &(&aggregate_type, caller.tenant_id()));
    let after = params
        .one("cursor")?
        .map(|c| cursor.decode(&c))
        .transpose()?
        .unwrap_or_default();
    let limit = params.limit()?;
    params.end()?;
    let catalog = app.store.fresh_catalog(&caller).await?;
    let wanted = |kind: &Arc<EventKind>| {
        kind.event_type.as_str() > after.as_str()
            && aggregate_type
                .as_deref()
                .is_none_or(|t| kind.aggregate_type.as_str() == t)
    };
    let found: Vec<Listing> = catalog
        .list(caller.tenant_id())
        .into_iter()
        .filter(|kind| wanted(kind))
        .take(limit.items() + 1)
        .map(|kind| Listing(Arc::clone(kind)))
        .collect();
    Page::cut(&found, limit, |kind| cursor.encode(kind.0.event_type.as_str()))
}

/// A type that becomes JSON when it is its turn: a page may end long before the last of them.
struct Listing(Arc<EventKind>);

impl Listed for Listing {}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_json().serialize(serializer)
    }
}

/// `GET /events/types/{event_type}`.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(event_type): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let catalog = app.store.fresh_catalog(&caller).await?;
    let kind = catalog.find(caller.tenant_id(), &event_type).ok_or_else(|| {
        ApiError::not_found(format!(
            "there is no event type {event_type}; GET /api/v1/events/types lists those that there are"
        ))
    })?;
    Ok(Json(kind.to_json()).into_response())
}

/// `GET /events/upcasters?event_type=`: every upcaster that reads of the caller's tenant go through, by type and version. Where a
/// tenant has an upcaster of its own for a version, it stands in place of the built-in one, as it does for reads.
pub async fn upcasters(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let event_type = params.event_type("event_type")?;
    let cursor = Cursor::of("upcasters", &(&event_type, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode(&c)).transpose()?;
    let limit = params.limit()?;
    params.end()?;
    let after = after.as_deref().and_then(|key| key.split_once(' '));
    let found = app
        .store
        .list_upcasters(
            &caller,
            event_type.as_ref().map(EventType::as_str),
            after,
            limit.plus_one(),
        )
        .await?;
    Page::cut(&found, limit, |upcaster| {
        cursor.encode(&format!("{} {}", upcaster.event_type, upcaster.from_version))
    })
}
