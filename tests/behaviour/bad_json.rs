//! Bodies that are not JSON, or not JSON that the log can store, are refused with the place of the fault, and nothing is stored. Valid
//! JSON is returned exactly as it was sent.

use axum::body::Body;
use axum::http::{Method, Request, header};
use bytes::Bytes;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

const MIB: usize = 1024 * 1024;

/// An event as text; `more` is inserted into its data.
fn event_text(aggregate_id: &str, more: &str) -> String {
    format!(
        r#"{{"event_type": "product.created", "aggregate_type": "product", "aggregate_id": "{aggregate_id}",
             "data": {{"sku": "S", "name": "N"{more}}}}}"#
    )
}

/// A world whose tenant has its own version of `product.created`, which accepts any field.
async fn open_world() -> World {
    let (world, staff) = (World::new().await, Person::staff());
    let mut kind = world
        .get(&staff, "/events/types/product.created")
        .await
        .expect(200)
        .body;
    kind["schema"]["additionalProperties"] = json!(true);
    let open = json!({"event_type": "product.created", "version": "1.1", "schema": kind["schema"], "example": kind["example"]});
    world.post(&staff, "/events/types", open).await.expect(201);
    world
}

/// Posts a body that must be refused with this code, checks that nothing was stored, and returns the pointers of the faults.
async fn refused(world: &World, body: impl Into<Body>, status: u16, code: &str) -> Vec<String> {
    let before = world.log().await;
    let answer = world.post_text(&Person::staff(), "/events", body).await;
    assert_eq!(answer.problem(status), code, "{}", answer.text);
    assert_eq!(world.log().await, before, "{}", answer.text);
    assert!(world.take_wake_ups().await.is_empty());
    let errors = answer.body["errors"].as_array().cloned().unwrap_or_default();
    errors
        .iter()
        .map(|e| e["pointer"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn malformed_json_is_refused() {
    let world = World::new().await;
    let whole = event_text("P-1", "");
    let cut = whole[..whole.len() - 1].to_owned();
    let doubled = format!("{whole} {whole}");
    let with_mark = format!("\u{feff}{whole}");
    let texts = [
        "",
        " ",
        "{",
        "nul",
        "NaN",
        "{'a': 1}",
        "{a: 1}",
        r#"{"a": 1,}"#,
        r#"{"a": 01}"#,
        r#"{"a": +1}"#,
        r#"{"a": .5}"#,
        r#"{"a": "\x"}"#,
        "{\"a\": \"\n\"}",
        "// nothing\n{}",
        &cut,
        &doubled,
        &with_mark,
    ];
    for text in texts {
        refused(&world, text.to_owned(), 400, "malformed_json").await;
    }
    let not_utf8 = event_text("P-1", "")
        .into_bytes()
        .into_iter()
        .map(|b| if b == b'N' { 0xff } else { b });
    refused(&world, not_utf8.collect::<Vec<u8>>(), 400, "malformed_json").await;
}

#[tokio::test]
async fn json_other_than_an_object_is_refused() {
    let world = World::new().await;
    for text in ["[]", "1", "null", "true", r#""event""#, "[{}]"] {
        assert_eq!(refused(&world, text, 400, "malformed_request").await, [""], "{text}");
    }
}

#[tokio::test]
async fn characters_that_cannot_be_stored_are_refused_in_every_place() {
    let world = open_world().await;
    for (more, pointer) in [
        (r#", "a": "x\u0000y""#, "/data/a"),
        (r#", "a": [0, {"b": "\u0000"}]"#, "/data/a/1/b"),
        (r#", "k\u0000": 1"#, "/data/k\u{0}"),
    ] {
        assert_eq!(
            refused(&world, event_text("P-1", more), 400, "nul_character").await,
            [pointer]
        );
    }
    assert_eq!(
        refused(&world, event_text("P\\u0000", ""), 400, "nul_character").await,
        ["/aggregate_id"]
    );
    for lone in [r"\ud800", r"\udc00", r"\ud800x", r"\ud800\ud800", r"\udc00\ud800"] {
        refused(
            &world,
            event_text("P-1", &format!(r#", "a": "{lone}""#)),
            400,
            "malformed_json",
        )
        .await;
        refused(
            &world,
            event_text("P-1", &format!(r#", "{lone}": 1"#)),
            400,
            "malformed_json",
        )
        .await;
        refused(&world, event_text(lone, ""), 400, "malformed_json").await;
    }
    let pair = world
        .post_text(
            &Person::staff(),
            "/events",
            event_text("P-1", r#", "a": "\ud83d\ude00\u0001""#),
        )
        .await;
    let id = pair.expect(201).body["id"].as_str().unwrap().to_owned();
    let stored = world.get(&Person::staff(), &format!("/events/{id}")).await.expect(200);
    assert_eq!(stored.body["data"]["a"], "\u{1f600}\u{1}");
}

#[tokio::test]
async fn duplicate_keys_are_refused_with_their_place() {
    let world = World::new().await;
    for (more, pointer) in [
        (r#", "name": "M""#, "/data/name"),
        (r#", "a": {"b": 1, "\u0062": 2}"#, "/data/a/b"),
        (r#", "a": [{}, {"~/": 1, "~/": 1}]"#, "/data/a/1/~0~1"),
    ] {
        assert_eq!(
            refused(&world, event_text("P-1", more), 400, "duplicate_key").await,
            [pointer]
        );
    }
    let twice = event_text("P-1", "").replacen('{', r#"{"data": {}, "#, 1);
    assert_eq!(refused(&world, twice, 400, "duplicate_key").await, ["/data"]);
    let marker = event_text("P-1", r#", "a": {"$serde_json::private::Number": "1"}"#);
    refused(&world, marker, 400, "reserved_key").await;
}

#[tokio::test]
async fn nesting_is_limited_to_sixty_four_levels() {
    let world = open_world().await;
    let staff = Person::staff();
    // The event and its data are two of the levels.
    let nested = |levels: usize| format!(r#", "a": {}{}"#, "[".repeat(levels - 2), "]".repeat(levels - 2));
    for levels in [65, 66, 200, 100_000] {
        refused(&world, event_text("P-1", &nested(levels)), 400, "nesting_too_deep").await;
    }
    let objects = format!(r#", "a": {}1{}"#, r#"{"a":"#.repeat(63), "}".repeat(63));
    refused(&world, event_text("P-1", &objects), 400, "nesting_too_deep").await;
    let deepest = world
        .post_text(&staff, "/events", event_text("P-1", &nested(64)))
        .await
        .expect(201);
    world.project().await;
    let entity = world.get(&staff, "/entities/product/P-1").await.expect(200);
    assert_eq!(entity.body["state"]["a"], deepest.body["data"]["a"]);
    assert_eq!(entity.body["projected_version"], 1);
}

#[tokio::test]
async fn bodies_have_at_most_four_mebibytes() {
    let world = World::new().await;
    let padded = |bytes: usize| {
        let event = event_text("P-1", "");
        format!("{event}{}", " ".repeat(bytes - event.len()))
    };
    refused(&world, padded(4 * MIB + 1), 413, "body_too_large").await;
    // In chunks, without a Content-Length.
    let chunks = (0..5).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; MIB])));
    refused(
        &world,
        Body::from_stream(futures_util::stream::iter(chunks)),
        413,
        "body_too_large",
    )
    .await;
    for path in ["/events/types", "/entities/product"] {
        let answer = world.post_text(&Person::staff(), path, padded(4 * MIB + 1)).await;
        assert_eq!(answer.problem(413), "body_too_large", "{path}");
    }
    let most = world.post_text(&Person::staff(), "/events", padded(4 * MIB)).await;
    assert_eq!(most.status, 201, "{}", most.text);
}

async fn post_as(world: &World, content_type: Option<&str>) -> Answer {
    let mut request =
        Request::post("/api/v1/events").header(header::AUTHORIZATION, format!("Bearer {}", Person::staff().token()));
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    world
        .send(request.body(Body::from(event_text("P-1", ""))).unwrap())
        .await
}

#[tokio::test]
async fn bodies_without_a_json_content_type_are_refused() {
    let world = World::without_requirements().await;
    let before = world.log().await;
    let others = [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "json",
        "",
    ];
    for content_type in others {
        assert_eq!(
            post_as(&world, Some(content_type)).await.problem(415),
            "unsupported_media_type",
            "{content_type}"
        );
    }
    assert_eq!(post_as(&world, None).await.problem(415), "unsupported_media_type");
    assert_eq!(world.log().await, before);
    for content_type in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/cloudevents+json",
    ] {
        post_as(&world, Some(content_type)).await.expect(201);
    }
}

/// The number as each read of the event returns it.
async fn price_everywhere(world: &World, id: &str, event_id: &str) -> Vec<(&'static str, String)> {
    let staff = Person::staff();
    let price = |value: &Value| value["base_price"].to_string();
    let entity = |answer: Answer| price(&answer.expect(200).body["state"]);
    let mut found = Vec::new();
    let one = world.get(&staff, &format!("/events/{event_id}")).await.expect(200);
    found.push(("event", price(&one.body["data"])));
    let list = world
        .get(&staff, &format!("/events?aggregate_id={id}"))
        .await
        .expect(200);
    found.push(("list", price(&list.items()[0]["data"])));
    let history = world
        .get(&staff, &format!("/events/aggregate/product/{id}/history"))
        .await
        .expect(200);
    found.push(("history", price(&history.items()[0]["data"])));
    let audit = world.get(&staff, &format!("/audit/entity/{id}")).await.expect(200);
    found.push(("audit", price(&audit.items()[0]["data"])));
    found.push((
        "before projection",
        entity(world.get(&staff, &format!("/entities/product/{id}")).await),
    ));
    world.project().await;
    let after = world.get(&staff, &format!("/entities/product/{id}")).await.expect(200);
    assert_eq!(after.body["projected_version"], 1);
    found.push(("after projection", price(&after.body["state"])));
    let session = world.session_of(&staff).await;
    for (place, sql) in [
        (
            "event_stream",
            "select data ->> 'base_price' from public.event_stream where aggregate_id = $1",
        ),
        (
            "state table",
            "select base_price::text from public.products where id = $1",
        ),
        (
            "get_aggregate_events",
            "select data ->> 'base_price' from public.get_aggregate_events('product', $1)",
        ),
    ] {
        found.push((place, session.query_one(sql, &[&id]).await.unwrap().get(0)));
    }
    found
}

#[tokio::test]
async fn numbers_are_returned_exactly() {
    let world = World::new().await;
    let thousand = "7".repeat(1000);
    let numbers = [
        "12345678901234567890.123456789",
        "5999.00",
        "0.1",
        "9007199254740993",
        "0.30000000000000004",
        "123456789012345678901234567890123456789",
        "0.000000000000000000000000000000000001",
        "9223372036854775808",
        &thousand,
    ];
    for (place, number) in numbers.into_iter().enumerate() {
        let id = format!("P-{place}");
        let sent = event_text(&id, &format!(r#", "base_price": {number}"#));
        let posted = world.post_text(&Person::staff(), "/events", sent).await.expect(201);
        assert_eq!(posted.body["data"]["base_price"].to_string(), number);
        for (place, found) in price_everywhere(&world, &id, posted.body["id"].as_str().unwrap()).await {
            assert_eq!(found, number, "{place}");
        }
    }
}

#[tokio::test]
async fn an_update_records_old_and_new_numbers_exactly() {
    let world = World::new().await;
    let staff = Person::staff();
    let old = r#"{"id": "P-1", "sku": "S", "name": "N", "base_price": 12345678901234567890.123456789}"#;
    let new = json!({"base_price": serde_json::from_str::<Value>("12345678901234567890.123456788").unwrap()});
    world.post_text(&staff, "/entities/product", old).await.expect(201);
    world.patch(&staff, "/entities/product/P-1", new).await.expect(200);
    let history = world
        .get(&staff, "/events/aggregate/product/P-1/history")
        .await
        .expect(200);
    let change = &history.items()[1]["data"]["changes"]["base_price"];
    assert_eq!(change["old"].to_string(), "12345678901234567890.123456789");
    assert_eq!(change["new"].to_string(), "12345678901234567890.123456788");
}

#[tokio::test]
async fn numbers_of_over_a_thousand_digits_are_refused() {
    let world = World::new().await;
    for number in [
        "1e1000".to_owned(),
        "1e-1000".to_owned(),
        "-1E+1000".to_owned(),
        "0e99999999999999999999".to_owned(),
        "1".repeat(1001),
        format!("0.{}", "1".repeat(1000)),
        "1e99999999999999999999".to_owned(),
    ] {
        let text = event_text("P-1", &format!(r#", "base_price": {number}"#));
        assert_eq!(
            refused(&world, text, 400, "number_too_long").await,
            ["/data/base_price"],
            "{number}"
        );
    }
}

/// serde accepts a list in place of a struct: `["typo", {}]` was once read as a compensation with the reason "typo".
#[tokio::test]
async fn every_resource_refuses_a_list_as_body() {
    let world = World::new().await;
    let staff = Person::staff();
    let event = world
        .append(&staff, "product.created", "P-1", json!({"sku": "S", "name": "N"}))
        .await;
    let id = event["id"].as_str().unwrap();
    let before = (world.log().await, world.rows_of("annals.rebuilds").await);
    let resources = [
        (Method::POST, "/events".to_owned()),
        (Method::POST, "/events/types".to_owned()),
        (Method::POST, format!("/events/{id}/compensate")),
        (Method::PUT, format!("/events/{id}/processing")),
        (Method::POST, "/projector/rebuild".to_owned()),
        (Method::POST, "/entities/product".to_owned()),
        (Method::PATCH, "/entities/product/P-1".to_owned()),
        (Method::DELETE, "/entities/product/P-1".to_owned()),
        (Method::POST, "/entities/product/P-1/snapshots".to_owned()),
        (Method::POST, "/data/uploads".to_owned()),
    ];
    for (method, path) in resources {
        for body in [
            json!(["product", {}]),
            json!([]),
            json!(null),
            json!("product"),
            json!(1),
        ] {
            let answer = world.request(method.clone(), &staff, &path, &[], Some(body)).await;
            assert_eq!(answer.problem(400), "malformed_request", "{method} {path}");
            assert_eq!(
                answer.body["detail"], "the body must be a JSON object",
                "{method} {path}"
            );
        }
    }
    assert_eq!((world.log().await, world.rows_of("annals.rebuilds").await), before);
}
