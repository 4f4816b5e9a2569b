//! What clients expect of any HTTP API: CORS, HEAD and OPTIONS, conditional reads, gzip both ways, links to next pages, and lists as lines
//! and as tables.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{Method, Request, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use local::cors;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

const MEBIBYTE: usize = 1024 * 1024;

async fn ask(world: &World, person: &Person, path: &str, headers: &[(&str, &str)]) -> Answer {
    world.request(Method::GET, person, path, headers, None).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn customer(id: &str, data: &Value) -> Value {
    json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": id, "data": data})
}

async fn post_bytes(world: &World, person: &Person, path: &str, encoding: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(format!("/api/v1{path}"))
        .header(header::AUTHORIZATION, format!("Bearer {}", person.token()))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_ENCODING, encoding)
        .body(Body::from(body));
    world.send(request.unwrap()).await
}

fn names<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(|name| name.as_ref().to_lowercase()).collect();
    names.sort();
    names
}

/// A list of template.yaml: the text between the brackets after this key.
fn listed(template: &str, key: &str) -> Vec<String> {
    let (_, rest) = template.split_once(&format!("{key}:")).unwrap();
    let (_, rest) = rest.split_once('[').unwrap();
    names(rest.split_once(']').unwrap().0.split(',').map(str::trim))
}

#[tokio::test]
async fn pages_of_other_origins_may_call_the_api_as_deployed() {
    let template = include_str!("../../template.yaml");
    let methods = cors::METHODS.map(|method| method.to_string());
    assert_eq!(listed(template, "AllowMethods"), names(methods));
    assert_eq!(
        listed(template, "AllowHeaders"),
        names(cors::REQUEST_HEADERS.map(|name| name.to_string()))
    );
    assert_eq!(
        listed(template, "ExposeHeaders"),
        names(cors::ANSWER_HEADERS.map(|name| name.to_string()))
    );
    assert!(template.contains(&format!("MaxAge: {}", cors::MAX_AGE.as_secs())));

    let world = World::new().await;
    let preflight = Request::options("/api/v1/events")
        .header(header::ORIGIN, "https://shop.example")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type")
        .body(Body::empty());
    let answer = world.send(preflight.unwrap()).await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-max-age"), Some("3600"));
    assert!(
        answer
            .header("access-control-allow-headers")
            .unwrap()
            .contains("authorization")
    );

    // Refusals, too: a page has to be able to read why.
    let origin = ("origin", "https://shop.example");
    for (path, status) in [("/events", 200), ("/events?x=1", 400), ("/nothing", 404)] {
        let answer = ask(&world, &Person::staff(), path, &[origin]).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));
    }
}

#[tokio::test]
async fn every_read_answers_head_and_every_resource_options() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    world.project().await;
    let event = world.get(&staff, "/events").await.items()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let paths = annals_openapi::document()["paths"].as_object().unwrap();
    let mut reads = 0;
    for (path, item) in paths {
        let concrete = path
            .replace("/api/v1", "")
            .replace("{aggregate_type}", "customer")
            .replace("{aggregate_id}", "C-1")
            .replace("{event_type}", "customer.created")
            .replace("{dataset}", "sales")
            .replace(
                "{id}",
                if path.starts_with("/api/v1/audit") {
                    "C-1"
                } else {
                    &event
                },
            );
        let options = world
            .request(Method::OPTIONS, &staff, &concrete, &[], None)
            .await
            .expect(204);
        let allowed = options.header("allow").unwrap().to_lowercase();
        for method in item.as_object().unwrap().keys() {
            assert!(allowed.contains(method), "{path}: {allowed}");
        }
        if item.get("get").is_none() {
            continue;
        }
        reads += 1;
        let get = world.get(&staff, &concrete).await;
        let head = world
            .request(Method::HEAD, &staff, &concrete, &[("accept-encoding", "gzip")], None)
            .await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        for name in ["content-type", "cache-control"] {
            assert_eq!(head.header(name), get.header(name), "{path}");
        }
    }
    assert!(reads > 20, "only {reads} reads");
}

