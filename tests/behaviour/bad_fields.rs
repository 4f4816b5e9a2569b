//! JSON that is not an acceptable event: each refusal has its status and code, names the field, and stores nothing.

mod batches;
mod names;
mod times;

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Person, World, redacted};

/// A valid event.
fn event() -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "C-1",
           "data": {"name": "Ada", "email": "ada@example.com"}})
}

/// The same event with other members.
fn event_with(changes: Value) -> Value {
    let mut event = event();
    for (name, value) in changes.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn pointers(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("no errors: {}", answer.text));
    errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect()
}

fn first_code(answer: &Answer) -> &str {
    answer.body["errors"][0]["code"].as_str().unwrap_or_default()
}

/// Posts a body that must be refused, checks that nothing was stored, and returns the answer.
async fn refused(world: &World, person: &Person, body: Value) -> Answer {
    let before = world.log().await;
    let answer = world.post(person, "/events", body).await;
    assert!((400..500).contains(&answer.status), "{}", answer.text);
    answer.problem(answer.status);
    assert_eq!(world.log().await, before, "{}", answer.text);
    assert!(world.take_wake_ups().await.is_empty());
    answer
}

#[tokio::test]
async fn fields_of_the_wrong_type_are_refused() {
    let world = World::new().await;
    let staff = Person::staff();
    let texts = [
        "event_type",
        "aggregate_type",
        "aggregate_id",
        "version",
        "created_by",
        "user_id",
        "tenant_id",
        "source",
        "timestamp",
        "correlation_id",
        "causation_id",
        "command_id",
        "idempotency_key",
    ];
    for field in texts {
        for wrong in [json!(1), json!(true), json!([]), json!({})] {
            let answer = refused(&world, &staff, event_with(json!({field: wrong}))).await;
            assert_eq!(answer.problem(400), "malformed_request", "{field}: {wrong}");
            assert!(
                pointers(&answer).contains(&format!("/{field}").as_str()),
                "{}",
                answer.text
            );
            assert_eq!(first_code(&answer), "wrong_type", "{field}: {wrong}");
        }
    }
    for field in ["data", "metadata"] {
        for wrong in [json!(1), json!("{}"), json!([]), json!(false)] {
            let answer = refused(&world, &staff, event_with(json!({field: wrong}))).await;
            assert_eq!(
                (pointers(&answer)[0], first_code(&answer)),
                (format!("/{field}").as_str(), "wrong_type")
            );
        }
    }
    for wrong in [
        json!("1"),
        json!(1.5),
        json!(-1),
        json!(2_147_483_647_i64),
        json!(true),
        json!([]),
    ] {
        let answer = refused(&world, &staff, event_with(json!({"expected_version": wrong}))).await;
        assert_eq!(
            (answer.problem(400), pointers(&answer)),
            ("malformed_request", vec!["/expected_version"]),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn unknown_and_missing_fields_are_refused() {
    let world = World::new().await;
    let staff = Person::staff();
    for (field, pointer) in [
        ("colour", "/colour"),
        ("Event_type", "/Event_type"),
        ("id", "/id"),
        ("event_number", "/event_number"),
        ("aggregate_version", "/aggregate_version"),
        ("created_at", "/created_at"),
        ("processed", "/processed"),
        ("a/b~", "/a~1b~0"),
    ] {
        let answer = refused(&world, &staff, event_with(json!({field: 1}))).await;
        assert_eq!(
            (answer.problem(400), pointers(&answer), first_code(&answer)),
            ("malformed_request", vec![pointer], "unknown_field")
        );
    }
    for field in ["event_type", "aggregate_type", "aggregate_id", "data"] {
        let mut missing = event();
        missing.as_object_mut().unwrap().remove(field);
        for body in [missing, event_with(json!({field: null}))] {
            let answer = refused(&world, &staff, body).await;
            assert_eq!(
                (pointers(&answer), first_code(&answer)),
                (vec![format!("/{field}").as_str()], "required")
            );
        }
    }
}

#[tokio::test]
async fn ids_and_names_that_are_empty_too_long_or_unprintable_are_refused() {
    let world = World::new().await;
    let staff = Person::staff();
    let check = async |field: &str, value: String| {
        let answer = refused(&world, &staff, event_with(json!({field: value}))).await;
        let found = (answer.problem(400), first_code(&answer), pointers(&answer)[0]);
        assert_eq!(
            found,
            ("malformed_request", "invalid_value", format!("/{field}").as_str()),
            "{value:?}"
        );
    };
    for (field, longest) in [
        ("aggregate_id", 128),
        ("source", 100),
        ("correlation_id", 128),
        ("command_id", 128),
        ("idempotency_key", 255),
        ("created_by", 100),
        ("aggregate_type", 50),
        ("event_type", 100),
        ("version", 14),
    ] {
        check(field, String::new()).await;
        check(field, "ä".repeat(longest + 1)).await;
        for unprintable in [
            "a\nb",
            "a\u{7f}",
            "\u{85}",
            "a\u{200b}b",
            "\u{202e}ab",
            "\u{feff}",
            "\u{2028}",
            "\t",
        ] {
            check(field, unprintable.to_owned()).await;
        }
    }
    check("event_type", format!("customer.{}", "a".repeat(92))).await;
    for not_uuid in ["", "1", "00000000-0000-0000-0000-00000000000g"] {
        for field in ["user_id", "causation_id", "tenant_id"] {
            check(field, not_uuid.to_owned()).await;
        }
    }
    for actor in ["ada", "user:", "robot:x", "System", "user"] {
        check("created_by", actor.to_owned()).await;
    }
    let longest = event_with(
        json!({"aggregate_id": "ä".repeat(128), "source": "ü".repeat(100), "correlation_id": "c".repeat(128),
                                    "command_id": "d".repeat(128), "idempotency_key": "k".repeat(255)}),
    );
    world.post(&staff, "/events", longest).await.expect(201);
}

#[tokio::test]
async fn invalid_and_out_of_range_times_are_refused() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    for time in [
        "",
        "now",
        "infinity",
        "-infinity",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-02-30T00:00:00Z",
        "2026-01-01T25:00:00Z",
        "0000-01-01T00:00:00Z",
        "-0001-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "294277-01-01T00:00:00Z",
        "9999-12-31T23:59:59-01:00",
        "0001-01-01T00:00:00+01:00",
        "1e9",
        "4713-01-01 BC",
    ] {
        let answer = refused(&world, &staff, event_with(json!({"timestamp": time}))).await;
        assert_eq!(
            (answer.problem(400), pointers(&answer)),
            ("malformed_request", vec!["/timestamp"]),
            "{time}"
        );
        let answer = world
            .get(&staff, &format!("/events?from={}", time.replace(' ', "%20")))
            .await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{time}");
    }
    for time in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"] {
        world
            .post(&staff, "/events", event_with(json!({"timestamp": time})))
            .await
            .expect(201);
    }
    let items = world.all_pages(&staff, "/events").await;
    assert_eq!(items[0]["timestamp"], "9999-12-31T23:59:59.999999Z");
    assert_eq!(items[1]["timestamp"], "0001-01-01T00:00:00.000000Z");
}

#[tokio::test]
async fn data_and_metadata_are_limited() {
    let world = World::new().await;
    let staff = Person::staff();
    let filled = |mut object: Value, bytes: usize| {
        let own = object.to_string().len();
        object["address"] = json!("x".repeat(bytes - own));
        object
    };
    let data = |bytes: usize| filled(json!({"name": "A", "email": "a@b.cd", "address": ""}), bytes);
    let metadata = |bytes: usize| filled(json!({"address": ""}), bytes);
    for (field, value) in [("data", data(256 * 1024 + 1)), ("metadata", metadata(16 * 1024 + 1))] {
        let answer = refused(&world, &staff, event_with(json!({field: value}))).await;
        let code = format!("{field}_too_large");
        assert_eq!((answer.problem(413), first_code(&answer)), (&*code, &*code), "{field}");
        let detail = answer.body["detail"].as_str().unwrap();
        let (bytes, most) = match field {
            "data" => ("262145", "262144"),
            _ => ("16385", "16384"),
        };
        assert!(detail.contains(bytes) && detail.contains(most), "{detail}");
    }
    let largest = event_with(json!({"data": data(256 * 1024), "metadata": metadata(16 * 1024)}));
    world.post(&staff, "/events", largest).await.expect(201);
}

#[tokio::test]
async fn each_refusal_by_the_catalog_has_a_code() {
    let world = World::new().await;
    let staff = Person::staff();
    for (changes, code, pointer) in [
        (
            json!({"event_type": "customer.vanished"}),
            "unknown_event_type",
            "/event_type",
        ),
        (
            json!({"event_type": "nothing.created"}),
            "unknown_event_type",
            "/event_type",
        ),
        (
            json!({"aggregate_type": "order"}),
            "aggregate_type_mismatch",
            "/aggregate_type",
        ),
        (
            json!({"aggregate_type": "custom"}),
            "aggregate_type_mismatch",
            "/aggregate_type",
        ),
        (json!({"version": "7.0"}), "unknown_version", "/version"),
        (json!({"data": {"name": "Ada"}}), "schema_violation", "/data"),
        (
            json!({"data": {"name": "Ada", "email": "nobody"}}),
            "schema_violation",
            "/data/email",
        ),
        (
            json!({"data": {"name": 1, "email": "a@b.cd"}}),
            "schema_violation",
            "/data/name",
        ),
    ] {
        let answer = refused(&world, &staff, event_with(changes)).await;
        assert_eq!(
            (answer.problem(422), pointers(&answer)[0]),
            (code, pointer),
            "{}",
            answer.text
        );
    }
}

#[tokio::test]
async fn one_refusal_names_all_faults() {
    let world = World::new().await;
    let bad = json!({"event_type": "Sale", "aggregate_id": "", "data": [], "colour": "red"});
    let answer = refused(&world, &Person::staff(), bad).await;
    insta::assert_snapshot!(redacted(&answer.body), @r#"
    {
      "code": "malformed_request",
      "detail": "/event_type must look like aggregate.action, in lower case",
      "errors": [
        {
          "code": "invalid_value",
          "detail": "must look like aggregate.action, in lower case",
          "pointer": "/event_type"
        },
        {
          "code": "required",
          "detail": "is required",
          "pointer": "/aggregate_type"
        },
        {
          "code": "invalid_value",
          "detail": "must not be empty",
          "pointer": "/aggregate_id"
        },
        {
          "code": "wrong_type",
          "detail": "must be an object",
          "pointer": "/data"
        },
        {
          "code": "unknown_field",
          "detail": "is not a field of an event",
          "pointer": "/colour"
        }
      ],
      "request_id": "[uuid]",
      "status": 400,
      "title": "Bad Request",
      "type": "/docs/problems/malformed_request"
    }
    "#);
}

#[tokio::test]
async fn query_parameters_and_keys_of_a_write_are_read_strictly() {
    let world = World::new().await;
    let staff = Person::staff();
    let before = world.log().await;
    for path in [
        "/events?dry_run=true",
        "/events/types?x=1",
        "/entities/customer?expected_version=0",
    ] {
        let answer = world.post(&staff, path, event()).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{path}");
    }
    let long = "k".repeat(256);
    for (key, body, code) in [
        ("", event(), "invalid_idempotency_key"),
        (long.as_str(), event(), "invalid_idempotency_key"),
        (
            "one",
            event_with(json!({"idempotency_key": "another"})),
            "idempotency_keys_differ",
        ),
    ] {
        let answer = world
            .request(Method::POST, &staff, "/events", &[("idempotency-key", key)], Some(body))
            .await;
        assert_eq!(answer.problem(400), code);
    }
    assert_eq!(world.log().await, before);
    let same = event_with(json!({"idempotency_key": "one"}));
    let headers = [("idempotency-key", "one")];
    world
        .request(Method::POST, &staff, "/events", &headers, Some(same))
        .await
        .expect(201);
}
