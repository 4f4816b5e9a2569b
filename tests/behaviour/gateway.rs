//! Whole invocations of HTTP functions as API Gateway sends them: with decoded paths, and in each payload format it can use.

use annals_http::gateway::{Invocation, answer};
use lambda_http::{Context, LambdaEvent};
use serde_json::{Value, json};
use tests::{Person, World};

const GET_HEALTH: &str = include_str!("../events/http_get_health.json");
const GET_HISTORY: &str = include_str!("../events/http_get_history.json");
const POST_EVENT: &str = include_str!("../events/http_post_event.json");
const UPLOAD_CSV: &str = include_str!("../events/http_upload_csv.json");
const V1_GET_HEALTH: &str = include_str!("../events/http_v1_get_health.json");

async fn invoke(world: &World, event: &str) -> (u16, Value) {
    let invocation: Invocation = serde_json::from_slice(event.as_bytes()).expect("a request");
    let mut context = Context::default();
    context.request_id = "an-invocation".to_owned();
    let answered = answer(world.router.clone(), LambdaEvent::new(invocation, context)).await;
    let answered = serde_json::to_value(answered.unwrap()).unwrap();
    let status = answered["statusCode"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok());
    let body = answered["body"].as_str().unwrap_or("null");
    (status.expect("a status"), serde_json::from_str(body).unwrap())
}

/// A request in payload format 2.0, with the path as the gateway decodes it.
fn request(who: &Person, route: &str, parameters: &Value, path: &str, query: &str) -> String {
    let (method, _) = route.split_once(' ').unwrap_or(("GET", ""));
    json!({
        "version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": query, "pathParameters": parameters,
        "headers": {"authorization": format!("Bearer {}", who.token()), "host": "a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com"},
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "curl/8.5.0"},
            "routeKey": route, "stage": "$default", "timeEpoch": 1_763_705_040_000_i64,
        },
        "isBase64Encoded": false,
    })
    .to_string()
}

#[tokio::test]
async fn ids_of_any_characters_are_found_in_decoded_paths() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for id in [
        "plain", "A /ü", "a#b", "a?b", "50%", "a%2Fb", "a+b", "/", "a/b/c", "世界",
    ] {
        world.append(&staff, "customer.created", id, json!({"name": id})).await;
        let route = "GET /api/v1/entities/{type}/{id+}";
        let find = |ending: &str, query: &str| {
            let value = format!("{id}{ending}");
            let path = format!("/api/v1/entities/customer/{value}");
            request(&staff, route, &json!({"type": "customer", "id": value}), &path, query)
        };
        let (status, entity) = invoke(&world, &find("", "")).await;
        assert_eq!((status, &entity["aggregate_id"]), (200, &json!(id)), "{entity}");
        let (status, diff) = invoke(&world, &find("/diff", "from=1&to=1")).await;
        assert_eq!((status, &diff["changes"]), (200, &json!({})), "{diff}");
    }
}

#[tokio::test]
async fn a_query_behind_a_decoded_hash_is_not_lost() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world
        .append(&staff, "customer.created", "a#b", json!({"name": "N"}))
        .await;
    let parameters = json!({"id": "a#b"});
    let event = request(
        &staff,
        "GET /api/v1/audit/entity/{id+}",
        &parameters,
        "/api/v1/audit/entity/a#b",
        "limit=0",
    );
    let (status, problem) = invoke(&world, &event).await;
    assert_eq!(status, 400, "the limit was not read: {problem}");
}

#[tokio::test]
async fn a_path_without_a_route_is_answered_by_a_problem_whatever_it_contains() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for path in [
        "/",
        "",
        "/api/v1/nothing",
        "/a b",
        "/a#b",
        "/ü",
        "/%",
        "/%zz",
        "//",
        "/api/v1/entities/customer/a/b/c",
        "*",
    ] {
        let (status, problem) = invoke(&world, &request(&staff, "$default", &Value::Null, path, "a=%zz&&")).await;
        assert_eq!(
            (status, &problem["code"]),
            (404, &json!("not_found")),
            "{path}: {problem}"
        );
    }
}

#[tokio::test]
async fn recorded_requests_are_answered() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (status, health) = invoke(&world, GET_HEALTH).await;
    assert_eq!((status, &health["status"]), (200, &json!("ok")));
    let (status, upload) = invoke(&world, &UPLOAD_CSV.replace("TOKEN", &staff.token())).await;
    assert_eq!((status, &upload["rows_accepted"]), (200, &json!(2)), "{upload}");
    world.project().await;
    let sales = world.rows_of("public.sales").await;
    assert_eq!(sales.len(), 2);
    assert!(
        sales
            .iter()
            .any(|sale| sale["product"] == "Bücherregal" && sale["amount_cents"] == 26196),
        "{sales:?}"
    );
}

#[tokio::test]
async fn a_recorded_request_with_a_base64_body_is_appended_once() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (status, event) = invoke(&world, &POST_EVENT.replace("TOKEN", &staff.token())).await;
    assert_eq!(status, 201, "{event}");
    assert_eq!(
        event["data"].to_string(),
        r#"{"base_price":5999.00,"name":"0.5HP Submersible Pump","sku":"SUBM-05HP-DOM-SS-50LPM-20M"}"#
    );
    assert_eq!(event["metadata"], json!({}));
    let recorded = &event["recorded"];
    assert_eq!(
        (&recorded["ip_address"], &recorded["user_agent"], &recorded["posted_by"]),
        (&json!("203.0.113.7"), &json!("curl/8.5.0"), &json!(staff.actor()))
    );
    assert_eq!(event["idempotency_key"], "recorded-1");
    let (status, again) = invoke(&world, &POST_EVENT.replace("TOKEN", &staff.token())).await;
    assert_eq!((status, &again["id"]), (200, &event["id"]));
}

#[tokio::test]
async fn the_path_and_query_of_a_recorded_request_are_restored() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for stock in 0..3 {
        world
            .append(&staff, "product.stock_updated", "A /ü", json!({"new_stock": stock}))
            .await;
    }
    let (status, page) = invoke(&world, &GET_HISTORY.replace("TOKEN", &staff.token())).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(page["next_cursor"].is_string());
}

#[tokio::test]
async fn a_request_in_another_format_is_refused_with_a_problem() {
    let world = World::without_requirements().await;
    let (status, problem) = invoke(&world, V1_GET_HEALTH).await;
    assert_eq!((status, &problem["code"]), (400, &json!("payload_format")), "{problem}");
    assert_eq!(problem["request_id"], "an-invocation");
}