#[tokio::test]
async fn a_client_that_has_an_answer_is_not_sent_it_again() {
    let (world, staff) = (World::new().await, Person::staff());
    let event = world
        .append(&staff, "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    world.project().await;
    for path in [
        "/entities/customer/C-1".to_owned(),
        format!("/events/{}", event["id"].as_str().unwrap()),
        "/events/types/customer.created".to_owned(),
        "/openapi.json".to_owned(),
        "/openapi.json?tenant=current".to_owned(),
    ] {
        let first = world.get(&staff, &path).await.expect(200);
        assert_eq!(first.header("cache-control"), Some("private, no-cache"), "{path}");
        let tag = first.header("etag").unwrap();
        for condition in [tag, "*", &format!("\"other\", W/{tag}")] {
            let again = ask(&world, &staff, &path, &[("if-none-match", condition)])
                .await
                .expect(304);
            assert_eq!((again.text.as_str(), again.header("etag")), ("", Some(tag)), "{path}");
        }
        ask(&world, &staff, &path, &[("if-none-match", "\"other\"")])
            .await
            .expect(200);
    }
    let list = world.get(&staff, "/events").await.expect(200);
    assert_eq!(
        (list.header("etag"), list.header("cache-control")),
        (None, Some("private, no-store"))
    );
}

#[tokio::test]
async fn answers_are_compressed_for_clients_that_accept_it() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "x".repeat(2_000)}))
        .await;
    world.project().await;
    let accept = ("accept-encoding", "gzip, deflate, br");
    for path in ["/events", "/entities/customer/C-1", "/openapi.json"] {
        let plain = world.get(&staff, path).await.expect(200);
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        let compressed = ask(&world, &staff, path, &[accept]).await.expect(200);
        assert_eq!(compressed.header("content-encoding"), Some("gzip"), "{path}");
        assert!(compressed.header_list("vary").contains("accept-encoding"));
        assert_eq!(compressed.body, plain.body);
    }
    // Small answers are not worth it.
    assert_eq!(
        ask(&world, &staff, "/health", &[accept])
            .await
            .header("content-encoding"),
        None
    );

    // The compressed bytes have another tag, which works as well, for reads and for writes.
    let read = ask(&world, &staff, "/entities/customer/C-1", &[accept]).await;
    let tag = read.header("etag").unwrap().to_owned();
    let plain = world.get(&staff, "/entities/customer/C-1").await;
    assert_eq!(
        tag,
        format!("\"{}-gzip\"", plain.header("etag").unwrap().trim_matches('"'))
    );
    let condition = [accept, ("if-none-match", tag.as_str())];
    let unchanged = ask(&world, &staff, "/entities/customer/C-1", &condition)
        .await
        .expect(304);
    assert_eq!(unchanged.header("etag"), Some(tag.as_str()));
    let change = Some(json!({"name": "Ada"}));
    let headers = [("if-match", tag.as_str())];
    world
        .request(
            Method::PATCH,
            &staff,
            "/entities/customer/C-1",
            &headers,
            change.clone(),
        )
        .await
        .expect(200);
    let refused = world
        .request(Method::PATCH, &staff, "/entities/customer/C-1", &headers, change)
        .await;
    assert_eq!(refused.problem(412), "version_mismatch");
}

#[tokio::test]
async fn bodies_may_be_compressed_and_are_bounded_after_they_are_inflated() {
    let (world, staff) = (World::new().await, Person::staff());
    let body = customer("C-1", &json!({"name": "Ada"})).to_string();
    for (id, encoding) in [("C-1", "gzip"), ("C-2", "x-gzip"), ("C-3", "GZIP")] {
        let body = gzip(body.replace("C-1", id).as_bytes());
        post_bytes(&world, &staff, "/events", encoding, body).await.expect(201);
    }
    let body = body.replace("C-1", "C-4").into_bytes();
    post_bytes(&world, &staff, "/events", "identity", body.clone())
        .await
        .expect(201);
    for encoding in ["br", "deflate", "gzip, gzip", "zstd"] {
        let refused = post_bytes(&world, &staff, "/events", encoding, body.clone()).await;
        assert_eq!(refused.problem(415), "unsupported_encoding", "{encoding}");
        assert_eq!(refused.header("accept-encoding"), Some("gzip"));
    }
    // Two members are one body, and what follows them is refused.
    let other = customer("C-5", &json!({"name": "Ada"})).to_string().into_bytes();
    let mut members = gzip(&other[..20]);
    members.extend(gzip(&other[20..]));
    post_bytes(&world, &staff, "/events", "gzip", members.clone())
        .await
        .expect(201);
    members.extend(b"{}");
    let trailing = post_bytes(&world, &staff, "/events", "gzip", members).await;
    assert_eq!(trailing.problem(400), "body_unreadable");
    // 256 MiB in less than two, and a body that breaks off.
    let bomb = gzip(&vec![b' '; 256 * MEBIBYTE]);
    assert!(bomb.len() < 2 * MEBIBYTE);
    assert_eq!(
        post_bytes(&world, &staff, "/events", "gzip", bomb).await.problem(413),
        "body_too_large"
    );
    let broken = gzip(&body);
    let broken = post_bytes(&world, &staff, "/events", "gzip", broken[..broken.len() / 2].to_vec()).await;
    assert_eq!(broken.problem(400), "body_unreadable");
    let plain = post_bytes(&world, &staff, "/events", "gzip", body).await;
    assert_eq!(plain.problem(400), "body_unreadable");
}

