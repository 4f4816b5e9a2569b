//! Paging returns every item exactly once and then ends, whatever is appended meanwhile. A cursor is valid only for the list that it was
//! made for.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

fn batch(first: usize, count: usize) -> Value {
    let member = |place: usize| json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": format!("C-{place:04}"), "data": {"name": "N"}});
    json!({"events": (first..first + count).map(member).collect::<Vec<_>>()})
}

fn numbers(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|event| event["event_number"].as_i64().unwrap())
        .collect()
}

/// A world with nine events, none of them projected: seven in the stream `C-0` and two more.
async fn small() -> (World, Person) {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    world
        .append(&staff, "customer.created", "C-0", json!({"name": "N"}))
        .await;
    for place in 1..7 {
        world
            .append(
                &staff,
                "customer.profile_updated",
                "C-0",
                json!({"phone": place.to_string()}),
            )
            .await;
    }
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "N"}))
        .await;
    world
        .append(&staff, "customer.created", "C-2", json!({"name": "N"}))
        .await;
    (world, staff)
}

/// Every list, with parameters for which `small` has several pages of one item.
const LISTS: [&str; 10] = [
    "/events",
    "/events?order=asc",
    "/events?event_type=customer.*",
    "/events?aggregate_id=C-0",
    "/events/unprocessed",
    "/events/aggregate/customer/C-0/history",
    "/audit/entity/C-0",
    "/audit/recent",
    "/audit/recent?hours=48",
    "/entities/customer",
];

fn and(path: &str, more: &str) -> String {
    format!("{path}{}{more}", if path.contains('?') { '&' } else { '?' })
}

#[tokio::test]
async fn every_list_returns_the_same_items_with_every_page_size() {
    let (world, staff) = small().await;
    let by_user = format!("/audit/user/{}", staff.sub);
    for list in LISTS.into_iter().chain([&*by_user, "/events/types"]) {
        let whole = world.get(&staff, &and(list, "limit=1000")).await.expect(200);
        assert!(whole.items().len() > 1, "{list}");
        assert_eq!(whole.body["next_cursor"], Value::Null, "{list}");
        for limit in [1, 2, 3, whole.items().len()] {
            assert_eq!(
                &world.all_pages(&staff, &and(list, &format!("limit={limit}"))).await,
                whole.items(),
                "{list} by {limit}"
            );
        }
    }
}

#[tokio::test]
async fn invalid_and_truncated_cursors_and_those_of_other_lists_are_refused() {
    let (world, staff) = small().await;
    let by_user = format!("/audit/user/{}", staff.sub);
    let lists: Vec<&str> = LISTS
        .into_iter()
        .chain([
            &*by_user,
            "/events?order=asc&aggregate_id=C-0",
            "/events/types",
            "/entities/customer?deleted=true",
        ])
        .collect();
    let mut cursors = Vec::new();
    for list in &lists {
        let page = world.get(&staff, &and(list, "limit=1")).await.expect(200);
        if let Some(cursor) = page.body["next_cursor"].as_str() {
            cursors.push((*list, cursor.to_owned()));
        }
    }
    assert!(cursors.len() >= LISTS.len(), "{cursors:?}");
    for list in &lists {
        for garbage in [
            "",
            "A",
            "AAAA",
            "AAAAAAAAAAAAAA",
            "1",
            "null",
            "%00",
            "%FF",
            "..%2F",
            "%F0%9F%98%80",
        ] {
            let answer = world.get(&staff, &and(list, &format!("cursor={garbage}"))).await;
            assert_eq!(answer.status, 400, "{list} {garbage}: {}", answer.text);
            answer.problem(400);
        }
        for (other, cursor) in &cursors {
            let answer = world.get(&staff, &and(list, &format!("cursor={cursor}"))).await;
            if other == list {
                answer.expect(200);
                let cut = &cursor[..cursor.len() - 1];
                assert_eq!(
                    world
                        .get(&staff, &and(list, &format!("cursor={cut}")))
                        .await
                        .problem(400),
                    "invalid_cursor",
                    "{list}"
                );
                assert_eq!(
                    world
                        .get(&staff, &and(list, &format!("cursor={cursor}A")))
                        .await
                        .problem(400),
                    "invalid_cursor",
                    "{list}"
                );
            } else {
                assert_eq!(answer.problem(400), "invalid_cursor", "{other} in {list}");
            }
        }
    }
    // A cursor of another tenant belongs to another list.
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    for (list, cursor) in cursors {
        let answer = world.get(&stranger, &and(list, &format!("cursor={cursor}"))).await;
        assert_eq!(answer.problem(400), "invalid_cursor", "{list}");
    }
}

