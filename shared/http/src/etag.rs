//! Entity tags: `If-None-Match` of reads and `If-Match` of writes (RFC 9110, 8.8.3 and 13.1).
//!
//! The tag of a read is `"7-5f1d…"`: the version, and a digest of the body. The digest is needed because the body can change at
//! the same version (`projected_version`, a later schema). The tag of a write is the version alone, `"7"`. The condition of a
//! write compares only versions, so it accepts both tags.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::compression::SUFFIX;
use super::error::{ApiError, Problem};
use super::written_json::WrittenJson;
use annals_domain::hex;

/// A tag in the header of a condition.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    is_weak: bool,
    /// The text between the quotes.
    opaque: &'a str,
}

/// The first 8 bytes of the body's SHA-256, as text.
pub fn digest_of(body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(&Sha256::digest(body)[..8])
}

/// The answer to a read of something that has no version: 200 with the body and its digest as ETag, or 304 if the client has this body.
pub fn revalidated(headers: &HeaderMap, body: WrittenJson) -> Response {
    let tag = format!("\"{}\"", digest_of(&body.0));
    unless_known(headers, &tag, None, body)
}

/// The answer with its tag, or 304 if the client has this answer by `tag` or by `also`, another tag of it. Tags are ASCII, so each can be sent
/// in a header.
pub fn unless_known(headers: &HeaderMap, tag: &str, also: Option<&str>, answer: impl IntoResponse) -> Response {
    let mut response = match is_known(headers, tag, also) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => answer.into_response(),
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether the client has this body already: `If-None-Match` is `*`, or it names `tag` or `also`, another tag of the same body. The
/// comparison is weak: a `W/` before a tag makes no difference, nor whether the client has the body compressed. A malformed header counts as
/// absent.
fn is_known(headers: &HeaderMap, tag: &str, also: Option<&str>) -> bool {
    let Some(text) = joined(headers, &header::IF_NONE_MATCH) else {
        return false;
    };
    let plain = |of: &Tag<'_>| of.opaque.strip_suffix(SUFFIX).unwrap_or(of.opaque).to_owned();
    let names = |tag: &str, of: &Tag<'_>| tag.trim_matches('"') == plain(of);
    text.trim() == "*"
        || tags(&text).is_some_and(|tags| {
            let mut tags = tags.iter();
            tags.any(|of| names(tag, of) || also.is_some_and(|also| names(also, of)))
        })
}

/// The versions at which `If-Match` allows a write: from `"3"`, or from the tag of a read. `None` for `*`, and if there is no condition.
/// Weak tags are left out, so they allow no write.
///
/// # Errors
/// 400 `invalid_if_match` for anything else.
pub fn required_versions(headers: &HeaderMap) -> Result<Option<Vec<i32>>, ApiError> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let malformed = || {
        let detail = "If-Match must be the ETag of an earlier answer, a version in quotes like \"3\", or *";
        ApiError::from(Problem::new(StatusCode::BAD_REQUEST, "invalid_if_match", detail))
    };
    let text = joined(headers, &header::IF_MATCH).ok_or_else(malformed)?;
    if text.trim() == "*" {
        return Ok(None);
    }
    let version = |tag: &Tag<'_>| {
        let version = tag.opaque.split_once('-').map_or(tag.opaque, |(version, _)| version);
        version.parse::<i32>().map(|version| (tag.is_weak, version)).ok()
    };
    let tags = tags(&text).ok_or_else(malformed)?;
    let versions: Option<Vec<(bool, i32)>> = tags.iter().map(version).collect();
    let strong = versions
        .ok_or_else(malformed)?
        .into_iter()
        .filter(|(is_weak, _)| !is_weak);
    Ok(Some(strong.map(|(_, version)| version).collect()))
}

/// All lines of the header as one list. `None` if it is absent or not text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(|line| line.to_str()).collect();
    lines
        .ok()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(","))
}

/// The tags of a list. `None` if it is malformed or empty.
fn tags(text: &str) -> Option<Vec<Tag<'_>>> {
    let (mut tags, mut rest) = (Vec::new(), text.trim());
    loop {
        let (is_weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |rest| (true, rest));
        let (opaque, after) = quoted.strip_prefix('"')?.split_once('"')?;
        tags.push(Tag { is_weak, opaque });
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(tags);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn if_none_match_may_name_several_tags() {
        let known =
            |values: &[&'static str]| is_known(&headers(header::IF_NONE_MATCH, values), "\"3-ab\"", Some("\"3\""));
        for values in [
            &["*"][..],
            &["\"3-ab\""],
            &["W/\"3-ab\""],
            &["\"x\", \"3-ab\""],
            &["\"x,y\" , W/\"3-ab\""],
            &["\"x\"", "\"3\""],
            &["\"3-ab-gzip\""],
            &["\"3-gzip\""],
        ] {
            assert!(known(values), "{values:?}");
        }
        for values in [
            &[][..],
            &[""],
            &["\"3-a\""],
            &["3-ab"],
            &["\"3-ab"],
            &["\"x\" \"3-ab\""],
        ] {
            assert!(!known(values), "{values:?}");
        }
    }

    #[test]
    fn if_match_names_versions() {
        let required = |values: &[&'static str]| required_versions(&headers(header::IF_MATCH, values)).ok();
        assert_eq!(required(&[]), Some(None));
        assert_eq!(required(&["*"]), Some(None));
        assert_eq!(required(&["\"3\""]), Some(Some(vec![3])));
        assert_eq!(required(&["\"3-ab\", W/\"4\"", "\"5\""]), Some(Some(vec![3, 5])));
        assert_eq!(required(&["W/\"3\""]), Some(Some(vec![])));
        for malformed in ["", "3", "\"3", "\"three\"", "\"-3\"", "\"99999999999\"", "\"3\",", "W/"] {
            assert_eq!(required(&[malformed]), None, "{malformed}");
        }
    }
}
