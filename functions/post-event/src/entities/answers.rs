//! Answers to changes of an entity: the entity as it is now.

use annals_http::{ApiError, EntityAnswer, encoded, marked_if_replayed};
use annals_store::{Appended, KeptOutcome};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::change::Change;
use super::deleted;
use super::keyed::Earlier;
use crate::events::created_or_found;

impl Change {
    /// The entity as it is now. If another actor has added an event that is hidden from the caller, the caller may not see the state any
    /// more: then `state` is null, and `version` is the version that this request led to, if it led to one.
    pub(super) async fn answer(&self, version: Option<i32>, status: StatusCode) -> Result<Response, ApiError> {
        match self.find().await? {
            Some(found) => Ok((status, EntityAnswer::from(found)).into_response()),
            None => {
                let (kind, id) = (self.verb.aggregate_type.as_str(), &self.aggregate_id);
                let hidden = json!({"aggregate_type": kind, "aggregate_id": id, "version": version, "state": null});
                Ok((status, Json(hidden)).into_response())
            }
        }
    }

    /// The answer to a creation: 201, or 200 if the same request had created the entity before.
    pub(super) async fn created(&self, version: Option<i32>, is_replayed: bool) -> Result<Response, ApiError> {
        let answer = self.answer(version, created_or_found(is_replayed)).await?;
        let mut response = marked_if_replayed(answer, is_replayed);
        let id = encoded(&self.aggregate_id);
        let path = format!("/api/v1/entities/{}/{id}", self.verb.aggregate_type);
        if let Ok(location) = HeaderValue::from_str(&path) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    /// The answer to an update or a delete that has an event.
    pub(super) async fn changed(&self, appended: &Appended) -> Result<Response, ApiError> {
        let answer = self.answer(Some(appended.aggregate_version), StatusCode::OK).await?;
        Ok(marked_if_replayed(answer, appended.replayed))
    }

    /// The answer to an update or a delete that was sent again.
    pub(super) async fn answer_again(&self, earlier: Earlier) -> Result<Response, ApiError> {
        match earlier {
            Earlier::Kept(KeptOutcome::Deleted) => Err(deleted::was_before()),
            other => Ok(marked_if_replayed(
                self.answer(other.version(), StatusCode::OK).await?,
                true,
            )),
        }
    }
}
