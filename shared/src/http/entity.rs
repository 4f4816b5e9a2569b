//! An entity as the API answers with it; its version is its entity tag.

use axum::Json;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::Timestamp;
use crate::store::StoredEntity;

/// The body of `GET /entities/{type}/{id}`.
#[derive(Debug, Serialize)]
pub struct EntityAnswer {
    /// Kind of the aggregate.
    pub aggregate_type: String,
    /// The aggregate.
    pub aggregate_id: String,
    /// Version of its last event.
    pub version: i32,
    /// Version up to which read models hold it.
    pub projected_version: i32,
    /// Actor of its first event.
    pub started_by: String,
    /// Its state.
    pub state: Map<String, Value>,
    /// Whether it has been deleted.
    pub deleted: bool,
    /// Recorded time of its first event.
    pub created_at: Timestamp,
    /// Recorded time of its last event.
    pub updated_at: Timestamp,
}

impl From<StoredEntity> for EntityAnswer {
    fn from(stored: StoredEntity) -> Self {
        Self {
            aggregate_type: stored.aggregate_type,
            aggregate_id: stored.aggregate_id,
            version: stored.entity.version,
            projected_version: stored.projected_version,
            started_by: stored.started_by,
            state: stored.entity.state,
            deleted: stored.entity.deleted_at.is_some(),
            created_at: stored.entity.created_at,
            updated_at: stored.entity.updated_at,
        }
    }
}

impl IntoResponse for EntityAnswer {
    fn into_response(self) -> Response {
        let tag = HeaderValue::from_str(&format!("\"{}\"", self.version));
        let mut response = Json(self).into_response();
        if let Ok(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}
