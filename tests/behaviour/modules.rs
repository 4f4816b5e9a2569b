//! Modules: every event type of the catalog is accepted as its example says, refuses something, projects, and lands in its
//! state table by column name; and whatever the sources name is there and posts as it stands.

mod children;
mod inverses;
mod recipe;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use tests::{Person, Refolded, World};

/// Modules without created, updated and deleted, on which generic CRUD answers 405.
const WITHOUT_CRUD: [&str; 2] = ["agent", "import"];

/// Kinds of events that belong to no module: they have no state table.
const MACHINERY: [&str; 4] = ["projection", "kpi", "sync", "import_profile"];

/// Event types that the sources name and that belong to these modules.
const NAMED_IN_SOURCES: [&str; 33] = [
    "organization.created",
    "organization.updated",
    "organization.deleted",
    "organization.gst.added",
    "organization.gst.updated",
    "organization.bank_account.added",
    "organization.bank_account.updated",
    "organization.financial_year.added",
    "organization.document_series.added",
    "product.created",
    "product.updated",
    "product.price_changed",
    "product.stock_updated",
    "product.price_corrected",
    "order.created",
    "order.placed",
    "order.payment_received",
    "order.status_changed",
    "order.fulfilled",
    "customer.registered",
    "customer.profile_updated",
    "dealer.application_submitted",
    "dealer.approved",
    "dealer.pricing_updated",
    "agent.decision_proposed",
    "agent.decision_approved",
    "agent.decision_rejected",
    "commodity.created",
    "commodity.updated",
    "commodity.variety.added",
    "trade.executed",
    "payment.received",
    "user.created",
];

/// And those that the sources name in other words: an enum's SALE_CREATED, a best practice's price.changed.
const NAMED_OTHERWISE: [&str; 11] = [
    "sale.created",
    "sale.updated",
    "sale.deleted",
    "customer.created",
    "customer.updated",
    "expense.created",
    "expense.updated",
    "price.changed",
    "opportunity.created",
    "opportunity.updated",
    "user.updated",
];

/// "Create 11 models (commodities + 10 related)": the related ones.
const RELATED_TO_COMMODITIES: [&str; 10] = [
    "variety",
    "parameter",
    "tax_rate",
    "unit",
    "payment_term",
    "delivery_term",
    "passing_term",
    "weightment_term",
    "bargain_type",
    "commission_structure",
];

