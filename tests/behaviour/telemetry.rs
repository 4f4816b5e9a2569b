//! The log: every line of a request or message names it, and no line contains data from rows, bodies or tokens.

mod metrics;
mod traces;

use annals_http::ApiError;
use annals_store::{StoreError, redacted_error};
use annals_telemetry::Ids;
use aws_lambda_events::event::sqs::{SqsMessage, SqsMessageAttribute};
use axum::response::IntoResponse;
use lambda_http::Context;
use lambda_http::request::from_str;
use serde_json::{Value, json};
use tests::{Captured, Person, World};
use tower::ServiceExt;

const POST_EVENT: &str = include_str!("../events/http_post_event.json");
const TRACE: &str = "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1";

/// The lines with this message.
fn saying<'l>(lines: &'l [Value], message: &str) -> Vec<&'l Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

/// Sends the recorded request as Lambda's adapter passes it on.
async fn through_the_gateway(world: &World, staff: &Person, request_id: Option<&str>) -> String {
    let mut request = from_str(&POST_EVENT.replace("TOKEN", &staff.token())).expect("a request");
    let mut context = Context::default();
    context.request_id = "lambda-1".to_owned();
    request.extensions_mut().insert(context);
    request.headers_mut().insert("x-amzn-trace-id", TRACE.parse().unwrap());
    if let Some(id) = request_id {
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
    }
    let response = world.router.clone().oneshot(request).await.unwrap();
    response.headers()["x-request-id"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn log_lines_have_the_ids_that_the_gateway_and_lambda_gave_a_request() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::deployed("info");
    let id = through_the_gateway(&world, &staff, None).await;
    let mut line = saying(&printed.lines(), "served")[0].clone();
    for changing in ["timestamp", "duration_us"] {
        assert!(line.as_object_mut().unwrap().remove(changing).is_some(), "{changing}");
    }
    assert_eq!(id, "JKJaXmPLvHcESHA=");
    assert_eq!(
        line,
        json!({
            "level": "INFO", "name": "request", "target": "annals_http::layers", "message": "served",
            "http.method": "POST", "http.route": "/api/v1/events", "http.status": 201,
            "request.id": "JKJaXmPLvHcESHA=", "gateway.id": "JKJaXmPLvHcESHA=", "invocation.id": "lambda-1",
            "trace.id": "1-67891233-abcdef012345678912345678",
        })
    );
}

#[tokio::test]
async fn a_clients_own_request_id_is_logged_beside_the_gateways() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::deployed("info");
    assert_eq!(through_the_gateway(&world, &staff, Some("mine-1")).await, "mine-1");
    let lines = printed.lines();
    let served = saying(&lines, "served")[0];
    assert_eq!(served["request.id"], "mine-1");
    assert_eq!(served["gateway.id"], "JKJaXmPLvHcESHA=");
}

fn correlated(id: &str, correlation_id: Option<&str>) -> Value {
    json!({"event_type": "product.created", "aggregate_type": "product", "aggregate_id": id,
           "data": {"sku": id, "name": "Pump", "base_price": 1}, "correlation_id": correlation_id})
}

#[tokio::test]
async fn lines_have_the_correlation_id_that_all_events_of_a_request_share() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for (bodies, expected) in [
        (vec![correlated("A", Some("order-7"))], json!("order-7")),
        (
            vec![correlated("B", Some("order-8")), correlated("C", Some("order-8"))],
            json!("order-8"),
        ),
        (
            vec![correlated("D", Some("order-8")), correlated("E", Some("order-9"))],
            Value::Null,
        ),
        (
            vec![correlated("F", Some("order-8")), correlated("G", None)],
            Value::Null,
        ),
        (vec![correlated("H", None)], Value::Null),
    ] {
        let printed = Captured::deployed("info");
        world
            .post(&staff, "/events", json!({"events": bodies}))
            .await
            .expect(201);
        let lines = printed.lines();
        assert_eq!(saying(&lines, "served")[0]["correlation.id"], expected);
    }
}

#[tokio::test]
async fn lines_of_a_refused_append_have_the_correlation_id_too() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::deployed("info");
    let mut event = correlated("A", Some("order-7"));
    event["data"]["base_price"] = json!("not a number");
    world.post(&staff, "/events", event).await.expect(422);
    assert_eq!(saying(&printed.lines(), "served")[0]["correlation.id"], "order-7");
}

