//! `GET /data/uploads/{id}/errors`: the errors of an upload's rows, in pages of JSON; or the rejected rows themselves as a CSV file.

use crate::App;
use annals_domain::Caller;
use annals_http::{ApiError, Authenticated, Cursor, Listed, NextPage, Page, Params, Path, preferred};
use annals_import::RowError;
use annals_store::{RejectedRow, ReportFrame};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::report_file::ReportFile;

/// Bytes of rows that are read at a time for a file.
const BATCH_BYTES: i64 = 1024 * 1024;

/// Answers with the report of an upload that the caller may see.
pub(crate) async fn list(
    State(app): State<App>,
    Authenticated(caller): Authenticated,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut params: Params,
) -> Result<Response, ApiError> {
    let format = params.read("format", "must be json or csv", |value| {
        ["json", "csv"].contains(&value).then(|| value == "csv")
    })?;
    let missing = || ApiError::not_found("there is no upload with this id, or you may not see it");
    let id = Uuid::try_parse(&id).map_err(|_| missing())?;
    let frame = app.store.find_report(&caller, id).await?.ok_or_else(missing)?;
    if format.unwrap_or_else(|| preferred(&headers, &["application/json", "text/csv"]) == "text/csv") {
        file(&app, &caller, id, &frame, params).await
    } else {
        Ok(page(&app, &caller, id, params).await?.into_response())
    }
}

#[derive(Serialize)]
struct Item<'a> {
    #[serde(skip)]
    place: usize,
    #[serde(flatten)]
    error: RowError<'a>,
}

impl Listed for Item<'_> {}

async fn page(app: &App, caller: &Caller, id: Uuid, mut params: Params) -> Result<Page, ApiError> {
    let cursor = Cursor::of("upload_errors", &(id, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode(&c)).transpose()?;
    // The cursor names the last row that was read, and the position of the last error in it. It has passed its check, so this function made
    // it.
    let after = after.as_deref().and_then(|key| key.split_once(':'));
    let (row, place): (i64, Option<usize>) = after.map_or((0, None), |(row, place)| {
        (row.parse().unwrap_or_default(), place.parse().ok())
    });
    let limit = params.limit()?;
    params.end()?;
    // Each row has at least one error. All errors of the first row may have been read already.
    let rows = app.store.list_row_errors(caller, id, row, limit.plus_one() + 1).await?;
    let items: Vec<Item<'_>> = rows
        .iter()
        .flat_map(items_of)
        .filter(|item| item.error.row > row || place.is_some_and(|place| item.place > place))
        .collect();
    Page::cut(&items, limit, |item| {
        cursor.encode(&format!("{}:{}", item.error.row, item.place))
    })
}

fn items_of(row: &RejectedRow) -> impl Iterator<Item = Item<'_>> {
    RowError::of(row)
        .enumerate()
        .map(|(place, error)| Item { place, error })
}

/// The problem of an upload without a header: its file has not been read yet, or could not be read.
async fn without_rows(app: &App, caller: &Caller, id: Uuid) -> Result<ApiError, ApiError> {
    let upload = app.store.find_upload(caller, id).await?;
    let Some(failure) = upload.and_then(|upload| upload.failure) else {
        let detail =
            "the upload's file has not been read yet; try again when its status is running, completed or failed";
        return Ok(ApiError::conflict("upload_unread", detail));
    };
    let text = |member: &str| failure[member].as_str().unwrap_or_default().to_owned();
    let detail = format!(
        "the upload's file could not be read, so there are no rows to correct ({}: {}); correct the file and upload it again",
        text("code"),
        text("detail")
    );
    Ok(ApiError::conflict("upload_failed", detail))
}

/// A file with as many rows as the limit and the size of an answer allow. If there are more, the header `Link` has the address of the next
/// file.
async fn file(
    app: &App,
    caller: &Caller,
    id: Uuid,
    frame: &ReportFrame,
    mut params: Params,
) -> Result<Response, ApiError> {
    let cursor = Cursor::of("upload_errors_csv", &(id, caller.tenant_id()));
    let after = params.one("cursor")?.map(|c| cursor.decode_number(&c)).transpose()?;
    let limit = params.read("limit", "must be a whole number from 1", |value| {
        value.parse::<usize>().ok().filter(|n| *n > 0)
    })?;
    params.end()?;
    let (Some(columns), Some(delimiter)) = (&frame.header, frame.delimiter) else {
        return Err(without_rows(app, caller, id).await?);
    };
    let mut report = ReportFile::new(id, columns, delimiter)?;
    let left = limit.unwrap_or(usize::MAX);
    let last = fill(app, caller, id, &mut report, after.unwrap_or(0), left).await?;
    let disposition = format!("attachment; filename=\"{}-errors.csv\"", frame.dataset);
    let mut response = (
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ],
        report.finish()?,
    )
        .into_response();
    if let Some(last) = last {
        let (parameter, cursor) = ("cursor", cursor.encode(&last.to_string()));
        response.extensions_mut().insert(NextPage { parameter, cursor });
    }
    Ok(response)
}

/// Adds the rows after `last`, until the limit or the size of an answer is reached. Returns the last row of the file if more follow.
async fn fill(
    app: &App,
    caller: &Caller,
    id: Uuid,
    report: &mut ReportFile,
    mut last: i64,
    mut left: usize,
) -> Result<Option<i64>, ApiError> {
    loop {
        let rows = app.store.list_rejected_rows(caller, id, last + 1, BATCH_BYTES).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        for row in &rows {
            if left == 0 || report.is_full() {
                return Ok(Some(last));
            }
            report.add(row)?;
            (last, left) = (row.row, left - 1);
        }
    }
}