#[tokio::test]
async fn a_cursor_of_a_type_pattern_stays_valid_when_a_matching_type_is_registered() {
    let (world, staff) = small().await;
    let first = world
        .get(&staff, "/events?event_type=customer.*&limit=4")
        .await
        .expect(200);
    let register = json!({"event_type": "customer.greeted", "schema": {"type": "object"}, "example": {}});
    world.post(&staff, "/events/types", register).await.expect(201);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let rest = world
        .get(&staff, &format!("/events?event_type=customer.*&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!(first.items().len() + rest.items().len(), 9);
}

#[tokio::test]
async fn the_limit_is_a_positive_number_and_is_lowered_to_a_thousand() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    for first in [0, 500, 1000] {
        world
            .post(&staff, "/events", batch(first, if first == 1000 { 50 } else { 500 }))
            .await
            .expect(201);
    }
    for limit in ["0", "-1", "1.5", "ten", "", "1e3", "99999999999999999999"] {
        let answer = world.get(&staff, &format!("/events?limit={limit}")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{limit}");
    }
    assert_eq!(
        world.get(&staff, "/events?limit=5&limit=6").await.problem(400),
        "invalid_parameter"
    );
    for (query, items) in [
        ("", 100),
        ("?limit=1", 1),
        ("?limit=1000", 1000),
        ("?limit=1001", 1000),
        ("?limit=18446744073709551615", 1000),
    ] {
        let page = world.get(&staff, &format!("/events{query}")).await.expect(200);
        assert_eq!(page.items().len(), items, "{query}");
        assert!(page.body["next_cursor"].is_string());
    }
    // A page that ends exactly at the end of the list has no cursor.
    let page = world.get(&staff, "/entities/customer?limit=1000").await.expect(200);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    let last = world
        .get(&staff, &format!("/entities/customer?limit=50&cursor={cursor}"))
        .await
        .expect(200);
    assert_eq!((last.items().len(), &last.body["next_cursor"]), (50, &Value::Null));
}

#[tokio::test]
async fn paging_forward_reaches_events_appended_meanwhile_and_paging_backward_repeats_none() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    world.post(&staff, "/events", batch(0, 60)).await.expect(201);
    let old: BTreeSet<i64> = numbers(&world.all_pages(&staff, "/events").await).into_iter().collect();
    for (order, back) in [("asc", false), ("desc", true)] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        let mut added = 1000 * (1 + usize::from(back));
        loop {
            let page = world
                .get(&staff, &format!("/events?order={order}&limit=7{cursor}"))
                .await
                .expect(200);
            seen.extend(numbers(page.items()));
            if added % 1000 < 40 {
                world.post(&staff, "/events", batch(added, 5)).await.expect(201);
                added += 5;
            }
            match page.body["next_cursor"].as_str() {
                None => break,
                Some(next) => cursor = format!("&cursor={next}"),
            }
        }
        let unique: BTreeSet<i64> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len(), "{order}: an item was repeated");
        assert!(seen.is_sorted_by(|a, b| if back { a > b } else { a < b }), "{order}");
        if back {
            assert_eq!(
                seen.len(),
                100,
                "all items from the beginning of the paging, and no newer ones"
            );
        } else {
            assert!(unique.is_superset(&old));
            assert_eq!(seen.len(), 100, "all items, including the newest");
        }
    }
}

#[tokio::test]
async fn concurrent_appends_never_make_pages_repeat_an_item() {
    let world = std::sync::Arc::new(World::without_requirements().await);
    let staff = Person::staff();
    world.post(&staff, "/events", batch(0, 50)).await.expect(201);
    let writers = (1..5).map(|writer| {
        let (world, staff) = (world.clone(), staff.clone());
        tokio::spawn(async move {
            for place in 0..15 {
                world
                    .post(&staff, "/events", batch(writer * 1000 + place * 4, 4))
                    .await
                    .expect(201);
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let pages = numbers(&world.all_pages(&staff, "/events?limit=5").await);
    assert!(pages.is_sorted_by(|a, b| a > b));
    assert!(pages.len() >= 50);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(world.all_pages(&staff, "/events?limit=9&order=asc").await.len(), 290);
}

#[tokio::test]
async fn a_page_is_cut_at_four_mebibytes() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    let large = |place: usize| {
        json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": format!("C-{place:02}"),
                                      "data": {"name": "N", "address": "x".repeat(250 * 1024)}})
    };
    for first in [0, 12] {
        let events: Vec<Value> = (first..first + 12).map(large).collect();
        world
            .post(&staff, "/events", json!({ "events": events }))
            .await
            .expect(201);
    }
    for list in ["/events", "/events/unprocessed", "/audit/recent", "/entities/customer"] {
        let page = world.get(&staff, &and(list, "limit=24")).await.expect(200);
        assert!(page.text.len() <= 4 * 1024 * 1024 + 1024, "{list}: {}", page.text.len());
        assert_eq!(page.items().len(), 16, "{list}");
        let all = world.all_pages(&staff, list).await;
        let ids: BTreeSet<String> = all.iter().map(|item| item["aggregate_id"].to_string()).collect();
        assert_eq!((all.len(), ids.len()), (24, 24), "{list}");
    }
}
