//! An answer of the API.

use std::io::Read;

use axum::http::{HeaderMap, header};
use axum::response::Response;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use serde_json::Value;

/// The body that was meant: inflated, if `Content-Encoding` says that it is compressed.
pub(crate) fn plain(headers: &HeaderMap, body: Vec<u8>) -> Vec<u8> {
    let coding = headers
        .get(header::CONTENT_ENCODING)
        .and_then(|coding| coding.to_str().ok());
    if coding.is_none_or(|coding| !coding.to_lowercase().ends_with("gzip")) {
        return body;
    }
    let mut plain = Vec::new();
    let read = MultiGzDecoder::new(&body[..]).read_to_end(&mut plain);
    read.map_or(body, |_| plain)
}

/// An answer that was read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body as text, inflated if it was compressed.
    pub text: String,
    /// Body as JSON; null if it is not JSON.
    pub body: Value,
}

impl Answer {
    pub(crate) async fn read(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8(plain(&parts.headers, bytes.to_vec())).expect("a body of text");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
            body,
        }
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    /// The problem's code. The answer must be a complete problem with this status.
    #[track_caller]
    pub fn problem(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{}",
            self.text
        );
        for member in ["type", "title", "detail", "code", "request_id"] {
            assert!(self.body[member].is_string(), "{member} is missing: {}", self.text);
        }
        let detail = self.body["detail"].as_str().unwrap_or_default();
        assert!(
            !detail.is_empty() && detail.trim() == detail,
            "a detail is a sentence: {}",
            self.text
        );
        assert_eq!(self.body["status"], status);
        let code = self.body["code"].as_str().unwrap_or_default();
        assert_eq!(self.body["type"], format!("/docs/problems/{code}"));
        code
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All lines of a header, joined by commas.
    pub fn header_list(&self, name: &str) -> String {
        let lines = self
            .headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok());
        lines.collect::<Vec<&str>>().join(",")
    }

    /// The items of a page.
    #[track_caller]
    pub fn items(&self) -> &Vec<Value> {
        self.body["items"]
            .as_array()
            .unwrap_or_else(|| panic!("no items: {}", self.text))
    }
}
