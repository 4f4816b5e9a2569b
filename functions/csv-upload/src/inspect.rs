//! `POST /data/inspect`: what a file says, with the evidence, as upload fields that read it. A small file is in the request, and nothing is stored; a
//! large one is that of an upload (`confirm`).

use crate::App;
use annals_csv::{Dataset, Packing};
use annals_http::{ApiError, Authenticated, JsonBody};
use annals_import::{Options, SmallFile, inspect_file};
use annals_inspect::Extent;
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::confirm;
use crate::fields::{fault, refuse_others};
use crate::form::Form;
use crate::problems::{check_permission, import_problem};

/// Inspects the file of the request. Upload fields beside it are taken as certain.
pub(crate) async fn inspect(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    request: Request,
) -> Result<Response, ApiError> {
    if is_json(&request) {
        let JsonBody(body) = JsonBody::from_request(request, &()).await?;
        return confirm::ask(&app, &caller, body).await;
    }
    let Form { file, mut fields, .. } = Form::read_multipart(request).await?;
    let dataset = take(&mut fields, "dataset")?.ok_or_else(|| fault("dataset", "required", "is required"))?;
    let dataset = Dataset::named(&dataset)
        .ok_or_else(|| fault("dataset", "invalid_value", "must be sales, customers or expenses"))?;
    let is_partial = match take(&mut fields, "partial")?.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(fault("partial", "invalid_value", "must be true or false")),
    };
    refuse_others(&fields)?;
    let options = Options::parse(fields.clone(), None, dataset).map_err(ApiError::malformed)?;
    check_permission(&app, &caller, dataset).await?;
    if is_partial && Packing::of(&file) != Packing::Text {
        let detail = "must be false: the beginning of a workbook or of a gzip archive cannot be read by itself";
        return Err(fault("partial", "invalid_value", detail));
    }
    let extent = if is_partial { Extent::Beginning } else { Extent::Whole };
    let file = SmallFile::new(file, &options).await.map_err(import_problem)?;
    let by = (&app.store, &caller);
    let of_file = (file.written(), extent);
    let inspection = inspect_file(by, dataset, &fields, of_file, || file.read(0)).await;
    let inspection = inspection.map_err(import_problem)?;
    Ok(Json(inspection).into_response())
}

fn is_json(request: &Request) -> bool {
    let kind = request
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"))
}

fn take(fields: &mut Vec<(String, String)>, name: &str) -> Result<Option<String>, ApiError> {
    let mut found = fields
        .extract_if(.., |(field, _)| field == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(fault(name, "repeated_field", "may be given only once")),
    }
}
