//! Opportunity 1.0 to 2.0 and user 1.0 to 1.1, as in `event-sourcing-documentation.md`, and rules for every built-in type with several
//! versions.

use annals_domain::{compatibility, semver};
use serde_json::{Value, json};
use tests::{Person, World};

use super::{assert_reads_as, event, post, state, stored};

const OPPORTUNITY: &str = include_str!("../../fixtures/opportunity_1_0_to_2_0.json");
const USER: &str = include_str!("../../fixtures/user_1_0_to_1_1.json");

/// The module, the fixture, the current version, and the value of `migration_applied` that a read has.
const SOURCES: [(&str, &str, &str, &str, &str); 2] = [
    ("opportunity", "public.opportunities", OPPORTUNITY, "2.0", "1.0_to_2.0"),
    ("user", "public.users", USER, "1.1", "1.0_to_1.1"),
];

#[tokio::test]
async fn the_examples_of_the_sources_are_upcast_as_the_sources_say() {
    let (world, service) = (World::new().await, Person::service("importer"));
    for (kind, table, fixture, version, migration) in SOURCES {
        let example: Value = serde_json::from_str(fixture).unwrap();
        let (before, after) = (&example["before"], &example["after"]);
        let id = post(&world, &service, &format!("{kind}.created"), "123", "1.0", before).await;
        let row = stored(&world, &id).await;
        assert_eq!((&row["data"], &row["version"]), (before, &json!("1.0")));

        assert_reads_as(&world, &service, &id, version, migration, after).await;
        assert_eq!(&state(&world, &service, kind, "123").await, after, "from the log");
        world.project().await;
        assert_eq!(&state(&world, &service, kind, "123").await, after, "projected");
        let columns = world.rows_of(table).await.remove(0);
        for (field, value) in after.as_object().unwrap() {
            // The id is repeated in the payload, but has no column of its own there: the column `id` holds it.
            if *field != format!("{kind}_id") {
                assert_eq!(&columns[field], value, "{table}.{field}");
            }
        }
        assert_eq!(stored(&world, &id).await, row, "the log is as it was");
    }
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn the_new_examples_of_the_sources_are_posted_unchanged_and_not_upcast() {
    let (world, service) = (World::new().await, Person::service("importer"));
    for (kind, _, fixture, version, _) in SOURCES {
        let example: Value = serde_json::from_str(fixture).unwrap();
        let after = &example["after"];
        let posted = world
            .append(&service, &format!("{kind}.created"), "new", after.clone())
            .await;
        assert_eq!((&posted["version"], &posted["data"]), (&json!(version), after));
        let path = format!("/events/{}", posted["id"].as_str().unwrap());
        let read = world.get(&service, &path).await.expect(200).body;
        assert_eq!((&read["version"], &read["data"]), (&json!(version), after));
        assert!(read["metadata"].get("migration_applied").is_none(), "{read}");
    }
}

#[tokio::test]
async fn changes_of_an_old_version_change_the_fields_of_the_new_one() {
    let (world, staff) = (World::new().await, Person::staff());
    let created = json!({"title": "T", "market_size": 100, "ai_solution_type": "nlp"});
    post(&world, &staff, "opportunity.created", "O-1", "1.0", &created).await;
    let newer = json!({"changes": {"confidence_score": {"old": 0.7, "new": 0.95}}});
    post(&world, &staff, "opportunity.updated", "O-1", "2.0", &newer).await;
    let older = json!({"changes": {"market_size": {"old": 100, "new": 250.50}, "ai_solution_type": {"old": "nlp", "new": "cv"}}});
    let id = post(&world, &staff, "opportunity.updated", "O-1", "1.0", &older).await;
    let upcast = json!({"changes": {"market_size_estimate": {"old": 100, "new": 250.50}, "ai_solution_type": {"old": "nlp", "new": "cv"},
                                    "ai_solution_category": {"old": "natural_language_processing", "new": "computer_vision"}}});
    assert_reads_as(&world, &staff, &id, "2.0", "1.0_to_2.0", &upcast).await;
    let expected = json!({"title": "T", "market_size_estimate": 250.50, "ai_solution_type": "cv", "ai_solution_category": "computer_vision",
                          "confidence_score": 0.95});
    for projected in [false, true] {
        assert_eq!(
            state(&world, &staff, "opportunity", "O-1").await,
            expected,
            "{projected}"
        );
        world.project().await;
    }

    let created = json!({"email": "a@example.com", "expertise_domains": ["ai"]});
    post(&world, &staff, "user.created", "U-1", "1.0", &created).await;
    let older = json!({"changes": {"expertise_domains": {"old": ["ai"], "new": "ai, robotics,"}}});
    let id = post(&world, &staff, "user.updated", "U-1", "1.0", &older).await;
    let upcast = json!({"changes": {"expertise_domains": {"old": ["ai"], "new": ["ai", "robotics"]}}});
    assert_reads_as(&world, &staff, &id, "1.1", "1.0_to_1.1", &upcast).await;
    world.project().await;
    let user = state(&world, &staff, "user", "U-1").await;
    assert_eq!(user["expertise_domains"], json!(["ai", "robotics"]));
    assert_eq!(
        user["notification_settings"]["frequency"], "immediate",
        "a change sets nothing else back"
    );
    world.assert_read_models_are_the_fold().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
}

#[tokio::test]
async fn an_unknown_solution_has_the_category_other_and_a_missing_one_has_none() {
    let (world, staff) = (World::new().await, Person::staff());
    for (place, (found, category)) in [
        (json!("nlp"), json!("natural_language_processing")),
        (json!("NLP"), json!("natural_language_processing")),
        (json!("ml"), json!("machine_learning")),
        (json!("computer_vision"), json!("computer_vision")),
        (json!("tarot"), json!("other")),
        (Value::Null, Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let (id, mut data) = (format!("O-{place}"), json!({"title": "T"}));
        if !found.is_null() {
            data["ai_solution_type"] = found.clone();
        }
        post(&world, &staff, "opportunity.created", &id, "1.0", &data).await;
        let state = state(&world, &staff, "opportunity", &id).await;
        let expected = (category, json!(0.7));
        assert_eq!(
            (state["ai_solution_category"].clone(), state["confidence_score"].clone()),
            expected,
            "{found}"
        );
    }
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn data_of_one_version_are_refused_under_another() {
    let (world, service) = (World::new().await, Person::service("importer"));
    let before = world.log().await;
    for (event_type, version, data, pointer) in [
        (
            "opportunity.created",
            "2.0",
            json!({"title": "T", "market_size": 5}),
            "/data/market_size",
        ),
        (
            "opportunity.updated",
            "2.0",
            json!({"changes": {"market_size": {"old": 1, "new": 2}}}),
            "/data/changes",
        ),
        (
            "opportunity.updated",
            "1.0",
            json!({"changes": {"confidence_score": {"old": 1, "new": 0}}}),
            "/data/changes",
        ),
        (
            "user.created",
            "1.1",
            json!({"email": "a@example.com", "expertise_domains": "ai"}),
            "/data/expertise_domains",
        ),
        (
            "user.created",
            "1.0",
            json!({"email": "a@example.com", "expertise_domains": 5}),
            "/data/expertise_domains",
        ),
    ] {
        let answer = world
            .post(&service, "/events", event(event_type, "X", version, &data))
            .await;
        assert_eq!(answer.problem(422), "schema_violation", "{event_type} {version}");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.text);
    }
    for version in ["0.9", "1.2", "3.0", "1.0.0", "9999.0"] {
        let answer = world
            .post(
                &service,
                "/events",
                event("opportunity.created", "X", version, &json!({"title": "T"})),
            )
            .await;
        assert_eq!(answer.problem(422), "unknown_version", "{version}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/version");
    }
    assert_eq!(world.log().await, before);
}

/// Each version's example can be posted at its version; what is read of it can be posted at the current one, and is upcast if there are steps.
#[tokio::test]
async fn the_example_of_every_built_in_version_can_be_posted_and_reads_in_the_current_version() {
    let (world, service) = (World::without_requirements().await, Person::service("loader"));
    let mut upcast = 0;
    for kind in world.all_pages(&service, "/events/types").await {
        let (name, current) = (kind["event_type"].as_str().unwrap(), kind["version"].as_str().unwrap());
        // Types that only Annals appends are tested elsewhere.
        if kind["closed"] == true {
            continue;
        }
        for version in kind["versions"].as_array().unwrap() {
            let number = version["version"].as_str().unwrap();
            let id = post(&world, &service, name, number, number, &version["example"]).await;
            let read = world.get(&service, &format!("/events/{id}")).await.expect(200).body;
            // If nothing was upcast, the event does not claim it.
            let upcasters = kind["upcasters"].as_array().unwrap().iter();
            let changes = upcasters
                .filter(|upcaster| upcaster["from_version"] == number)
                .any(|upcaster| upcaster["steps"] != json!([]));
            let reads_as = if changes { current } else { number };
            assert_eq!(read["version"], reads_as, "{name} {number}");
            if number != current {
                upcast += 1;
                post(&world, &service, name, "upcast", current, &read["data"]).await;
            }
        }
    }
    assert!(upcast >= 4, "{upcast}");
    world.project().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn no_minor_version_of_a_built_in_type_breaks_readers_of_the_one_before() {
    let world = World::new().await;
    let mut minor = 0;
    for kind in world.all_pages(&Person::user(), "/events/types").await {
        for pair in kind["versions"].as_array().unwrap().windows(2) {
            let number = |place: usize| pair[place]["version"].as_str().unwrap();
            if semver::same_major(number(0), number(1)) {
                let breaks = compatibility::breaking_changes(&pair[0]["schema"], &pair[1]["schema"]);
                assert!(breaks.is_empty(), "{}: {breaks:?}", kind["event_type"]);
                minor += 1;
            }
        }
    }
    assert!(minor >= 2, "{minor}");
}
