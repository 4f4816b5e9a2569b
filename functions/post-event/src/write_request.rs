//! What the handlers read of a request that writes, except its body.

use crate::App;
use annals_domain::Caller;
use annals_http::{ApiError, Authenticated, Params, Path, RequestContext};
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Who sent a request that writes, and the services that carry it out.
pub(crate) struct Sender {
    pub(crate) app: App,
    pub(crate) caller: Caller,
    /// What the server observed of the request: address, user agent, request id.
    pub(crate) observed: Value,
}

/// A request that writes, without its body. `P` holds the parameters of the path.
pub(crate) struct WriteRequest<P> {
    pub(crate) by: Sender,
    pub(crate) path: P,
    pub(crate) headers: HeaderMap,
    /// The query's parameters.
    pub(crate) params: Params,
}

impl<P: DeserializeOwned + Send> FromRequestParts<App> for WriteRequest<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // In this order: a caller without a valid token gets no other answer than 401.
        let Authenticated(caller) = <Authenticated as FromRequestParts<App>>::from_request_parts(parts, app).await?;
        let RequestContext(observed) = RequestContext::from_request_parts(parts, app).await?;
        let Path(path) = Path::from_request_parts(parts, app).await?;
        let params = Params::from_request_parts(parts, app).await?;
        let by = Sender {
            app: app.clone(),
            caller,
            observed,
        };
        Ok(Self {
            by,
            path,
            headers: parts.headers.clone(),
            params,
        })
    }
}
