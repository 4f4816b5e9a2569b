//! The headers `Accept` and `Accept-Encoding` (RFC 9110, 12.5.1 and 12.5.3): lists of names, each with a quality from 0 to 1.

use axum::http::{HeaderMap, HeaderName, header};

/// The offered media type that the client prefers: the one of the highest quality, which is that of the most specific range that names it. Of
/// equally welcome types the one that the client names most precisely is taken, then the first that is offered. That is also the default, for
/// clients without the header and for those that accept none of them.
pub fn preferred<'a>(headers: &HeaderMap, offered: &[&'a str]) -> &'a str {
    let ranges: Vec<(&str, f32)> = weighted(headers, &header::ACCEPT).collect();
    let mut best = ((0.0, 0), offered.first().copied().unwrap_or_default());
    for media in offered {
        let matching = ranges
            .iter()
            .filter_map(|(name, quality)| Some((specificity(name, media)?, *quality)));
        if let Some((specificity, quality)) = matching.max_by_key(|(specificity, _)| *specificity)
            && quality > 0.0
            && (quality, specificity) > best.0
        {
            best = ((quality, specificity), *media);
        }
    }
    best.1
}

/// Whether the client accepts an answer in gzip: `gzip` or its old name `x-gzip` is in the list, or `*` is and these are not, and the quality is
/// not 0. Without the header the answer is not compressed, because simple clients cannot inflate it. For answers that are compressed
/// already; a layer compresses all others.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut named, mut any) = (None, None);
    for (coding, quality) in weighted(headers, &header::ACCEPT_ENCODING) {
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => named = Some(quality > 0.0),
            "*" => any = Some(quality > 0.0),
            _ => {}
        }
    }
    named.or(any).unwrap_or(false)
}

/// The names of a list with their qualities. Without one it is 1; one that cannot be read counts as 0.
fn weighted<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = (&'a str, f32)> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (name, quality.map_or(1.0, |text| text.parse().unwrap_or(0.0)))
    })
}

/// How precisely a range names a type: 3 itself, 2 as `text/*`, 1 as `*/*`. `None` if it does not.
fn specificity(range: &str, media: &str) -> Option<u8> {
    let (kind, _) = media.split_once('/')?;
    match range.strip_suffix("/*") {
        Some("*") => Some(1),
        Some(named) => named.eq_ignore_ascii_case(kind).then_some(2),
        None => range.eq_ignore_ascii_case(media).then_some(3),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn what_the_client_prefers_is_taken() {
        for (accept, expected) in [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("text/csv", "text/csv"),
            ("Text/CSV;charset=utf-8", "text/csv"),
            ("application/json, text/csv", "application/json"),
            ("text/csv, application/json", "application/json"),
            ("text/*", "text/csv"),
            ("application/json;q=0, */*", "text/csv"),
            ("application/*;q=0.2, text/csv;q=0.1", "application/json"),
            ("application/json;q=0.5, text/csv;q=0.8", "text/csv"),
            ("text/csv;q=0", "application/json"),
            ("text/csv;q=x", "application/json"),
            ("text/csv, */*;q=0.1", "text/csv"),
            ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
            ("image/png", "application/json"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(
                preferred(&headers, &["application/json", "text/csv"]),
                expected,
                "{accept}"
            );
        }
    }

    fn accepts(lines: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        accepts_gzip(&headers)
    }

    #[test]
    fn gzip_is_accepted_if_it_is_named_or_everything_is() {
        for lines in [
            &["gzip, deflate, br, zstd"][..],
            &["GZIP"],
            &["x-gzip"],
            &["*"],
            &["br;q=1.0, gzip;q=0.001"],
            &["deflate", "gzip ; q=1"],
            &["gzip, *;q=0"],
        ] {
            assert!(accepts(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["identity"],
            &["br"],
            &["gzip;q=0"],
            &["gzip; Q=0.000"],
            &["*;q=0"],
            &["gzip;q=0, *"],
            &["gzipped"],
        ] {
            assert!(!accepts(lines), "{lines:?}");
        }
    }
}
