//! Memory of lists.

use serde_json::{Value, json};
use tests::{Person, World, recorded};

use super::{Process, event, register_extended, repeat_event, small_objects};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_largest_events_are_cut_by_bytes() {
    let (world, staff) = (World::new().await, Person::staff());
    register_extended(&world, &staff).await;
    let text = "x".repeat(250_000);
    world
        .append(&staff, "customer.extended", "C-1", json!({"phone": text}))
        .await;
    repeat_event(&world, "C-1", 640).await;
    let mut function = Process::start(&world, "audit-query", "AuditQuery").await;
    let lists = [
        ("/events", ""),
        ("/events/unprocessed", ""),
        ("/audit/entity/C-1", ""),
        ("/events/aggregate/customer/C-1/history", ""),
    ];
    for (path, query) in lists {
        let query = format!("limit=1000&{query}");
        let (status, page) = function
            .request(recorded::get(&staff, path, query.trim_end_matches('&')))
            .await;
        assert_eq!(status, 200, "{path}: {page}");
        let (items, bytes) = (page["items"].as_array().unwrap(), page.to_string().len());
        assert!(
            (8..=17).contains(&items.len()) && bytes < 5 << 20,
            "{path}: {} items, {bytes} bytes",
            items.len()
        );
        assert!(page["next_cursor"].is_string(), "{path}");
    }
    // The state is folded from events that were never projected.
    let (status, entity) = function
        .request(recorded::get(&staff, "/entities/customer/C-1", ""))
        .await;
    assert_eq!((status, &entity["version"]), (200, &json!(640)));
    let (status, entity) = function
        .request(recorded::get(
            &staff,
            "/entities/customer/C-1",
            "valid_at=2100-01-01T00:00:00Z",
        ))
        .await;
    assert_eq!((status, &entity["version"]), (200, &json!(640)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_the_largest_entities_are_cut_by_bytes_and_skip_none() {
    let (world, staff) = (World::new().await, Person::staff());
    register_extended(&world, &staff).await;
    // Four events make a state of nearly 1 MiB; two of them are not projected.
    for entity in 0..12 {
        let id = format!("C-{entity:02}");
        let events: Vec<Value> = (0..4)
            .map(|part| {
                let field = match entity % 2 {
                    0 => json!("x".repeat(255_000)),
                    _ => json!(small_objects(255_000)),
                };
                event("customer.extended", &id, &json!({format!("extra_{part}"): field}))
            })
            .collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
        if entity < 6 {
            world.project().await;
        }
    }
    let mut function = Process::start(&world, "audit-query", "AuditQuery").await;
    let (mut seen, mut query, mut pages) = (Vec::new(), "limit=1000".to_owned(), 0);
    loop {
        let (status, page) = function
            .request(recorded::get(&staff, "/entities/customer", &query))
            .await;
        assert_eq!(status, 200, "{page}");
        for entity in page["items"].as_array().unwrap() {
            assert_eq!((&entity["version"], &entity["stopped"]), (&json!(4), &Value::Null));
            seen.push(entity["aggregate_id"].as_str().unwrap().to_owned());
        }
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("limit=1000&cursor={cursor}");
    }
    let expected: Vec<String> = (0..12).map(|entity| format!("C-{entity:02}")).collect();
    assert_eq!(seen, expected);
    assert!(pages >= 3, "{pages}");
    let diff = recorded::get(&staff, "/entities/customer/C-01/diff", "from=0&to=4");
    assert_eq!(function.request(diff).await.0, 200);
}
