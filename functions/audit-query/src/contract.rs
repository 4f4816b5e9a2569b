//! `GET /openapi.json`: the OpenAPI document of the whole API.

use std::sync::{Arc, LazyLock};

use annals_domain::EventKind;
use annals_http::{ApiError, Authenticated, Params, WrittenJson, digest_of, revalidated, unless_known};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::Response;

use crate::App;

/// The tag of the document for every caller, which never changes while the program runs.
static TAG: LazyLock<String> = LazyLock::new(|| format!("\"{}\"", digest_of(annals_openapi::text().as_bytes())));

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
        let text = Bytes::from_static(annals_openapi::text().as_bytes());
        let answer = ([(header::CONTENT_TYPE, "application/json")], text);
        return Ok(unless_known(&headers, &TAG, None, answer));
    }
    let Authenticated(caller) = authenticated.ok_or_else(ApiError::unauthorized)?;
    let catalog = app.store.fresh_catalog(&caller).await?;
    let kinds = catalog.list(caller.tenant_id());
    let kinds = kinds.into_iter().map(|kind: &Arc<EventKind>| &**kind);
    let body = WrittenJson::of(&annals_openapi::for_caller(caller.role(), kinds))?;
    Ok(revalidated(&headers, body))
}
