//! Lists of events in other forms than JSON, as the header `Accept` asks: `application/x-ndjson` has an event per line, `text/csv` a row per
//! event for spreadsheets. The header `Link` leads to the next page in every form.
//!
//! Numbers stay as they are written, digit by digit, and text that a spreadsheet would run as a formula gets a quote before it.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use annals_domain::formula;
use annals_http::{ApiError, preferred};
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const CSV: &str = "text/csv";

/// The columns of every event, in this order. Columns of `data` and of what only some lists have come after them.
const COLUMNS: [&str; 21] = [
    "event_number",
    "id",
    "event_type",
    "version",
    "aggregate_type",
    "aggregate_id",
    "aggregate_version",
    "created_by",
    "created_by_name",
    "user_id",
    "timestamp",
    "created_at",
    "source",
    "correlation_id",
    "causation_id",
    "command_id",
    "idempotency_key",
    "processed",
    "tenant_id",
    "metadata",
    "recorded",
];
/// Maximum number of columns that the data of a page have.
const MAX_DATA_COLUMNS: usize = 1_000;
/// Maximum bytes of a page as CSV. Lambda answers text as a JSON string, in which quotes and line ends take two bytes, of at most 6 MB.
const MAX_BYTES: usize = 3 * 1024 * 1024 - 64 * 1024;

/// A page as the handlers write it.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
}

/// Members of a JSON object, as they are written.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Answers with a list in the form that the client prefers.
pub(crate) async fn as_preferred(request: Request, next: Next) -> Response {
    let form = preferred(request.headers(), &[JSON, LINES, CSV]);
    let is_head = *request.method() == Method::HEAD;
    let mut response = next.run(request).await;
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, vary);
    if form == JSON || response.status() != StatusCode::OK {
        return response;
    }
    converted(response, form, is_head)
        .await
        .unwrap_or_else(IntoResponse::into_response)
}

async fn converted(response: Response, form: &'static str, is_head: bool) -> Result<Response, ApiError> {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    set_type(&mut parts.headers, form);
    if is_head {
        // A stream has no length: that of the form is not known without writing it.
        let nothing = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
        return Ok(Response::from_parts(parts, nothing));
    }
    let body: Bytes = to_bytes(body, usize::MAX)
        .await
        .map_err(|error| ApiError::Internal(Box::new(error)))?;
    let page: Page<'_> = serde_json::from_slice(&body).map_err(|error| ApiError::Internal(Box::new(error)))?;
    let text = match form {
        CSV => as_csv(&page)?,
        _ => as_lines(&page, body.len()),
    };
    Ok(Response::from_parts(parts, Body::from(text)))
}

