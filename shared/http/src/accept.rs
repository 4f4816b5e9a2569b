//! The header `Accept` (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// The offered media type that the client prefers. The first is the default: for clients without a preference (`*/*`), and for those that
/// accept none of them. Of types that are equally welcome the client's first is taken.
pub fn preferred<'a>(headers: &HeaderMap, offered: &[&'a str]) -> &'a str {
    let default = offered.first().copied().unwrap_or_default();
    let lines = headers.get_all(header::ACCEPT).iter();
    let ranges = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let mut best = (0.0, default);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let found = match name {
            "*/*" | "application/*" => Some(default),
            _ => offered.iter().copied().find(|media| media.eq_ignore_ascii_case(name)),
        };
        let quality = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1.0, |text| text.parse().unwrap_or(0.0));
        if let Some(media) = found
            && quality > best.0
        {
            best = (quality, media);
        }
    }
    best.1
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
            ("text/csv, application/json", "text/csv"),
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
