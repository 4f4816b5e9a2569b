//! Restores the paths of requests that arrive through API Gateway.
//!
//! An HTTP API passes on a decoded path, some of it decoded twice, so it no longer shows where a segment ends. In live captures `a%20b`
//! arrives as `a b`, `a%2Fb` and `a%252Fb` as `a/b`, `a%23b` as `a#b`. The route and its parameters still show which part of the path was
//! one parameter, so the path is built again from them, encoded as `local` gets it from a client. Two cases cannot be restored: `a%3Fb`
//! arrives as `a`, and `a%25b` is refused. Clients must encode them twice.
//!
//! An id may contain slashes and is then several segments of the decoded path, so routes with an id end with a greedy parameter
//! (`/entities/{type}/{id+}`), and what may follow the id ([`ENDINGS`]) is split off here. `{path+}` is no id but the rest of the path, so its
//! slashes remain.

use std::collections::HashMap;
use std::convert::Infallible;

use aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::routing::get;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Error, LambdaEvent, Service, lambda_runtime, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use tower::ServiceExt;

use super::error::{ApiError, Problem};
use super::layers::finish;
use super::path::encoded;

/// What may follow an id in our paths. An id with a slash that ends like this cannot be distinguished from such a path.
pub const ENDINGS: [&str; 3] = ["/diff", "/history", "/snapshots"];

/// The greedy parameter that is not an id but the rest of the path.
const REST: &str = "path";

/// Characters that no path can contain unencoded. `%` is not included: without a route, it may be part of an escape.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Serves a function's routes on Lambda.
///
/// # Errors
/// Those of the Lambda runtime. A failing request does not end it.
pub async fn serve(routes: Router) -> Result<(), Error> {
    let routes = finish(routes);
    lambda_runtime::run(service_fn(move |event| answer(routes.clone(), event))).await
}

/// Answers an invocation. The routes must have passed through `finish`.
///
/// # Errors
/// It never fails: every failure becomes an answer.
pub async fn answer(routes: Router, event: LambdaEvent<Invocation>) -> Result<impl Serialize, Infallible> {
    let (invocation, context) = event.into_parts();
    match invocation {
        Invocation::Request(request) => {
            let request = LambdaRequest::ApiGatewayV2(restored(*request));
            let response = Adapter::from(routes).call(LambdaEvent::new(request, context)).await;
            response.map(Answer::Served)
        }
        Invocation::OtherFormat => Ok(Answer::Refused(Refusal::new(&context.request_id).await)),
    }
}

/// The event that an HTTP function is invoked with.
#[derive(Debug)]
pub enum Invocation {
    /// A request in payload format 2.0.
    Request(Box<ApiGatewayV2httpRequest>),
    /// A request in another format: API Gateway's 1.0 or a load balancer's. The function was not deployed by template.yaml.
    OtherFormat,
}

impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct OtherFormat {
            #[serde(rename = "httpMethod")]
            _http_method: IgnoredAny,
        }
        let event = Box::<RawValue>::deserialize(deserializer)?;
        match serde_json::from_str(event.get()) {
            Ok(request) => Ok(Self::Request(Box::new(request))),
            Err(_) if serde_json::from_str::<OtherFormat>(event.get()).is_ok() => Ok(Self::OtherFormat),
            Err(_) => Err(D::Error::custom("the event is not a request")),
        }
    }
}

/// The answer to an invocation. Formats 1.0 and 2.0 have the same members.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer<R> {
    Served(R),
    Refused(Refusal),
}

/// A problem as the answer to a request in another format.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refusal {
    status_code: u16,
    headers: HashMap<&'static str, &'static str>,
    body: String,
    is_base64_encoded: bool,
}

impl Refusal {
    /// The same problem that one of our routes would answer with, under the invocation's id.
    async fn new(request_id: &str) -> Self {
        let refuse = || async {
            let detail = "this function accepts only API Gateway's payload format 2.0";
            ApiError::from(Problem::new(StatusCode::BAD_REQUEST, "payload_format", detail))
        };
        let request = Request::get("/").header("x-request-id", request_id).body(Body::empty());
        let response = finish(Router::new().route("/", get(refuse)))
            .oneshot(request.unwrap_or_default())
            .await;
        let Ok(response) = response;
        // This cannot fail, because a problem is text in memory.
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
        Self {
            status_code: StatusCode::BAD_REQUEST.as_u16(),
            headers: HashMap::from([("content-type", "application/problem+json")]),
            body: String::from_utf8_lossy(&body).into_owned(),
            is_base64_encoded: false,
        }
    }
}

fn restored(mut request: ApiGatewayV2httpRequest) -> ApiGatewayV2httpRequest {
    let route = request.route_key.as_deref().and_then(|key| key.split_once(' '));
    let path = route.and_then(|(_, route)| filled(route, &request.path_parameters));
    let path = path.unwrap_or_else(|| {
        let raw_path = request.raw_path.as_deref().unwrap_or_default();
        utf8_percent_encode(raw_path, PATH).to_string()
    });
    request.raw_path = Some(path);
    request
}

