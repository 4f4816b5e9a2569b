//! `POST /data/upload-{dataset}-csv`: imports a small file within the request.

use std::time::Instant;

use crate::App;
use annals_csv::Dataset;
use annals_http::{ApiError, Authenticated, RequestContext};
use annals_import::{Completed, Options, SmallFile, SmallUpload, complete};
use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use crate::answer::Answer;
use crate::form::Form;
use crate::problems::{check_permission, import_problem, uncertain};

/// Imports the file of the request as rows of the dataset.
pub(crate) async fn upload(
    dataset: &'static Dataset,
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let began = Instant::now();
    // A missing permission takes precedence over all other faults. The body is nevertheless read first, because a client that is still
    // sending would see a broken connection instead of the answer.
    let allowed = check_permission(&app, &caller, dataset).await;
    let form = Form::read(request).await;
    allowed?;
    let Form { file, fields, charset } = form?;
    // All faults of the fields are named before the file is looked at.
    let options = Options::parse(fields, charset.as_deref(), dataset).map_err(ApiError::malformed)?;
    let file = SmallFile::new(file, &options).await.map_err(import_problem)?;
    let completed = complete((&app.store, &caller), dataset, options.fields(), file.about(), || {
        file.read(0)
    })
    .await;
    let fields = match completed.map_err(import_problem)? {
        Completed::Fields(fields) => fields,
        Completed::Uncertain(inspection) => return Err(uncertain(&inspection)),
    };
    let options = Options::parse(fields, None, dataset).map_err(ApiError::malformed)?;
    let errors_listed = options.errors_listed();
    let upload = SmallUpload {
        store: app.store.clone(),
        appends: app.append.clone(),
        caller,
        context,
        dataset,
        options,
    };
    let finished = upload.run(&file, began).await.map_err(import_problem)?;
    Ok(Json(Answer::new(&finished, errors_listed)).into_response())
}
