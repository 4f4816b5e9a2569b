//! Every operation refuses what no operation accepts: a caller without a token or without a role, an unknown parameter, and a body that it
//! does not read. `World::send` holds each answer against the document.

use annals_config::AuthConfig;
use annals_openapi::document;
use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use tests::{Answer, Person, SECRET, World, sign};

/// More than any body may have.
const TOO_LARGE: usize = 5 * 1024 * 1024;

/// An operation of the document, with a path that names something.
struct Operation {
    method: Method,
    path: String,
    description: &'static Value,
}

fn operations() -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        let path = path
            .replace("{aggregate_type}", "customer")
            .replace("{aggregate_id}", "C-1")
            .replace("{event_type}", "customer.created")
            .replace("{dataset}", "sales")
            .replace("{id}", "00000000-0000-7000-8000-000000000000");
        for (method, description) in item.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                description,
            });
        }
    }
    operations
}

impl Operation {
    fn answers(&self, status: &str) -> bool {
        self.description["responses"].get(status).is_some()
    }

    async fn send(&self, world: &World, token: Option<&str>, query: &str, body: Option<(&str, Vec<u8>)>) -> Answer {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(format!("{}{query}", self.path));
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = body.map_or(Body::empty(), |(kind, bytes)| {
            request
                .headers_mut()
                .unwrap()
                .insert(header::CONTENT_TYPE, kind.parse().unwrap());
            Body::from(bytes)
        });
        world.send(request.body(body).unwrap()).await
    }
}

#[tokio::test]
async fn a_caller_needs_a_token_with_a_role() {
    let auth = AuthConfig {
        secret: Some(SECRET.to_owned()),
        audience: "authenticated".to_owned(),
        requires_role: true,
        ..AuthConfig::default()
    };
    let world = World::new().await.with_auth(&auth);
    let mut claims = Person::staff().claims();
    claims["app_metadata"] = json!({});
    let without_role = sign(&claims, SECRET);
    for operation in operations() {
        let what = format!("{} {}", operation.method, operation.path);
        let public = operation.description["security"]
            .as_array()
            .is_some_and(|any| any.iter().any(|one| one == &json!({})) || any.is_empty());
        if !public {
            let refused = operation.send(&world, None, "", None).await;
            assert_eq!(refused.problem(401), "unauthorized", "{what}");
        }
        if operation.answers("401") {
            assert_eq!(
                operation.send(&world, Some("x"), "", None).await.problem(401),
                "token_malformed",
                "{what}"
            );
            assert_eq!(
                operation.send(&world, Some(&without_role), "", None).await.problem(403),
                "role_required",
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn what_nobody_reads_is_refused() {
    let (world, staff) = (World::new().await, Person::staff().token());
    for operation in operations() {
        let what = format!("{} {}", operation.method, operation.path);
        let json = || Some(("application/json", b"{}".to_vec()));
        let takes = |kind: &str| operation.description["requestBody"]["content"].get(kind).is_some();
        let body = match operation.method == Method::GET {
            true => None,
            false if takes("text/csv") => Some(("text/csv", b"sale_date,amount\n2026-01-01,1\n".to_vec())),
            false if takes("multipart/form-data") => Some(("multipart/form-data; boundary=x", b"--x--\r\n".to_vec())),
            false => json(),
        };
        let unknown = operation.send(&world, Some(&staff), "?unknown=1", body).await;
        // What is not there is not found first, in a few operations.
        assert!([400, 404].contains(&unknown.status), "{what}: {}", unknown.text);
        if operation.method == Method::GET {
            let stray = operation.send(&world, Some(&staff), "", json()).await;
            assert_eq!(stray.problem(400), "unexpected_body", "{what}");
        }
        if operation.answers("415") {
            let other = operation
                .send(&world, Some(&staff), "", Some(("text/plain", b"x".to_vec())))
                .await;
            assert_eq!(other.problem(415), "unsupported_media_type", "{what}");
        }
        if operation.answers("413") && operation.method != Method::GET {
            let kind = if takes("multipart/form-data") {
                "multipart/form-data; boundary=x"
            } else {
                "application/json"
            };
            let start: &[u8] = b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n";
            let mut large = if kind.starts_with("multipart") {
                start.to_vec()
            } else {
                Vec::new()
            };
            large.resize(TOO_LARGE, b' ');
            let large = operation.send(&world, Some(&staff), "", Some((kind, large))).await;
            assert_eq!(large.problem(413), "body_too_large", "{what}");
        }
    }
}
