//! Figures and health.

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Params};
use annals::store::told;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// `GET /events/stats`.
pub async fn statistics(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    Ok(Json(app.store.statistics(&caller).await?).into_response())
}

/// `GET /projector/status`; for those who see the tenant.
pub async fn projector(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    if !caller.role().sees_tenant() {
        return Err(ApiError::forbidden(
            "staff_only",
            "only staff and services may read this",
        ));
    }
    Ok(Json(app.store.projector_status(&caller).await?).into_response())
}

/// `GET /status`: which features work. Needs no token; with one it also tells how the event store of the caller's tenant is. A token
/// that is not valid is refused all the same, so that nobody takes the shorter answer for theirs.
pub async fn features(
    State(app): State<App>,
    who: Option<Authenticated>,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let mut answer = feature_status(&app).await;
    if let Some(Authenticated(caller)) = who {
        answer["health"] = health_of(&app, &caller).await;
    }
    Ok(Json(answer).into_response())
}

/// An event store that is away is an answer, not a failure to answer.
async fn health_of(app: &App, caller: &Caller) -> Value {
    match app.store.health(caller).await {
        Ok(health) => json!({
            "event_store_healthy": true,
            "recent_activity": health.recent_activity,
            "upcasters_registered": health.upcasters_registered,
        }),
        Err(error) => {
            tracing::warn!(error = told(&error), "event store is not well");
            json!({"event_store_healthy": false, "recent_activity": null, "upcasters_registered": null})
        }
    }
}

/// `GET /health`: the same without a token, and never any figures.
pub async fn health(State(app): State<App>) -> Response {
    Json(feature_status(&app).await).into_response()
}

async fn feature_status(app: &App) -> Value {
    let features = feature_states(app).await;
    let status = match features["database"] == "active" {
        true => "ok",
        false => "degraded",
    };
    json!({"status": status, "features": features})
}

/// Events and agents need the database; agents post through the same door as everybody.
async fn feature_states(app: &App) -> Value {
    let database = match app.store.ping().await {
        Ok(()) => "active",
        Err(error) => {
            tracing::warn!(error = told(&error), "database does not answer");
            "degraded"
        }
    };
    json!({"auth": "active", "database": database, "events": database, "agents": database})
}
