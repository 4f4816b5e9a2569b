//! The rule for ids and names (docs/guide/ids.md): HTTP and SQL refuse the same characters.

use annals_domain::text;
use serde_json::{Value, json};
use tests::{Person, World};

/// Valid names.
const GOOD: [&str; 12] = [
    "CUST-0042",
    "a b",
    "München / Straße 5 €",
    "東京",
    "हिन्दी",
    "q\u{301}",
    "...",
    "👨\u{200D}👩\u{200D}👧\u{200D}👦",
    "👩🏽\u{200D}🚀",
    "❤\u{FE0F}\u{200D}🔥",
    "1\u{FE0F}\u{20E3}",
    "🇮🇳",
];

/// Invalid names, each with the code of its refusal.
const BAD: [(&str, &str); 24] = [
    (" a", "invalid_value"),
    ("a ", "invalid_value"),
    ("a\u{A0}b", "invalid_value"),
    ("\u{3000}", "invalid_value"),
    ("a\u{E0041}", "invalid_value"),
    ("a\u{378}", "invalid_value"),
    ("\u{10FFFF}", "invalid_value"),
    ("\u{E000}", "invalid_value"),
    ("\u{F0000}", "invalid_value"),
    ("a\u{200D}b", "invalid_value"),
    ("😀\u{200D}", "invalid_value"),
    ("a\u{FE0F}", "invalid_value"),
    ("😀\u{FE0F}", "invalid_value"),
    ("a\u{61C}", "invalid_value"),
    ("a\u{180E}b", "invalid_value"),
    ("\u{3164}", "invalid_value"),
    ("\u{115F}", "invalid_value"),
    ("\u{2800}", "invalid_value"),
    ("a\u{AD}b", "invalid_value"),
    ("a\u{202E}b", "invalid_value"),
    ("a\u{2028}b", "invalid_value"),
    ("a\u{7F}b", "invalid_value"),
    ("Zoe\u{308}", "not_nfc"),
    ("\u{212B}ngstr\u{F6}m", "not_nfc"),
];

fn registered(id: &str) -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": id,
           "data": {"name": "Ada\u{3164}", "email": "ada@example.com"}})
}

/// Posts by SQL; returns code and message of the refusal, if there is one.
async fn by_sql(world: &World, event: &Value) -> Result<(), (String, String)> {
    let session = world.session_of(&Person::service("crm")).await;
    let posted = session
        .query("select public.post_event($1::text::jsonb)", &[&event.to_string()])
        .await;
    posted.map(|_| ()).map_err(|error| {
        let error = error.as_db_error().expect("a refusal");
        (
            error.constraint().unwrap_or_default().to_owned(),
            error.message().to_owned(),
        )
    })
}

