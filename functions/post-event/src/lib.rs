//! The function post-event: every write over HTTP, except CSV files.
//!
//! Handlers of events go the same way: request, decision, append ([`annals_append`]), answer. `types` registers event types, `snapshots`
//! takes snapshots, and `processing` also asks the projector for sweeps and rebuilds; these append nothing. No handler writes a read model:
//! the projector does, a moment later. Until then only readers that also fold the events not yet projected show a change.

mod app;
mod compensate;
mod entities;
mod events;
mod processing;
mod reason;
mod snapshots;
mod types;
mod write_request;

use axum::Router;
use axum::routing::{patch, post, put};

pub use app::App;

/// The function's routes.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/v1/events", post(events::post))
        .route("/api/v1/events/types", post(types::register))
        .route("/api/v1/events/{id}/compensate", post(compensate::compensate))
        .route("/api/v1/events/{id}/processing", put(processing::decide))
        .route("/api/v1/projector/sweep", post(processing::sweep))
        .route("/api/v1/projector/rebuild", post(processing::rebuild))
        .route("/api/v1/entities/{aggregate_type}", post(entities::create))
        .route(
            "/api/v1/entities/{aggregate_type}/{aggregate_id}",
            patch(entities::update).delete(entities::delete),
        )
        .route(
            "/api/v1/entities/{aggregate_type}/{aggregate_id}/snapshots",
            post(snapshots::take),
        )
        .with_state(app)
}
