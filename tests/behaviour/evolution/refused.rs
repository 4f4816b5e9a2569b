//! Refused versions, which store nothing: those without an upcaster path from every other version, those whose number promises more
//! compatibility than they have, and those that were registered by another caller first.

use futures_util::future::join;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{gauge, gauge_2, register, renamed};

/// A world with gauges at version 2.0.
async fn evolved() -> (World, Person) {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    register(&world, &staff, gauge_2("2.0", &renamed())).await.expect(201);
    (world, staff)
}

async fn catalog(world: &World) -> Vec<Value> {
    let mut rows = Vec::new();
    for table in [
        "event_types",
        "event_type_versions",
        "upcasters",
        "fold_versions",
        "catalog_revision",
    ] {
        rows.extend(world.rows_of(&format!("annals.{table}")).await);
    }
    rows
}

#[tokio::test]
async fn chains_with_a_hole_a_loop_or_an_unknown_end_are_refused() {
    let (world, staff) = evolved().await;
    let before = catalog(&world).await;
    let from = |from: &str, to: &str| json!({"from_version": from, "to_version": to, "steps": []});
    for (upcasters, status, code) in [
        (json!([]), 422, "upcaster_hole"),
        (
            json!([{"from_version": "1.0", "to_version": "3.0", "steps": [{"rename": {"value": "temperature"}}]}]),
            409,
            "upcaster_exists",
        ),
        (json!([from("2.0", "3.0"), from("2.0", "3.0")]), 409, "upcaster_exists"),
        (json!([from("2.0", "1.0")]), 422, "upcaster_loop"),
        (json!([from("2.0", "2.0")]), 422, "upcaster_loop"),
        (json!([from("3.0", "3.0")]), 422, "upcaster_loop"),
        (json!([from("3.0", "2.0")]), 422, "upcaster_loop"),
        (json!([from("2.0", "3.0"), from("3.0", "1.0")]), 422, "upcaster_loop"),
        (json!([from("0.5", "3.0")]), 422, "unknown_version"),
        (json!([from("2.0", "2.5")]), 422, "unknown_version"),
        (json!([from("2.0", "9.0")]), 422, "unknown_version"),
        (json!([from("9.0", "3.0")]), 422, "unknown_version"),
    ] {
        let answer = register(&world, &staff, gauge_2("3.0", &upcasters)).await;
        assert_eq!(answer.problem(status), code, "{upcasters}");
    }
    assert_eq!(catalog(&world).await, before);
    let types = world.get(&staff, "/events/types/gauge.read").await.expect(200).body;
    assert_eq!(
        (&types["version"], types["versions"].as_array().unwrap().len()),
        (&json!("2.0"), 2)
    );
}

#[tokio::test]
async fn the_first_version_of_a_type_cannot_have_upcasters() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut first = gauge();
    first["upcasters"] = json!([{"from_version": "0.9", "steps": []}]);
    assert_eq!(
        register(&world, &staff, first.clone()).await.problem(422),
        "unknown_version"
    );
    first["upcasters"] = json!([{"from_version": "1.0", "steps": []}]);
    assert_eq!(register(&world, &staff, first).await.problem(422), "upcaster_loop");
    assert_eq!(
        world.get(&staff, "/events/types/gauge.read").await.problem(404),
        "not_found"
    );
}

