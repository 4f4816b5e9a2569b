//! `GET /data/upload-template/{dataset}`: a template with one example line, or the dataset's data dictionary as JSON.

use annals_csv::{Dataset, Dictionary, template};
use annals_http::{ApiError, Authenticated, Params, Path};
use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};

/// Answers with the file, or with the dictionary for `format=json`.
pub(crate) async fn download(
    _: Authenticated,
    Path(name): Path<String>,
    mut params: Params,
) -> Result<Response, ApiError> {
    let wants_json = params.read("format", "must be csv or json", |value| {
        ["csv", "json"].contains(&value).then(|| value == "json")
    })?;
    params.end()?;
    let dataset = Dataset::named(&name)
        .ok_or_else(|| ApiError::not_found("there is no such dataset: use sales, customers or expenses"))?;
    if wants_json == Some(true) {
        return Ok(Json(Dictionary::of(dataset)).into_response());
    }
    let disposition = format!("attachment; filename=\"{}-template.csv\"", dataset.name);
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, template(dataset)).into_response())
}
