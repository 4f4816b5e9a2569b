//! The headers `Idempotency-Key` and `Idempotency-Replayed`.

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, Method};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use annals_domain::ids::Text;

/// Routes whose handlers read a key. Add each new one here: all other writing routes refuse the key.
const KEYED: [(Method, &str); 5] = [
    (Method::POST, "/api/v1/events"),
    (Method::POST, "/api/v1/events/{id}/compensate"),
    (Method::POST, "/api/v1/entities/{aggregate_type}"),
    (Method::PATCH, "/api/v1/entities/{aggregate_type}/{aggregate_id}"),
    (Method::DELETE, "/api/v1/entities/{aggregate_type}/{aggregate_id}"),
];

/// Refuses a key that the handler would not read: the client relies on a retry being recognised. Requests that only read may have
/// a key, because repeating them changes nothing.
///
/// # Errors
/// 400 `unexpected_idempotency_key`.
pub(super) fn refuse_unread_key(request: &Request) -> Result<(), ApiError> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if reads || !request.headers().contains_key("idempotency-key") {
        return Ok(());
    }
    let Some(route) = request.extensions().get::<MatchedPath>() else {
        return Ok(());
    };
    match KEYED
        .iter()
        .any(|(method, path)| method == request.method() && *path == route.as_str())
    {
        true => Ok(()),
        false => Err(ApiError::bad_request(
            "unexpected_idempotency_key",
            "this resource does not accept the header Idempotency-Key; only requests that append events, compensate events or change entities do",
        )),
    }
}

/// The key of a request, if it has one. The IETF draft defines the header as a string of RFC 8941, `"k"` with two escapes. Clients usually
/// send it without quotes; that is the same key.
///
/// # Errors
/// 400 `invalid_idempotency_key` for a malformed key, and for more than one.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<Text<255>>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("is sent more than once; send it once"));
    }
    let text = value
        .to_str()
        .map_err(|_| invalid("must be visible ASCII characters"))?
        .trim();
    let key = match text.strip_prefix('"') {
        None => text.to_owned(),
        Some(rest) => unquoted(rest).ok_or_else(|| {
            invalid(
                "begins with a quote but is not a quoted string like \"k\"; inside it, write \\ before each \" and \\",
            )
        })?,
    };
    let key = Text::try_from(key).map_err(|_| invalid("must have 1 to 255 visible characters"))?;
    Ok(Some(key))
}

/// The answer, which is marked if an earlier request with the same key had carried the request out: then nothing was done again.
pub fn marked_if_replayed(answer: impl IntoResponse, is_replayed: bool) -> Response {
    let mark = is_replayed.then_some([("idempotency-replayed", "true")]);
    (mark, answer).into_response()
}

/// The text up to the closing quote, unescaped. `rest` begins after the opening quote.
fn unquoted(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(key),
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            character => key.push(character),
        }
    }
}

fn invalid(what: &str) -> ApiError {
    ApiError::bad_request("invalid_idempotency_key", format!("Idempotency-Key {what}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn key(value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(
            "idempotency-key",
            HeaderValue::from_str(value).expect("a header's value"),
        );
        idempotency_key(&headers)
            .ok()
            .flatten()
            .map(|key| key.as_str().to_owned())
    }

    #[test]
    fn a_quoted_key_is_the_text_between_its_quotes() {
        for (value, expected) in [
            (r#""k""#, "k"),
            ("k", "k"),
            (r#"  "k"  "#, "k"),
            (r#""a \"b\" \\ c""#, r#"a "b" \ c"#),
            (r#"a"b"#, r#"a"b"#),
            (r"a\b", r"a\b"),
        ] {
            assert_eq!(key(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn malformed_keys_are_refused() {
        for value in ["", r#"""#, r#""k"#, r#""""#, r#""a"b"#, r#""a\b""#, r#""k";p=1"#] {
            assert_eq!(key(value), None, "{value}");
        }
    }
}