#[tokio::test]
async fn a_minor_version_that_breaks_readers_is_refused_field_by_field() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut wide = gauge();
    wide["schema"] = json!({"type": "object", "required": ["value", "unit"],
        "properties": {"value": {"type": "integer"}, "unit": {"enum": ["C", "K"]}, "site": {"type": "object", "properties": {"name": {"type": "string"}}}}});
    wide["example"] = json!({"value": 21, "unit": "C"});
    register(&world, &staff, wide.clone()).await.expect(201);
    let before = catalog(&world).await;
    for (place, change, pointer) in [
        ("/required", json!(["value"]), "/schema"),
        ("/properties/value", json!({"type": "number"}), "/schema/value"),
        ("/properties/unit", json!({"enum": ["C", "K", "F"]}), "/schema/unit"),
        ("/properties/unit", json!({"type": "string"}), "/schema/unit"),
        (
            "/properties/site",
            json!({"type": "object", "properties": {"name": {"type": "integer"}}}),
            "/schema/site/name",
        ),
        (
            "/properties",
            json!({"value": {"type": "integer"}, "unit": {"const": "C"}}),
            "/schema/site",
        ),
    ] {
        for version in ["1.1", "1.0.1", "1.9"] {
            let mut new = wide.clone();
            new["version"] = json!(version);
            *new["schema"].pointer_mut(place).unwrap() = change.clone();
            let answer = register(&world, &staff, new).await;
            assert_eq!(answer.problem(422), "breaking_change", "{version} {place} {change}");
            assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.text);
        }
    }
    assert_eq!(catalog(&world).await, before);
    // A version that only adds fields, or promises more, is a minor one.
    let mut more = wide;
    more["version"] = json!("1.1");
    more["schema"]["properties"]["unit"] = json!({"const": "C"});
    more["schema"]["properties"]["height"] = json!({"type": "number"});
    register(&world, &staff, more).await.expect(201);
}

#[tokio::test]
async fn steps_whose_result_does_not_match_the_new_schema_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let before = catalog(&world).await;
    for steps in [
        json!([]),
        json!([{"rename": {"value": "temprature"}}]),
        json!([{"rename": {"value": "temperature"}}, {"set": {"temperature": "warm"}}]),
    ] {
        let upcasters = json!([{"from_version": "1.0", "steps": steps}]);
        let answer = register(&world, &staff, gauge_2("2.0", &upcasters)).await;
        assert_eq!(answer.problem(422), "upcaster_misses_schema", "{steps}");
        let pointer = answer.body["errors"][0]["pointer"].as_str().unwrap();
        assert!(pointer.starts_with("/upcasters/1.0"), "{pointer}");
    }
    assert_eq!(catalog(&world).await, before);
    // Also for versions further back.
    register(&world, &staff, gauge_2("2.0", &renamed())).await.expect(201);
    let mut third = gauge_2(
        "3.0",
        &json!([{"from_version": "2.0", "steps": [{"set": {"site": "roof"}}, {"remove": ["temperature"]}]}]),
    );
    assert_eq!(
        register(&world, &staff, third.clone()).await.problem(422),
        "upcaster_misses_schema"
    );
    third["upcasters"][0]["steps"] = json!([{"set": {"site": "roof"}}]);
    register(&world, &staff, third).await.expect(201);
}

