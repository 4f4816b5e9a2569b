//! The local stand-in for the bucket: the addresses that files are sent to.

use annals_storage::Storage;
use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tests::{Person, World};
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

/// The world's routes as the local server has them, with its folder under `/uploads`.
async fn world() -> World {
    let mut world = World::new().await;
    let Storage::Folder(folder) = world.app.storage.clone() else {
        panic!("no folder")
    };
    let (came, _) = unbounded_channel();
    let bucket = local::bucket::router(folder, world.app.store.clone(), came);
    world.router = local::engine::router_with_bucket(world.app.clone(), bucket);
    world
}

fn put(url: &str, content: &str) -> Request<Body> {
    let path = url.strip_prefix("http://local").unwrap_or(url);
    Request::put(path).body(Body::from(content.to_owned())).unwrap()
}

#[tokio::test]
async fn an_address_accepts_no_file_after_its_import_has_ended() {
    let (world, staff) = (world().await, Person::staff());
    let asked = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    let file = "sale_id,sale_date,amount\n1,2026-01-31,1.50\n";
    world.send(put(&asked.url, "broken")).await.expect(200);
    world.send(put(&asked.url, file)).await.expect(200);
    world.importer().import(asked.id, None).await.unwrap();
    let done = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        (&done["status"], &done["rows_accepted"]),
        (&json!("completed"), &json!(1))
    );
    let refused = world.send(put(&asked.url, file)).await;
    assert_eq!(refused.problem(410), "upload_ended");
    let path = world.files.0.join(asked.id.to_string());
    assert!(!path.exists(), "the file would never be deleted");
    assert_eq!(world.upload(&staff, &asked).await.expect(200).body, done);
}

#[tokio::test]
async fn its_errors_are_problems_with_a_request_id() {
    let (world, staff) = (world().await, Person::staff());
    let asked = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    let other = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    let token = |url: &str| url.split_once("token=").unwrap().1.to_owned();
    for (path, status, code) in [
        ("/uploads/none?token=x".to_owned(), 404, "not_found"),
        (format!("/uploads/{}", asked.id), 403, "address_expired"),
        (format!("/uploads/{}?token=x", asked.id), 403, "address_expired"),
        (
            format!("/uploads/{}?token={}", asked.id, token(&other.url)),
            403,
            "address_expired",
        ),
        (
            format!("/uploads/{}?token=a&token=b", asked.id),
            400,
            "invalid_parameter",
        ),
        (format!("/uploads/{}?token=a&x=b", asked.id), 400, "invalid_parameter"),
        (
            format!("/uploads/{}?token={}", Uuid::new_v4(), token(&asked.url)),
            403,
            "address_expired",
        ),
        ("/uploads/%FF?token=x".to_owned(), 400, "malformed_path"),
        ("/uploads".to_owned(), 404, "not_found"),
    ] {
        let refused = world.send(put(&path, "x")).await;
        assert_eq!(refused.problem(status), code, "{path}");
        assert_eq!(refused.body["request_id"], refused.header("x-request-id").unwrap());
        assert_eq!(refused.header("cache-control"), Some("private, no-store"));
    }
    let request = Request::get(format!("/uploads/{}", asked.id))
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(request).await.problem(405), "method_not_allowed");
}
