//! Large files that are looked at before they are imported: `POST /data/inspect` with an upload's id, `GET /data/uploads/{id}/inspection`, and
//! `POST /data/uploads/{id}/start`. The importer inspects, because the file is large.

use annals_csv::Dataset;
use annals_domain::event::FieldFault;
use annals_domain::{Caller, naming};
use annals_http::{ApiError, Authenticated, JsonBody, Params, Path, Problem, RequestContext};
use annals_import::Options;
use annals_store::{StoreError, UploadRecord};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::App;
use crate::fields::refuse_others;
use crate::large::texts;
use crate::problems::check_permission;
use crate::visible::visible_upload;

/// Asks for an inspection of an upload's file: 202.
pub(crate) async fn ask(app: &App, caller: &Caller, body: Value) -> Result<Response, ApiError> {
    let Value::Object(mut members) = body else {
        return Err(needs_upload_id());
    };
    let id = members
        .remove("upload_id")
        .and_then(|id| id.as_str().map(str::to_owned))
        .ok_or_else(needs_upload_id)?;
    let fields = texts(members);
    let (upload, dataset) = visible(app, caller, &id).await?;
    refuse_others(&fields)?;
    Options::parse(fields.clone(), None, dataset).map_err(ApiError::malformed)?;
    check_permission(app, caller, dataset).await?;
    let asked: Map<String, Value> = fields
        .into_iter()
        .map(|(name, value)| (name, Value::from(value)))
        .collect();
    app.store
        .ask_inspection(upload.upload_id, &Value::Object(asked))
        .await?;
    let location = [(
        header::LOCATION,
        format!("/api/v1/data/uploads/{}/inspection", upload.upload_id),
    )];
    Ok((
        StatusCode::ACCEPTED,
        location,
        Json(json!({"upload_id": upload.upload_id, "status": "waiting"})),
    )
        .into_response())
}

/// `GET /data/uploads/{id}/inspection`: 202 until the file was inspected.
pub(crate) async fn show(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let (upload, _) = visible(&app, &caller, &id).await?;
    let none = || {
        let detail = "no inspection of this upload was asked for: POST /api/v1/data/inspect with its upload_id";
        ApiError::from(Problem::new(StatusCode::CONFLICT, "inspection_not_asked", detail))
    };
    let Some(mut answer) = app.store.find_inspection(upload.upload_id).await?.ok_or_else(none)? else {
        let waiting = json!({"upload_id": upload.upload_id, "status": "waiting"});
        return Ok((StatusCode::ACCEPTED, Json(waiting)).into_response());
    };
    if let Some(failure) = answer.get("failure") {
        let text = |name: &str| failure[name].as_str().unwrap_or_default().to_owned();
        return Err(Problem::new(StatusCode::BAD_REQUEST, text("code"), text("detail")).into());
    }
    Ok(Json(answer["inspection"].take()).into_response())
}

/// `POST /data/uploads/{id}/start`: confirms the options; the import begins when the file has arrived.
pub(crate) async fn start(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    Path(id): Path<String>,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let (upload, dataset) = visible(&app, &caller, &id).await?;
    let options = match body {
        Value::Object(mut members) => match (members.remove("options"), members.into_iter().next()) {
            (Some(Value::Object(options)), None) => Some(options),
            (None, None) => Some(Map::new()),
            _ => None,
        },
        _ => None,
    };
    let options = options.ok_or_else(|| {
        let detail = "must be an object with the fields of an upload, and nothing may stand beside it";
        ApiError::malformed(vec![FieldFault::new("/options", "invalid_value", detail)])
    })?;
    let options = Options::parse(texts(options), None, dataset).map_err(ApiError::malformed)?;
    check_permission(&app, &caller, dataset).await?;
    let context = naming::observed(&caller, &context);
    annals_import::confirm(&app.store, &app.append, (&caller, &context), upload.upload_id, &options).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(json!({"upload_id": upload.upload_id, "status": "waiting"})),
    )
        .into_response())
}

/// An upload that the caller may see, and its dataset.
async fn visible(app: &App, caller: &Caller, id: &str) -> Result<(UploadRecord, &'static Dataset), ApiError> {
    let upload = visible_upload(app, caller, id).await?;
    let unknown = || StoreError::Unexpected(format!("no dataset {}", upload.dataset));
    let dataset = Dataset::named(&upload.dataset).ok_or_else(unknown)?;
    Ok((upload, dataset))
}

fn needs_upload_id() -> ApiError {
    ApiError::malformed(vec![FieldFault::new(
        "/upload_id",
        "required",
        "must be the id of an upload with start=confirmed",
    )])
}
