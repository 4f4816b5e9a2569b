//! Memory of requests.

use serde_json::{Value, json};
use tests::{Person, World, recorded};

use super::{Process, event, register, register_extended, small_objects};

fn tagged(branches: usize) -> Value {
    let branches: Vec<Value> = (0..branches).map(|n| json!({"const": n.to_string()})).collect();
    json!({"event_type": "lot.tagged", "description": "tags", "posters": ["user", "staff"], "example": {"tags": ["1"]},
           "schema": {"type": "object", "properties": {"tags": {"type": "array", "items": {"anyOf": branches}}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_first_items_that_match_none_of_hundreds_of_branches_are_reported() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, tagged(300)).await;
    let mut function = Process::start(&world, "post-event", "PostEvent").await;
    let before = world.log().await;
    for items in [6_000, 60_000] {
        let body = event("lot.tagged", "L-1", &json!({"tags": vec!["x"; items]})).to_string();
        let (status, problem) = function
            .request(recorded::post(&staff, "/events", "application/json", &body))
            .await;
        assert_eq!(
            (status, &problem["code"]),
            (422, &json!("schema_violation")),
            "{problem}"
        );
        let errors = problem["errors"].as_array().unwrap();
        assert!((1..=50).contains(&errors.len()), "{}", errors.len());
        assert_eq!(errors[1]["pointer"], "/data/tags/1");
    }
    assert_eq!(world.log().await, before);
}

/// The pattern of each type takes about 8 MB; all of them together would exceed the function's memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compiled_schemas_are_cached_only_up_to_a_limit() {
    let (world, staff) = (World::new().await, Person::staff());
    let names: Vec<String> = (0..70).map(|n| format!("lot.kind_{n}")).collect();
    for name in &names {
        let schema =
            json!({"type": "object", "properties": {"letters": {"type": "string", "pattern": r"^\p{L}{140}$"}}});
        let body = json!({"event_type": name, "description": "d", "example": {}, "schema": schema});
        register(&world, &staff, body).await;
    }
    let mut function = Process::start(&world, "post-event", "PostEvent").await;
    for name in &names {
        let body = event(name, "L-1", &json!({"letters": "ü".repeat(140)})).to_string();
        let (status, answer) = function
            .request(recorded::post(&staff, "/events", "application/json", &body))
            .await;
        assert_eq!(status, 201, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_many_small_values_is_refused_before_it_is_in_memory() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut function = Process::start(&world, "post-event", "PostEvent").await;
    let before = world.log().await;
    let body = json!({"events": small_objects((4 << 20) - 1_000)}).to_string();
    let (status, problem) = function
        .request(recorded::post(&staff, "/events", "application/json", &body[..]))
        .await;
    assert_eq!((status, &problem["code"]), (413, &json!("too_many_values")));
    // As many values as allowed, all of them invalid.
    for body in [
        format!("[{}0]", "[],".repeat(1_390_000)),
        json!({"events": vec![1; 1_000_000]}).to_string(),
    ] {
        let (status, _) = function
            .request(recorded::post(&staff, "/events", "application/json", &body))
            .await;
        assert!((400..500).contains(&status), "{status}");
    }
    let unknown: serde_json::Map<String, Value> = (0..150_000).map(|n| (n.to_string(), json!(1))).collect();
    let (status, problem) = function
        .request(recorded::post(
            &staff,
            "/events",
            "application/json",
            &json!(unknown).to_string(),
        ))
        .await;
    assert_eq!(status, 400);
    assert!(problem["errors"].as_array().unwrap().len() <= 100);
    assert_eq!(world.log().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_the_largest_events_is_accepted() {
    let (world, staff) = (World::new().await, Person::staff());
    register_extended(&world, &staff).await;
    let mut function = Process::start(&world, "post-event", "PostEvent").await;
    // Eleven events of 255 KB, a third of that in small objects.
    let large = json!({"phone": "1", "x": "x".repeat(175_000), "y": small_objects(70_000)});
    let events: Vec<Value> = (0..11)
        .map(|n| event("customer.extended", &format!("C-{n}"), &large))
        .collect();
    let body = json!({"events": events}).to_string();
    let (status, answer) = function
        .request(recorded::post(&staff, "/events", "application/json", &body))
        .await;
    assert_eq!(status, 201, "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_any_shape_are_read_or_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut function = Process::start(&world, "csv-upload", "CsvUpload").await;
    let most = 4 << 20;
    let files = [
        // Many columns and nothing else; many empty rows; one huge cell; an open quote; many quoted cells.
        format!(
            "sale_id,sale_date,amount,{}\n1,2026-01-01,1\n",
            "a,".repeat(most / 2 - 30)
        ),
        format!("sale_date,amount\n{}", "x,\n".repeat(most / 3 - 10)),
        format!("sale_date,amount,notes\n2026-01-01,1,\"{}\"\n", "x".repeat(most - 100)),
        format!("sale_date,amount\n2026-01-01,\"{}", "\n".repeat(most - 100)),
        format!(
            "sale_date,amount\n2026-01-01,{}\n",
            "\"\"\"\"\"\",".repeat(most / 7 - 20)
        ),
    ];
    for file in files {
        let head: String = file.chars().take(30).collect();
        let (status, answer) = function
            .request(recorded::post(&staff, "/data/upload-sales-csv", "text/csv", &file))
            .await;
        assert!((200..500).contains(&status), "{head}: {status} {answer}");
        assert!(status < 400 || answer["code"].is_string(), "{head}: {answer}");
    }
    let mapping: serde_json::Map<String, Value> = (0..200_000).map(|n| (format!("c{n}"), json!("x"))).collect();
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"mapping\"\r\n\r\n{}\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nsale_date,amount\n2026-01-01,1\n\r\n--b--\r\n",
        json!(mapping)
    );
    let (status, answer) = function
        .request(recorded::post(
            &staff,
            "/data/upload-sales-csv",
            "multipart/form-data; boundary=b",
            &form,
        ))
        .await;
    assert!(
        (400..500).contains(&status) && answer["code"].is_string(),
        "{status} {answer}"
    );
}
