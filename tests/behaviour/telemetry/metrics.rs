//! Metrics in CloudWatch's embedded metric format, written exactly as CloudWatch reads them, and only if they are collected.

use std::collections::BTreeSet;

use annals_telemetry::metrics::METRICS;
use projector::Invocation;
use serde_json::{Value, json};
use tests::{Captured, Person, World};

/// The units of CloudWatch that our metrics use.
const UNITS: [&str; 3] = ["Count", "Seconds", "Milliseconds"];

/// The rules of the specification that a line of ours could violate:
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
fn assert_is_emf(line: &Value) {
    let root = line.as_object().unwrap();
    let aws = root["_aws"].as_object().unwrap();
    let keys = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(keys(aws), ["CloudWatchMetrics", "Timestamp"].map(str::to_owned).into());
    let age = chrono::Utc::now().timestamp_millis() - aws["Timestamp"].as_i64().unwrap();
    assert!((0..600_000).contains(&age), "the time is in milliseconds: {line}");
    for directive in aws["CloudWatchMetrics"].as_array().unwrap() {
        let directive = directive.as_object().unwrap();
        assert_eq!(
            keys(directive),
            ["Dimensions", "Metrics", "Namespace"].map(str::to_owned).into()
        );
        assert_eq!(directive["Namespace"], "Annals");
        let sets = directive["Dimensions"].as_array().unwrap();
        assert_eq!(sets.len(), 1);
        for dimension in sets[0].as_array().unwrap() {
            // Every dimension is a member of the root, with a text of 1 to 1,024 characters.
            let value = root[dimension.as_str().unwrap()].as_str().unwrap();
            assert!((1..=1024).contains(&value.len()), "{line}");
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()), "{line}");
        for metric in metrics {
            assert_eq!(
                keys(metric.as_object().unwrap()),
                ["Name", "Unit"].map(str::to_owned).into()
            );
            assert!(UNITS.contains(&metric["Unit"].as_str().unwrap()), "{line}");
            // Every metric is a member of the root, with a number.
            assert!(root[metric["Name"].as_str().unwrap()].is_number(), "{line}");
        }
    }
}

fn product(id: &str) -> Value {
    json!({"event_type": "product.created", "aggregate_type": "product", "aggregate_id": id,
           "data": {"sku": id, "name": "Pump", "base_price": 1}, "idempotency_key": id})
}

#[tokio::test]
async fn an_append_is_one_line_of_the_embedded_metric_format() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::deployed("error");
    world
        .post(&staff, "/events", json!({"events": [product("A"), product("B")]}))
        .await
        .expect(201);
    let lines = printed.metrics();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_is_emf(line);
    let timestamp = &line["_aws"]["Timestamp"];
    assert_eq!(
        printed.text().trim_end(),
        format!(
            r#"{{"EventsAppended":2,"Function":"annals-Function-1A2B3C","Stack":"annals","_aws":{{"CloudWatchMetrics":[{{"Dimensions":[["Stack","Function"]],"Metrics":[{{"Name":"EventsAppended","Unit":"Count"}}],"Namespace":"Annals"}}],"Timestamp":{timestamp}}}}}"#
        )
    );
}

#[tokio::test]
async fn no_metrics_are_printed_if_they_are_not_collected() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::local("error");
    world.post(&staff, "/events", product("A")).await.expect(201);
    assert_eq!(printed.text(), "");
}

#[tokio::test]
async fn metrics_are_not_log_lines() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for capture in [Captured::local, Captured::deployed] {
        let printed = capture("trace");
        world
            .post(&staff, "/events", json!({"events": [json!({"event_type": "product.created", "aggregate_type": "product", "aggregate_id": uuid::Uuid::new_v4(), "data": {"sku": "A", "name": "Pump", "base_price": 1}})]}))
            .await
            .expect(201);
        assert!(!printed.lines().is_empty());
        for line in printed.lines() {
            assert!(line.get("EventsAppended").is_none(), "{line}");
        }
    }
}

#[tokio::test]
async fn retries_and_refusals_do_not_count_as_appends() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world.post(&staff, "/events", product("A")).await.expect(201);
    let printed = Captured::deployed("error");
    world.post(&staff, "/events", product("A")).await.expect(200);
    world
        .post(&staff, "/events", json!({"events": [product("A"), product("B")]}))
        .await
        .expect(201);
    assert_eq!(printed.metric("EventsAppended"), 1);
    let mut late = product("A");
    (late["idempotency_key"], late["expected_version"]) = (json!("late"), json!(0));
    world.post(&staff, "/events", late).await.expect(409);
    assert_eq!(printed.metric("EventsAppended"), 1);
    assert_eq!(printed.metric("Conflicts"), 1);
}

#[tokio::test]
async fn an_upload_counts_its_rows_and_a_dry_run_none() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let csv = |rows: &str| format!("sale_id,sale_date,amount\n{rows}");
    let upload = async |rows: &str, fields: &[(&str, &str)]| {
        world.upload_sales(&staff, fields, csv(rows)).await.expect(200);
    };
    upload("1,2026-01-01,1.00\n2,2026-01-01,1.00\n", &[]).await;
    let printed = Captured::deployed("error");
    let rows =
        "1,2026-01-01,1.00\n2,2026-01-01,7.00\n3,2026-01-01,1.00\n4,2026-01-01,1.00\n5,2026-01-01,1.00\n6,never,1.00\n";
    upload(rows, &[("dry_run", "true")]).await;
    assert_eq!(printed.text(), "");
    upload(rows, &[]).await;
    let counted = ["RowsAccepted", "RowsRejected", "RowsDuplicate", "RowsUpdated"].map(|name| printed.metric(name));
    assert_eq!(counted, [3, 1, 1, 1]);
    printed.metrics().iter().for_each(assert_is_emf);
}

