//! Types that only Annals itself appends are evidence, because neither staff nor services can post them over HTTP or SQL.

use serde_json::{Value, json};
use tests::{Person, World};

/// Every closed type, with valid data.
async fn closed_types(world: &World) -> Vec<Value> {
    let kinds = world.all_pages(&Person::staff(), "/events/types").await;
    let mut closed: Vec<Value> = kinds.into_iter().filter(|kind| kind["closed"] == true).collect();
    closed.sort_by_key(|kind| kind["event_type"].to_string());
    closed
}

#[tokio::test]
async fn types_that_annals_itself_appends_are_closed_to_all_callers() {
    let world = World::new().await;
    let closed = closed_types(&world).await;
    let names: Vec<&str> = closed.iter().filter_map(|kind| kind["event_type"].as_str()).collect();
    assert_eq!(
        names,
        [
            "import.completed",
            "import.confirmed",
            "import.failed",
            "import.requested",
            "import.revert_completed",
            "import.revert_requested",
            "import.started",
            "import_profile.saved",
            "kpi.calculated",
            "projection.retried",
            "projection.skipped"
        ]
    );
    let before = world.log().await;
    for kind in &closed {
        let event = json!({"event_type": kind["event_type"], "aggregate_type": kind["aggregate_type"], "aggregate_id": "forged",
                           "data": kind["example"]});
        for person in [
            Person::staff(),
            Person::service("annals"),
            Person::user(),
            Person::agent("a"),
        ] {
            for body in [event.clone(), json!({"events": [event]})] {
                let answer = world.post(&person, "/events", body).await;
                assert_eq!(answer.problem(403), "event_type_forbidden", "{event}");
            }
            let session = world.session_of(&person).await;
            let posted = session
                .query("select public.post_event($1::text::jsonb)", &[&event.to_string()])
                .await;
            let error = posted.expect_err("a forged event");
            assert_eq!(error.code().unwrap().code(), "PT403", "{error:?}");
        }
    }
    // A forged one about a healthy stream.
    let healthy = world
        .append(&Person::staff(), "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    let skipped = json!({"event_type": "projection.skipped", "aggregate_type": "projection", "aggregate_id": healthy["id"],
                         "data": {"event_id": healthy["id"], "reason": "because"}});
    assert_eq!(
        world.post(&Person::staff(), "/events", skipped).await.problem(403),
        "event_type_forbidden"
    );
    assert_eq!(world.log().await.events, before.events + 1);
}

#[tokio::test]
async fn a_tenant_cannot_open_them_by_registering_them_or_similar_types() {
    let world = World::new().await;
    let staff = Person::staff();
    let mut asked: Vec<(String, Value)> = Vec::new();
    for kind in closed_types(&world).await {
        asked.push((kind["event_type"].as_str().unwrap().to_owned(), kind["effect"].clone()));
    }
    asked.extend(["import.noted", "projection.noted", "kpi.noted"].map(|name| (name.to_owned(), json!("none"))));
    for (name, effect) in asked {
        let kind = json!({"event_type": name, "version": "9.0", "description": "Ours now.", "schema": {"type": "object"}, "example": {},
                          "effect": effect, "posters": ["staff"]});
        assert_eq!(
            world.post(&staff, "/events/types", kind).await.problem(422),
            "reserved_type",
            "{name}"
        );
        let session = world.appender(Some(&staff)).await;
        let by_sql = session
            .query(
                "select annals.register_event_type(current_setting('request.jwt.claims')::jsonb, $1, split_part($1, '.', 1), '9.0', 'Ours now.', $2::text::jsonb, '{staff}', '{}', '{}')",
                &[&name, &effect.to_string()],
            )
            .await;
        let error = by_sql.expect_err("a registration");
        assert_eq!(
            error.as_db_error().unwrap().constraint(),
            Some("reserved_type"),
            "{name}"
        );
    }
}
