//! The function csv-upload: small CSV files in the request, inspections, addresses for large files, upload status, reports of rejected rows, templates.
//!
//! The order of the steps for a small file: `form` reads the request → `annals_import::Options` parses its fields → the import engine
//! imports the file → `answer`. A large file is only requested here (`large`); the function `importer` imports it. `revert` compensates what an
//! upload appended.

mod answer;
mod app;
mod confirm;
mod errors;
mod fields;
mod form;
mod inspect;
mod large;
mod problems;
mod report_file;
mod revert;
mod template;
mod upload;
mod visible;

pub use app::App;

use annals_csv::{CUSTOMERS, EXPENSES, SALES};
use axum::Router;
use axum::routing::{get, post};

/// The routes of this function.
pub fn router(app: App) -> Router {
    Router::new()
        .route(
            "/api/v1/data/upload-sales-csv",
            post(|a, b, c, d| upload::upload(&SALES, a, b, c, d)),
        )
        .route(
            "/api/v1/data/upload-customers-csv",
            post(|a, b, c, d| upload::upload(&CUSTOMERS, a, b, c, d)),
        )
        .route(
            "/api/v1/data/upload-expenses-csv",
            post(|a, b, c, d| upload::upload(&EXPENSES, a, b, c, d)),
        )
        .route("/api/v1/data/upload-template/{dataset}", get(template::download))
        .route("/api/v1/data/inspect", post(inspect::inspect))
        .route("/api/v1/data/uploads", post(large::request))
        .route("/api/v1/data/uploads/{id}", get(large::show))
        .route("/api/v1/data/uploads/{id}/inspection", get(confirm::show))
        .route("/api/v1/data/uploads/{id}/start", post(confirm::start))
        .route("/api/v1/data/uploads/{id}/errors", get(errors::list))
        .route(
            "/api/v1/data/uploads/{id}/revert",
            post(revert::revert).get(revert::list),
        )
        .with_state(app)
}
