//! The catalog over HTTP: all callers read it, staff extends it at run time for its own tenant, and decisions never use an outdated copy.

mod closed;
mod indexed;
mod sharing;

use serde_json::{Value, json};
use tests::{Answer, Person, World, redacted};
use uuid::Uuid;

fn widget() -> Value {
    json!({"event_type": "widget.made", "description": "A widget was made.", "effect": "create", "posters": ["user", "staff"],
           "schema": {"type": "object", "required": ["colour"], "properties": {"colour": {"type": "string"}}, "additionalProperties": false},
           "example": {"colour": "red"}})
}

fn widget_with(changes: Value) -> Value {
    let mut widget = widget();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(widget.as_object_mut().unwrap().remove(name)),
            value => widget[name] = value.clone(),
        }
    }
    widget
}

async fn post_widget(world: &World, person: &Person, id: &str, data: Value) -> Answer {
    world
        .post(
            person,
            "/events",
            json!({"event_type": "widget.made", "aggregate_type": "widget", "aggregate_id": id, "data": data}),
        )
        .await
}

#[tokio::test]
async fn a_registered_type_is_answered_listed_and_usable() {
    let world = World::new().await;
    let staff = Person::staff();
    let posted = world.post(&staff, "/events/types", widget()).await.expect(201);
    insta::assert_snapshot!(redacted(&posted.body), @r#"
    {
      "aggregate_type": "widget",
      "built_in": false,
      "closed": false,
      "created_at": "[time]",
      "description": "A widget was made.",
      "effect": "create",
      "event_type": "widget.made",
      "example": {
        "colour": "red"
      },
      "indexed": [],
      "inverse": null,
      "posters": [
        "user",
        "staff"
      ],
      "requires": null,
      "schema": {
        "additionalProperties": false,
        "properties": {
          "colour": {
            "type": "string"
          }
        },
        "required": [
          "colour"
        ],
        "type": "object"
      },
      "starter_sees": false,
      "upcasters": [],
      "version": "1.0",
      "versions": [
        {
          "example": {
            "colour": "red"
          },
          "schema": {
            "additionalProperties": false,
            "properties": {
              "colour": {
                "type": "string"
              }
            },
            "required": [
              "colour"
            ],
            "type": "object"
          },
          "version": "1.0"
        }
      ]
    }
    "#);
    assert_eq!(
        world.get(&staff, "/events/types/widget.made").await.expect(200).body,
        posted.body
    );
    let listed = world
        .get(&staff, "/events/types?aggregate_type=widget")
        .await
        .expect(200);
    assert_eq!(listed.items(), &vec![posted.body]);
    let user = Person::user();
    post_widget(&world, &user, "W-1", json!({"colour": "blue"}))
        .await
        .expect(201);
    assert_eq!(
        post_widget(&world, &user, "W-2", json!({"colour": 1}))
            .await
            .problem(422),
        "schema_violation"
    );
    assert_eq!(
        post_widget(&world, &Person::agent("a"), "W-2", json!({"colour": "blue"}))
            .await
            .problem(403),
        "event_type_forbidden"
    );
    for _ in 0..2 {
        let entity = world.get(&user, "/entities/widget/W-1").await.expect(200);
        assert_eq!(entity.body["state"], json!({"colour": "blue"}));
        world.project().await;
    }
    assert_eq!(world.get(&user, "/entities/widget").await.expect(200).items().len(), 1);
}

#[tokio::test]
async fn a_built_in_type_is_answered_with_all_its_fields() {
    let world = World::new().await;
    let answer = world
        .get(&Person::user(), "/events/types/order.payment_received")
        .await
        .expect(200);
    insta::assert_snapshot!(redacted(&answer.body), @r#"
    {
      "aggregate_type": "order",
      "built_in": true,
      "closed": false,
      "created_at": "[time]",
      "description": "A payment for an order came in.",
      "effect": {
        "set": {
          "last_payment_cents": "/amount_cents",
          "payment_status": {
            "const": "received"
          }
        }
      },
      "event_type": "order.payment_received",
      "example": {
        "amount_cents": 1099800,
        "currency": "INR",
        "method": "upi",
        "reference": "UPI-230987"
      },
      "indexed": [],
      "inverse": null,
      "posters": [
        "staff",
        "service"
      ],
      "requires": "existing",
      "schema": {
        "properties": {
          "amount_cents": {
            "maximum": 9223372036854775807,
            "minimum": 1,
            "type": "integer"
          },
          "currency": {
            "pattern": "^[A-Z]{3}$",
            "type": "string"
          },
          "method": {
            "minLength": 1,
            "type": "string"
          },
          "reference": {
            "minLength": 1,
            "type": "string"
          }
        },
        "required": [
          "amount_cents"
        ],
        "type": "object"
      },
      "starter_sees": true,
      "upcasters": [],
      "version": "1.0",
      "versions": [
        {
          "example": {
            "amount_cents": 1099800,
            "currency": "INR",
            "method": "upi",
            "reference": "UPI-230987"
          },
          "schema": {
            "properties": {
              "amount_cents": {
                "maximum": 9223372036854775807,
                "minimum": 1,
                "type": "integer"
              },
              "currency": {
                "pattern": "^[A-Z]{3}$",
                "type": "string"
              },
              "method": {
                "minLength": 1,
                "type": "string"
              },
              "reference": {
                "minLength": 1,
                "type": "string"
              }
            },
            "required": [
              "amount_cents"
            ],
            "type": "object"
          },
          "version": "1.0"
        }
      ]
    }
    "#);
    let all = world.all_pages(&Person::user(), "/events/types?limit=10").await;
    let names: Vec<&str> = all.iter().map(|kind| kind["event_type"].as_str().unwrap()).collect();
    assert!(names.is_sorted());
    assert!(
        all.iter()
            .all(|kind| kind["schema"]["type"] == "object" && kind["example"].is_object() && kind["built_in"] == true)
    );
}

#[tokio::test]
async fn a_type_evolves_and_old_versions_stay_usable() {
    let world = World::new().await;
    let staff = Person::staff();
    world.post(&staff, "/events/types", widget()).await.expect(201);
    let evolved = json!({"event_type": "widget.made", "version": "2.0", "example": {"size": 1},
                         "schema": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}},
                         "upcasters": [{"from_version": "1.0", "steps": [{"default": {"size": 0}}]}]});
    let answer = world.post(&staff, "/events/types", evolved).await.expect(201);
    assert_eq!(answer.body["version"], "2.0");
    assert_eq!(answer.body["versions"].as_array().unwrap().len(), 2);
    // Values that a registration leaves out stay as they were.
    assert_eq!(
        (&answer.body["effect"], &answer.body["posters"]),
        (&json!("create"), &json!(["user", "staff"]))
    );
    assert_eq!(answer.body["description"], "A widget was made.");
    let event = post_widget(&world, &staff, "W-1", json!({"size": 2})).await.expect(201);
    assert_eq!(event.body["version"], "2.0");
    assert_eq!(
        post_widget(&world, &staff, "W-2", json!({"colour": "red"}))
            .await
            .problem(422),
        "schema_violation"
    );
    let old = json!({"event_type": "widget.made", "aggregate_type": "widget", "aggregate_id": "W-3", "version": "1.0", "data": {"colour": "red"}});
    assert_eq!(
        world.post(&staff, "/events", old).await.expect(201).body["version"],
        "1.0"
    );
    let before = world.log().await;
    for (version, status, code) in [
        ("2.0", 409, "version_exists"),
        ("1.0", 409, "version_exists"),
        ("0.9", 422, "version_not_newer"),
        ("1.0.5", 422, "version_not_newer"),
    ] {
        let answer = world
            .post(&staff, "/events/types", widget_with(json!({"version": version})))
            .await;
        assert_eq!(answer.problem(status), code, "{version}");
    }
    assert_eq!(world.log().await, before);
    // Version 10 is newer than version 9.
    for version in ["2.9", "2.10"] {
        let schema = json!({"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}}});
        let again = widget_with(json!({"version": version, "schema": schema, "example": {"size": 3}}));
        world.post(&staff, "/events/types", again).await.expect(201);
    }
}

#[tokio::test]
async fn unusable_registrations_are_refused_with_the_field() {
    let world = World::new().await;
    let staff = Person::staff();
    let before = world.log().await;
    for (changes, pointer) in [
        (json!({"event_type": "Widget.made"}), "/event_type"),
        (json!({"event_type": "widget"}), "/event_type"),
        (
            json!({"event_type": format!("widget.{}", "x".repeat(94))}),
            "/event_type",
        ),
        (json!({"aggregate_type": "gadget"}), "/event_type"),
        (json!({"aggregate_type": "wid"}), "/event_type"),
        (json!({"aggregate_type": "Widget"}), "/aggregate_type"),
        (json!({"aggregate_type": "w".repeat(51)}), "/aggregate_type"),
        (json!({"version": "1"}), "/version"),
        (json!({"version": "one"}), "/version"),
        (json!({"version": "10000.0"}), "/version"),
        (json!({"effect": "explode"}), "/effect"),
        (json!({"effect": {"set": {"a": "no-pointer"}}}), "/effect"),
        (json!({"effect": {"add_child": "a", "merge": 1}}), "/effect"),
        (json!({"posters": []}), "/posters"),
        (json!({"posters": ["admin"]}), "/posters"),
        (json!({"schema": true}), "/schema"),
        (json!({"schema": {"type": "thing"}}), "/schema"),
        (json!({"schema": {"properties": {"a": 1}}}), "/schema"),
        (json!({"schema": {"pattern": "("}}), "/schema"),
        (json!({"schema": {"$ref": "#/nowhere"}}), "/schema"),
        (json!({"schema": {"$ref": "http://127.0.0.1:1/schema.json"}}), "/schema"),
        (json!({"schema": {"$ref": "file:///etc/hostname"}}), "/schema"),
        (json!({"schema": {"description": "x".repeat(64 * 1024)}}), "/schema"),
        (json!({"example": []}), "/example"),
        (json!({"example": {}}), "/example"),
        (json!({"example": {"colour": 1}}), "/example/colour"),
    ] {
        let answer = world.post(&staff, "/events/types", widget_with(changes.clone())).await;
        assert_eq!(answer.problem(422), "invalid_event_type", "{changes}");
        let pointers: Vec<&str> = answer.body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["pointer"].as_str().unwrap())
            .collect();
        assert!(pointers.contains(&pointer), "{changes}: {}", answer.text);
    }
    for changes in [
        json!({"colour": "red"}),
        json!({"schema": null}),
        json!({"example": null}),
        json!({"event_type": null}),
        json!({"event_type": 1}),
        json!({"posters": "staff"}),
        json!({"version": 1.0}),
        json!({"tenant_id": Uuid::nil()}),
    ] {
        let answer = world.post(&staff, "/events/types", widget_with(changes.clone())).await;
        assert_eq!(answer.problem(400), "malformed_request", "{changes}");
    }
    let inverse = widget_with(json!({"inverse": {"event_type": "widget.unmade"}}));
    assert_eq!(
        world.post(&staff, "/events/types", inverse).await.problem(422),
        "unknown_inverse"
    );
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn only_staff_registers_types() {
    let world = World::new().await;
    let before = world.log().await;
    for person in [Person::user(), Person::agent("pricing"), Person::service("crm")] {
        assert_eq!(
            world.post(&person, "/events/types", widget()).await.problem(403),
            "staff_only"
        );
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn types_that_cost_too_much_or_change_old_state_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let register = async |event_type: &str, schema: Value, effect: &str| {
        let body =
            json!({"event_type": event_type, "version": "9.0", "schema": schema, "example": {}, "effect": effect});
        world.post(&staff, "/events/types", body).await
    };
    let nested = json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]}, "b": {}}, "$ref": "#/$defs/a"});
    let answer = register("product.weighed", nested, "none").await;
    assert_eq!(answer.problem(422), "invalid_event_type");
    // A refusal does not name aggregate_type if that was not sent.
    let misnamed = register("Bad", json!({"type": "object"}), "none").await;
    assert_eq!(misnamed.problem(422), "invalid_event_type");
    let faults = misnamed.body["errors"].as_array().unwrap();
    assert_eq!((faults.len(), &faults[0]["pointer"]), (1, &json!("/event_type")));
    let other_effect = register("product.created", json!({"type": "object"}), "delete").await;
    assert_eq!(other_effect.problem(422), "effect_changed");
    let reserved = register("projection.skipped", json!({"type": "object"}), "none").await;
    assert_eq!(reserved.problem(422), "reserved_type");
}
