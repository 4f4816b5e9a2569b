//! `POST /entities/{type}/{id}/snapshots`: staff has a snapshot taken now, and says why.

use annals::App;
use annals::domain::{AggregateId, AggregateType, StreamId};
use annals::http::{ApiError, Authenticated, JsonBody, Params, Path};
use annals::store::{Bounds, SnapshotMetadata, StateRow};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

/// Why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
}

/// Most characters of a reason.
const MAX_REASON: usize = 1_000;

/// Takes a snapshot of the entity as it stands.
pub async fn take(
    State(app): State<App>,
    who: Authenticated,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let caller = who.staff()?;
    let body: Body =
        serde_json::from_value(body).map_err(|e| ApiError::bad_request("malformed_request", e.to_string()))?;
    if body
        .reason
        .as_ref()
        .is_some_and(|reason| reason.chars().count() > MAX_REASON)
    {
        let detail = format!("reason must have at most {MAX_REASON} characters");
        return Err(ApiError::unprocessable("invalid_reason", detail, Vec::new()));
    }
    let missing = || ApiError::not_found("there is no such entity");
    let past = app
        .store
        .find_entity_at(&caller, &aggregate_type, &aggregate_id, Bounds::default())
        .await?;
    let (revision, found) = past
        .and_then(|past| Some((past.catalog_revision, past.found?)))
        .ok_or_else(missing)?;
    let row = StateRow {
        stream: StreamId {
            tenant_id: caller.tenant_id(),
            aggregate_type: AggregateType::try_from(aggregate_type).map_err(|_| missing())?,
            aggregate_id: AggregateId::try_from(aggregate_id).map_err(|_| missing())?,
        },
        started_by: found.started_by,
        entity: found.entity,
    };
    let metadata = SnapshotMetadata {
        created_by: caller.actor().as_str().to_owned(),
        reason: body.reason,
    };
    let version = row.entity.version;
    if !app.store.take_snapshot(row, revision, &metadata).await? {
        let detail =
            "the catalog is changing, or read models are being rebuilt for a new version of an event type; try again";
        return Err(ApiError::conflict("rebuild_pending", detail));
    }
    Ok((
        StatusCode::CREATED,
        Json(json!({"version": version, "metadata": metadata})),
    )
        .into_response())
}
