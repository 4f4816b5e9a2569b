//! Key figures: sums of sales and expenses by day and currency, which stay right whatever is changed later.

mod announced;
mod applied;
mod property;
mod repaired;

use serde_json::{Value, json};
use tests::{Person, World};

async fn sell(world: &World, id: &str, day: &str, cents: i64, customer: &str, product: &str) {
    let data = json!({"sale_date": day, "amount_cents": cents, "currency": "USD", "customer_id": customer, "product": product});
    world.append(&Person::staff(), "sale.created", id, data).await;
}

async fn spend(world: &World, id: &str, day: &str, cents: i64, category: Option<&str>) {
    let mut data = json!({"expense_date": day, "amount_cents": cents, "currency": "USD"});
    if let Some(category) = category {
        data["category"] = json!(category);
    }
    world.append(&Person::staff(), "expense.created", id, data).await;
}

async fn change(world: &World, event_type: &str, id: &str, field: &str, new: Value) {
    let data = json!({"changes": {field: {"old": null, "new": new}}});
    world.append(&Person::staff(), event_type, id, data).await;
}

/// The figures of one line, without field names.
fn short(line: &Value) -> Value {
    let names = [
        "period",
        "currency",
        "revenue_cents",
        "refunds_cents",
        "net_cents",
        "sales_count",
        "average_sale_cents",
        "expenses_cents",
        "profit_cents",
        "new_customers",
        "active_customers",
    ];
    names.iter().map(|name| line[*name].clone()).collect()
}

fn shorts(lines: &Value) -> Vec<Value> {
    lines.as_array().unwrap().iter().map(short).collect()
}

#[tokio::test]
async fn figures_are_grouped_by_day_week_and_month_with_totals() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    sell(&world, "S-2", "2026-01-01", -301, "B", "Pump").await;
    sell(&world, "S-3", "2026-01-05", 2000, "A", "Hose").await;
    sell(&world, "S-4", "2026-02-10", 5, "A", "Hose").await;
    spend(&world, "E-1", "2026-01-05", 700, Some("Rent")).await;
    spend(&world, "E-2", "2026-01-07", 50, None).await;
    world.sweep().await;

    let days = world.kpis("from=2026-01-01&to=2026-03-01").await;
    assert_eq!(
        shorts(&days["items"]),
        [
            // 699 / 2 is 349.5: halves are rounded away from zero.
            json!(["2026-01-01", "USD", 1000, 301, 699, 2, 350, 0, 699, 2, 2]),
            json!(["2026-01-05", "USD", 2000, 0, 2000, 1, 2000, 700, 1300, 0, 1]),
            json!(["2026-01-07", "USD", 0, 0, 0, 0, null, 50, -50, 0, 0]),
            json!(["2026-02-10", "USD", 5, 0, 5, 1, 5, 0, 5, 0, 1]),
        ]
    );
    let all = json!([null, "USD", 3005, 301, 2704, 4, 676, 750, 1954, 2, 2]);
    assert_eq!(shorts(&days["totals"]), std::slice::from_ref(&all));
    let rent = json!([{"category": "Rent", "expenses_cents": 700}, {"category": null, "expenses_cents": 50}]);
    assert_eq!(days["totals"][0]["expenses_by_category"], rent);

    let weeks = world.kpis("from=2026-01-01&to=2026-03-01&granularity=week").await;
    assert_eq!(
        shorts(&weeks["items"]),
        [
            // The week's Monday is before `from`, and the week is named by it all the same.
            json!(["2025-12-29", "USD", 1000, 301, 699, 2, 350, 0, 699, 2, 2]),
            json!(["2026-01-05", "USD", 2000, 0, 2000, 1, 2000, 750, 1250, 0, 1]),
            json!(["2026-02-09", "USD", 5, 0, 5, 1, 5, 0, 5, 0, 1]),
        ]
    );
    let months = world.kpis("from=2026-01-01&to=2026-03-01&granularity=month").await;
    assert_eq!(
        shorts(&months["items"]),
        [
            json!(["2026-01-01", "USD", 3000, 301, 2699, 3, 900, 750, 1949, 2, 2]),
            json!(["2026-02-01", "USD", 5, 0, 5, 1, 5, 0, 5, 0, 1]),
        ]
    );
    assert_eq!(shorts(&months["totals"]), [all]);
    // `to` is exclusive. A customer who bought before `from` is not new.
    let january = world.kpis("from=2026-01-05&to=2026-02-10").await;
    assert_eq!(
        shorts(&january["totals"]),
        [json!([null, "USD", 2000, 0, 2000, 1, 2000, 750, 1250, 0, 1])]
    );
}

