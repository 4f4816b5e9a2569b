//! Answers to changes of an entity: the entity as it is now.

use annals_http::{ApiError, EntityAnswer, encoded, replayed};
use annals_store::{Appended, KeptOutcome};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::change::Change;
use super::deleted;
use super::keyed::Earlier;

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
        let mut response = match is_replayed {
            true => replayed(self.answer(version, StatusCode::OK).await?),
            false => self.answer(version, StatusCode::CREATED).await?,
        };
        let id = encoded(&self.aggregate_id);
        let path = format!("/api/v1/entities/{}/{id}", self.verb.aggregate_type);
        if let Ok(location) = HeaderValue::from_str(&path) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        Ok(response)
    }

    /// The answer to an update or a delete that has an event.
    pub(super) async fn changed(&self, appended: &Appended) -> Result<Response, ApiError> {
        let response = self.answer(Some(appended.aggregate_version), StatusCode::OK).await?;
        Ok(match appended.replayed {
            true => replayed(response),
            false => response,
        })
    }

    /// The answer to an update or a delete that was sent again.
    pub(super) async fn answer_again(&self, earlier: Earlier) -> Result<Response, ApiError> {
        match earlier {
            Earlier::Kept(KeptOutcome::Deleted) => Err(deleted::was_before()),
            other => Ok(replayed(self.answer(other.version(), StatusCode::OK).await?)),
        }
    }
}
