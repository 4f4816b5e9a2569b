//! The header `Link` of a page that is not the last one (RFC 8288): `<?limit=100&cursor=…>; rel="next"`.
//!
//! The target is only a query, which a client resolves against the address that it asked: the server need not know what is in front of it.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::{CONTROLS, utf8_percent_encode};

/// Where a list continues: the query parameter, and its value. An answer has it as an extension.
#[derive(Debug, Clone)]
pub struct NextPage {
    /// Name of the parameter.
    pub parameter: &'static str,
    /// The cursor.
    pub cursor: String,
}

/// Adds the header to answers that have a next page.
pub(super) async fn link_next(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let mut response = next.run(request).await;
    if let Some(page) = response.extensions().get::<NextPage>()
        && let Ok(link) = HeaderValue::from_str(&format!("<?{}>; rel=\"next\"", page.query(&query)))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

impl NextPage {
    /// The same query with this page's cursor.
    fn query(&self, query: &str) -> String {
        let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let mut pairs: Vec<&str> = query
            .split('&')
            .filter(|pair| !pair.is_empty() && name(pair) != self.parameter)
            .collect();
        let next = format!("{}={}", self.parameter, self.cursor);
        pairs.push(&next);
        // A header has no other characters; clients may send them unencoded.
        utf8_percent_encode(&pairs.join("&"), CONTROLS).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_cursor_changes() {
        let page = NextPage {
            parameter: "cursor",
            cursor: "n_2".to_owned(),
        };
        for (query, next) in [
            ("", "cursor=n_2"),
            ("cursor=n_1", "cursor=n_2"),
            ("aggregate_id=KÜ-1", "aggregate_id=K%C3%9C-1&cursor=n_2"),
            ("limit=5&cursor=n_1&order=asc", "limit=5&order=asc&cursor=n_2"),
            (
                "event_type=a.b&event_type=c.d",
                "event_type=a.b&event_type=c.d&cursor=n_2",
            ),
            (
                "from=2026-01-01T00%3A00%3A00%2B01%3A00",
                "from=2026-01-01T00%3A00%3A00%2B01%3A00&cursor=n_2",
            ),
        ] {
            assert_eq!(page.query(query), next);
        }
    }
}
