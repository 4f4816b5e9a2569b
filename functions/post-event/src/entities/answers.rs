//! What a change of an entity is answered with: the entity as it is now.

use annals::App;
use annals::domain::{AggregateId, Caller};
use annals::http::{ApiError, EntityAnswer};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::verb::Verb;

/// The entity as it is now. A state that the caller may not see any more, because another actor has added an event that is hidden
/// from the caller, is null; then `version` is the one that the request led to, where it led to one.
pub(super) async fn answer(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    id: &str,
    version: Option<i32>,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let kind = verb.aggregate_type.as_str();
    match app.store.find_entity(caller, kind, id).await? {
        Some(found) => Ok((status, EntityAnswer::from(found)).into_response()),
        None => {
            let hidden = json!({"aggregate_type": kind, "aggregate_id": id, "version": version, "state": null});
            Ok((status, Json(hidden)).into_response())
        }
    }
}

/// The answer to a creation: 200 where the entity had been created before, by the same request.
pub(super) async fn created(
    app: &App,
    caller: &Caller,
    verb: &Verb,
    id: &AggregateId,
    version: Option<i32>,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let mut response = answer(app, caller, verb, id.as_str(), version, status).await?;
    let path = format!(
        "/api/v1/entities/{}/{}",
        verb.aggregate_type,
        percent_encode(id.as_str())
    );
    if let Ok(location) = HeaderValue::from_str(&path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
