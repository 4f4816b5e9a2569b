//! Concurrent decisions, failures and projectors, and events posted by SQL. The interleavings are scripted, so that each of them happens
//! in every run.

use std::sync::Arc;

use annals_domain::{AggregateId, AggregateType, StreamId, TenantId};
use annals_store::Parked;
use serde_json::{Value, json};
use tests::{Person, World};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{outcome, post_history};

async fn parked() -> (Arc<World>, Person, String) {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let poison = post_history(&world, &staff, async |_| ()).await;
    world.project().await;
    (Arc::new(world), staff, poison["id"].as_str().unwrap().to_owned())
}

async fn decide(world: &World, staff: &Person, id: &str, action: &str) {
    let decision = json!({"action": action, "reason": "so it is"});
    world
        .put(staff, &format!("/events/{id}/processing"), decision)
        .await
        .expect(200);
}

async fn sql(client: &Client, statements: &str) {
    client.batch_execute(statements).await.unwrap();
}

const REMOVE_CONSTRAINT: &str =
    "alter table public.organization_financial_years drop constraint organization_financial_years_order";

/// The projector that freed the stream died before it projected it. Its message does not come again, and nothing is appended.
#[tokio::test]
async fn a_freed_stream_whose_projector_died_is_found_by_the_next_sweep_of_a_quiet_log() {
    let (world, _, _) = parked().await;
    world.sweep().await;
    let owner = world.superuser().await;
    sql(&owner, REMOVE_CONSTRAINT).await;
    sql(&owner, "update annals.parked_streams set retrying = true").await;
    let last = world.last_event_number().await;
    world.sweep().await;
    assert_eq!(world.last_event_number().await, last);
    world.assert_read_models_are_the_fold().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
}

/// The database goes away between freeing and projecting: the decision is carried out, but the stream is not projected yet.
#[tokio::test]
async fn an_outage_between_freeing_and_projecting_loses_nothing() {
    let (world, staff, id) = parked().await;
    let owner = world.superuser().await;
    sql(&owner, REMOVE_CONSTRAINT).await;
    world.begin_outage("public.organization_financial_years").await;
    decide(&world, &staff, &id, "retry").await;
    world.deliver(world.take_wake_ups().await).await;
    let parked = world.rows_of("annals.parked_streams").await;
    assert_eq!(
        (&parked[0]["retrying"], &parked[0]["attempts"]),
        (&json!(true), &json!(1))
    );
    assert!(
        world.projector.sweep().await.is_err(),
        "the checkpoint must not pass a stream that is neither projected nor parked"
    );
    world.end_outage("public.organization_financial_years").await;
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
}

/// One projector fails on an event. Before it parks the stream, the cause is corrected and another projector applies the event.
#[tokio::test]
async fn a_stream_that_has_moved_on_is_not_parked_behind_its_progress() {
    let (world, _, id) = parked().await;
    let mut other = world.superuser().await;
    sql(&other, "delete from annals.parked_streams").await;
    let moving = other.transaction().await.unwrap();
    let moved = "update annals.heads set projected_version = 4 where aggregate_id = 'O-1'";
    moving.batch_execute(moved).await.unwrap();
    let late = {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let stream = StreamId {
                tenant_id: TenantId::from(Uuid::nil()),
                aggregate_type: AggregateType::try_from("organization".to_owned()).unwrap(),
                aggregate_id: AggregateId::try_from("O-1".to_owned()).unwrap(),
            };
            let parked = Parked {
                stream: &stream,
                event_id: id.parse().unwrap(),
                event_number: 4,
                version: 3,
                error_code: "23514",
                error: "late",
            };
            world.app.store.park(&parked).await
        })
    };
    world.until_waiting_or(1, || late.is_finished()).await;
    moving.commit().await.unwrap();
    late.await.unwrap().unwrap();
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
}

