//! `GET /openapi.json`: the OpenAPI document of the whole API.

use std::sync::Arc;

use annals_domain::EventKind;
use annals_http::{ApiError, Authenticated, Params, WrittenJson, revalidated};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use crate::App;

/// The document. No token is needed. `tenant=current` needs one: then the document describes each event type that the caller may post.
pub async fn document(
    State(app): State<App>,
    authenticated: Option<Authenticated>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let of_tenant = params.read("tenant", "must be current", |value| (value == "current").then_some(()))?;
    params.end()?;
    if of_tenant.is_none() {
        return revalidated(&headers, WrittenJson(annals_openapi::text().as_bytes().to_vec()));
    }
    let Authenticated(caller) = authenticated.ok_or_else(ApiError::unauthorized)?;
    let catalog = app.store.fresh_catalog(&caller).await?;
    let kinds = catalog.list(caller.tenant_id());
    let kinds = kinds.into_iter().map(|kind: &Arc<EventKind>| &**kind);
    revalidated(
        &headers,
        WrittenJson::of(&annals_openapi::for_caller(caller.role(), kinds))?,
    )
}