#[tokio::test]
async fn edits_moves_and_deletions_correct_the_figures_of_past_days() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 1000, "A", "Pump").await;
    sell(&world, "S-2", "2026-01-02", 2000, "A", "Pump").await;
    spend(&world, "E-1", "2026-01-01", 70, Some("Rent")).await;
    world.sweep().await;
    change(&world, "sale.updated", "S-1", "sale_date", json!("2026-01-03")).await;
    change(&world, "expense.updated", "E-1", "currency", json!("EUR")).await;
    world.sweep().await;
    let moved = world.kpis("from=2026-01-01&to=2026-02-01").await;
    assert_eq!(
        shorts(&moved["items"]),
        [
            json!(["2026-01-01", "EUR", 0, 0, 0, 0, null, 70, -70, 0, 0]),
            json!(["2026-01-02", "USD", 2000, 0, 2000, 1, 2000, 0, 2000, 1, 1]),
            json!(["2026-01-03", "USD", 1000, 0, 1000, 1, 1000, 0, 1000, 0, 1]),
        ]
    );
    world.append(&Person::staff(), "sale.deleted", "S-2", json!({})).await;
    change(&world, "sale.updated", "S-1", "customer_id", json!("B")).await;
    world
        .append(&Person::staff(), "expense.deleted", "E-1", json!({}))
        .await;
    world.sweep().await;
    let left = world.kpis("from=2026-01-01&to=2026-02-01").await;
    assert_eq!(
        shorts(&left["items"]),
        [json!(["2026-01-03", "USD", 1000, 0, 1000, 1, 1000, 0, 1000, 1, 1])]
    );
    world.assert_kpis_are_the_events().await;
}