/// A retry is applying the event when staff decides to skip it: only one decision counts, and log and state agree about it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skip_during_a_retry_is_refused() {
    let (world, staff, id) = parked().await;
    let mut locker = world.superuser().await;
    sql(&locker, REMOVE_CONSTRAINT).await;
    let lock = locker.transaction().await.unwrap();
    let table = "lock table public.organization_financial_years in exclusive mode";
    lock.batch_execute(table).await.unwrap();
    decide(&world, &staff, &id, "retry").await;
    let wake_ups = world.take_wake_ups().await;
    let projecting = tokio::spawn({
        let world = Arc::clone(&world);
        async move { world.deliver(wake_ups).await }
    });
    world.until_waiting_or(1, || projecting.is_finished()).await;
    let skip = json!({"action": "skip", "reason": "so it is"});
    let late = world.put(&staff, &format!("/events/{id}/processing"), skip).await;
    assert_eq!(late.problem(409), "not_parked");
    lock.rollback().await.unwrap();
    assert!(projecting.await.unwrap().is_empty());
    world.sweep().await;
    assert!(world.rows_of("annals.skipped_events").await.is_empty());
    assert!(outcome(&world).await.contains(&"head O-1 4 4".to_owned()));
    let live = world.read_models().await;
    world.delete_read_models().await;
    world.sweep().await;
    assert_eq!(world.read_models().await, live, "a fold from zero gives the same");
}

/// A failure caused by the stream's data, but not by a constraint, must not hold up the sweep for other streams.
#[tokio::test]
async fn a_limit_of_the_database_parks_the_stream_that_reaches_it() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let owner = world.superuser().await;
    sql(
        &owner,
        "create function public.full() returns trigger language plpgsql as $$ begin raise 'too large' using errcode = '54000'; end $$;
         create trigger full_now before insert on public.customers for each row when (new.id = 'C-1') execute function public.full()",
    )
    .await;
    for id in ["C-1", "C-2"] {
        world.append(&staff, "customer.created", id, json!({"name": "N"})).await;
    }
    world.project().await;
    world.sweep().await;
    assert_eq!(world.rows_of("public.customers").await.len(), 1);
    assert_eq!(world.rows_of("annals.parked_streams").await[0]["error_code"], "54000");
}