/// The modules: kinds of aggregate that have a state table.
async fn modules(world: &World) -> BTreeSet<String> {
    let modules = "select aggregate_type from annals.state_tables where collection is null";
    let rows = world.superuser().await.query(modules, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn catalog(world: &World) -> Vec<Value> {
    world.all_pages(&Person::staff(), "/events/types").await
}

/// Those that somebody may post: the others Annals itself appends.
async fn posted(world: &World) -> Vec<Value> {
    let mut kinds = catalog(world).await;
    kinds.retain(|kind| kind["closed"] == false);
    kinds
}

fn kind_of(event_type: &str) -> &str {
    event_type.split('.').next().unwrap()
}

fn event(event_type: &str, id: &str, data: &Value) -> Value {
    json!({"event_type": event_type, "aggregate_type": kind_of(event_type), "aggregate_id": id, "data": data})
}

#[tokio::test]
async fn every_type_that_the_sources_name_is_in_the_catalog() {
    let world = World::new().await;
    let types: BTreeSet<String> = catalog(&world)
        .await
        .iter()
        .map(|kind| kind["event_type"].as_str().unwrap().to_owned())
        .collect();
    for name in NAMED_IN_SOURCES.iter().chain(&NAMED_OTHERWISE) {
        assert!(types.contains(*name), "{name}");
    }
    for child in RELATED_TO_COMMODITIES {
        for verb in ["added", "updated", "removed"] {
            assert!(types.contains(&format!("commodity.{child}.{verb}")), "{child} {verb}");
        }
    }
    let modules = modules(&world).await;
    for module in &modules {
        let crud = !WITHOUT_CRUD.contains(&module.as_str());
        for verb in ["created", "updated", "deleted"] {
            assert_eq!(types.contains(&format!("{module}.{verb}")), crud, "{module}.{verb}");
        }
    }
    for name in &types {
        let kind = kind_of(name);
        assert!(
            MACHINERY.contains(&kind) || modules.contains(kind),
            "{name} is of a module without a state table"
        );
    }
}

#[tokio::test]
async fn every_example_is_accepted_projects_and_lands_in_its_table() {
    let world = World::without_requirements().await;
    let types = posted(&world).await;
    let all = "select count(*) from annals.event_types where appended_by is null";
    let all: i64 = world.superuser().await.query_one(all, &[]).await.unwrap().get(0);
    assert_eq!(types.len(), usize::try_from(all).unwrap());
    assert_examples_land(&world, &types).await;
}

/// The examples of these types are accepted and projected, and their fields are in the columns of their names. Streams may begin with
/// any event in this world.
async fn assert_examples_land(world: &World, types: &[Value]) {
    let service = Person::service("loader");
    for kind in types {
        let name = kind["event_type"].as_str().unwrap();
        let posted = world
            .post(&service, "/events", event(name, name, &kind["example"]))
            .await;
        assert_eq!(posted.status, 201, "{name}: {}", posted.text);
    }
    world.project().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    world.assert_read_models_are_the_fold().await;

    // By name and value, and not merely "as the fold says": each of the example's fields that has a column is in it.
    for kind in types {
        let (name, example) = (
            kind["event_type"].as_str().unwrap(),
            kind["example"].as_object().unwrap(),
        );
        let Some((table, row)) = row_of(world, name, &kind["effect"]).await else {
            continue;
        };
        let mut state = Refolded::default();
        state.apply(&kind["effect"], example, "2025-01-01");
        let of_child = collection_of(&kind["effect"]).is_some();
        let fields = if of_child { example } else { &state.state };
        let mut compared = 0;
        for (field, value) in fields {
            match row.get(field) {
                Some(_) if field == "id" => {}
                Some(found) => {
                    assert_eq!(found, value, "{name}: {table}.{field}");
                    compared += 1;
                }
                None => assert!(
                    kind["effect"]["set"].is_null(),
                    "{name} sets {field}, which is no column of {table}"
                ),
            }
        }
        assert!(
            compared > 0 || kind["effect"] == "delete",
            "{name} leaves no trace in {table}"
        );
    }
}

/// The collection that an effect adds to.
fn collection_of(effect: &Value) -> Option<&str> {
    ["add_child", "update_child"]
        .iter()
        .find_map(|kind| effect[*kind].as_str())
}

/// The row that the example of a type has made, and its table; none where it takes a child away.
async fn row_of(world: &World, event_type: &str, effect: &Value) -> Option<(String, Value)> {
    if effect["remove_child"].is_string() {
        return None;
    }
    let collection = collection_of(effect);
    let table = "select format('public.%I', table_name) from annals.state_tables where aggregate_type = $1 and collection is not distinct from $2";
    let client = world.superuser().await;
    let table: String = client
        .query_opt(table, &[&kind_of(event_type), &collection])
        .await
        .unwrap()?
        .get(0);
    let key = if collection.is_some() {
        format!("{}_id", kind_of(event_type))
    } else {
        "id".to_owned()
    };
    let mut rows = world.rows_of(&table).await;
    rows.retain(|row| row[&key] == event_type);
    assert_eq!(rows.len(), 1, "{event_type} has no row in {table}");
    Some((table, rows.remove(0)))
}

/// Ways to spoil an example: one of them at least must be refused, or the schema is none.
fn spoilt(example: &Map<String, Value>) -> Vec<Value> {
    let mut all = vec![json!({})];
    for (field, value) in example {
        let mut without = example.clone();
        without.remove(field);
        all.push(Value::Object(without));
        for wrong in [json!(null), json!([[]]), json!(true), json!(-1), json!("")] {
            if wrong != *value {
                let mut with = example.clone();
                with.insert(field.clone(), wrong);
                all.push(Value::Object(with));
            }
        }
    }
    all
}

#[tokio::test]
async fn every_schema_refuses_something_and_what_it_refuses_leaves_nothing() {
    let world = World::without_requirements().await;
    let types = posted(&world).await;
    assert_schemas_refuse(&world, &types).await;
}

/// The schemas of these types refuse something, and what they refuse leaves nothing. Streams may begin with any event in this world.
async fn assert_schemas_refuse(world: &World, types: &[Value]) {
    let service = Person::service("loader");
    for kind in types {
        let name = kind["event_type"].as_str().unwrap();
        let mut refused = 0;
        for data in spoilt(kind["example"].as_object().unwrap()) {
            let answer = world.post(&service, "/events", event(name, "spoilt", &data)).await;
            if answer.status != 201 {
                assert_eq!(answer.problem(422), "schema_violation", "{name} {data}");
                assert!(
                    answer.body["errors"][0]["pointer"]
                        .as_str()
                        .unwrap()
                        .starts_with("/data"),
                    "{}",
                    answer.text
                );
                refused += 1;
            }
        }
        assert!(refused > 1, "{name} takes anything");
    }
    let refused = "select count(*) from annals.heads h where not exists (select from annals.events e
        where e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id)";
    let left: i64 = world.superuser().await.query_one(refused, &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
    world.project().await;
    world.sweep().await;
    assert!(
        world.rows_of("annals.parked_streams").await.is_empty(),
        "what a schema takes, its table takes"
    );
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn every_module_with_the_three_verbs_works_through_crud() {
    let world = World::new().await;
    assert_crud_works(&world, &modules(&world).await).await;
}

/// Generic CRUD works on these modules, or answers 405.
async fn assert_crud_works(world: &World, modules: &BTreeSet<String>) {
    let staff = Person::staff();
    let types = catalog(world).await;
    let of = |name: String| types.iter().find(|kind| kind["event_type"] == name.as_str()).cloned();
    for module in modules {
        let path = format!("/entities/{module}");
        if WITHOUT_CRUD.contains(&module.as_str()) {
            assert_eq!(world.post(&staff, &path, json!({"a": 1})).await.status, 405, "{module}");
            continue;
        }
        let example = of(format!("{module}.created")).unwrap()["example"].clone();
        let created = world.post(&staff, &path, example.clone()).await.expect(201).body;
        let id = created["aggregate_id"].as_str().unwrap().to_owned();
        let changes = of(format!("{module}.updated")).unwrap()["example"]["changes"].clone();
        let patch: Map<String, Value> = changes
            .as_object()
            .unwrap()
            .iter()
            .map(|(f, c)| (f.clone(), c["new"].clone()))
            .collect();
        let patched = world
            .patch(&staff, &format!("{path}/{id}"), Value::Object(patch.clone()))
            .await
            .expect(200)
            .body;
        assert_eq!(patched["version"], 2, "{module}");
        world.delete(&staff, &format!("{path}/{id}")).await;
        let history = world
            .get(&staff, &format!("/events/aggregate/{module}/{id}/history"))
            .await
            .expect(200);
        let names: Vec<&str> = history
            .items()
            .iter()
            .map(|e| e["event_type"].as_str().unwrap())
            .collect();
        assert_eq!(
            names,
            [
                format!("{module}.created"),
                format!("{module}.updated"),
                format!("{module}.deleted")
            ]
        );
        for (field, change) in history.items()[1]["data"]["changes"].as_object().unwrap() {
            assert_eq!(
                change,
                &json!({"old": example.get(field), "new": patch[field]}),
                "{module}.{field}"
            );
        }
    }
    world.project().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    world.assert_read_models_are_the_fold().await;
    for entity in world.rows_of("annals.entities").await {
        assert!(entity["deleted_at"].is_string(), "{entity}");
    }
}

/// The sources' own payloads, word for word (`event-sourcing-setup-guide.md`, `event-sourcing-system.md`).
fn sources() -> Vec<Value> {
    let product = "123e4567-e89b-12d3-a456-426614174000";
    let texts = [
        // Step 3: Test Event Posting
        format!(
            r#"{{"event_type": "product.created", "aggregate_type": "product", "aggregate_id": "{product}",
                "data": {{"sku": "SUBM-05HP-DOM-SS-50LPM-20M", "name": "0.5HP Submersible Pump", "base_price": 5999.00}},
                "created_by": "user:test"}}"#
        ),
        // Event Data Structure
        format!(
            r#"{{"event_type": "product.created", "aggregate_type": "product", "aggregate_id": "uuid-here",
                "data": {{"sku": "SUBM-05HP-DOM-SS-50LPM-20M", "name": "0.5HP Submersible Pump", "base_price": 5999.00}},
                "metadata": {{"ip_address": "192.168.1.1", "user_agent": "Mozilla/5.0...", "source": "web_ui"}},
                "created_by": "agent:category_agent", "correlation_id": "uuid", "causation_id": "{product}",
                "idempotency_key": "unique-key"}}"#
        ),
        // Event Data Should Be Self-Contained
        r#"{"event_type": "price.changed", "aggregate_type": "price", "aggregate_id": "P", "created_by": "system",
            "data": {"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match", "effective_date": "2025-10-27"}}"#
            .to_owned(),
        // For CREATE, UPDATE and DELETE events
        r#"{"event_type": "organization.created", "aggregate_type": "organization", "aggregate_id": "O",
            "data": {"name": "Commodity Trading Ltd", "type": "corporation", "email": "contact@commoditytrading.com"}}"#
            .to_owned(),
        r#"{"event_type": "organization.updated", "aggregate_type": "organization", "aggregate_id": "O",
            "data": {"changes": {"email": {"old": "old@example.com", "new": "new@example.com"},
                                 "phone": {"old": "+91-1234567890", "new": "+91-9876543210"}}},
            "metadata": {"ip_address": "192.168.1.100", "user_agent": "Mozilla/5.0...",
                         "reason": "Updated as per compliance review", "correlation_id": "trade-123-update"}}"#
            .to_owned(),
        r#"{"event_type": "organization.deleted", "aggregate_type": "organization", "aggregate_id": "O",
            "data": {"name": "Entity Name", "deleted_at": "2025-11-21T10:30:00Z"}}"#
            .to_owned(),
    ];
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test]
async fn the_sources_examples_post_as_they_stand() {
    let (world, service) = (World::new().await, Person::service("importer"));
    for example in sources() {
        let stored = world.post(&service, "/events", example.clone()).await.expect(201).body;
        for (field, value) in example.as_object().unwrap() {
            match field.as_str() {
                "metadata" => value
                    .as_object()
                    .unwrap()
                    .iter()
                    .for_each(|(k, v)| assert_eq!(stored["metadata"][k], *v)),
                _ => assert_eq!(stored[field].to_string(), value.to_string(), "{field}"),
            }
        }
    }
    world.project().await;
    world.assert_read_models_are_the_fold().await;
    let price = "select base_price::text from public.products order by id limit 1";
    let price: String = world.superuser().await.query_one(price, &[]).await.unwrap().get(0);
    assert_eq!(price, "5999.00", "exactly as it was written");
    let incomplete = json!({"event_type": "price.changed", "aggregate_type": "price", "aggregate_id": "P", "data": {"new_price": 5499.00}});
    assert_eq!(
        world.post(&service, "/events", incomplete).await.problem(422),
        "schema_violation",
        "the source calls it bad"
    );
}

/// Sales are minor units in an integer, prices decimals in numeric: nothing is ever a float.
#[tokio::test]
async fn no_column_of_any_state_table_is_a_float() {
    let world = World::new().await;
    let floats = "select count(*) from information_schema.columns where table_schema in ('public', 'annals') and data_type in ('real', 'double precision')";
    let floats: i64 = world.superuser().await.query_one(floats, &[]).await.unwrap().get(0);
    assert_eq!(floats, 0);
}
