//! Entity tags: what a reader has already, and what a writer has seen (RFC 9110, 8.8.3 and 13.1).
//!
//! An entity that is read has the tag `"7-5f1d…"`: its version, and a digest of the answer's bytes, because they also differ
//! where the version does not (`projected_version`, a later schema). A write answers with the version alone, `"7"`. A condition
//! of a write looks at versions only, so both serve.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::error::{ApiError, Problem};

/// A tag as a condition names it.
#[derive(Debug, PartialEq, Eq)]
struct Tag<'a> {
    is_weak: bool,
    /// Without its quotes.
    opaque: &'a str,
}

/// The tag of an answer about a version.
pub(super) fn tag_of(version: i32, body: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(body);
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{version}-{digest}\"")
}

/// Whether the reader has this already: `If-None-Match` names it, compared weakly. `also` is another tag for the same bytes. A
/// condition that cannot be read is none.
pub(super) fn is_known(headers: &HeaderMap, tag: &str, also: Option<&str>) -> bool {
    let Some(text) = joined(headers, &header::IF_NONE_MATCH) else {
        return false;
    };
    let names = |tag: &str, of: &Tag<'_>| tag.trim_matches('"') == of.opaque;
    text.trim() == "*"
        || tags(&text).is_some_and(|tags| {
            let mut tags = tags.iter();
            tags.any(|of| names(tag, of) || also.is_some_and(|also| names(also, of)))
        })
}

/// The versions that `If-Match` lets a write through at: `"3"` or the tag of a read; none for `*` and where there is no condition.
/// A weak tag lets nothing through.
///
/// # Errors
/// 400 for anything else.
pub fn required_versions(headers: &HeaderMap) -> Result<Option<Vec<i32>>, ApiError> {
    if !headers.contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let malformed = || {
        let detail = "If-Match holds the ETag of an earlier answer, a version in quotes like \"3\", or *";
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

/// The header's lines as one list; none where it is missing or not text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(|line| line.to_str()).collect();
    lines
        .ok()
        .filter(|lines| !lines.is_empty())
        .map(|lines| lines.join(","))
}

/// A list of tags; none where it is malformed or empty.
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
    fn a_reader_knows_what_any_of_its_tags_names() {
        let known =
            |values: &[&'static str]| is_known(&headers(header::IF_NONE_MATCH, values), "\"3-ab\"", Some("\"3\""));
        for values in [
            &["*"][..],
            &["\"3-ab\""],
            &["W/\"3-ab\""],
            &["\"x\", \"3-ab\""],
            &["\"x,y\" , W/\"3-ab\""],
            &["\"x\"", "\"3\""],
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
    fn a_writer_names_versions() {
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
