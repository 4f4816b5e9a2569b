//! The function `console`: pages for people, their files, and the headers that keep other origins out. `tests/browser` opens them in a browser.

mod assets;
mod problems;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::Value;
use tests::{Runtime, World, recorded};
use tower::ServiceExt;

/// Every page, with one problem code as an example: the pages of all codes are alike.
const PAGES: [&str; 4] = ["/docs", "/redoc", "/docs/problems", "/docs/problems/not_found"];

/// An answer, whose body need not be text.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The paths that the page refers to.
    fn references(&self) -> BTreeSet<String> {
        let values = ["href=\"", "src=\""].map(|start| self.text().split(start).skip(1));
        let values = values.into_iter().flatten().filter_map(|rest| rest.split('"').next());
        values.map(str::to_owned).collect()
    }
}

async fn request(method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let router = annals_http::finish(annals_console::router());
    let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = answer.into_parts();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

async fn get(path: &str) -> Answer {
    request(Method::GET, path, &[]).await
}

/// Every file that some page refers to.
async fn assets() -> BTreeSet<String> {
    let mut assets = BTreeSet::new();
    for page in PAGES {
        let references = get(page).await.references();
        assets.extend(references.into_iter().filter(|path| path.starts_with("/docs/assets/")));
    }
    assert!(assets.len() >= 7, "{assets:?}");
    assets
}

/// The sources of each directive of the policy.
fn policy(answer: &Answer) -> Vec<(String, Vec<String>)> {
    let directives = answer.header("content-security-policy").split(';').map(str::trim);
    let words = directives.map(|directive| directive.split_whitespace().map(str::to_owned));
    words
        .map(|mut words| (words.next().unwrap(), words.collect()))
        .collect()
}

#[tokio::test]
async fn pages_need_no_token_and_are_validated_each_time() {
    for page in PAGES {
        let answer = get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "public, no-cache");
        assert!(answer.text().starts_with("<!DOCTYPE html><html lang=\"en\">"), "{page}");
        let again = request(Method::GET, page, &[("if-none-match", answer.header("etag"))]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{page}");
        let head = request(Method::HEAD, page, &[]).await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{page}");
        assert_eq!(head.header("etag"), answer.header("etag"), "{page}");
    }
}

#[tokio::test]
async fn no_page_may_load_anything_of_another_origin_or_run_a_script_that_is_no_file_of_ours() {
    for page in PAGES {
        let answer = get(page).await;
        let policy = policy(&answer);
        for (directive, expected) in [
            ("default-src", "'none'"),
            ("base-uri", "'none'"),
            ("form-action", "'none'"),
            ("frame-ancestors", "'none'"),
        ] {
            assert!(
                policy.contains(&(directive.to_owned(), vec![expected.to_owned()])),
                "{page}: {policy:?}"
            );
        }
        for (directive, sources) in &policy {
            for source in sources {
                let is_allowed = match (directive.as_str(), source.as_str()) {
                    (_, "'none'" | "'self'") | ("img-src", "data:") => true,
                    ("worker-src", "blob:") => page == "/redoc",
                    ("style-src", hash) => page == "/redoc" && hash.starts_with("'sha256-"),
                    _ => false,
                };
                assert!(is_allowed, "{page}: {directive} {source}");
            }
        }
        for tag in answer.text().split("<script").skip(1) {
            assert!(
                tag.starts_with(" src=\"/docs/assets/") && tag.contains("\" defer></script>"),
                "{page}: {tag:.80}"
            );
        }
        for inline in ["<style", " style=", " onclick=", " onload=", "javascript:", "//"] {
            assert!(!answer.text().contains(inline), "{page}: {inline}");
        }
    }
}

#[tokio::test]
async fn every_answer_of_the_function_is_protected() {
    let asset = assets().await.pop_first().unwrap();
    for (method, path, status) in [
        (Method::GET, "/docs", 200),
        (Method::GET, "/redoc", 200),
        (Method::GET, "/docs/", 308),
        (Method::GET, "/docs/problems/nothing", 404),
        (Method::GET, "/docs/assets/nothing.js", 404),
        (Method::GET, asset.as_str(), 200),
    ] {
        let answer = request(method, path, &[]).await;
        assert_eq!(answer.status, status, "{path}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_reference_of_a_page_leads_to_something_that_the_server_answers() {
    let world = World::new().await;
    for page in PAGES {
        for path in get(page).await.references() {
            if path.starts_with('#') {
                continue;
            }
            let (path, fragment) = path.split_once('#').unwrap_or((&path, ""));
            let request = Request::get(path).body(Body::empty()).unwrap();
            let answer = world.router.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 200, "{page}: {path}");
            if !fragment.is_empty() {
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                let id = format!("id=\"{fragment}\"");
                assert!(
                    std::str::from_utf8(&body).unwrap().contains(&id),
                    "{page}: {path}#{fragment}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_address_with_a_slash_too_many_leads_to_the_page_and_other_methods_are_refused() {
    let answer = get("/docs/").await;
    assert_eq!((answer.status, answer.header("location")), (308, "/docs"));
    for path in ["/docs", "/redoc", "/docs/problems"] {
        let refused = request(Method::POST, path, &[]).await;
        let problem: Value = serde_json::from_slice(&refused.body).unwrap();
        assert_eq!((refused.status, refused.header("allow")), (405, "GET,HEAD"), "{path}");
        assert_eq!(problem["type"], "/docs/problems/method_not_allowed");
    }
}

/// The function as deployed: its own binary, invoked as API Gateway does, and no database at the address that it has.
#[tokio::test]
async fn the_deployed_function_answers_pages_and_files_without_a_database() {
    let runtime = Runtime::start().await;
    let _process = runtime.process("console", "");
    for path in PAGES.into_iter().map(str::to_owned).chain(assets().await) {
        let answer = runtime.invoke(recorded::get_page(&path)).await;
        assert_eq!(answer["statusCode"], 200, "{path}: {answer:.300}");
        let expected = request(Method::GET, &path, &[("accept-encoding", "gzip, br")]).await;
        let body = answer["body"].as_str().unwrap();
        let body = match answer["isBase64Encoded"].as_bool().unwrap() {
            true => STANDARD.decode(body).unwrap(),
            false => body.as_bytes().to_vec(),
        };
        assert!(
            body == expected.body,
            "{path}: {} bytes, not {}",
            body.len(),
            expected.body.len()
        );
        for name in ["content-encoding", "content-type", "content-security-policy"] {
            let found = answer["headers"][name].as_str().unwrap_or_default();
            assert_eq!(found, expected.header(name), "{path}");
        }
    }
}
