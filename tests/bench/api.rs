//! The API for one member of staff, in process: bytes of a request in, bytes of an answer out.

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
    /// Staff of the tenant that has no name.
    pub fn of(world: &World) -> Self {
        Self {
            router: world.router.clone(),
            bearer: format!("Bearer {}", Person::staff().token()),
        }
    }

    /// Posts a body that holds so many events.
    pub async fn post(&self, body: String, events: usize) -> usize {
        let request = Request::post("/api/v1/events")
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Body::from(body));
        self.answer(request.expect("a request"), 201).await;
        events
    }

    /// The body of an answer that is there.
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

    /// Names of so many new streams of one event each.
    pub async fn start_streams(&self, count: usize) -> Vec<String> {
        let streams: Vec<String> = (0..count).map(|_| new_stream()).collect();
        for some in streams.chunks(BATCH) {
            self.post(batch(some.iter().cloned()), some.len()).await;
        }
        streams
    }
}

/// The page's cursor, found without reading the page as JSON: that would be the bench's time, not Annals'.
pub fn next_cursor(page: &str) -> Option<String> {
    let (_, rest) = page.rsplit_once(r#""next_cursor":""#)?;
    rest.split('"').next().map(str::to_owned)
}
