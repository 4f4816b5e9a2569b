//! Extractors for the caller of a request and for what the server observes of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::error::{ApiError, Problem};
use annals::auth::{AuthError, Verifier};
use annals_domain::{Caller, Role};
use annals_telemetry::request_id;

/// The bearer of a verified token.
pub struct Authenticated(pub Caller);

impl Authenticated {
    /// The caller, if it is staff.
    ///
    /// # Errors
    /// 403 `staff_only` for other callers.
    pub fn staff(self) -> Result<Caller, ApiError> {
        match self.0.role() {
            Role::Staff => Ok(self.0),
            _ => Err(ApiError::forbidden("staff_only", "only staff may do this")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Authenticated
where
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers).ok_or_else(ApiError::unauthorized)?;
        match Arc::<Verifier>::from_ref(state).verify(token).await {
            Ok(caller) => Ok(Self(caller)),
            Err(error @ (AuthError::KeysUnavailable | AuthError::SecretUnavailable(_))) => Err(ApiError::Unavailable(
                "the key that checks tokens is not available; try again",
                Box::new(error),
            )),
            Err(AuthError::Refused(fault)) => {
                tracing::info!(code = fault.code(), "token refused");
                Err(Problem::new(StatusCode::UNAUTHORIZED, fault.code(), fault.to_string()).into())
            }
            Err(AuthError::NoRole) => Err(ApiError::forbidden(
                "role_required",
                "the token has no role: app_metadata.role must be user, staff, agent or service",
            )),
        }
    }
}

/// For the few resources that answer without a token. If a token is sent, it must be valid.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Authenticated
where
    Arc<Verifier>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, ApiError> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        <Self as FromRequestParts<S>>::from_request_parts(parts, state)
            .await
            .map(Some)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

/// What the server observed of a request: `{"ip_address", "user_agent", "request_id"}`, each only if known. Events keep it in
/// `recorded`.
pub struct RequestContext(pub Value);

/// Maximum number of characters of the user agent that are kept. Clients can send any length.
const MAX_USER_AGENT: usize = 512;

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let mut context = Map::new();
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip().to_string());
        if let Some(address) = peer.or_else(|| forwarded_for(&parts.headers)) {
            context.insert("ip_address".to_owned(), Value::String(address));
        }
        if let Some(agent) = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok())
        {
            context.insert(
                "user_agent".to_owned(),
                Value::String(agent.chars().take(MAX_USER_AGENT).collect()),
            );
        }
        let request_id = request_id();
        if !request_id.is_empty() {
            context.insert("request_id".to_owned(), Value::String(request_id));
        }
        Ok(Self(Value::Object(context)))
    }
}

/// The last address of `X-Forwarded-For`: API Gateway adds it. The addresses before it come from the client and may be wrong.
fn forwarded_for(headers: &HeaderMap) -> Option<String> {
    let last = headers
        .get("x-forwarded-for")?
        .to_str()
        .ok()?
        .rsplit(',')
        .next()?
        .trim()
        .to_owned();
    last.parse::<std::net::IpAddr>().ok().map(|address| address.to_string())
}