/// The route with its parameters filled in. `None` if one of them is missing.
fn filled(route: &str, parameters: &HashMap<String, String>) -> Option<String> {
    let segments: Option<Vec<String>> = route
        .split('/')
        .map(|segment| filled_segment(segment, parameters))
        .collect();
    Some(segments?.join("/"))
}

fn filled_segment(segment: &str, parameters: &HashMap<String, String>) -> Option<String> {
    let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        return Some(segment.to_owned());
    };
    let Some(greedy) = name.strip_suffix('+') else {
        return Some(encoded(parameters.get(name)?));
    };
    let value = parameters.get(greedy)?;
    if greedy == REST {
        return Some(value.split('/').map(encoded).collect::<Vec<_>>().join("/"));
    }
    let split = |ending: &&'static str| value.strip_suffix(*ending).map(|id| (id, *ending));
    let (id, ending) = ENDINGS.iter().find_map(split).unwrap_or((value, ""));
    Some(encoded(id) + ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restored_path(route_key: &str, parameters: &[(&str, &str)], raw_path: &str) -> String {
        let mut request = ApiGatewayV2httpRequest::default();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        request.route_key = Some(route_key.to_owned());
        request.path_parameters = parameters.iter().map(owned).collect();
        request.raw_path = Some(raw_path.to_owned());
        restored(request).raw_path.expect("a path")
    }

    /// The decoded paths come from live captures.
    #[test]
    fn a_parameter_is_encoded_as_one_segment() {
        for (decoded, encoded) in [
            ("plain", "plain"),
            ("space value", "space%20value"),
            ("hash#value", "hash%23value"),
            ("slash/value", "slash%2Fvalue"),
            ("unicode-λ-世界", "unicode-%CE%BB-%E4%B8%96%E7%95%8C"),
            ("literal?value", "literal%3Fvalue"),
            ("literal%value", "literal%25value"),
            ("literal%2Fvalue", "literal%252Fvalue"),
            ("a+b", "a%2Bb"),
        ] {
            for key in ["GET /entities/{type}/{id+}", "GET /entities/{type}/{id}"] {
                let path = restored_path(key, &[("type", "customer"), ("id", decoded)], "/entities/customer/x");
                assert_eq!(path, format!("/entities/customer/{encoded}"), "{key} {decoded}");
            }
        }
    }

    #[test]
    fn endings_after_an_id_are_split_off() {
        for (value, expected) in [
            ("C-1/diff", "C-1/diff"),
            ("A /ü/history", "A%20%2F%C3%BC/history"),
            ("a/b/snapshots", "a%2Fb/snapshots"),
            ("diff", "diff"),
            ("a/different", "a%2Fdifferent"),
            ("C-1/diff/more", "C-1%2Fdiff%2Fmore"),
        ] {
            assert_eq!(
                restored_path("GET /e/{id+}", &[("id", value)], "/e/x"),
                format!("/e/{expected}")
            );
        }
    }

    #[test]
    fn the_rest_of_a_path_keeps_its_slashes() {
        for (value, expected) in [
            ("problems", "problems"),
            ("problems/not_found", "problems/not_found"),
            ("problems/", "problems/"),
            ("a b/ü/history", "a%20b/%C3%BC/history"),
            ("", ""),
        ] {
            assert_eq!(
                restored_path("ANY /docs/{path+}", &[("path", value)], "/docs/x"),
                format!("/docs/{expected}")
            );
        }
    }

    #[test]
    fn without_a_route_the_path_is_encoded_as_a_whole() {
        for (raw, expected) in [
            ("/api/v1/nothing", "/api/v1/nothing"),
            ("/a b/ü#x?y=1", "/a%20b/%C3%BC%23x%3Fy=1"),
            ("/already%20encoded", "/already%20encoded"),
        ] {
            assert_eq!(restored_path("$default", &[], raw), expected);
            assert_eq!(restored_path("GET /{missing}", &[], raw), expected);
        }
    }

    #[test]
    fn event_formats_are_distinguished() {
        let read = |event: &str| serde_json::from_str::<Invocation>(event);
        let context = r#""requestContext": {"http": {"method": "GET"}}"#;
        assert!(matches!(read(&format!("{{{context}}}")), Ok(Invocation::Request(_))));
        let older = r#"{"httpMethod": "GET", "path": "/", "requestContext": {"stage": "prod"}}"#;
        assert!(matches!(read(older), Ok(Invocation::OtherFormat)));
        for event in ["{}", "[]", "null", r#"{"Records": []}"#] {
            assert!(read(event).is_err(), "{event}");
        }
    }
}
