//! The requests.

use std::time::{Duration, Instant};

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Problem, RequestContext};
use annals::intake::Framing;
use annals::store::{FinishedUpload, StoreError, told};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::answer::Answer;
use crate::dataset::{CUSTOMERS, Dataset, EXPENSES, SALES};
use crate::errors;
use crate::form::Form;
use crate::large;
use crate::options::Options;
use crate::reader::ReadError;
use crate::template;
use crate::upload::{Outcome, Upload, UploadError};

/// The routes of this function.
pub fn router(app: App) -> Router {
    Router::new()
        .route(
            "/api/v1/data/upload-sales-csv",
            post(|a, b, c, d| upload(&SALES, a, b, c, d)),
        )
        .route(
            "/api/v1/data/upload-customers-csv",
            post(|a, b, c, d| upload(&CUSTOMERS, a, b, c, d)),
        )
        .route(
            "/api/v1/data/upload-expenses-csv",
            post(|a, b, c, d| upload(&EXPENSES, a, b, c, d)),
        )
        .route("/api/v1/data/upload-template/{dataset}", get(template::download))
        .route("/api/v1/data/uploads", post(large::request))
        .route("/api/v1/data/uploads/{id}", get(large::show))
        .route("/api/v1/data/uploads/{id}/errors", get(errors::list))
        .with_state(app)
}

async fn upload(
    dataset: &'static Dataset,
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    // Whoever may not post hears so whatever else is wrong, but not before the body was read: a client that is still sending
    // would see a broken connection instead.
    let allowed = check_permission(&app, &caller, dataset).await;
    let form = Form::read(request).await;
    allowed?;
    let Form { file, fields, charset } = form?;
    let options = Options::parse(fields, charset.as_deref(), dataset)?;
    let upload = Upload {
        app: &app,
        caller: &caller,
        context: &context,
        dataset,
        options: &options,
        id: Uuid::now_v7(),
    };
    let open = || stream::iter([Ok::<Bytes, std::io::Error>(file.clone())]);
    upload.inspect(open()).await.map_err(UploadError::Read)?;
    let outcome = upload.run(open).await?;
    record(&upload, &outcome, &file, began.elapsed()).await?;
    Ok(Json(answer(&upload, &outcome)).into_response())
}

/// Where this fails, events may have been appended and no answer tells; the same file again finds them to be known.
async fn record(upload: &Upload<'_>, outcome: &Outcome, file: &[u8], took: Duration) -> Result<(), StoreError> {
    let rejected = outcome.report.rows();
    let finished = FinishedUpload {
        id: upload.id,
        dataset: upload.dataset.name,
        status: outcome.status,
        dry_run: upload.options.dry_run,
        options: &Value::Object(upload.options.sent.clone()),
        file_sha256: &Sha256::digest(file).into(),
        header: &outcome.header,
        delimiter: outcome.delimiter,
        ignored_columns: &outcome.ignored_columns,
        figures: outcome.tally.figures(),
        errors_found: i64::try_from(outcome.report.count()).unwrap_or(i64::MAX),
        took,
    };
    let store = &upload.app.store;
    store.record_upload(upload.caller, &finished, rejected).await?;
    if !rejected.is_empty()
        && let Err(error) = store.delete_old_reports().await
    {
        tracing::warn!(error = told(&error), "old reports were not deleted");
    }
    Ok(())
}

fn answer<'a>(upload: &Upload<'_>, outcome: &'a Outcome) -> Answer<'a> {
    let listed = upload.options.errors_listed();
    Answer {
        upload_id: upload.id,
        dataset: upload.dataset.name,
        status: outcome.status,
        dry_run: upload.options.dry_run,
        figures: outcome.tally.figures(),
        rows_reported: outcome.report.rows().len(),
        errors: outcome.report.errors(listed),
        errors_truncated: outcome.report.count() > listed,
        ignored_columns: &outcome.ignored_columns,
    }
}

/// By the catalog, and before any work: rows may all be known or refused, and then no append would say it.
pub(crate) async fn check_permission(app: &App, caller: &Caller, dataset: &Dataset) -> Result<(), ApiError> {
    let (tenant_id, role) = (caller.tenant_id(), caller.role());
    let remembered = app.store.catalog(caller).await?;
    if dataset.forbidden(&remembered, tenant_id, role).is_none() {
        return Ok(());
    }
    // Memory may be older than the permission.
    match dataset.forbidden(&*app.store.fresh_catalog(caller).await?, tenant_id, role) {
        None => Ok(()),
        Some(event_type) => {
            let detail = format!("a caller of role {} may not post {event_type}", role.as_str());
            Err(ApiError::forbidden("event_type_forbidden", detail))
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Read(ReadError::File(fault)) => fault.into(),
            UploadError::Read(ReadError::Source(error)) => Self::Internal(Box::new(error)),
            UploadError::Store(error) => error.into(),
            UploadError::Intake(error) => Self::from_intake(error, Framing::Batch),
            UploadError::Overtaken => {
                let detail =
                    "others kept changing the same entities; send the same file again, and it goes on where it stopped";
                Problem::new(StatusCode::CONFLICT, "version_conflict", detail).into()
            }
            UploadError::Unexpected(_) => Self::from(StoreError::Unexpected(error.to_string())),
        }
    }
}