#[tokio::test]
async fn the_largest_possible_amounts_add_up() {
    let world = World::new().await;
    for id in ["S-1", "S-2", "S-3"] {
        sell(&world, id, "2026-01-01", i64::MAX, "A", "Moon").await;
        sell(&world, &format!("R-{id}"), "2026-01-02", i64::MIN, "A", "Moon").await;
    }
    world.sweep().await;
    let text = world
        .get(&Person::staff(), "/analytics/kpis?from=2026-01-01&to=2026-01-03")
        .await
        .expect(200)
        .text;
    assert!(text.contains(r#""revenue_cents":27670116110564327421"#), "{text}");
    assert!(text.contains(r#""refunds_cents":27670116110564327424"#), "{text}");
    assert!(text.contains(r#""net_cents":-3,"#), "{text}");
}

#[tokio::test]
async fn names_too_long_for_an_index_and_streams_without_a_created_event_block_nothing() {
    let world = World::without_requirements().await;
    // Random, because compression would make it fit.
    let long: String = (0..9_000u32)
        .map(|i| char::from(b'a' + (i.wrapping_mul(2_654_435_761) >> 13) as u8 % 26))
        .collect();
    sell(&world, "S-1", "2026-01-01", 5, "A", &long).await;
    sell(&world, "S-2", "2026-01-01", 7, "A", &format!("{long}!")).await;
    spend(&world, "E-1", "2026-01-01", 1, Some(&long)).await;
    change(&world, "sale.updated", "S-3", "notes", json!("no amount, no day")).await;
    change(&world, "sale.updated", "S-4", "amount_cents", json!(9)).await;
    world.sweep().await;
    let top = "/analytics/top?by=product&currency=USD&from=2026-01-01&to=2026-01-02";
    let answer = world.get(&Person::staff(), top).await.expect(200);
    assert_eq!(
        answer.body.get("next_cursor"),
        Some(&Value::Null),
        "an empty list is answered like any other"
    );
    let items = answer.items().clone();
    assert_eq!(items.iter().map(|item| &item["net_cents"]).collect::<Vec<_>>(), [7, 5]);
    assert!(items[0]["product"].as_str().unwrap().starts_with(&long[..100]));
    let days = world.kpis("from=0001-01-01&to=9999-12-31").await;
    assert_eq!(days["totals"][0]["net_cents"], 12);
}

#[tokio::test]
async fn products_and_customers_are_ranked_over_any_range_of_days() {
    let world = World::new().await;
    for (id, day, cents, customer, product) in [
        ("S-1", "2025-12-31", 900, "A", "Pump"),
        ("S-2", "2026-01-01", 100, "A", "Pump"),
        ("S-3", "2026-01-31", 250, "B", "Hose"),
        ("S-4", "2026-02-15", 30, "A", "Pump"),
        ("S-5", "2026-02-15", -10, "C", "Hose"),
        ("S-6", "2026-03-02", 500, "C", "Clip"),
    ] {
        sell(&world, id, day, cents, customer, product).await;
    }
    world.sweep().await;
    for (by, days, expected) in [
        (
            "product",
            "from=2026-01-01&to=2026-03-01",
            json!([["Hose", 240, 2], ["Pump", 130, 2]]),
        ),
        (
            "product",
            "from=2025-12-31&to=2026-03-03",
            json!([["Pump", 1030, 3], ["Clip", 500, 1], ["Hose", 240, 2]]),
        ),
        ("product", "from=2026-01-02&to=2026-02-15", json!([["Hose", 250, 1]])),
        (
            "customer",
            "from=2026-01-31&to=2026-03-03",
            json!([["C", 490, 2], ["B", 250, 1], ["A", 30, 1]]),
        ),
        (
            "customer",
            "from=2026-01-31&to=2026-03-03&limit=1",
            json!([["C", 490, 2]]),
        ),
        (
            "customer",
            "from=2026-02-14&to=2026-02-16",
            json!([["A", 30, 1], ["C", -10, 1]]),
        ),
    ] {
        let path = format!("/analytics/top?by={by}&currency=USD&{days}");
        let answer = world.get(&Person::service("till"), &path).await.expect(200);
        let name = if by == "product" { "product" } else { "customer_id" };
        let items: Value = answer
            .items()
            .iter()
            .map(|i| json!([i[name], i["net_cents"], i["sales_count"]]))
            .collect();
        assert_eq!(items, expected, "{path}");
    }
}

#[tokio::test]
async fn lines_are_paged_and_every_page_has_the_totals() {
    let world = World::new().await;
    for (place, currency) in ["EUR", "USD"].iter().cycle().take(9).enumerate() {
        let data =
            json!({"sale_date": format!("2026-01-0{}", place / 2 + 1), "amount_cents": place, "currency": currency});
        world
            .append(&Person::staff(), "sale.created", &format!("S-{place}"), data)
            .await;
    }
    world.sweep().await;
    let all = world.kpis("from=2026-01-01&to=2026-02-01").await;
    assert_eq!(
        (all["items"].as_array().unwrap().len(), &all["next_cursor"]),
        (9, &Value::Null)
    );
    let paged = world
        .all_pages(
            &Person::staff(),
            "/analytics/kpis?from=2026-01-01&to=2026-02-01&limit=2",
        )
        .await;
    assert_eq!(json!(paged), all["items"]);
    let page = world.kpis("from=2026-01-01&to=2026-02-01&limit=2").await;
    assert_eq!(page["totals"], all["totals"]);
}

#[tokio::test]
async fn figures_are_for_staff_and_services_of_the_tenant_and_bad_parameters_are_refused() {
    let world = World::new().await;
    sell(&world, "S-1", "2026-01-01", 5, "A", "Pump").await;
    world.sweep().await;
    for path in [
        "/analytics/kpis?from=2026-01-01&to=2026-01-02",
        "/analytics/top?by=product&currency=USD&from=2026-01-01&to=2026-01-02",
    ] {
        for (person, lines) in [
            (Person::staff(), 1),
            (Person::service("till"), 1),
            (Person::staff().in_tenant(uuid::Uuid::new_v4()), 0),
        ] {
            assert_eq!(
                world.get(&person, path).await.expect(200).items().len(),
                lines,
                "{person:?}"
            );
        }
        for person in [Person::user(), Person::agent("pricing")] {
            assert_eq!(world.get(&person, path).await.problem(403), "staff_or_service_only");
        }
    }
    for (query, code) in [
        ("kpis?from=2026-01-01T00:00:00Z", "invalid_parameter"),
        ("kpis?from=2026-02-30", "invalid_parameter"),
        ("kpis?from=2026-1-1", "invalid_parameter"),
        ("kpis?from=-001-01-01", "invalid_parameter"),
        ("kpis?from=0000-01-01", "invalid_parameter"),
        ("kpis?from=2026-01-02&to=2026-01-02", "contradictory_parameters"),
        ("kpis?from=2026-01-03&to=2026-01-02", "contradictory_parameters"),
        ("kpis?granularity=year", "invalid_parameter"),
        ("kpis?granularity=day&granularity=day", "invalid_parameter"),
        ("kpis?cursor=AAAA", "invalid_cursor"),
        ("kpis?limit=0", "invalid_parameter"),
        ("kpis?currency=USD", "invalid_parameter"),
        ("top?by=product", "invalid_parameter"),
        ("top?currency=USD", "invalid_parameter"),
        ("top?by=category&currency=USD", "invalid_parameter"),
        ("top?by=product&currency=usd", "invalid_parameter"),
        ("top?by=product&currency=USD&cursor=AAAA", "invalid_parameter"),
    ] {
        let answer = world.get(&Person::staff(), &format!("/analytics/{query}")).await;
        assert_eq!(answer.problem(400), code, "{query}");
    }
    // The default is the last thirty days.
    let empty = world.kpis("").await;
    assert_eq!(empty["items"], json!([]));
}

/// At UTC+14 tomorrow has already begun. The following pages use the days of the first page.
#[tokio::test]
async fn todays_sales_are_included_by_default_in_every_time_zone() {
    let world = World::new().await;
    let today = chrono::Utc::now().date_naive();
    for (id, days) in [("S-1", -1), ("S-2", 0), ("S-3", 1)] {
        let day = today + chrono::TimeDelta::days(days);
        sell(&world, id, &day.to_string(), 5, "A", "Pump").await;
    }
    world.sweep().await;
    let found = world.kpis("").await;
    assert_eq!(found["items"].as_array().unwrap().len(), 3);
    let paged = world.all_pages(&Person::staff(), "/analytics/kpis?limit=1").await;
    assert_eq!(json!(paged), found["items"]);
}

#[tokio::test]
async fn categories_after_the_largest_fifty_are_added_up_to_one() {
    let world = World::new().await;
    for place in 1..=53 {
        let (id, category) = (format!("E-{place}"), format!("C-{place}"));
        spend(&world, &id, "2026-01-01", place, Some(&category)).await;
    }
    world.sweep().await;
    let found = world.kpis("from=2026-01-01&to=2026-01-02").await;
    for line in [&found["items"][0], &found["totals"][0]] {
        assert_eq!(line["expenses_by_category"].as_array().unwrap().len(), 50);
        assert_eq!(line["other_expenses_cents"], 1 + 2 + 3);
    }
}
