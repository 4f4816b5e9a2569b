//! Large uploads: the address that a file is sent to, and the status of its import.

use crate::App;
use annals_csv::{Dataset, field_text};
use annals_domain::event::FieldFault;
use annals_domain::naming;
use annals_http::{ApiError, Authenticated, JsonBody, Params, Path, Problem, RequestContext};
use annals_import::{Options, RowError};
use annals_storage::{ADDRESS_SECONDS, StorageError};
use annals_store::{NewImport, UploadRecord};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::problems::check_permission;
use crate::revert::revert_of;
use crate::visible::visible_upload;

/// How long an upload waits until its options are confirmed: the bucket keeps its file for seven days.
const CONFIRM_SECONDS: i32 = 6 * 24 * 3_600;

/// Names and values of an upload's fields.
type Fields = Vec<(String, String)>;

/// `POST /data/uploads`: records the upload and answers with the address for its file.
pub(crate) async fn request(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    RequestContext(context): RequestContext,
    params: Params,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    params.end()?;
    let (dataset, starts, fields) = read_fields(body)?;
    let options = Options::parse(fields, None, dataset).map_err(ApiError::malformed)?;
    check_permission(&app, &caller, dataset).await?;
    // The caller's name is recorded now: the importer, which appends later, has the claims and not the token.
    let context = naming::observed(&caller, &context);
    let id = Uuid::now_v7();
    let address = app.storage.address(id).await.map_err(unavailable)?;
    let new = NewImport {
        id,
        dataset: dataset.name,
        options: &Value::Object(options.sent.clone()),
        dry_run: options.dry_run,
        starts,
        seconds: match starts {
            true => i32::try_from(ADDRESS_SECONDS).unwrap_or(i32::MAX),
            false => CONFIRM_SECONDS,
        },
    };
    annals_import::request(&app.store, &app.append, &caller, &context, &new).await?;
    let headers: Map<String, Value> = address
        .headers
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    let location = [(header::LOCATION, format!("/api/v1/data/uploads/{id}"))];
    let answer = json!({
        "upload_id": id, "method": "PUT", "url": address.url, "headers": headers, "expires_in": ADDRESS_SECONDS,
    });
    Ok((StatusCode::CREATED, location, Json(answer)).into_response())
}

/// `GET /data/uploads/{id}`: the status and the counts so far. 202 while the import, or its revert, is not finished.
pub(crate) async fn show(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    params.end()?;
    let upload = visible_upload(&app, &caller, &id).await?;
    let id = upload.upload_id;
    let most = most_errors(&upload);
    // Each rejected row has at least one error.
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = app.store.list_row_errors(&caller, id, 0, limit).await?;
    let errors: Vec<RowError<'_>> = rows.iter().flat_map(RowError::of).take(most).collect();
    let mut answer = json!(upload);
    answer["revert"] = revert_of(&app, &upload).await?;
    answer["errors_truncated"] = json!(i64::try_from(errors.len()).is_ok_and(|listed| listed < upload.counts.errors));
    answer["errors"] = json!(errors);
    let status = match upload.status.has_ended() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok((status, Json(answer)).into_response())
}

/// Maximum number of errors that the answer lists. 0 if the recorded fields cannot be parsed any more.
fn most_errors(upload: &UploadRecord) -> usize {
    let options = Dataset::named(&upload.dataset).and_then(|dataset| Options::recorded(&upload.options, dataset));
    options.map_or(0, |options| options.errors_listed())
}

/// The dataset, whether the import begins without a confirmation, and the upload's fields as text. The JSON may also have `true`, numbers or objects as values.
fn read_fields(body: Value) -> Result<(&'static Dataset, bool, Fields), ApiError> {
    let mut members = match body {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let fault = |code, detail: &str| ApiError::malformed(vec![FieldFault::new("/dataset", code, detail)]);
    let dataset = match members.remove("dataset") {
        Some(Value::String(name)) => Dataset::named(&name),
        Some(_) => None,
        None => return Err(fault("required", "is required")),
    };
    let dataset = dataset.ok_or_else(|| fault("invalid_value", "must be sales, customers or expenses"))?;
    let starts = match members.remove("start") {
        None | Some(Value::Null) => true,
        Some(start) if start == "arrival" => true,
        Some(start) if start == "confirmed" => false,
        Some(_) => {
            let detail = "must be arrival or confirmed";
            return Err(ApiError::malformed(vec![FieldFault::new(
                "/start",
                "invalid_value",
                detail,
            )]));
        }
    };
    Ok((dataset, starts, texts(members)))
}

/// Fields of an upload as text. JSON may also have `true`, numbers or objects as their values, and null for what is not given.
pub(crate) fn texts(members: Map<String, Value>) -> Fields {
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    given.map(|(name, value)| (name, field_text(&value))).collect()
}

fn unavailable(error: StorageError) -> ApiError {
    match error {
        StorageError::Unconfigured => {
            let detail = "this deployment has no storage for large files; configure a bucket for uploads";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "large_uploads_unavailable", detail).into()
        }
        other => ApiError::Internal(Box::new(other)),
    }
}