/// Spans are filtered by level, too; warnings must keep their ids if informational lines are switched off.
#[tokio::test]
async fn warnings_have_the_requests_ids_at_every_level() {
    for level in ["error", "warn", "debug"] {
        let printed = Captured::deployed(level);
        let ids = Ids {
            request: "r-1".to_owned(),
            ..Ids::default()
        };
        annals_telemetry::within(ids, async {
            annals_telemetry::correlate("order-7");
            tracing::error!("something");
        })
        .await;
        let line = printed.lines().pop().unwrap();
        assert_eq!(
            (&line["request.id"], &line["correlation.id"]),
            (&json!("r-1"), &json!("order-7"))
        );
    }
}

const SECRETS: [&str; 3] = ["hunter2", "Grüße", "4111-1111"];

/// Every kind of error in which PostgreSQL quotes values, as the store returns it.
async fn quoting_errors(world: &World) -> Vec<(&'static str, StoreError)> {
    let client = world.owner().await;
    client
        .batch_execute("create table public.quoted (id text primary key, at date not null, constraint quoted_short check (length(id) < 10));
                        insert into public.quoted values ('hunter2', '2026-01-01')")
        .await
        .unwrap();
    let mut errors = Vec::new();
    for (code, sql) in [
        ("23505", "insert into public.quoted values ('hunter2', '2026-01-01')"),
        (
            "23514",
            "insert into public.quoted values ('4111-1111-1111', '2026-01-01')",
        ),
        ("23502", "insert into public.quoted values ('4111-1111', null)"),
        ("22007", "select 'Grüße'::date"),
        ("22P02", "select 'Grüße'::int"),
        (
            "P0001",
            "do $$ begin raise exception 'Grüße' using detail = 'hunter2', hint = '4111-1111'; end $$",
        ),
        ("42703", r#"select "4111-1111""#),
    ] {
        let error = client.batch_execute(sql).await.expect_err(sql);
        assert!(
            SECRETS.iter().any(|secret| format!("{error:?}").contains(secret)),
            "{error:?} quotes nothing"
        );
        errors.push((code, StoreError::from(error)));
    }
    errors
}

#[tokio::test]
async fn values_that_postgresql_quotes_are_in_no_log_line() {
    let world = World::without_requirements().await;
    for (code, error) in quoting_errors(&world).await {
        let line = redacted_error(&error);
        let wrapped = std::io::Error::other(error);
        let printed = Captured::deployed("trace");
        let Ok(error) = wrapped.downcast::<StoreError>() else {
            unreachable!()
        };
        let _ = ApiError::from(error).into_response();
        let printed = printed.text();
        assert!(line.contains(code), "{line}");
        assert!(!printed.is_empty());
        for secret in SECRETS {
            assert!(!line.contains(secret), "{line}");
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

#[tokio::test]
async fn a_constraint_that_is_violated_is_named() {
    let world = World::without_requirements().await;
    let client = world.owner().await;
    client
        .batch_execute("create table public.quoted (id text constraint quoted_short check (length(id) < 3))")
        .await
        .unwrap();
    let error = client
        .batch_execute("insert into public.quoted values ('hunter2')")
        .await
        .unwrap_err();
    assert_eq!(
        redacted_error(&error),
        "db error: a constraint is violated (SQLSTATE 23514, constraint quoted_short, table quoted, raised in ExecConstraints)"
    );
}

/// A financial year that its schema accepts and its table refuses.
async fn post_poison(world: &World, staff: &Person) {
    let year = json!({"event_type": "organization.financial_year.added", "aggregate_type": "organization", "aggregate_id": "O-1",
                      "data": {"id": "hunter2", "start_date": "2026-03-31", "end_date": "2025-04-01"}, "correlation_id": "order-7"});
    world
        .append(staff, "organization.created", "O-1", json!({"name": "Grüße"}))
        .await;
    world.post(staff, "/events", year).await.expect(201);
}

#[tokio::test]
async fn a_parked_stream_is_logged_with_its_events_correlation_id() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    post_poison(&world, &staff).await;
    let printed = Captured::deployed("warn");
    world.project().await;
    let lines = printed.lines();
    let [parked] = saying(&lines, "stream parked")[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        (&parked["correlation.id"], &parked["error.code"]),
        (&json!("order-7"), &json!("23514"))
    );
    for secret in SECRETS {
        assert!(!printed.text().contains(secret), "{}", printed.text());
    }
}

#[tokio::test]
async fn the_error_of_a_rebuild_that_a_table_refuses_quotes_no_values() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world
        .append(&staff, "organization.created", "hunter2", json!({"name": "Grüße"}))
        .await;
    world.project().await;
    world
        .owner()
        .await
        .batch_execute("alter table public.organizations add constraint too_late check (name <> 'Grüße') not valid")
        .await
        .unwrap();
    world.post(&staff, "/projector/rebuild", json!({})).await.expect(202);
    let printed = Captured::deployed("info");
    world.projector.rebuild_due().await.unwrap();
    let lines = printed.lines();
    assert_eq!(saying(&lines, "rebuild failed").len(), 1, "{lines:?}");
    assert_eq!(printed.metric("RebuildsFailed"), 1);
    for secret in SECRETS {
        assert!(!printed.text().contains(secret), "{}", printed.text());
    }
}

fn message(body: &str, request_id: &str, correlation_id: &str) -> SqsMessage {
    let attribute = |text: &str| {
        let mut attribute = SqsMessageAttribute::default();
        attribute.string_value = Some(text.to_owned());
        attribute.data_type = Some("String".to_owned());
        attribute
    };
    let mut message = SqsMessage::default();
    message.message_id = Some(format!("m-{request_id}"));
    message.body = Some(body.to_owned());
    message
        .message_attributes
        .insert("request_id".to_owned(), attribute(request_id));
    message
        .message_attributes
        .insert("correlation_id".to_owned(), attribute(correlation_id));
    message.attributes.insert("AWSTraceHeader".to_owned(), TRACE.to_owned());
    message
}

#[tokio::test]
async fn lines_about_a_message_have_the_id_of_the_request_that_sent_it() {
    let world = World::without_requirements().await;
    let printed = Captured::deployed("info");
    let messages = [message("hello", "r-1", "order-7"), message("world", "r-2", "order-8")];
    world.projector.handle_messages(&messages).await;
    let lines = printed.lines();
    let named: Vec<_> = saying(&lines, "message is no wake-up")
        .iter()
        .map(|line| {
            [&line["message.id"], &line["origin.request.id"], &line["correlation.id"]]
                .map(|id| id.as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(named, [["m-r-1", "r-1", "order-7"], ["m-r-2", "r-2", "order-8"]]);
}

#[tokio::test]
async fn all_lines_of_an_invocation_with_one_message_have_its_requests_id() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    post_poison(&world, &staff).await;
    let body = world.take_wake_ups().await.pop().unwrap();
    let printed = Captured::deployed("info");
    let ids = Ids {
        request: "lambda-2".to_owned(),
        ..Ids::default()
    };
    let messages = [message(&body, "r-1", "order-1")];
    annals_telemetry::within(ids, world.projector.handle_messages(&messages)).await;
    let lines = printed.lines();
    let parked = saying(&lines, "stream parked")[0];
    assert_eq!(parked["request.id"], "lambda-2");
    assert_eq!(parked["origin.request.id"], "r-1");
    assert_eq!(
        parked["correlation.id"], "order-7",
        "the event's own correlation id has priority"
    );
}

#[tokio::test]
async fn neither_tokens_nor_bodies_are_logged() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let printed = Captured::deployed("trace");
    let event = world
        .append(
            &staff,
            "customer.created",
            "hunter2",
            json!({"name": "Grüße", "email": "a@example.com"}),
        )
        .await;
    world.get(&staff, "/entities/customer/hunter2").await.expect(200);
    world.get(&staff, "/entities/customer/4111-1111").await.expect(404);
    world
        .post(
            &staff,
            "/events",
            json!({"event_type": "customer.created", "data": "Grüße"}),
        )
        .await
        .expect(400);
    let wrong = Person {
        tenant: uuid::Uuid::max(),
        ..staff.clone()
    };
    world.get(&wrong, "/entities/customer/hunter2").await.expect(404);
    world.project().await;
    assert_eq!(event["aggregate_id"], "hunter2");
    let text: String = printed
        .lines()
        .iter()
        .filter(|line| {
            line["target"]
                .as_str()
                .is_some_and(|target| !target.starts_with("tokio_postgres"))
        })
        .map(Value::to_string)
        .collect();
    assert!(text.contains("served"));
    for secret in SECRETS.into_iter().chain([&*staff.token(), "example.com"]) {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}
