//! HTTP and SQL accept the same texts as times, for the same instant, and refuse the same others.

use serde_json::{Value, json};
use tests::{Person, World};

/// Texts, each with the instant that it means.
const TIMES: [(&str, &str); 14] = [
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),
    ("2026-01-01t05:30:00.5+05:30", "2026-01-01T00:00:00.5+00:00"),
    ("2026-01-01 00:00:00z", "2026-01-01T00:00:00+00:00"),
    ("2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00+00:00"),
    ("2026-01-01T00:00:00.1234569Z", "2026-01-01T00:00:00.123456+00:00"),
    ("2026-01-01T00:00:00.9999999999999Z", "2026-01-01T00:00:00.999999+00:00"),
    ("2026-01-01T23:30:00+23:30", "2026-01-01T00:00:00+00:00"),
    ("2025-12-31T00:30:00-23:30", "2026-01-01T00:00:00+00:00"),
    ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00"),
    ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.5+00:00"),
    ("2024-02-29T12:00:00Z", "2024-02-29T12:00:00+00:00"),
    ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
    ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999+00:00"),
    ("0001-01-01T01:00:00+01:00", "0001-01-01T00:00:00+00:00"),
];

const NO_TIMES: [&str; 24] = [
    "",
    "now",
    "infinity",
    "2026-01-01",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00Z",
    "2026-01-01T00:00:00.Z",
    "2026-01-01T24:00:00Z",
    "2026-01-01T23:60:00Z",
    "2026-01-01T23:59:61Z",
    "2026-01-01T00:00:00+0530",
    "2026-01-01T00:00:00+05",
    "2026-01-01T00:00:00+24:00",
    "2026-01-01T00:00:00+05:60",
    "2026-01-01T00:00:00\u{2212}05:30",
    "2026-01-01T00:00:00 UTC",
    "2026-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "20260101T000000Z",
    "2026-01-01T00:00:00Z ",
    "9999-12-31T23:59:60Z",
    "9999-12-31T23:59:59-00:01",
    "0001-01-01T00:00:00+00:01",
    "10000-01-01T00:00:00Z",
];

fn event(id: &str, timestamp: &str) -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": id, "timestamp": timestamp,
           "data": {"name": "Ada", "email": "ada@example.com"}})
}

const BY_SQL: &str = "select public.post_event($1::text::jsonb)::text";

#[tokio::test]
async fn http_and_sql_read_the_same_times() {
    let (world, service) = (World::new().await, Person::service("crm"));
    let session = world.session_of(&service).await;
    let owner = world.owner().await;
    for (place, (text, instant)) in TIMES.into_iter().enumerate() {
        let (http, sql) = (format!("H-{place}"), format!("S-{place}"));
        world.post(&service, "/events", event(&http, text)).await.expect(201);
        session
            .query(BY_SQL, &[&event(&sql, text).to_string()])
            .await
            .unwrap_or_else(|e| panic!("{text}: {e:?}"));
        let stored = "select count(*) from annals.events where aggregate_id in ($1, $2) and \"timestamp\" = $3::text::timestamptz";
        let row = owner.query_one(stored, &[&http, &sql, &instant]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 2, "{text}");
    }
}

#[tokio::test]
async fn http_and_sql_refuse_the_same_times_and_name_the_field() {
    let (world, service) = (World::new().await, Person::service("crm"));
    let session = world.session_of(&service).await;
    for text in NO_TIMES {
        let answer = world.post(&service, "/events", event("C-1", text)).await;
        assert_eq!(answer.problem(400), "malformed_request", "{text}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/timestamp", "{text}");
        let refused = session
            .query(BY_SQL, &[&event("C-1", text).to_string()])
            .await
            .expect_err(text);
        let refused = refused.as_db_error().unwrap();
        assert_eq!(
            (refused.code().code(), refused.constraint()),
            ("PT400", Some("malformed_event")),
            "{text}"
        );
        assert!(
            refused.message().starts_with("timestamp must be"),
            "{text}: {}",
            refused.message()
        );
        let filter = format!("/events?from={}", text.replace('+', "%2B").replace(' ', "%20"));
        if text.is_ascii() && !text.ends_with(' ') {
            assert_eq!(world.get(&service, &filter).await.status, 400, "{text}");
        }
    }
    assert_eq!(world.log().await.events, 0);
}
