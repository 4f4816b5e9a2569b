//! The header `Accept-Encoding`. The layers of `tower-http` read it, too, but they compress answers; assets are compressed already.

use axum::http::{HeaderMap, header};

/// Whether the client accepts an answer in gzip (RFC 9110, 12.5.3): `gzip` or its old name `x-gzip` is in the list, or `*` is and these
/// are not, and the weight is not 0. Without the header the answer is not compressed, because simple clients cannot inflate it.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING);
    let entries = lines
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    let (mut named, mut any) = (None, None);
    for (coding, is_wanted) in entries.map(entry) {
        match coding.as_str() {
            "gzip" | "x-gzip" => named = Some(is_wanted),
            "*" => any = Some(is_wanted),
            _ => {}
        }
    }
    named.or(any).unwrap_or(false)
}

/// The coding of an entry, and whether its weight is more than 0. A weight is `0`, or has a digit that is not 0.
fn entry(text: &str) -> (String, bool) {
    let mut parts = text.split(';').map(str::trim);
    let coding = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let is_wanted = weight.is_none_or(|weight| weight.bytes().any(|digit| (b'1'..=b'9').contains(&digit)));
    (coding, is_wanted)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

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