/// SQL users append to the same log. No event that SQL accepts may stop the projection of other streams.
#[tokio::test]
async fn no_event_accepted_by_sql_stops_the_projector() {
    let (world, user, staff) = (World::without_requirements().await, Person::user(), Person::staff());
    let session = world.session_of(&user).await;
    let deep = |levels: usize| {
        format!(
            r#"{{"name": "N", "email": "a@example.com", "x": {}1{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let plain = r#"{"name": "N", "email": "a@example.com"}"#.to_owned();
    let marker = r#"{"name": "N", "email": "a@example.com", "x": {"$serde_json::private::Number": "one"}}"#.to_owned();
    let digits = format!(
        r#"{{"name": "N", "email": "a@example.com", "x": {}}}"#,
        "9".repeat(5000)
    );
    let mut refused = 0;
    for (id, data) in [
        ("zero\u{200b}width", &plain),
        ("next\u{85}line", &plain),
        ("private\u{e000}use", &plain),
        ("deep-127", &deep(127)),
        ("deep-500", &deep(500)),
        ("marker", &marker),
        ("digits", &digits),
    ] {
        let event = format!(
            r#"{{"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "{id}", "data": {data}}}"#
        );
        let posted = session
            .query("select public.post_event($1::text::jsonb)", &[&event])
            .await;
        refused += usize::from(posted.is_err());
    }
    world
        .append(&staff, "customer.created", "fine", json!({"name": "N"}))
        .await;
    world.project().await;
    world.sweep().await;
    let rows = world.rows_of("public.customers").await;
    assert!(rows.iter().any(|row| row["id"] == "fine"));
    assert_eq!(
        rows.len() + world.rows_of("annals.parked_streams").await.len() + refused,
        8
    );
    let listed = world.get(&staff, "/events").await.expect(200);
    assert_eq!(listed.items().len(), 8 - refused, "and no reader either");
}

/// The same for the catalog, which the staff of each tenant may extend: other tenants are not affected.
#[tokio::test]
async fn no_registration_stops_the_projector_even_without_the_checks_in_rust() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.appender(Some(&Person::staff().in_tenant(Uuid::new_v4()))).await;
    let register = "select annals.register_event_type(current_setting('request.jwt.claims')::jsonb, $1, $2, $3, 'd', $4::text::jsonb,
                                                      '{staff}', $5::text::jsonb, '{}')";
    let mut registered: Vec<Value> = Vec::new();
    let none = r#""none""#;
    let deep = format!(r#"{{"not": {}true{}}}"#, r#"{"not":"#.repeat(200), "}".repeat(200));
    let marker = r#"{"const": {"$serde_json::private::Number": "one"}}"#;
    for (event_type, aggregate_type, version, effect, schema) in [
        ("sale.odd", "sale", "1.0", r#"{"set": {"a": 5}}"#, "{}"),
        ("sale.odd", "sale", "1.0", r#"{"set": {"a": "no-pointer"}}"#, "{}"),
        ("sale.odd", "sale", "1.0", r#"{"set": {"a": {"constant": 1}}}"#, "{}"),
        ("sale.odd", "sale", "1.0", r#"{"set": {}, "add_child": "x"}"#, "{}"),
        ("sale.odd", "sale", "1.0", r#"{"add_child": "x", "more": 1}"#, "{}"),
        ("sale.odd", "sale", "1.0", r#"{"add_child": 1}"#, "{}"),
        ("sale.odd.thing", "sale.odd", "1.0", none, "{}"),
        ("sale.deep", "sale", "1.0", none, &deep),
        ("sale.marked", "sale", "1.0", none, marker),
        ("sale.zeros", "sale", "0001.0002", none, "{}"),
        (
            "sale.big",
            "sale",
            "9999.9999.9999",
            r#"{"set": {"a": "", "b": "/c", "d": {"const": 1}}}"#,
            "{}",
        ),
    ] {
        let values: [&(dyn ToSql + Sync); 5] = [&event_type, &aggregate_type, &version, &effect, &schema];
        match session.execute(register, &values).await {
            Ok(_) => registered.push(json!(event_type)),
            Err(error) => assert!(error.as_db_error().is_some(), "{error:?}"),
        }
    }
    world
        .append(&staff, "customer.created", "fine", json!({"name": "N"}))
        .await;
    world.project().await;
    assert_eq!(registered, [json!("sale.zeros"), json!("sale.big")]);
    assert_eq!(world.rows_of("public.customers").await.len(), 1);
}

/// The rest of a freed stream may be behind the sweep's checkpoint and in no message. The sweep finds it by its row.
#[tokio::test]
async fn a_projector_that_dies_half_way_through_a_freed_stream_leaves_it_to_the_sweep() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for stock in 1..=3 {
        world
            .append(&staff, "product.stock_updated", "P-1", json!({"new_stock": stock}))
            .await;
    }
    world.take_wake_ups().await;
    let owner = world.owner().await;
    let half_way = "
        insert into annals.parked_streams (tenant_id, event_id, event_number, aggregate_version, retrying, aggregate_type, aggregate_id, error_code, error)
        select tenant_id, id, event_number, 1, true, aggregate_type, aggregate_id, '23514', 'corrected meanwhile'
          from annals.events where aggregate_version = 1;
        update annals.checkpoints set position = (select max(event_number) from annals.events) where name = 'sweep';
        insert into annals.entities (tenant_id, created_at, updated_at, version, aggregate_type, aggregate_id, started_by, state)
        select tenant_id, created_at, created_at, 2, aggregate_type, aggregate_id, started_by, '{\"stock\": 2}'
          from annals.events where aggregate_version = 2;
        select annals.advance_heads(array[tenant_id], array[aggregate_type], array[aggregate_id], array[0], array[2], 0)
          from annals.heads";
    owner.batch_execute(half_way).await.unwrap();
    world.projector.sweep().await.unwrap();
    let left = "select h.projected_version, (select count(*) from annals.parked_streams) from annals.heads h";
    let row = owner.query_one(left, &[]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, i64>(1)), (3, 0));
}
