//! `POST /entities/{type}/{id}/snapshots`: staff takes a snapshot of an entity now, and may give a reason.

use annals_domain::event::MAX_METADATA_BYTES;
use annals_domain::reason::Reason;
use annals_domain::{AggregateId, AggregateType, Caller, StreamId};
use annals_http::{ApiError, Authenticated, JsonBody};
use annals_store::{Bounds, SnapshotMetadata, StateRow};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::reason::{reason_at, refused_reason};
use crate::write_request::WriteRequest;

/// The body: `{"reason": "…", "metadata": {…}}`, both optional. `metadata.reason` is the same as `reason`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    reason: Option<String>,
    metadata: Option<Map<String, Value>>,
}

/// Takes a snapshot of the entity as it is now. 201 with its version and metadata.
pub async fn take(request: WriteRequest<(String, String)>, body: JsonBody) -> Result<Response, ApiError> {
    request.params.end()?;
    let caller = Authenticated(request.by.caller).staff()?;
    let (app, (aggregate_type, aggregate_id)) = (request.by.app, request.path);
    let metadata = metadata_of(body.read()?, &caller)?;
    let missing = || ApiError::no_such_entity(&aggregate_type, &aggregate_id);
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
            aggregate_type: AggregateType::try_from(aggregate_type.clone()).map_err(|_| missing())?,
            aggregate_id: AggregateId::try_from(aggregate_id.clone()).map_err(|_| missing())?,
        },
        started_by: found.started_by,
        entity: found.entity,
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

/// What is kept with the snapshot. As with events, the actor is the token's.
fn metadata_of(body: Body, caller: &Caller) -> Result<SnapshotMetadata, ApiError> {
    let mut also = body.metadata.unwrap_or_default();
    if json!(also).to_string().len() > MAX_METADATA_BYTES {
        let detail = format!("metadata must be at most {MAX_METADATA_BYTES} bytes of JSON");
        return Err(ApiError::unprocessable("invalid_metadata", detail, Vec::new()));
    }
    let created_by = caller.actor().as_str().to_owned();
    let named = also.remove("created_by").filter(|named| !named.is_null());
    if named.is_some_and(|named| named != created_by.as_str()) {
        let detail = "metadata.created_by is set by the server; leave it out";
        return Err(ApiError::forbidden("actor_forged", detail));
    }
    Ok(SnapshotMetadata {
        created_by,
        reason: reason_of(body.reason, also.remove("reason"))?.map(|reason| reason.to_string()),
        also,
    })
}

fn reason_of(given: Option<String>, in_metadata: Option<Value>) -> Result<Option<Reason>, ApiError> {
    const IN_METADATA: &str = "/metadata/reason";
    let given = reason_at("/reason", given)?;
    let noted = match in_metadata {
        None | Some(Value::Null) => None,
        Some(Value::String(reason)) => reason_at(IN_METADATA, Some(reason))?,
        Some(_) => return Err(refused_reason(IN_METADATA, "must be a string")),
    };
    if given.is_some() && noted.is_some() && given != noted {
        return Err(refused_reason(IN_METADATA, "differs from reason; send only one"));
    }
    Ok(given.or(noted))
}
