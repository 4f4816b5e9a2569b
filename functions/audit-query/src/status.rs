//! Statistics of the log, progress of the projector, and health.

use crate::App;
use annals_domain::Caller;
use annals_http::{ApiError, Authenticated, Params};
use annals_store::redacted_error;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::request::require_tenant_reader;

/// `GET /events/stats`: statistics of the log, as far as the caller may see it.
pub async fn statistics(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    Ok(Json(app.store.statistics(&caller).await?).into_response())
}

/// `GET /projector/status`: lag, parked streams and rates. Only for callers who may see the whole tenant.
pub async fn projector(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    require_tenant_reader(&caller)?;
    Ok(Json(app.store.projector_status(&caller).await?).into_response())
}

/// `GET /status`: which features work. No token is needed. With a token the answer also has the health of the caller's event store. An
/// invalid token is refused; otherwise its holder could take the shorter answer for the full one.
pub async fn features(
    State(app): State<App>,
    authenticated: Option<Authenticated>,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let mut answer = feature_status(&app).await;
    if let Some(Authenticated(caller)) = authenticated {
        answer["health"] = event_store_health(&app, &caller).await;
    }
    Ok(Json(answer).into_response())
}

/// If the event store cannot be reached, the answer says so with status 200.
async fn event_store_health(app: &App, caller: &Caller) -> Value {
    match app.store.health(caller).await {
        Ok(health) => json!({
            "event_store_healthy": true,
            "recent_activity": health.recent_activity,
            "upcasters_registered": health.upcasters_registered,
        }),
        Err(error) => {
            tracing::warn!(error = redacted_error(&error), "event store unhealthy");
            json!({"event_store_healthy": false, "recent_activity": null, "upcasters_registered": null})
        }
    }
}

/// `GET /health`: which features work. It ignores tokens and never has a tenant's figures.
pub async fn health(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    params.end()?;
    Ok(Json(feature_status(&app).await).into_response())
}

async fn feature_status(app: &App) -> Value {
    let features = feature_states(app).await;
    let status = match features["database"] == "active" {
        true => "ok",
        false => "degraded",
    };
    json!({"status": status, "features": features})
}

/// `events` and `agents` always have the state of the database: agents use the same API as all other callers. `auth` is always `active`.
async fn feature_states(app: &App) -> Value {
    let database = match app.store.ping().await {
        Ok(()) => "active",
        Err(error) => {
            tracing::warn!(error = redacted_error(&error), "database does not answer");
            "degraded"
        }
    };
    json!({"auth": "active", "database": database, "events": database, "agents": database})
}
