//! After any random history of sales and expenses, the figures equal what SQL computes from the events.

use std::time::Duration;

use projector::KpiSettings;
use proptest::prelude::*;
use serde_json::{Value, json};
use tests::{Effort, Person, World, check_property};

const IDS: usize = 6;
const ANOTHER: uuid::Uuid = uuid::Uuid::from_u128(7);

#[derive(Debug, Clone)]
enum Operation {
    /// A batch of changes that are appended together: (kind, id, change).
    Append(Vec<(bool, usize, Change)>),
    /// An earlier batch is sent again.
    Retry(prop::sample::Index),
    /// A file of sales is uploaded.
    Upload(Vec<(u8, i32, u8)>),
    /// Wake-ups are delivered to two projectors concurrently, one of which is killed after so many milliseconds.
    Project(Option<u8>),
    /// Changes are applied in batches of so many.
    Sweep(i32),
}

#[derive(Debug, Clone)]
enum Change {
    Create { day: u8, cents: i32, euro: bool, who: u8 },
    Day(u8),
    Cents(Option<i32>),
    Currency(bool),
    Who(Option<u8>),
    Delete,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (0..40u8, -50..100i32, any::<bool>(), 0..3u8).prop_map(|(day, cents, euro, who)| Change::Create { day, cents, euro, who }),
        2 => (0..40u8).prop_map(Change::Day),
        1 => prop::option::weighted(0.9, -50..100i32).prop_map(Change::Cents),
        1 => any::<bool>().prop_map(Change::Currency),
        2 => prop::option::weighted(0.8, 0..3u8).prop_map(Change::Who),
        2 => Just(Change::Delete),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop::collection::vec((prop::bool::weighted(0.7), 0..IDS, change()), 1..6).prop_map(Operation::Append),
        1 => any::<prop::sample::Index>().prop_map(Operation::Retry),
        1 => prop::collection::vec((0..40u8, -50..100i32, 0..3u8), 1..5).prop_map(Operation::Upload),
        4 => prop::option::weighted(0.4, 0..6u8).prop_map(Operation::Project),
        2 => prop_oneof![1..4i32, Just(20_000)].prop_map(Operation::Sweep),
    ]
}

/// Every other day is one of the first few; the rest are spread over two years.
fn day(offset: u8) -> String {
    let step = if offset.is_multiple_of(2) { 1 } else { 17 };
    (chrono::NaiveDate::from_ymd_opt(2026, 1, 20).unwrap() + chrono::Days::new(step * u64::from(offset))).to_string()
}

fn event(is_sale: bool, id: usize, change: &Change, round: &str) -> Value {
    let kind = if is_sale { "sale" } else { "expense" };
    let (date, who_is) = if is_sale {
        ("sale_date", "customer_id")
    } else {
        ("expense_date", "category")
    };
    let currency = |euro: bool| if euro { "EUR" } else { "USD" };
    let changed = |field: &str, new: Value| ("updated", json!({"changes": {field: {"old": null, "new": new}}}));
    let (verb, data) = match change {
        Change::Create {
            day: on,
            cents,
            euro,
            who,
        } => {
            let mut data = json!({"amount_cents": cents, "currency": currency(*euro), who_is: format!("W{who}")});
            data[date] = json!(day(*on));
            if is_sale {
                data["product"] = json!(format!("P{}", cents.rem_euclid(3)));
            }
            ("created", data)
        }
        Change::Day(on) => changed(date, json!(day(*on))),
        Change::Cents(cents) => changed("amount_cents", json!(cents.unwrap_or_default())),
        Change::Currency(euro) => changed("currency", json!(currency(*euro))),
        Change::Who(who) => changed(who_is, who.map_or(Value::Null, |who| json!(format!("W{who}")))),
        Change::Delete => ("deleted", json!({})),
    };
    json!({"event_type": format!("{kind}.{verb}"), "aggregate_type": kind, "aggregate_id": format!("{round}{id}"), "data": data})
}

