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
        Self {
            router: world.router.clone(),
            bearer: format!("Bearer {}", Person::staff().token()),
        }
    }

    /// Posts a body with this number of events.
    pub async fn post(&self, body: String, events: usize) -> usize {
        let request = Request::post("/api/v1/events")
            .header(header::AUTHORIZATION, &self.bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .body(Body::from(body));
        self.answer(request.expect("a request"), 201).await;
        events
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

/// The page's cursor, found without parsing the page as JSON; parsing would count as the bench's time, not Annals'.
pub fn next_cursor(page: &str) -> Option<String> {
    let (_, rest) = page.rsplit_once(r#""next_cursor":""#)?;
    rest.split('"').next().map(str::to_owned)
}