#[tokio::test]
async fn all_events_of_a_large_upload_count_as_appended() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::deployed("error");
    let rows = "sale_id,sale_date,amount\n1,2026-01-01,1.00\n2,2026-01-01,1.00\n";
    world.import(&staff, json!({"dataset": "sales"}), rows).await;
    // The two sales, and the import's own events: requested, started, completed.
    assert_eq!(printed.metric("EventsAppended"), 5);
}

async fn tick(world: &World) {
    world.projector.handle(Invocation::Tick(Value::Null)).await.unwrap();
}

/// Makes the log look older than it is, by SQL.
async fn grow_old(world: &World, seconds: i32) {
    world
        .superuser()
        .await
        .batch_execute(&format!(
            "alter table annals.events disable trigger all; update annals.events set created_at = created_at - interval '{seconds} s'"
        ))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_sweep_writes_metrics_about_what_it_found() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for id in ["A", "B", "C"] {
        world.post(&staff, "/events", product(id)).await.expect(201);
    }
    let elsewhere = Person::staff().in_tenant(uuid::Uuid::max());
    world.post(&elsewhere, "/events", product("A")).await.expect(201);
    grow_old(&world, 1000).await;
    let printed = Captured::deployed("error");
    tick(&world).await;
    assert_eq!(printed.metric("ProjectionLagEvents"), 4, "of all tenants");
    assert!(
        (1000..1600).contains(&printed.metric("ProjectionLagSeconds")),
        "{}",
        printed.text()
    );
    assert_eq!(printed.metric("StreamsSwept"), 4);
    printed.metrics().iter().for_each(assert_is_emf);

    let printed = Captured::deployed("error");
    tick(&world).await;
    let [line] = &printed.metrics()[..] else {
        panic!("{}", printed.text())
    };
    for (metric, none) in [
        ("ProjectionLagEvents", 0),
        ("ProjectionLagSeconds", 0),
        ("ParkedStreams", 0),
        ("KpiLagSeconds", 0),
    ] {
        assert_eq!(line[metric], none, "silence would mean that no sweep runs");
    }
}

#[tokio::test]
async fn parked_streams_are_counted_and_do_not_count_as_lag() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world
        .append(&staff, "organization.created", "O-1", json!({"name": "One"}))
        .await;
    let year = json!({"id": "fy", "start_date": "2026-03-31", "end_date": "2025-04-01"});
    world
        .append(&staff, "organization.financial_year.added", "O-1", year)
        .await;
    world.project().await;
    let printed = Captured::deployed("error");
    tick(&world).await;
    assert_eq!(printed.metric("ParkedStreams"), 1);
    assert_eq!(printed.metric("ProjectionLagEvents"), 0);
    assert_eq!(printed.metric("ProjectionLagSeconds"), 0);
}

#[tokio::test]
async fn imports_that_fail_or_make_no_progress_have_metrics() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let asked = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    world
        .put_file(&asked, "sale_id,sale_date,amount\n1,2026-01-01,1.00\n")
        .await;
    let broken = "create function public.no() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
                  create trigger no before update on annals.import_partitions for each row when (new.processed_row > 0) execute function public.no()";
    world.owner().await.batch_execute(broken).await.unwrap();
    // The first one got as far as reading the file.
    for attempts in 0..7 {
        let printed = Captured::deployed("error");
        world.importer().import_due(None).await.unwrap();
        assert_eq!(printed.metric("ImportsStuck"), i64::from(attempts > 5), "{attempts}");
        printed.metrics().iter().for_each(assert_is_emf);
    }
    let printed = Captured::deployed("error");
    let refused = world
        .import(&staff, json!({"dataset": "sales"}), "PK\x03\x04 and so on")
        .await
        .body;
    assert_eq!(refused["status"], "failed");
    assert_eq!(printed.metric("ImportsFailed"), 1);
    printed.metrics().iter().for_each(assert_is_emf);
}

#[tokio::test]
async fn a_rebuild_writes_metrics_about_what_it_changed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world.post(&staff, "/events", product("A")).await.expect(201);
    world.project().await;
    world
        .owner()
        .await
        .batch_execute("update public.products set name = 'another'")
        .await
        .unwrap();
    world.post(&staff, "/projector/rebuild", json!({})).await.expect(202);
    let printed = Captured::deployed("error");
    world.projector.rebuild_due().await.unwrap();
    assert_eq!(printed.metric("RebuildsDone"), 1);
    assert_eq!(printed.metric("RebuildChangedRows"), 1);
    printed.metrics().iter().for_each(assert_is_emf);
}

#[test]
fn every_metric_has_a_name_and_a_unit_that_cloudwatch_accepts() {
    let names: BTreeSet<&str> = METRICS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), METRICS.len());
    for (name, unit) in METRICS {
        assert!((1..=1024).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(UNITS.contains(unit));
    }
}
