//! Reads an upload request: a multipart form with the field `file`, or the file itself as the body. The upload's fields are in the form or
//! the query.
//!
//! The file is held in memory, because fields that are needed to read it may come after it. The size of a body is limited. (API Gateway
//! passes raw `text/csv` bodies on as text, so files in other encodings than UTF-8 arrive unchanged only in a form.)

use annals_http::{ApiError, Problem, unreadable_body};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Query, Request};
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;

/// The parts of a request.
pub(crate) struct Form {
    /// The bytes of the file.
    pub(crate) file: Bytes,
    /// Fields of the form and parameters of the query, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The charset parameter of a raw body's content type.
    pub(crate) charset: Option<String>,
}

impl Form {
    /// Reads a request to its end.
    ///
    /// # Errors
    /// 415 for other content types, 413 for a body that is too large, 400 for a body that cannot be parsed.
    pub(crate) async fn read(request: Request) -> Result<Self, ApiError> {
        let Query(fields) = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map_err(|_| {
            ApiError::bad_request("malformed_query", "the query string is not valid percent-encoded UTF-8")
        })?;
        let (essence, charset) = content_type(request.headers());
        match essence.as_str() {
            "multipart/form-data" => read_multipart(request, fields).await,
            "text/csv" => {
                let file = Bytes::from_request(request, &())
                    .await
                    .map_err(|rejection| unreadable(rejection.status()))?;
                Ok(Self { file, fields, charset })
            }
            _ => Err(unsupported(
                "send the file as field \"file\" of a multipart/form-data body, or as a text/csv body",
            )),
        }
    }

    /// Reads a form to its end.
    ///
    /// # Errors
    /// As [`Form::read`]; 415 for a body that is no form.
    pub(crate) async fn read_multipart(request: Request) -> Result<Self, ApiError> {
        match content_type(request.headers()).0.as_str() {
            "multipart/form-data" => Self::read(request).await,
            _ => Err(unsupported(
                "send the file as field \"file\" of a multipart/form-data body",
            )),
        }
    }
}

fn unsupported(detail: &str) -> ApiError {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail).into()
}

async fn read_multipart(request: Request, mut fields: Vec<(String, String)>) -> Result<Form, ApiError> {
    let mut parts = Multipart::from_request(request, &()).await.map_err(|_| {
        ApiError::bad_request(
            "malformed_multipart",
            "the header Content-Type has no boundary; let the HTTP client set it",
        )
    })?;
    let mut file = None;
    while let Some(part) = parts.next_field().await.map_err(|e| malformed(&e))? {
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(ApiError::bad_request(
                "malformed_multipart",
                "a part of the form has no name; the name of the file's part is \"file\"",
            ));
        };
        if name != "file" {
            let value = read_text(&name, part).await?;
            fields.push((name, value));
            continue;
        }
        if file.replace(part.bytes().await.map_err(|e| malformed(&e))?).is_some() {
            return Err(ApiError::bad_request(
                "repeated_file",
                "the form has more than one field \"file\"; send one file per request",
            ));
        }
    }
    let file = file.ok_or_else(|| {
        ApiError::bad_request(
            "missing_file",
            "the form has no field \"file\"; send the file under that name",
        )
    })?;
    Ok(Form {
        file,
        fields,
        charset: None,
    })
}

async fn read_text(name: &str, part: Field<'_>) -> Result<String, ApiError> {
    let bytes = part.bytes().await.map_err(|e| malformed(&e))?;
    String::from_utf8(bytes.into()).map_err(|_| {
        ApiError::bad_request(
            "malformed_multipart",
            format!("the field {name} of the form is not valid UTF-8"),
        )
    })
}

fn malformed(error: &MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => unreadable(StatusCode::PAYLOAD_TOO_LARGE),
        _ => ApiError::bad_request(
            "malformed_multipart",
            "the form is not valid multipart/form-data; it may have been cut short",
        ),
    }
}

fn unreadable(status: StatusCode) -> ApiError {
    let advice = "; for a larger file, request an upload address with POST /api/v1/data/uploads";
    unreadable_body(status, advice)
}

/// The media type in lower case, and its charset.
fn content_type(headers: &HeaderMap) -> (String, Option<String>) {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"));
    (
        essence,
        charset.map(|(_, charset)| charset.trim_matches('"').to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn read(uri: &str, content_type: &str, body: &str) -> Result<Form, String> {
        let request = Request::post(uri)
            .header("content-type", content_type)
            .body(Body::from(body.to_owned()))
            .expect("a request");
        Form::read(request).await.map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn fields_stand_before_and_after_the_file_and_in_the_query() {
        let part = |name: &str, body: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{body}\r\n")
        };
        let body = part("mode", "partial") + &part("file", "a,b\r\n1,2") + &part("currency", "EUR") + "--b--\r\n";
        let form = read("/x?dry_run=true", "multipart/form-data; boundary=b", &body)
            .await
            .expect("a form");
        assert_eq!(form.file, "a,b\r\n1,2");
        let fields: Vec<(&str, &str)> = form
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(fields, [("dry_run", "true"), ("mode", "partial"), ("currency", "EUR")]);
        let cut = read("/x", "multipart/form-data; boundary=b", &body[..body.len() - 12])
            .await
            .map(|_| ())
            .expect_err("cut");
        assert!(cut.contains("malformed_multipart"), "{cut}");
        let none = read("/x", "multipart/form-data; boundary=b", "--b--\r\n")
            .await
            .map(|_| ())
            .expect_err("no file");
        assert!(none.contains("missing_file"), "{none}");
        let twice = part("file", "a") + &part("file", "b") + "--b--\r\n";
        let twice = read("/x", "multipart/form-data; boundary=b", &twice)
            .await
            .map(|_| ())
            .expect_err("two files");
        assert!(twice.contains("repeated_file"), "{twice}");
    }

    #[tokio::test]
    async fn a_raw_body_is_the_file() {
        let form = read("/x", "text/csv; charset=\"Windows-1252\"", "a,b")
            .await
            .expect("a form");
        assert_eq!(
            (form.file.as_ref(), form.charset.as_deref()),
            (&b"a,b"[..], Some("Windows-1252"))
        );
        let other = read("/x", "application/json", "{}")
            .await
            .map(|_| ())
            .expect_err("another type");
        assert!(other.contains("unsupported_media_type"), "{other}");
    }
}