#[tokio::test]
async fn invalid_upcasters_are_refused_with_their_place() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let before = catalog(&world).await;
    let steps = |steps: Value| json!([{"from_version": "1.0", "steps": steps}]);
    let many: Vec<Value> = (0..101).map(|n| json!({"set": {"n": n}})).collect();
    for (upcasters, pointer) in [
        (steps(json!(["rename"])), "/upcasters/0/steps/0"),
        (
            steps(json!([{"set": {"a": 1}}, {"explode": {}}])),
            "/upcasters/0/steps/1",
        ),
        (steps(json!([{}])), "/upcasters/0/steps/0"),
        (
            steps(json!([{"set": {"a": 1}, "remove": ["b"]}])),
            "/upcasters/0/steps/0",
        ),
        (steps(json!([{"rename": {"a": 1}}])), "/upcasters/0/steps/0"),
        (steps(json!([{"rename": {"": "a"}}])), "/upcasters/0/steps/0"),
        (steps(json!([{"rename": {"a": ""}}])), "/upcasters/0/steps/0"),
        (steps(json!([{"default": {"": 1}}])), "/upcasters/0/steps/0"),
        (steps(json!([{"set": []}])), "/upcasters/0/steps/0"),
        (steps(json!([{"remove": "a"}])), "/upcasters/0/steps/0"),
        (steps(json!([{"remove": [""]}])), "/upcasters/0/steps/0"),
        (steps(json!([{"split": {"a": ""}}])), "/upcasters/0/steps/0"),
        (steps(json!([{"set": {"/a".repeat(17): 1}}])), "/upcasters/0/steps/0"),
        (
            steps(json!([{"rename": {"a": "/a".repeat(17)}}])),
            "/upcasters/0/steps/0",
        ),
        (
            steps(json!([{"rename": {"a": "/x/$serde_json::private::Number"}}])),
            "/upcasters/0/steps/0",
        ),
        (
            steps(json!([{"map": {"from": "a", "to": "$serde_json::private::RawValue", "values": {}}}])),
            "/upcasters/0/steps/0",
        ),
        (steps(json!([{"split": {"a": null}}])), "/upcasters/0/steps/0"),
        (
            steps(json!([{"map": {"from": "a", "to": "b"}}])),
            "/upcasters/0/steps/0",
        ),
        (
            steps(json!([{"map": {"from": "a", "to": "", "values": {}}}])),
            "/upcasters/0/steps/0",
        ),
        (
            steps(json!([{"map": {"from": "a", "to": "b", "values": {}, "else": 1}}])),
            "/upcasters/0/steps/0",
        ),
        (steps(json!(many)), "/upcasters/0/steps"),
        (
            json!(vec![json!({"from_version": "1.0", "steps": []}); 21]),
            "/upcasters",
        ),
        (
            json!([{"from_version": "one", "steps": []}]),
            "/upcasters/0/from_version",
        ),
        (
            json!([{"from_version": "1.0", "to_version": "2", "steps": []}]),
            "/upcasters/0/to_version",
        ),
    ] {
        let answer = register(&world, &staff, gauge_2("2.0", &upcasters)).await;
        assert_eq!(answer.problem(422), "invalid_event_type", "{upcasters}");
        let errors = answer.body["errors"].as_array().unwrap();
        assert!(
            errors.iter().any(|e| e["pointer"] == pointer),
            "{upcasters}: {}",
            answer.text
        );
    }
    for upcasters in [
        json!({}),
        json!("1.0"),
        json!([1]),
        json!([{"from_version": "1.0"}]),
        json!([{"from_version": 1.0, "steps": []}]),
        json!([{"from_version": "1.0", "steps": {}}]),
        json!([{"from_version": "1.0", "steps": null}]),
        json!([{"from_version": "1.0", "steps": [], "tenant_id": null}]),
    ] {
        let answer = register(&world, &staff, gauge_2("2.0", &upcasters)).await;
        assert_eq!(answer.problem(400), "malformed_request", "{upcasters}");
    }
    assert_eq!(catalog(&world).await, before);
}

/// Steps are nested at most as deep as the log's JSON, and contain nothing that PostgreSQL cannot store.
#[tokio::test]
async fn steps_that_could_not_be_read_back_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let mut deep = json!(1);
    for _ in 0..110 {
        deep = json!({"a": deep});
    }
    for value in [
        deep,
        json!("\u{0}"),
        json!({"\u{0}": 1}),
        json!({"$serde_json::private::Number": "1"}),
    ] {
        let upcasters =
            json!([{"from_version": "1.0", "steps": [{"rename": {"value": "temperature"}}, {"set": {"a": value}}]}]);
        let answer = register(&world, &staff, gauge_2("2.0", &upcasters)).await;
        assert!([400, 422].contains(&answer.status), "{}", answer.text);
        assert!(!answer.problem(answer.status).is_empty());
    }
    world
        .elsewhere()
        .get(&staff, "/events/types/gauge.read")
        .await
        .expect(200);
}

#[tokio::test]
async fn of_two_concurrent_versions_with_the_same_predecessor_only_one_is_registered() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, gauge()).await.expect(201);
    let mut blocker = world.superuser().await;
    let lock = blocker.transaction().await.unwrap();
    lock.execute("select from annals.catalog_revision for update", &[])
        .await
        .unwrap();
    let release = async {
        world.until_waiting(2).await;
        lock.commit().await.unwrap();
    };
    let (two, three) = (gauge_2("2.0", &renamed()), gauge_2("3.0", &renamed()));
    let both = join(register(&world, &staff, two), register(&world, &staff, three));
    let ((two, three), ()) = join(both, release).await;
    let (won, lost) = if two.status == 201 { (two, three) } else { (three, two) };
    assert_eq!((won.status, lost.problem(409)), (201, "version_conflict"));
    let kind = world.get(&staff, "/events/types/gauge.read").await.expect(200).body;
    assert_eq!(
        (&kind["version"], kind["upcasters"].as_array().unwrap().len()),
        (&won.body["version"], 1)
    );
}