#[tokio::test]
async fn a_link_leads_to_the_next_page() {
    let (world, staff) = (World::new().await, Person::staff());
    for n in 0..5 {
        world
            .append(&staff, "customer.created", &format!("C-{n}"), json!({"name": "Ada"}))
            .await;
    }
    world.project().await;
    for first in [
        "/events?limit=2&order=asc",
        "/events/feed?limit=2&event_type=customer.created",
        "/events/unprocessed?limit=2",
        "/audit/recent?limit=2&hours=1",
        "/entities/customer?limit=2",
        "/events/types?limit=2&aggregate_type=customer",
    ] {
        let (path, mut query) = first
            .split_once('?')
            .map(|(path, query)| (path, query.to_owned()))
            .unwrap();
        let (mut pages, mut items) = (0, 0);
        loop {
            let page = world.get(&staff, &format!("{path}?{query}")).await.expect(200);
            (pages, items) = (pages + 1, items + page.items().len());
            let link = page.header("link");
            let is_last = page.body["next_cursor"].is_null();
            assert_eq!(link.is_some(), !is_last || path == "/events/feed", "{first}");
            let Some(link) = link else { break };
            query = link
                .strip_prefix("<?")
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .unwrap()
                .to_owned();
            // A feed has no end: it continues where it ended.
            if is_last {
                assert!(query.contains(&format!("after={}", page.body["cursor"].as_str().unwrap())));
                break;
            }
        }
        let whole = world
            .get(&staff, &first.replace("limit=2", "limit=1000"))
            .await
            .expect(200);
        assert_eq!(items, whole.items().len(), "{first}");
        assert!(pages >= items.div_ceil(2), "{first}");
    }
}

#[tokio::test]
async fn lists_of_events_are_also_lines_and_tables() {
    let (world, staff) = (World::new().await, Person::staff());
    let number = "12345678901234567.1200";
    let sent = format!(
        r#"{{"event_type": "audit.note", "aggregate_type": "audit", "aggregate_id": "A-1", "data": {{"amount": {number}, "text": "=1+1", "nested": {{"a": [1]}}}}}}"#
    );
    register_note(&world, &staff).await;
    world.post_text(&staff, "/events", sent).await.expect(201);
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "Zoë, \"Z\""}))
        .await;
    world.project().await;
    for path in [
        "/events?limit=1000",
        "/events/feed?limit=1000",
        "/events/unprocessed",
        "/audit/recent",
        "/audit/entity/A-1",
        "/events/aggregate/audit/A-1/history",
    ] {
        let page = world.get(&staff, path).await.expect(200);
        let lines = ask(&world, &staff, path, &[("accept", "application/x-ndjson")])
            .await
            .expect(200);
        assert_eq!(lines.header("content-type"), Some("application/x-ndjson"), "{path}");
        let read: Vec<Value> = lines
            .text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(&read, page.items(), "{path}");

        let table = ask(&world, &staff, path, &[("accept", "text/csv")]).await.expect(200);
        assert_eq!(
            table.header("content-type"),
            Some("text/csv; charset=utf-8; header=present"),
            "{path}"
        );
        assert!(table.header_list("vary").contains("accept"));
        let mut rows = csv::Reader::from_reader(table.text.trim_start_matches('\u{feff}').as_bytes());
        let header = rows.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), page.items().len(), "{path}");
        // Every member of every event has a column.
        for item in page.items() {
            for name in item.as_object().unwrap().keys().filter(|name| *name != "data") {
                assert!(header.iter().any(|column| column == name), "{path}: {name}");
            }
        }
        for row in &rows {
            let cell = |name: &str| header.iter().position(|column| column == name).map(|at| &row[at]);
            if cell("aggregate_id") == Some("A-1") {
                assert_eq!(cell("data.amount"), Some(number), "{path}");
                assert_eq!(cell("data.text"), Some("'=1+1"), "{path}");
                let nested: Value = serde_json::from_str(cell("data.nested").unwrap()).unwrap();
                assert_eq!(nested, json!({"a": [1]}), "{path}");
            } else if cell("aggregate_id") == Some("C-1") {
                assert_eq!(cell("data.name"), Some("Zoë, \"Z\""), "{path}");
            }
        }
    }
    // An empty list has its header, a next page its link, a refusal its problem.
    let empty = ask(
        &world,
        &staff,
        "/events?event_type=order.placed",
        &[("accept", "text/csv")],
    )
    .await
    .expect(200);
    assert_eq!(empty.text.lines().count(), 1);
    let first = ask(&world, &staff, "/events?limit=1", &[("accept", "text/csv")])
        .await
        .expect(200);
    assert!(first.header("link").unwrap().ends_with("rel=\"next\""));
    let refused = ask(&world, &staff, "/events?limit=x", &[("accept", "text/csv")]).await;
    assert_eq!(refused.problem(400), "invalid_parameter");
    let whoever = ask(&world, &staff, "/events", &[("accept", "text/html, */*;q=0.8")])
        .await
        .expect(200);
    assert_eq!(whoever.header("content-type"), Some("application/json"));
}

