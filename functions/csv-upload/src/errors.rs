//! `GET /data/uploads/{id}/errors`: what is wrong with an upload's rows, in pages of JSON; or the rows themselves as a file in their
//! own columns with one more, `errors`, to be put right and sent again.

use annals::App;
use annals::domain::Caller;
use annals::http::{ApiError, Authenticated, Cursor, Listed, Page, Params, Path};
use annals::store::{RejectedCell, RejectedRow, ReportFrame};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::formula::guarded;
use crate::layout;
use crate::report::RowError;

/// Bytes of a file at which it ends. With the row that goes beyond, it can still be sent again in one request.
const MOST_BYTES: usize = 3 * 1024 * 1024;
/// Bytes of rows that are read at a time for a file.
const BATCH_BYTES: i64 = 1024 * 1024;
/// Spreadsheets take a file without it for Windows-1252.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The report that is asked for, of an upload that the caller may see.
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
    if format.unwrap_or_else(|| asks_for_csv(&headers)) {
        file(&app, &caller, id, &frame, params).await
    } else {
        Ok(page(&app, &caller, id, params).await?.into_response())
    }
}

/// `text/csv` is named, and not only by `*/*`, which means that the client does not care.
fn asks_for_csv(headers: &HeaderMap) -> bool {
    let ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    ranges.flat_map(|value| value.split(',')).any(|range| {
        range
            .split(';')
            .next()
            .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/csv"))
    })
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
    // Made by ourselves, as its check tells: the last row that was read, and the place of the error within it.
    let after = after.as_deref().and_then(|key| key.split_once(':'));
    let (row, place): (i64, Option<usize>) = after.map_or((0, None), |(row, place)| {
        (row.parse().unwrap_or_default(), place.parse().ok())
    });
    let limit = params.limit()?;
    params.end()?;
    // A row has one error at least; of the first one all may have been read.
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
    let error = |cell| RowError {
        row: row.row,
        line: row.line,
        cell,
    };
    row.errors.iter().enumerate().map(move |(place, cell)| Item {
        place,
        error: error(cell),
    })
}

/// Why there is no file of rows: the upload's own file has not been read, or could not be.
async fn without_rows(app: &App, caller: &Caller, id: Uuid) -> Result<ApiError, ApiError> {
    let upload = app.store.find_upload(caller, id).await?;
    let Some(failure) = upload.and_then(|upload| upload.failure) else {
        let detail =
            "the upload's file has not been read yet; try again when its status is running, completed or failed";
        return Ok(ApiError::conflict("upload_unread", detail));
    };
    let told = |member: &str| failure[member].as_str().unwrap_or_default().to_owned();
    let detail = format!(
        "the upload's file could not be read, so there are no rows to correct ({}: {}); correct the file, and upload it anew",
        told("code"),
        told("detail")
    );
    Ok(ApiError::conflict("upload_failed", detail))
}

/// As many rows as are asked for and fit into an answer; where there are more, a `Link` leads to the file that goes on.
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
    let mut written = Written::new(columns, delimiter)?;
    let (mut last, mut left) = (after.unwrap_or(0), limit.unwrap_or(usize::MAX));
    let mut next = None;
    'rows: loop {
        let rows = app.store.list_rejected_rows(caller, id, last + 1, BATCH_BYTES).await?;
        for row in &rows {
            if left == 0 || written.is_full() {
                next = Some(cursor.encode(&last.to_string()));
                break 'rows;
            }
            written.add(row)?;
            (last, left) = (row.row, left - 1);
        }
        if rows.is_empty() {
            break;
        }
    }
    let disposition = format!("attachment; filename=\"{}-errors.csv\"", frame.dataset);
    let mut response = (
        [
            (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ],
        written.finish()?,
    )
        .into_response();
    if let Some(next) = next {
        let limit = limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
        let link = format!("<?format=csv&cursor={next}{limit}>; rel=\"next\"");
        let link = link.parse().map_err(|error| ApiError::Internal(Box::new(error)))?;
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// A file being written.
struct Written {
    writer: csv::Writer<Vec<u8>>,
    width: usize,
}

impl Written {
    fn new(columns: &[String], delimiter: char) -> Result<Self, ApiError> {
        let writer = csv::WriterBuilder::new()
            .delimiter(u8::try_from(delimiter).unwrap_or(b','))
            .terminator(csv::Terminator::CRLF)
            .flexible(true)
            .from_writer(BYTE_ORDER_MARK.to_vec());
        let mut written = Self {
            writer,
            width: columns.len(),
        };
        let mark = layout::mark_beside(columns.iter().map(String::as_str));
        written.write(columns.iter().map(String::as_str).chain([mark]))?;
        Ok(written)
    }

    /// A row's fields in their columns, then what is wrong; fields beyond the header come last, and nothing is left out.
    fn add(&mut self, row: &RejectedRow) -> Result<(), ApiError> {
        let field = |place: usize| row.fields.get(place).map_or("", String::as_str);
        let remark: Vec<String> = row.errors.iter().map(remark).collect();
        let remark = remark.join("; ");
        let beyond = self.width..row.fields.len().max(self.width);
        let fields = (0..self.width)
            .map(field)
            .chain([remark.as_str()])
            .chain(beyond.map(field));
        self.write(fields)
    }

    fn write<'a>(&mut self, fields: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
        let fields = fields.map(|field| guarded(field).into_owned());
        self.writer
            .write_record(fields)
            .map_err(|error| ApiError::Internal(Box::new(error)))
    }

    fn is_full(&self) -> bool {
        self.writer.get_ref().len() >= MOST_BYTES
    }

    fn finish(self) -> Result<Vec<u8>, ApiError> {
        self.writer
            .into_inner()
            .map_err(|error| ApiError::Internal(error.to_string().into()))
    }
}

fn remark(cell: &RejectedCell) -> String {
    match &cell.column {
        Some(column) => format!("{column}: {} ({})", cell.message, cell.code),
        None => format!("{} ({})", cell.message, cell.code),
    }
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
