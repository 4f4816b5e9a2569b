//! The function audit-query: reads over HTTP. Who did what, when and why, and the present and past state of entities.
//!
//! Every handler reads its parameters, asks the store as the caller, and answers with the result. The database's row-level security
//! policies decide which rows the caller sees. A handler checks the role only where a whole resource is for staff and services.

mod analytics;
mod app;
mod audit;
mod catalog;
mod contract;
mod entities;
mod event_list;
mod events;
mod formats;
mod history;
mod indexed_types;
mod not_found;
mod past;
mod request;
mod status;

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;

pub use app::App;

/// All routes of the function.
pub fn router(app: App) -> Router {
    let lists = Router::new()
        .route("/api/v1/events", get(events::list))
        .route("/api/v1/events/feed", get(events::feed))
        .route("/api/v1/events/unprocessed", get(events::unprocessed))
        .route(
            "/api/v1/events/aggregate/{aggregate_type}/{aggregate_id}/history",
            get(history::history),
        )
        .route("/api/v1/audit/entity/{id}", get(audit::entity))
        .route("/api/v1/audit/user/{id}", get(audit::user))
        .route("/api/v1/audit/recent", get(audit::recent))
        .layer(from_fn(formats::as_preferred));
    Router::new()
        .route("/api/v1/events/types", get(catalog::list))
        .route("/api/v1/events/types/{event_type}", get(catalog::find))
        .route("/api/v1/events/upcasters", get(catalog::upcasters))
        .route("/api/v1/events/stats", get(status::statistics))
        .route("/api/v1/events/{id}", get(events::find))
        .route("/api/v1/audit/count/{id}", get(audit::count))
        .route("/api/v1/analytics/kpis", get(analytics::kpis))
        .route("/api/v1/analytics/top", get(analytics::top))
        .route("/api/v1/entities/{aggregate_type}", get(entities::list))
        .route("/api/v1/entities/{aggregate_type}/{aggregate_id}", get(entities::find))
        .route("/api/v1/entities/{aggregate_type}/{aggregate_id}/diff", get(past::diff))
        .route(
            "/api/v1/entities/{aggregate_type}/{aggregate_id}/snapshots",
            get(entities::snapshots),
        )
        .route("/api/v1/projector/status", get(status::projector))
        .route("/api/v1/status", get(status::features))
        .route("/api/v1/health", get(status::health))
        .route("/api/v1/openapi.json", get(contract::document))
        .merge(lists)
        .with_state(app)
}