fn set_type(headers: &mut HeaderMap, form: &'static str) {
    let media_type = match form {
        CSV => "text/csv; charset=utf-8; header=present",
        _ => LINES,
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if form == CSV {
        let file = HeaderValue::from_static("attachment; filename=\"events.csv\"");
        headers.insert(header::CONTENT_DISPOSITION, file);
    }
}

fn as_lines(page: &Page<'_>, bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes);
    for item in &page.items {
        text.extend_from_slice(item.get().as_bytes());
        text.push(b'\n');
    }
    text
}

/// A header, and a row per event. Fields of `data` are columns of their own (`data.price`); what is nested in them is JSON.
fn as_csv(page: &Page<'_>) -> Result<Vec<u8>, ApiError> {
    let internal = |error: csv::Error| ApiError::Internal(Box::new(error));
    let rows = page
        .items
        .iter()
        .map(|item| Row::read(item))
        .collect::<Result<Vec<_>, _>>()?;
    let (mut others, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for row in &rows {
        let other = row.event.keys().filter(|name| !COLUMNS.contains(&name.as_str()));
        others.extend(other.map(String::as_str));
        fields.extend(row.data.keys().map(String::as_str));
    }
    if fields.len() > MAX_DATA_COLUMNS {
        return Err(too_large(format!(
            "the events of this page have {} different fields; at most {MAX_DATA_COLUMNS} become columns",
            fields.len()
        )));
    }
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(formula::BYTE_ORDER_MARK.to_vec());
    let members: Vec<&str> = COLUMNS.into_iter().chain(others).collect();
    let names = members.iter().map(|name| (*name).to_owned());
    let names = names.chain(fields.iter().map(|name| format!("data.{name}")));
    writer
        .write_record(names.map(|name| disarmed(&name)))
        .map_err(internal)?;
    for row in &rows {
        let cells = members.iter().map(|name| cell(row.event.get(*name)));
        let cells = cells.chain(fields.iter().map(|name| cell(row.data.get(*name))));
        writer.write_record(cells).map_err(internal)?;
        if writer.get_ref().len() > MAX_BYTES {
            return Err(too_large(format!("this page has more than {MAX_BYTES} bytes as CSV")));
        }
    }
    writer
        .into_inner()
        .map_err(|error| ApiError::Internal(error.to_string().into()))
}

fn too_large(what: String) -> ApiError {
    let detail = format!("{what}: ask for fewer with limit or event_type, or accept {LINES}");
    ApiError::unprocessable("csv_too_large", detail, Vec::new())
}

/// An event: its members except `data`, and those of `data`.
struct Row<'a> {
    event: Members<'a>,
    data: Members<'a>,
}

impl<'a> Row<'a> {
    fn read(item: &'a RawValue) -> Result<Self, ApiError> {
        let read = |text: &'a str| serde_json::from_str(text).map_err(|error| ApiError::Internal(Box::new(error)));
        let mut event: Members<'a> = read(item.get())?;
        let data = event
            .remove("data")
            .map_or(Ok(Members::new()), |data| read(data.get()))?;
        Ok(Self { event, data })
    }
}

/// A member as a cell: text without its quotes, nothing for null, and everything else as it is written.
fn cell(value: Option<&&RawValue>) -> String {
    let written = value.map_or("", |value| value.get());
    match written.as_bytes().first() {
        None | Some(b'n') => String::new(),
        Some(b'"') => {
            let text: String = serde_json::from_str(written).unwrap_or_default();
            disarmed(&text)
        }
        Some(b'{' | b'[') => disarmed(written),
        Some(_) => written.to_owned(),
    }
}

/// The text with a quote before what a spreadsheet would run. A negative number in a text stays one.
fn disarmed(text: &str) -> String {
    let is_number = |text: &str| {
        text.strip_prefix('-')
            .is_some_and(|digits| serde_json::from_str::<Number>(digits).is_ok())
    };
    formula::guarded(text, is_number).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv_of(items: &str) -> String {
        let body = format!(r#"{{"items":{items},"next_cursor":null}}"#);
        let page: Page<'_> = serde_json::from_str(&body).expect("a page");
        let text = as_csv(&page).map_err(|_| "refused").expect("a page as CSV");
        String::from_utf8(text).expect("UTF-8")
    }

    /// The last columns of a line: those of `data`.
    fn ends(text: &str, line: usize) -> &str {
        let line = text.lines().nth(line).expect("a line");
        line.rsplit_once(",,,").map_or(line, |(_, rest)| rest)
    }

    #[test]
    fn numbers_keep_their_digits_and_formulas_are_disarmed() {
        let text = csv_of(
            r#"[{"data":{"a":-12345678901234567890.1200,"b":"=1+1","c":"a \"b\"","d":null,"e":{"x":[1]},"f":true}},
                {"data":{"=z":"-5"}}]"#,
        );
        assert!(text.starts_with("\u{feff}event_number,id,event_type,"));
        assert!(
            text.lines()
                .next()
                .expect("a header")
                .ends_with("recorded,data.=z,data.a,data.b,data.c,data.d,data.e,data.f")
        );
        assert_eq!(
            ends(&text, 1),
            r#"-12345678901234567890.1200,'=1+1,"a ""b""",,"{""x"":[1]}",true"#
        );
        assert!(text.lines().nth(2).expect("a row").ends_with(",-5,,,,,,"), "{text}");
    }

    #[test]
    fn an_empty_page_has_the_header() {
        assert_eq!(csv_of("[]").lines().count(), 1);
    }

    #[test]
    fn columns_are_bounded() {
        let fields: Vec<String> = (0..=MAX_DATA_COLUMNS).map(|n| format!(r#""f{n}":1"#)).collect();
        let body = format!(r#"{{"items":[{{"data":{{{}}}}}]}}"#, fields.join(","));
        let page: Page<'_> = serde_json::from_str(&body).expect("a page");
        assert!(as_csv(&page).is_err());
    }
}
