//! The function console: pages for people. They are public, outside of `/api/v1`, and not in the OpenAPI document.
//!
//! A page contains no data. What a page shows of the log, the browser asks the API for, with a token that the reader has entered. So the
//! function needs no database, no secret and no queue.
//!
//! One module per family of pages: `reference` (the OpenAPI document as Swagger UI and ReDoc show it), `problems` (what each problem code
//! means). `page` has what all pages share: layout, headers, the policy that forbids every other origin. `asset` answers scripts and
//! styles.

mod asset;
mod page;
mod problems;
mod reference;

use axum::Router;
use axum::middleware::map_response;
use axum::routing::get;

/// All routes of the function.
pub fn router() -> Router {
    Router::new()
        .route("/docs", get(reference::swagger_ui))
        .route("/docs/", get(reference::without_slash))
        .route("/docs/assets/{name}", get(asset::answer))
        .route("/docs/problems", get(problems::list))
        .route("/docs/problems/{code}", get(problems::show))
        .route("/redoc", get(reference::redoc))
        .layer(map_response(page::protect))
}
