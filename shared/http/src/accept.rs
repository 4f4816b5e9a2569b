//! The header `Accept` (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// The offered media type that the client prefers: the one of the highest quality, which is that of the most specific range that names it. Of
/// equally welcome types the one that the client names most precisely is taken, then the first that is offered. That is also the default, for
/// clients without the header and for those that accept none of them.
pub fn preferred<'a>(headers: &HeaderMap, offered: &[&'a str]) -> &'a str {
    let lines = headers.get_all(header::ACCEPT).iter();
    let ranges: Vec<(&str, f32)> = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(range)
        .collect();
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

/// A range and its quality.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, quality.map_or(1.0, |text| text.parse().unwrap_or(0.0)))
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
}