#[tokio::test]
async fn http_and_sql_accept_and_refuse_the_same_ids() {
    let world = World::new().await;
    let service = Person::service("crm");
    for id in GOOD {
        world.post(&service, "/events", registered(id)).await.expect(201);
        let mut order = registered(id);
        order["event_type"] = json!("dealer.application_submitted");
        order["aggregate_type"] = json!("dealer");
        by_sql(&world, &order).await.unwrap_or_else(|e| panic!("{id:?}: {e:?}"));
        let path = format!("/entities/customer/{}", percent_encoded(id));
        let found = world.get(&service, &path).await.expect(200);
        assert_eq!(found.body["aggregate_id"], id);
        assert_eq!(found.body["state"]["name"], "Ada\u{3164}", "data are not normalized");
    }
    let before = world.log().await;
    for (id, code) in BAD.into_iter().chain([(".", "invalid_value"), ("..", "invalid_value")]) {
        for (body, at) in [
            (registered(id), "/aggregate_id"),
            (
                json!({"events": [registered("C-1"), registered(id)]}),
                "/events/1/aggregate_id",
            ),
        ] {
            let answer = world.post(&service, "/events", body).await;
            assert_eq!(answer.problem(400), "malformed_request", "{id:?}");
            let fault = &answer.body["errors"][0];
            assert_eq!(
                (&fault["pointer"], &fault["code"]),
                (&json!(at), &json!(code)),
                "{id:?}"
            );
        }
        let (refused, message) = by_sql(&world, &registered(id)).await.expect_err(id);
        assert_eq!(refused, "malformed_event", "{id:?}");
        assert_eq!(message.contains("NFC"), code == "not_nfc", "{id:?}: {message}");
        let entity = json!({"id": id, "name": "Ada"});
        let answer = world.post(&service, "/entities/customer", entity).await;
        answer.problem(400);
        assert_eq!(answer.body["errors"][0]["code"], code, "{id:?}");
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn every_other_name_follows_the_same_rule() {
    let world = World::new().await;
    let service = Person::service("crm");
    let before = world.log().await;
    for (bad, code) in BAD {
        for field in [
            "source",
            "correlation_id",
            "command_id",
            "idempotency_key",
            "created_by",
        ] {
            let mut event = registered("C-1");
            event[field] = match field {
                "created_by" => json!(format!("agent:{bad}")),
                _ => json!(bad),
            };
            let answer = world.post(&service, "/events", event.clone()).await;
            answer.problem(400);
            // The blank is in the middle of the actor, and is refused there too.
            assert_eq!(answer.body["errors"][0]["code"], code, "{field} {bad:?}");
            let (refused, _) = by_sql(&world, &event).await.expect_err(bad);
            assert_eq!(refused, "malformed_event", "{field} {bad:?}");
        }
    }
    for actor in [
        "user:not a uuid!",
        "user:0199A3F0-0000-7000-8000-000000000001",
        "admin:ada",
        "service:",
    ] {
        let mut event = registered("C-1");
        event["created_by"] = json!(actor);
        world.post(&service, "/events", event.clone()).await.problem(400);
        assert_eq!(
            by_sql(&world, &event).await.expect_err(actor).0,
            "malformed_event",
            "{actor}"
        );
    }
    assert_eq!(world.log().await, before);
    for (place, actor) in ["user:test", "agent:Zo\u{EB}", "service:crm/eu-1", "system"]
        .into_iter()
        .enumerate()
    {
        let mut event = registered(&format!("C-{place}"));
        event["created_by"] = json!(actor);
        world.post(&service, "/events", event.clone()).await.expect(201);
        event["aggregate_id"] = json!(format!("D-{place}"));
        by_sql(&world, &event)
            .await
            .unwrap_or_else(|e| panic!("{actor}: {e:?}"));
    }
}

#[tokio::test]
async fn ids_in_a_file_follow_the_same_rule() {
    let world = World::new().await;
    let staff = Person::staff();
    let file = "sale_id,sale_date,amount\n👩🏽\u{200D}🚀,2026-01-01,1\na\u{E0041},2026-01-01,2\nZoe\u{308},2026-01-01,3\n..,2026-01-01,4\n";
    let answer = world.upload_sales(&staff, &[], file).await.expect(200);
    assert_eq!(answer.body["rows_accepted"], 1, "{}", answer.text);
    let codes: Vec<&str> = answer.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["code"].as_str())
        .collect();
    assert_eq!(codes, ["invalid_id", "not_nfc", "invalid_id"]);
}

/// Fails if PostgreSQL's tables (migration `callers`) no longer agree with the Rust rule, for example after a crate's update of Unicode. If so, generate
/// the tables again from `annals_domain::text`.
#[tokio::test]
async fn the_tables_in_sql_agree_with_the_rule_in_rust() {
    let world = World::new().await;
    let owner = world.owner().await;
    // All planes that have characters, and samples of the others.
    let codes = (1..=0x10_FFFF_u32).filter(|c| *c < 0x3_4000 || (0xE_0000..0xE_1000).contains(c) || c % 997 == 0);
    let codes: Vec<i32> = codes
        .filter(|c| char::from_u32(*c).is_some())
        .map(|c| c as i32)
        .collect();
    // Once beside a letter that does not compose with anything, to test only the character itself; and once after an emoji, joined.
    for (before, after) in [("\u{4E00}", "\u{4E00}"), ("😀\u{200D}", ""), ("", "\u{FE0F}")] {
        let rows = owner
            .query(
                "select c from unnest($1::int[]) as c where annals.text_fault($2 || chr(c) || $3, 9) is null",
                &[&codes, &before, &after],
            )
            .await
            .unwrap();
        let by_sql: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        let by_rust: Vec<i32> = codes
            .iter()
            .copied()
            .filter(|c| {
                let c = char::from_u32(*c as u32).unwrap();
                text::check(&format!("{before}{c}{after}")).is_ok()
            })
            .collect();
        let differs = by_sql.iter().find(|c| by_rust.binary_search(c).is_err());
        let lacks = by_rust.iter().find(|c| by_sql.binary_search(c).is_err());
        assert_eq!((differs, lacks), (None, None), "{before:?} {after:?}");
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The value looks like an actor; only the spelling of the uuid is wrong.
#[tokio::test]
async fn a_persons_uuid_in_another_spelling_is_refused_with_that_reason() {
    let world = World::new().await;
    for actor in [
        "user:7D0C54A6-6F4C-4F5E-9F0E-0C8F1B1A2C3D",
        "user:7d0c54a66f4c4f5e9f0e0c8f1b1a2c3d",
    ] {
        let mut event = registered("C-1");
        event["created_by"] = json!(actor);
        let answer = world.post(&Person::service("crm"), "/events", event.clone()).await;
        answer.problem(400);
        let (_, by_sql) = by_sql(&world, &event).await.expect_err(actor);
        for message in [answer.body["errors"][0]["detail"].as_str().unwrap(), &by_sql] {
            assert!(
                message.contains("a uuid in lower case with hyphens"),
                "{actor}: {message}"
            );
        }
    }
}
