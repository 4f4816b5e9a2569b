//! Limits of states and of upcast data: CRUD, files, upcasters, rebuilds.

use serde_json::{Value, json};
use tests::{Person, World, recorded};

use super::{Process, event, register, register_extended};

/// Creates a customer with a state of nearly 1 MiB.
async fn nearly_full(world: &World, person: &Person, id: &str) {
    let events: Vec<Value> = (0..4)
        .map(|part| {
            event(
                "customer.extended",
                id,
                &json!({format!("extra_{part}"): "x".repeat(262_000)}),
            )
        })
        .collect();
    world
        .post(person, "/events", json!({"events": events}))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_write_that_would_make_a_state_too_large_is_refused_if_that_can_be_known() {
    let (world, staff) = (World::new().await, Person::staff());
    register_extended(&world, &staff).await;
    nearly_full(&world, &staff, "C-1").await;
    let notes = "y".repeat(4_000);
    let refused = world
        .patch(&staff, "/entities/customer/C-1", json!({"address": notes}))
        .await;
    assert_eq!(refused.problem(413), "state_too_large");
    let file = format!("customer_id,name,email\nC-1,{},a@example.com\n", "n".repeat(3_000));
    let answer = world.upload_file(&staff, "customers", &[], file).await.expect(200).body;
    assert_eq!(
        (&answer["rows_rejected"], &answer["errors"][0]["code"]),
        (&json!(1), &json!("state_too_large")),
        "{answer}"
    );
    let entity = world.get(&staff, "/entities/customer/C-1").await.expect(200).body;
    assert_eq!((&entity["version"], entity.get("stopped")), (&json!(4), None));
    // A change that makes the state smaller is accepted, and then there is room again.
    let shorter = json!({"extra_0": "", "address": notes});
    assert_eq!(
        world.patch(&staff, "/entities/customer/C-1", shorter).await.status,
        422,
        "unknown fields are refused"
    );
    world
        .append(&staff, "customer.extended", "C-1", json!({"extra_0": ""}))
        .await;
    world
        .patch(&staff, "/entities/customer/C-1", json!({"address": "12 Main Street"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_event_that_makes_the_state_too_large_can_be_skipped_and_the_stream_continues() {
    let (world, staff) = (World::new().await, Person::staff());
    register_extended(&world, &staff).await;
    nearly_full(&world, &staff, "C-1").await;
    let extra = json!({"extra_5": "x".repeat(10_000)});
    let late = world.append(&staff, "customer.extended", "C-1", extra).await;
    world
        .append(&staff, "customer.extended", "C-1", json!({"phone": "1"}))
        .await;
    world.project().await;
    let refused = world
        .patch(&staff, "/entities/customer/C-1", json!({"phone": "2"}))
        .await;
    assert_eq!(refused.problem(413), "state_too_large");
    let listed = world.get(&staff, "/entities/customer").await.expect(200);
    assert_eq!(listed.items()[0]["stopped"]["version"], 5);
    let past = world
        .get(&staff, "/entities/customer/C-1?version=6")
        .await
        .expect(200)
        .body;
    assert_eq!(
        (&past["version"], &past["stopped"]["code"]),
        (&json!(4), &json!("state_too_large"))
    );
    let history = world.all_pages(&staff, "/events/aggregate/customer/C-1/history").await;
    assert_eq!((history.len(), &history[4]["changes"]), (6, &json!({})));
    let id = late["id"].as_str().unwrap();
    let decision = json!({"action": "skip", "reason": "too large"});
    world
        .put(&staff, &format!("/events/{id}/processing"), decision)
        .await
        .expect(200);
    world.project().await;
    let entity = world.get(&staff, "/entities/customer/C-1").await.expect(200).body;
    assert_eq!(
        (
            &entity["version"],
            &entity["projected_version"],
            &entity["state"]["phone"]
        ),
        (&json!(6), &json!(6), &json!("1"))
    );
    assert!(entity.get("stopped").is_none());
    world.assert_read_models_are_the_fold().await;
}

/// A version of a type; each version's upcaster adds 62 KB more.
fn version(number: usize, text: &str) -> Value {
    let upcaster =
        json!([{"from_version": format!("{}.0", number - 1), "steps": [{"set": {format!("added_{number}"): text}}]}]);
    let mut body = json!({"event_type": "tank.filled", "version": format!("{number}.0"), "effect": "merge", "description": "d",
                          "schema": {"type": "object"}, "example": {"a": 1}});
    if number > 1 {
        body["upcasters"] = upcaster;
    }
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_may_add_a_limited_amount_to_an_event_and_a_rebuild_holds_one_event_at_a_time() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, version(1, "")).await;
    for stream in 0..4 {
        let small = event("tank.filled", &format!("T-{stream}"), &json!({"a": stream}));
        world
            .post(&staff, "/events", json!({"events": vec![small; 20]}))
            .await
            .expect(201);
    }
    world.project().await;
    let text = "x".repeat(62_000);
    for number in 2..=5 {
        register(&world, &staff, version(number, &text)).await;
    }
    let refused = world.post(&staff, "/events/types", version(6, &text)).await;
    assert_eq!(refused.problem(422), "upcasters_too_large");
    let mut function = Process::start(&world, "projector", "Rebuilder").await;
    function.invoke(json!({"rebuilds": {}})).await;
    let rebuilds = world.rows_of("annals.rebuilds").await;
    assert!(
        rebuilds.iter().any(|rebuild| rebuild["status"] == "done"),
        "{rebuilds:?}"
    );
    world.assert_read_models_are_the_fold().await;
    let page = world
        .get(&staff, "/events?event_type=tank.filled&limit=1000")
        .await
        .expect(200);
    assert!(
        page.items().len() < 20 && page.body["next_cursor"].is_string(),
        "{}",
        page.items().len()
    );
}

/// A split step makes data larger than the stored ones.
#[tokio::test]
async fn an_event_that_would_be_too_large_when_upcast_is_read_as_stored_and_parks_its_stream() {
    let (world, staff) = (World::new().await, Person::staff());
    let first = json!({"event_type": "tank.split", "effect": "merge", "description": "d", "schema": {"type": "object"}, "example": {"a": "1,2"}});
    register(&world, &staff, first.clone()).await;
    let parts = json!({"a": "1,".repeat(130_000)});
    let posted = world.append(&staff, "tank.split", "T-1", parts.clone()).await;
    let mut second = first;
    second["version"] = json!("2.0");
    second["upcasters"] =
        json!([{"from_version": "1.0", "steps": [{"split": {"a": ","}}, {"default": {"b": "y".repeat(20_000)}}]}]);
    register(&world, &staff, second).await;
    world.project().await;
    let parked = world.rows_of("annals.parked_streams").await;
    assert_eq!(parked[0]["error_code"], "lifted_too_large");
    let path = format!("/events/{}", posted["id"].as_str().unwrap());
    let shown = world.get(&staff, &path).await.expect(200).body;
    assert_eq!(
        (&shown["version"], &shown["not_lifted"], &shown["data"]),
        (&json!("1.0"), &json!("lifted_too_large"), &parts)
    );
}

#[tokio::test]
async fn patterns_are_matched_in_time_linear_in_the_text() {
    let (world, staff) = (World::new().await, Person::staff());
    let body = |pattern: &str, example: &str| {
        json!({"event_type": "code.read", "description": "d", "example": {"a": example}, "posters": ["user", "staff"],
               "schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}})
    };
    for pattern in ["(?<=x).*(?=y).*z", r"^(a*)\1$"] {
        let refused = world.post(&staff, "/events/types", body(pattern, "xyz")).await;
        assert_eq!(refused.problem(422), "invalid_event_type");
        assert_eq!(refused.body["errors"][0]["code"], "unsupported_pattern");
    }
    register(&world, &staff, body("^x.*y.*(a+)+z$", "xyaz")).await;
    let begun = std::time::Instant::now();
    let attack = event("code.read", "1", &json!({"a": format!("x{}", "ya".repeat(100_000))}));
    assert_eq!(
        world.post(&Person::user(), "/events", attack).await.problem(422),
        "schema_violation"
    );
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn refusals_quote_only_a_little_of_the_input() {
    let (world, staff) = (World::new().await, Person::staff());
    let long = "q".repeat(200_000);
    let bodies = [
        event("customer.profile_updated", "C-1", &json!({"email": long})),
        event("customer.profile_updated", "C-1", &json!({"changes": {&long: 1}})),
        event("customer.profile_updated", &long, &json!({"phone": "1"})),
        event(&long, "C-1", &json!({"phone": "1"})),
        json!({&long: 1}),
    ];
    for body in bodies {
        let answer = world.post(&staff, "/events", body).await;
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        assert!(answer.text.matches('q').count() <= 1_500, "{}", answer.text.len());
        assert!(!answer.text.contains(&"q".repeat(401)));
    }
    let mut function = Process::start(&world, "post-event", "PostEvent").await;
    let path = format!("/entities/{}", "q".repeat(5_000));
    let (status, answer) = function
        .request(recorded::post(&staff, &path, "application/json", "{}"))
        .await;
    assert!(
        (400..500).contains(&status) && answer.to_string().len() < 2_000,
        "{status}"
    );
}

#[tokio::test]
async fn built_in_schemas_are_within_the_limits_of_those_that_staff_registers() {
    let world = World::new().await;
    let rows = world.rows_of("annals.event_type_versions").await;
    assert!(rows.len() > 100);
    for row in rows {
        assert!(
            annals_domain::checker::Checker::compile(&row["schema"]).is_ok(),
            "{}",
            row["event_type"]
        );
    }
}
