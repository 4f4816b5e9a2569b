//! Who is calling, and from where.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value};

use super::error::{ApiError, Problem};
use crate::app::App;
use crate::auth::AuthError;
use crate::domain::{Caller, Role};
use crate::store::StoreError;
use crate::telemetry::request_id;

/// The bearer of a verified token.
pub struct Authenticated(pub Caller);

impl Authenticated {
    /// The caller, if it is staff.
    ///
    /// # Errors
    /// 403 for anybody else.
    pub fn staff(self) -> Result<Caller, ApiError> {
        match self.0.role() {
            Role::Staff => Ok(self.0),
            _ => Err(ApiError::forbidden("staff_only", "only staff may do this")),
        }
    }
}

impl FromRequestParts<App> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let token = bearer(&parts.headers)
            .ok_or_else(|| unauthorized("send a token, in the header Authorization: Bearer …"))?;
        match app.verifier.verify(token).await {
            Ok(caller) => Ok(Self(caller)),
            Err(error @ (AuthError::KeysUnavailable(_) | AuthError::SecretUnavailable(_))) => {
                Err(ApiError::Unavailable(StoreError::Unavailable(Box::new(error))))
            }
            Err(AuthError::Refused(fault)) => {
                tracing::info!(code = fault.code(), "token refused");
                Err(Problem::new(StatusCode::UNAUTHORIZED, fault.code(), fault.to_string()).into())
            }
            Err(AuthError::NoRole) => Err(ApiError::forbidden(
                "role_required",
                "the token names no role: app_metadata.role must be user, staff, agent or service",
            )),
        }
    }
}

/// For the few resources that answer without a token. One that was sent has to be valid.
impl OptionalFromRequestParts<App> for Authenticated {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, ApiError> {
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        <Self as FromRequestParts<App>>::from_request_parts(parts, app)
            .await
            .map(Some)
    }
}

fn unauthorized(detail: &str) -> ApiError {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

/// What the server observed of a request: address, agent and id, as events' `recorded` keeps it.
pub struct RequestContext(pub Value);

/// Agents send what they like; a log need not keep all of it.
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

/// The last address: the one that API Gateway adds. Those before it are the client's own words.
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