async fn register_note(world: &World, staff: &Person) {
    let kind = json!({
        "event_type": "audit.note", "description": "A note", "effect": "none", "posters": ["staff"],
        "schema": {"type": "object"}, "example": {"text": "x"},
    });
    world.post(staff, "/events/types", kind).await.expect(201);
}

#[tokio::test]
async fn too_many_different_fields_are_no_table() {
    let (world, staff) = (World::new().await, Person::staff());
    register_note(&world, &staff).await;
    let data: serde_json::Map<String, Value> = (0..1_001).map(|n| (format!("f{n}"), json!(n))).collect();
    world.append(&staff, "audit.note", "A-1", Value::Object(data)).await;
    let refused = ask(&world, &staff, "/events", &[("accept", "text/csv")]).await;
    assert_eq!(refused.problem(422), "csv_too_large");
    ask(&world, &staff, "/events", &[("accept", "application/x-ndjson")])
        .await
        .expect(200);
}

/// The answer to a retry says that nothing was done again, whatever was sent.
#[tokio::test]
async fn an_answer_from_an_earlier_request_says_so() {
    let (world, staff) = (World::new().await, Person::staff());
    let note = |answer: &Answer| answer.header("idempotency-replayed").map(str::to_owned);
    let mut id = String::new();
    for (number, expected) in [None, Some("true")].into_iter().enumerate() {
        let key = |name: &str| [("idempotency-key", name.to_owned())];
        let send = async |method: Method, path: &str, name: &str, body: Value| {
            let headers = key(name);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
            world.request(method, &staff, path, &headers, Some(body)).await
        };
        let single = send(Method::POST, "/events", "k-1", customer("C-1", &json!({"name": "Ada"}))).await;
        assert_eq!(
            (note(&single).as_deref(), single.status),
            (expected, if number == 0 { 201 } else { 200 })
        );
        let batch =
            json!({"events": [customer("C-2", &json!({"name": "Bo"})), customer("C-3", &json!({"name": "Cy"}))]});
        assert_eq!(
            note(&send(Method::POST, "/events", "k-2", batch).await).as_deref(),
            expected
        );
        let created = send(
            Method::POST,
            "/entities/customer",
            "k-3",
            json!({"id": "C-4", "name": "Di"}),
        )
        .await;
        assert_eq!(
            (note(&created).as_deref(), created.status),
            (expected, if number == 0 { 201 } else { 200 })
        );
        let updated = send(Method::PATCH, "/entities/customer/C-1", "k-4", json!({"name": "Eve"}))
            .await
            .expect(200);
        assert_eq!(note(&updated).as_deref(), expected);
        if number == 0 {
            let found = world.get(&staff, "/events?event_type=customer.updated").await;
            id = found.items()[0]["id"].as_str().unwrap().to_owned();
        }
        let path = format!("/events/{id}/compensate");
        let compensated = send(Method::POST, &path, "k-5", json!({"reason": "a mistake"})).await;
        assert_eq!(note(&compensated).as_deref(), expected, "{}", compensated.text);
        let deleted = send(
            Method::DELETE,
            "/entities/customer/C-4",
            "k-6",
            json!({"reason": "gone"}),
        )
        .await
        .expect(200);
        assert_eq!(note(&deleted).as_deref(), expected);
    }
}
