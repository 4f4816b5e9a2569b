//! `GET /events/types…` and `/events/upcasters`: the event types, their schemas, who may post them, and how old versions are upcast.

use crate::App;
use annals_domain::{EventKind, EventType};
use annals_http::{ApiError, Authenticated, Cursor, Listed, Page, Params, Path, WrittenJson, revalidated};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Serialize, Serializer};
use std::sync::Arc;

use crate::request::after_key;

/// `GET /events/types?aggregate_type=`: sorted by name.
pub async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let aggregate_type = params.aggregate_type("aggregate_type")?;
    let cursor = Cursor::of("types", &(&aggregate_type, caller.tenant_id()));
    let after = after_key(&mut params, &cursor)?.unwrap_or_default();
    let limit = params.limit()?;
    params.end()?;
    let catalog = app.store.fresh_catalog(&caller).await?;
    let is_listed = |kind: &Arc<EventKind>| {
        let wanted = aggregate_type.as_deref();
        kind.event_type.as_str() > after.as_str() && wanted.is_none_or(|t| kind.aggregate_type.as_str() == t)
    };
    let found: Vec<Listing> = catalog
        .list(caller.tenant_id())
        .into_iter()
        .filter(|kind| is_listed(kind))
        .take(limit.items() + 1)
        .map(|kind| Listing(Arc::clone(kind)))
        .collect();
    Page::cut(&found, limit, |kind| cursor.encode(kind.0.event_type.as_str()))
}

/// A type in a page. It becomes JSON only when the page is written: a page that reaches its limit of bytes ends early, and the types after
/// it are never written.
struct Listing(Arc<EventKind>);

impl Listed for Listing {}

impl Serialize for Listing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_json().serialize(serializer)
    }
}

/// `GET /events/types/{event_type}`. 304 if `If-None-Match` has the tag of the answer.
pub async fn find(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(event_type): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let catalog = app.store.fresh_catalog(&caller).await?;
    let kind = catalog.find(caller.tenant_id(), &event_type).ok_or_else(|| {
        ApiError::not_found(format!(
            "there is no event type {event_type}; GET /api/v1/events/types lists all event types"
        ))
    })?;
    Ok(revalidated(&headers, WrittenJson::of(&kind.to_json())?))
}

/// `GET /events/upcasters?event_type=`: every upcaster that the caller's reads use, sorted by type and version. If the tenant has an
/// upcaster of its own for a version, it replaces the built-in one, here as in reads.
pub async fn upcasters(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    mut params: Params,
) -> Result<Page, ApiError> {
    let event_type = params.event_type("event_type")?;
    let cursor = Cursor::of("upcasters", &(&event_type, caller.tenant_id()));
    let after = after_key(&mut params, &cursor)?;
    let limit = params.limit()?;
    params.end()?;
    let after = after.as_deref().and_then(|key| key.split_once(' '));
    let event_type = event_type.as_ref().map(EventType::as_str);
    let found = app
        .store
        .list_upcasters(&caller, event_type, after, limit.plus_one())
        .await?;
    Page::cut(&found, limit, |upcaster| {
        cursor.encode(&format!("{} {}", upcaster.event_type, upcaster.from_version))
    })
}
