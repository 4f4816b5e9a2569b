//! The API for one member of staff, in process: from the bytes of a request to the bytes of an answer.

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt;
use tests::{Person, World};
use tower::ServiceExt;

use crate::rows::{BATCH, USER_AGENT, batch, new_stream};

/// A router and a token.
#[derive(Clone)]
pub struct Api {
    router: Router,
    bearer: String,
}

impl Api {
    /// Staff of the default tenant.
    pub fn of(world: &World) -> Self {
        Self::before(world.router.clone())
    }

    /// The same for these functions.
    pub fn before(router: Router) -> Self {
        Self {
            router,
            bearer: format!("Bearer {}", Person::staff().token()),
        }
    }

    /// Posts a body with this number of events.
    pub async fn post(&self, body: String, events: usize) -> usize {
        self.post_to("/events", body).await;
        events
    }

    /// The body of an answer to a POST that must be 201.
    pub async fn post_to(&self, path: &str, body: String) -> String {
        let request = Request::post(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Body::from(body));
        self.answer(request.expect("a request"), 201).await
    }

    /// The body of an answer that must be 200.
    pub async fn get(&self, path: &str) -> String {
        let request = Request::get(format!("/api/v1{path}"))
            .header(header::AUTHORIZATION, &self.bearer)
            .body(Body::empty());
        self.answer(request.expect("a request"), 200).await
    }

    async fn answer(&self, request: Request<Body>, status: u16) -> String {
        let response = self.router.clone().oneshot(request).await.expect("an answer");
        let found = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        assert_eq!(found, status, "{text}");
        text
    }

    /// Starts new streams of one event each, and returns their ids.
    pub async fn start_streams(&self, count: usize) -> Vec<String> {
        let streams: Vec<String> = (0..count).map(|_| new_stream()).collect();
        for some in streams.chunks(BATCH) {
            self.post(batch(some.iter().cloned()), some.len()).await;
        }
        streams
    }
}

/// A cursor at the end of a page (`next_cursor` or `cursor`), found without parsing the page as JSON; parsing would count as the bench's
/// time, not Annals'.
pub fn cursor(page: &str, name: &str) -> Option<String> {
    let (_, rest) = page.rsplit_once(&format!(r#""{name}":""#))?;
    rest.split('"').next().map(str::to_owned)
}

/// Number of events on a page, found in the same way.
pub fn events_on(page: &str) -> usize {
    page.matches(r#""aggregate_version":"#).count()
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_two_cursors_of_a_page_are_not_confused() {
        let page = r#"{"items":[{"aggregate_version":1},{"aggregate_version":2}],"next_cursor":"next","cursor":"end"}"#;
        assert_eq!(cursor(page, "next_cursor").as_deref(), Some("next"));
        assert_eq!(cursor(page, "cursor").as_deref(), Some("end"));
        assert_eq!(cursor(r#"{"items":[],"next_cursor":null}"#, "next_cursor"), None);
        assert_eq!(events_on(page), 2);
    }
}
