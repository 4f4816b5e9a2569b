//! The requests.

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Params, Path, Problem, RequestContext};
use annals::intake::Framing;
use annals::store::StoreError;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures_util::stream;
use uuid::Uuid;

use crate::answer::Answer;
use crate::dataset::{Dataset, SALES};
use crate::form::Form;
use crate::options::Options;
use crate::reader::ReadError;
use crate::template;
use crate::upload::{Upload, UploadError};

/// The routes of this function.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/api/v1/data/upload-sales-csv", post(upload_sales))
        .route("/api/v1/data/upload-template/{dataset}", get(download_template))
        .with_state(app)
}

async fn download_template(_: Authenticated, Path(name): Path<String>, params: Params) -> Result<Response, ApiError> {
    params.end()?;
    let dataset = Dataset::named(&name).ok_or_else(|| ApiError::not_found("there is no such dataset"))?;
    Ok(template::respond(dataset))
}

async fn upload_sales(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    // Whoever may not post hears so whatever else is wrong, but not before the body was read: a client that is still sending
    // would see a broken connection instead.
    let allowed = check_permission(&app, &caller, &SALES).await;
    let form = Form::read(request).await;
    allowed?;
    let Form { file, fields, charset } = form?;
    let options = Options::parse(fields, charset.as_deref(), &SALES)?;
    let upload = Upload {
        app: &app,
        caller: &caller,
        context: &context,
        dataset: &SALES,
        options: &options,
        id: Uuid::now_v7(),
    };
    let open = || stream::iter([Ok::<Bytes, std::io::Error>(file.clone())]);
    upload.inspect(open()).await.map_err(UploadError::Read)?;
    Ok(Json(upload.run(open).await?))
}

/// By the catalog, and before any work: rows may all be known or refused, and then no append would say it.
async fn check_permission(app: &App, caller: &Caller, dataset: &Dataset) -> Result<(), ApiError> {
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
                let detail = "others keep changing the same entities; send the file again to go on";
                Problem::new(StatusCode::CONFLICT, "version_conflict", detail).into()
            }
            UploadError::Unexpected(_) => Self::from(StoreError::Unexpected(error.to_string())),
        }
    }
}
