//! gzip, both ways: answers over 1 KiB for clients that accept it, and bodies of requests.

use std::io::Read;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use tower_http::CompressionLevel;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, predicate::And};

use super::body::{MAX_BODY_BYTES, bytes_of, unreadable_body};
use super::error::{ApiError, Problem};

/// Answers up to this number of bytes are sent as they are: they fit in one packet anyway.
const MIN_BYTES: u16 = 1024;

/// What is added to a tag, inside its quotes, if the answer is compressed: the bytes are others, so the tag must be another.
pub(super) const SUFFIX: &str = "-gzip";

/// Compresses answers for clients that accept gzip. The fastest level has most of the gain for JSON, at a third of the time.
pub(super) fn of_answers() -> CompressionLayer<And<SizeAbove, NotForContentType>> {
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(SizeAbove::new(MIN_BYTES).and(NotForContentType::SSE))
}

/// Gives a compressed answer its own tag. An answer to HEAD has no body, so it is never compressed: its `Content-Length` is that of the
/// plain body.
pub(super) async fn tag_compressed(mut request: Request, next: Next) -> Response {
    if *request.method() == Method::HEAD {
        request.headers_mut().remove(header::ACCEPT_ENCODING);
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let mut response = next.run(request).await;
    let Some(tag) = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()) else {
        return response;
    };
    let packed = format!("{}{SUFFIX}\"", tag.trim_end_matches('"'));
    let is_unchanged = response.status() == StatusCode::NOT_MODIFIED;
    // 304 names the tag that the client has.
    let is_packed = match is_unchanged {
        true => known.is_some_and(|known| known.to_str().is_ok_and(|known| known.contains(&packed))),
        false => response.headers().contains_key(header::CONTENT_ENCODING),
    };
    if is_unchanged {
        let vary = HeaderValue::from_static("accept-encoding");
        response.headers_mut().append(header::VARY, vary);
    }
    if is_packed && let Ok(tag) = HeaderValue::from_str(&packed) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Inflates a body in gzip. A body in another coding is answered 415 before it is waited for, and so is a file that is sent to the bucket: S3
/// would keep it as it is. Both the body and what it is inflated to are bounded; a body that is not all gzip is refused as a whole.
pub(super) async fn inflate(request: Request, next: Next) -> Result<Response, Response> {
    let coding = coding_of(request.headers()).map_err(IntoResponse::into_response)?;
    if coding == Coding::None {
        return Ok(next.run(request).await);
    }
    if !request.uri().path().starts_with("/api/") {
        return Err(UnknownCoding.into_response());
    }
    let (mut parts, body) = request.into_parts();
    let packed = bytes_of(Request::from_parts(parts.clone(), body), &()).await;
    let packed = packed.map_err(IntoResponse::into_response)?;
    let plain = inflated(&packed).map_err(|status| unreadable_body(status, " when it is inflated").into_response())?;
    parts.headers.remove(header::CONTENT_ENCODING);
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(plain.len()));
    Ok(next.run(Request::from_parts(parts, Body::from(plain))).await)
}

/// What all members of a gzip file are inflated to. The layer of `tower-http` reads only the first member and ignores what follows it.
fn inflated(packed: &[u8]) -> Result<Vec<u8>, StatusCode> {
    let mut plain = Vec::new();
    let limit = u64::try_from(MAX_BODY_BYTES).unwrap_or(u64::MAX);
    let read = MultiGzDecoder::new(packed).take(limit + 1).read_to_end(&mut plain);
    match read {
        _ if plain.len() > MAX_BODY_BYTES => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Ok(_) => Ok(plain),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Coding {
    None,
    Gzip,
}

fn coding_of(headers: &HeaderMap) -> Result<Coding, UnknownCoding> {
    let mut coding = Coding::None;
    for line in headers.get_all(header::CONTENT_ENCODING) {
        for name in line.to_str().map_err(|_| UnknownCoding)?.split(',') {
            match (name.trim().to_ascii_lowercase().as_str(), &coding) {
                ("" | "identity", _) => {}
                ("gzip" | "x-gzip", Coding::None) => coding = Coding::Gzip,
                _ => return Err(UnknownCoding),
            }
        }
    }
    Ok(coding)
}

#[derive(Debug, PartialEq, Eq)]
struct UnknownCoding;

impl IntoResponse for UnknownCoding {
    fn into_response(self) -> Response {
        let detail =
            "the body has a Content-Encoding that is not read: send it with gzip, once, or without an encoding";
        let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", detail);
        let mut response = ApiError::from(problem).into_response();
        response
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coding(lines: &[&'static str]) -> Result<Coding, UnknownCoding> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(line));
        }
        coding_of(&headers)
    }

    #[test]
    fn only_gzip_once_is_read() {
        for lines in [&[][..], &["identity"], &[""], &["Identity, identity"]] {
            assert_eq!(coding(lines), Ok(Coding::None), "{lines:?}");
        }
        for lines in [
            &["gzip"][..],
            &["GZip"],
            &["x-gzip"],
            &["identity, gzip"],
            &["identity", "gzip"],
        ] {
            assert_eq!(coding(lines), Ok(Coding::Gzip), "{lines:?}");
        }
        for lines in [
            &["br"][..],
            &["gzip, gzip"],
            &["gzip", "gzip"],
            &["deflate"],
            &["gzip;q=1"],
        ] {
            assert_eq!(coding(lines), Err(UnknownCoding), "{lines:?}");
        }
    }
}