async fn run(world: &World, round: &str, operations: Vec<Operation>) {
    // The days, customers and sales of both tenants have the same names.
    let tenants = [Person::staff(), Person::staff().in_tenant(ANOTHER)];
    let mut batches: Vec<(Person, Value)> = Vec::new();
    for (place, operation) in operations.into_iter().enumerate() {
        let staff = tenants[place % 2].clone();
        match operation {
            Operation::Append(changes) => {
                let events: Vec<Value> = changes
                    .iter()
                    .enumerate()
                    .map(|(member, (is_sale, id, change))| {
                        let mut event = event(*is_sale, *id, change, round);
                        event["idempotency_key"] = json!(format!("{round}{place}-{member}"));
                        event
                    })
                    .collect();
                world
                    .post(&staff, "/events", json!({"events": events}))
                    .await
                    .expect(201);
                batches.push((staff, json!({"events": events})));
            }
            Operation::Retry(which) if !batches.is_empty() => {
                let (staff, batch) = which.get(&batches).clone();
                world.post(&staff, "/events", batch).await.expect(200);
            }
            Operation::Upload(rows) => {
                let rows = rows.iter().enumerate().map(|(row, (on, cents, who))| {
                    format!(
                        "{round}U{row},{},{}.{:02},W{who}\n",
                        day(*on),
                        cents / 100,
                        cents.abs() % 100
                    )
                });
                let file = format!("sale_id,sale_date,amount,customer_id\n{}", rows.collect::<String>());
                world.upload_sales(&staff, &[], file.as_bytes()).await.expect(200);
            }
            Operation::Project(kill) => {
                let bodies = world.take_wake_ups().await;
                let other = world.elsewhere();
                let deliver = other.deliver(bodies.clone());
                match kill {
                    None => drop(tokio::join!(world.deliver(bodies), deliver)),
                    Some(after) => drop(tokio::time::timeout(Duration::from_millis(after.into()), deliver).await),
                }
            }
            Operation::Sweep(at_once) => {
                let pace = KpiSettings {
                    batch_size: at_once,
                    announce_delay: Duration::ZERO,
                    ..KpiSettings::default()
                };
                world.projector.clone().with_kpi_settings(pace).sweep().await.unwrap();
            }
            Operation::Retry(_) => {}
        }
    }
    world.sweep().await;
    world.assert_kpis_are_the_events().await;
}

/// Figures that are not sums of days: customers, averages and categories of weeks, months and any range.
async fn assert_periods(world: &World) {
    for (from, to) in [
        ("2026-01-01", "2028-01-01"),
        ("2026-01-23", "2026-02-05"),
        ("2026-02-03", "2026-02-04"),
        ("2026-03-17", "2027-06-09"),
    ] {
        for granularity in ["day", "week", "month"] {
            let found = world
                .kpis(&format!("from={from}&to={to}&granularity={granularity}&limit=1000"))
                .await;
            for line in found["items"].as_array().unwrap() {
                let period = line["period"].as_str().unwrap();
                let first: chrono::NaiveDate = period.parse().unwrap();
                let end = match granularity {
                    "day" => first + chrono::Days::new(1),
                    "week" => first + chrono::Days::new(7),
                    _ => first + chrono::Months::new(1),
                };
                let (first, end) = (period.max(from), end.to_string().min(to.to_owned()));
                assert_line(world, line, first, &end).await;
            }
            for line in found["totals"].as_array().unwrap() {
                assert_line(world, line, from, to).await;
            }
        }
    }
}

async fn assert_line(world: &World, line: &Value, from: &str, to: &str) {
    let expected = world.figures_by_sql(line["currency"].as_str().unwrap(), from, to).await;
    for (name, figure) in expected.as_object().unwrap() {
        assert_eq!(line[name], *figure, "{name} {from} {to} {line}");
    }
    assert_eq!(line["other_expenses_cents"], 0);
}

/// Ranges that begin and end on any day: the code splits them into days, months and years.
async fn assert_tops(world: &World) {
    let mut ranges = vec![
        ("2026-01-01".to_owned(), "2028-01-01".to_owned()),
        ("2025-12-31".to_owned(), "2027-01-01".to_owned()),
        ("2026-12-01".to_owned(), "2028-02-01".to_owned()),
        ("2026-02-01".to_owned(), "2026-03-01".to_owned()),
    ];
    let first = chrono::NaiveDate::from_ymd_opt(2025, 11, 1).unwrap();
    for place in 1..30_u64 {
        let from = first + chrono::Days::new(place * 7919 % 700);
        let to = from + chrono::Days::new(place * 104_729 % 800 + 1);
        ranges.push((from.to_string(), to.to_string()));
    }
    for (from, to) in ranges {
        for (by, column, field) in [
            ("product", "product", "product"),
            ("customer", "customer", "customer_id"),
        ] {
            let path = format!("/analytics/top?by={by}&currency=USD&from={from}&to={to}&limit=1000");
            let found = world.get(&Person::staff(), &path).await.expect(200);
            let found: Value = found
                .items()
                .iter()
                .map(|i| {
                    json!([
                        i[field],
                        i["revenue_cents"],
                        i["refunds_cents"],
                        i["net_cents"],
                        i["sales_count"]
                    ])
                })
                .collect();
            assert_eq!(found, world.top_by_sql(column, "USD", &from, &to).await, "{path}");
        }
    }
}

#[test]
fn figures_of_random_histories_equal_those_computed_from_the_events() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let world = runtime.block_on(World::without_requirements());
    let effort = Effort {
        cases: 32,
        shrinks: 100,
    };
    let rounds = std::cell::Cell::new(0);
    check_property(
        &runtime,
        effort,
        &prop::collection::vec(operation(), 1..25),
        async |operations| {
            rounds.set(rounds.get() + 1);
            run(&world, &format!("R{}-", rounds.get()), operations).await;
        },
    );
    runtime.block_on(assert_periods(&world));
    runtime.block_on(assert_tops(&world));
    runtime.block_on(async {
        let found = crate::verify::verify(&world).await;
        assert_eq!(found, []);
    });
}
