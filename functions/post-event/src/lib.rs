//! post-event: everything that writes by HTTP, except files.
//!
//! Each handler ends in [`annals::intake::append`], the one way into the log; none touches a read model, so what it changes is
//! seen through the projection or, by readers that fold the tail, at once.

mod compensate;
mod entities;
mod events;
mod processing;
mod reason;
mod snapshots;
mod types;

use annals::App;
use axum::Router;
use axum::routing::{patch, post, put};

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
