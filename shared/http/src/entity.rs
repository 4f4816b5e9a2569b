//! An entity as the API returns it, with its entity tag (`etag`).

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::etag;
use super::written_json::WrittenJson;
use annals_domain::Timestamp;
use annals_store::{Stopped, StoredEntity};

/// The body of `GET /entities/{type}/{id}`.
#[derive(Debug, Serialize)]
pub struct EntityAnswer {
    /// Type of the aggregate.
    pub aggregate_type: String,
    /// Id of the aggregate.
    pub aggregate_id: String,
    /// Version of its last event.
    pub version: i32,
    /// Version up to which read models include it.
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
    /// If the next event of the stream waits because it is too large: which event, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Whether the list that it was read with was cut after it because of its size.
    #[serde(skip)]
    pub ends_read: bool,
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
            stopped: stored.stopped,
            ends_read: stored.ends_read,
        }
    }
}

impl EntityAnswer {
    /// The answer to a read: 200 with body and ETag, or 304 if the client has this version already.
    ///
    /// # Errors
    /// The entity cannot be written as JSON.
    pub fn to_reader(&self, headers: &HeaderMap) -> Result<Response, ApiError> {
        let body = WrittenJson::of(self)?;
        let tag = format!("\"{}-{}\"", self.version, etag::digest_of(&body.0));
        // The answer to a write has the tag of the version alone. Until the entity is projected, a read with that tag also gets
        // 304.
        let of_write = (self.projected_version < self.version).then(|| self.version_tag());
        Ok(etag::unless_known(headers, &tag, of_write.as_deref(), body))
    }

    fn version_tag(&self) -> String {
        format!("\"{}\"", self.version)
    }
}

/// The answer to a write: 200 with body and ETag.
impl IntoResponse for EntityAnswer {
    fn into_response(self) -> Response {
        let tag = HeaderValue::from_str(&self.version_tag());
        let mut response = Json(self).into_response();
        if let Ok(tag) = tag {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}
