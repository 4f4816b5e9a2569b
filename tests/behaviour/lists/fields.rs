//! `GET /events?data.sku=…`: events by a field that their type declares as indexed. The index may have all of them, some, or none: the answer
//! is the same.

use serde_json::{Value, json};
use tests::{Answer, Person, World};
use uuid::Uuid;

use super::{Filter, filter, scene};

/// A type whose fields are all indexed.
fn part() -> Value {
    json!({"event_type": "part.moved", "description": "A part was moved.", "posters": ["user", "agent", "staff", "service"],
           "schema": {"type": "object", "properties": {
               "sku": {"type": ["string", "null"]}, "quantity": {"type": "integer"}, "price": {"type": "number"}, "urgent": {"type": "boolean"},
               "shelf": {"enum": ["A", 1, null]}, "places": {"type": "array"}}},
           "example": {"sku": "PUMP"}, "indexed": ["sku", "quantity", "price", "urgent", "shelf"]})
}

/// The same at a later version, with changes.
fn part_at(version: &str, changes: &Value) -> Value {
    let mut part = part();
    part["version"] = json!(version);
    for (name, value) in changes.as_object().unwrap() {
        part[name] = value.clone();
    }
    part
}

async fn world_with_parts() -> (World, Person) {
    let (world, staff) = (World::new().await, Person::staff());
    world.post(&staff, "/events/types", part()).await.expect(201);
    (world, staff)
}

async fn move_part(world: &World, person: &Person, data: Value) -> Value {
    world
        .append(person, "part.moved", &Uuid::new_v4().to_string(), data)
        .await
}

/// Ids of the events that a list has.
async fn ids(world: &World, person: &Person, path: &str) -> Vec<String> {
    let items = world.all_pages(person, path).await;
    items.iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
}

fn id(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

async fn number(world: &World, sql: &str) -> i64 {
    world.superuser().await.query_one(sql, &[]).await.unwrap().get(0)
}

const VALUES: &str = "select count(*) from annals.field_values";

async fn refused(world: &World, person: &Person, path: &str) -> Answer {
    let answer = world.get(person, path).await;
    assert_eq!(answer.problem(422), "field_not_indexed", "{path}");
    answer
}

/// The field's filter with each other filter: before the index has any event, when it has some, and when it has all.
#[tokio::test]
async fn it_works_with_every_other_filter_whatever_the_index_has() {
    let mut scene = scene().await;
    let declare = "select annals.declare_indexed('order.created', 'customer_id'), annals.declare_indexed('customer.registered', 'email')";
    scene.world.owner().await.batch_execute(declare).await.unwrap();
    let customers = filter("data.customer_id", "C", |e| e["event_type"] == "order.created");
    let mails = filter("data.email", "a@b.cd", |e| e["event_type"] == "customer.registered");
    let nothing = filter("data.customer_id", "D", |_| false);
    let middle = scene.all[12]["event_number"].as_i64().unwrap();
    for (step, indexed) in [("nothing is indexed", 0), ("some are", middle), ("all are", i64::MAX)] {
        if indexed == i64::MAX {
            scene.world.projector.sweep().await.unwrap();
            scene.world.project().await;
            scene.all = scene.world.all_pages(&scene.staff, "/events?order=asc").await;
        } else if indexed > 0 {
            let owner = scene.world.owner().await;
            let fill = format!("select annals.index_new_events({indexed}, 20000)");
            owner.batch_execute(&fill).await.unwrap();
            while number(&scene.world, "select annals.fill_field_index(2)::int::bigint").await == 1 {}
        }
        let expected = match indexed {
            0 => 0,
            i64::MAX => 8,
            _ => 5,
        };
        assert_eq!(number(&scene.world, VALUES).await, expected, "{step}");
        for field in [&customers, &mails, &nothing] {
            scene.check(&[field]).await;
            let names_a_type = |other: &&Filter| other.name == "event_type" || other.name == "aggregate_type";
            for other in scene.filters().iter().filter(|other| !names_a_type(other)) {
                scene.check(&[field, other]).await;
            }
        }
        let order = filter("aggregate_type", "order", |e| e["aggregate_type"] == "order");
        let created = filter("event_type", "order.*", |e| e["aggregate_type"] == "order");
        scene.check(&[&customers, &order]).await;
        scene.check(&[&customers, &created, &order]).await;
    }
}

#[tokio::test]
async fn text_numbers_and_booleans_are_compared_as_what_they_are() {
    let (world, staff) = world_with_parts().await;
    let long = "x".repeat(70);
    let mut posted = Vec::new();
    for data in [
        json!({"sku": "10", "quantity": 10, "price": 10.50, "urgent": true, "shelf": "A"}),
        json!({"sku": "10.0", "quantity": 11, "price": 10.5, "urgent": false, "shelf": 1}),
        json!({"sku": "true", "price": 1e3}),
        json!({"sku": "", "price": -0.25}),
        json!({"sku": "Grüße & 1/2", "shelf": null}),
        json!({"sku": format!("{long}1")}),
        json!({"sku": format!("{long}2")}),
        json!({"sku": null, "places": ["10"]}),
        json!({}),
    ] {
        posted.push(id(&move_part(&world, &staff, data).await));
    }
    for step in ["from the log", "from the index"] {
        for (query, expected) in [
            ("sku=10", &[0][..]),
            ("sku=10.0", &[1]),
            ("sku=10.00", &[]),
            ("sku=true", &[2]),
            ("sku=", &[3]),
            ("sku=Gr%C3%BC%C3%9Fe%20%26%201%2F2", &[4]),
            ("sku=gr%C3%BC%C3%9Fe%20%26%201%2F2", &[]),
            (&*format!("sku={long}1"), &[5]),
            (&*format!("sku={long}"), &[]),
            ("sku=null", &[]),
            ("quantity=10", &[0]),
            ("quantity=10.0", &[0]),
            ("quantity=1e1", &[0]),
            ("quantity=%2010", &[]),
            ("quantity=ten", &[]),
            ("price=10.5", &[0, 1]),
            ("price=10.500", &[0, 1]),
            ("price=1000", &[2]),
            ("price=-0.25", &[3]),
            ("urgent=true", &[0]),
            ("urgent=false", &[1]),
            ("urgent=1", &[]),
            ("shelf=A", &[0]),
            ("shelf=1", &[1]),
            ("shelf=null", &[]),
        ] {
            let found = ids(&world, &staff, &format!("/events?data.{query}&order=asc")).await;
            let expected: Vec<String> = expected.iter().map(|place| posted[*place].clone()).collect();
            assert_eq!(found, expected, "{query} {step}");
        }
        world.projector.sweep().await.unwrap();
    }
}

#[tokio::test]
async fn callers_find_the_events_that_they_see() {
    let (world, staff) = world_with_parts().await;
    let (ada, bob, agent) = (Person::user(), Person::user(), Person::agent("pricing"));
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    world.post(&elsewhere, "/events/types", part()).await.expect(201);
    let mut all = Vec::new();
    for person in [&ada, &staff, &ada, &agent, &bob] {
        all.push(id(&move_part(&world, person, json!({"sku": "PUMP"})).await));
        move_part(&world, person, json!({"sku": "HOSE"})).await;
    }
    move_part(&world, &elsewhere, json!({"sku": "PUMP"})).await;
    for _ in 0..2 {
        for (person, places) in [
            (&staff, &[0, 1, 2, 3, 4][..]),
            (&Person::service("crm"), &[0, 1, 2, 3, 4]),
            (&ada, &[0, 2]),
            (&bob, &[4]),
            (&agent, &[3]),
            (&Person::user(), &[]),
        ] {
            let mut expected: Vec<String> = places.iter().map(|place| all[*place].clone()).collect();
            for order in ["asc", "desc"] {
                for limit in [1, 2, 100] {
                    let path = format!("/events?data.sku=PUMP&order={order}&limit={limit}");
                    assert_eq!(ids(&world, person, &path).await, expected, "{} {path}", person.actor());
                }
                expected.reverse();
            }
        }
        assert_eq!(ids(&world, &elsewhere, "/events?data.sku=PUMP").await.len(), 1);
        world.projector.sweep().await.unwrap();
    }
}

#[tokio::test]
async fn a_field_that_is_not_indexed_is_refused_and_the_indexed_ones_are_named() {
    let (world, staff) = world_with_parts().await;
    let user = Person::user();
    for (query, words) in [
        (
            "data.colour=red",
            "any of these event types; indexed are price, quantity, shelf, sku, urgent",
        ),
        (
            "data.places=10&event_type=part.moved",
            "part.moved; indexed are price, quantity, shelf, sku, urgent",
        ),
        (
            "data.sku=1&event_type=product.created&event_type=product.updated",
            "product.updated; no field is",
        ),
        ("data.sku=1&event_type=order.*", "any of these event types; no field is"),
        (
            "data.sku=1&aggregate_type=order",
            "any of these event types; no field is",
        ),
        (
            "data.sku=1&event_type=nothing.known",
            "any of these event types; no field is",
        ),
        (
            "data.price=1&aggregate_type=product",
            "any of these event types; indexed are sku",
        ),
        ("data.=1", "any of these event types"),
        ("data.address.city=Pisa", "any of these event types"),
        ("data.sku%20=1", "any of these event types"),
    ] {
        for person in [&staff, &user] {
            for list in ["events?", "events?order=asc&", "events/feed?", "events/feed?after=now&"] {
                let answer = refused(&world, person, &format!("/{list}{query}")).await;
                let detail = answer.body["detail"].as_str().unwrap();
                assert!(
                    detail.contains(words) && detail.contains("POST /api/v1/events/types"),
                    "{detail}"
                );
                let name = query.split('=').next().unwrap().replace("%20", " ");
                assert_eq!(answer.body["errors"][0]["pointer"], format!("?{name}"));
            }
        }
    }
    // A pattern takes the types that declare the field.
    for query in [
        "event_type=product.*",
        "event_type=product.*&event_type=part.*",
        "aggregate_type=part",
        "",
    ] {
        world
            .get(&staff, &format!("/events?data.sku=1&{query}"))
            .await
            .expect(200);
    }
    for query in ["data.sku=1&data.sku=2", "data.sku=1&data.price=2"] {
        let answer = world.get(&staff, &format!("/events?{query}")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{query}");
    }
    for list in ["/events/unprocessed", "/audit/recent", "/audit/entity/A"] {
        let answer = world.get(&staff, &format!("{list}?data.sku=1")).await;
        assert_eq!(answer.problem(400), "invalid_parameter", "{list}");
    }
}

#[tokio::test]
async fn a_cursor_belongs_to_its_field_and_value() {
    let (world, staff) = world_with_parts().await;
    for _ in 0..3 {
        move_part(&world, &staff, json!({"sku": "PUMP"})).await;
    }
    let page = world.get(&staff, "/events?data.sku=PUMP&limit=1").await.expect(200);
    let cursor = page.body["next_cursor"].as_str().unwrap();
    world
        .get(&staff, &format!("/events?data.sku=PUMP&cursor={cursor}"))
        .await
        .expect(200);
    for query in ["data.sku=HOSE", "data.quantity=1", ""] {
        let answer = world.get(&staff, &format!("/events?{query}&cursor={cursor}")).await;
        assert_eq!(answer.problem(400), "invalid_cursor", "{query}");
    }
}

#[tokio::test]
async fn the_feed_waits_for_events_with_the_value() {
    let (world, staff) = world_with_parts().await;
    let feed = "/events/feed?data.sku=PUMP";
    move_part(&world, &staff, json!({"sku": "PUMP"})).await;
    let first = world.get(&staff, feed).await.expect(200);
    assert_eq!(first.items().len(), 1);
    let after = format!("{feed}&after={}", first.body["cursor"].as_str().unwrap());
    world.projector.sweep().await.unwrap();
    let waiting = format!("{after}&wait=20");
    let waits = world.get(&staff, &waiting);
    let posts = async {
        move_part(&world, &staff, json!({"sku": "HOSE"})).await;
        move_part(&world, &staff, json!({"sku": "PUMP"})).await
    };
    let (found, posted) = tokio::join!(waits, posts);
    assert_eq!(found.items()[0]["id"], posted["id"]);
    assert_eq!(found.items().len(), 1);
    assert_eq!(world.get(&staff, &after).await.items()[0]["id"], posted["id"]);
}

/// A field may be declared when the type has events already, and the sweep needs several steps for them.
#[tokio::test]
async fn events_from_before_the_declaration_are_found_at_every_step_of_the_index() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut expected = Vec::new();
    let version = part_at("1.0", &json!({"indexed": null}));
    world.post(&staff, "/events/types", version).await.expect(201);
    for place in 0..12 {
        let sku = if place % 3 == 0 { "PUMP" } else { "HOSE" };
        let event = move_part(&world, &staff, json!({"sku": sku, "quantity": 1})).await;
        if place % 3 == 0 {
            expected.push(id(&event));
        }
    }
    world.projector.sweep().await.unwrap();
    assert_eq!(number(&world, VALUES).await, 0);
    refused(&world, &staff, "/events?data.sku=PUMP&event_type=part.moved").await;

    let version = part_at("1.1", &json!({"indexed": ["sku"]}));
    let answer = world.post(&staff, "/events/types", version).await.expect(201);
    assert_eq!(answer.body["indexed"], json!(["sku"]));
    expected.push(id(&move_part(&world, &staff, json!({"sku": "PUMP"})).await));
    let mut steps = 0;
    loop {
        let newest: Vec<String> = expected.iter().rev().cloned().collect();
        assert_eq!(
            ids(&world, &staff, "/events?data.sku=PUMP&order=asc&limit=2").await,
            expected
        );
        assert_eq!(ids(&world, &staff, "/events?data.sku=PUMP&limit=2").await, newest);
        if number(&world, "select annals.fill_field_index(3)::int::bigint").await == 0 {
            break;
        }
        steps += 1;
    }
    assert_eq!((steps, number(&world, VALUES).await), (4, 12));
    world.projector.sweep().await.unwrap();
    assert_eq!(number(&world, VALUES).await, 13);
    assert_eq!(ids(&world, &staff, "/events?data.sku=PUMP&order=asc").await, expected);

    // Without the member the declaration stays; an empty list ends it, and the sweep removes the values.
    let version = part_at("1.2", &json!({"indexed": null}));
    let answer = world.post(&staff, "/events/types", version).await.expect(201);
    assert_eq!(answer.body["indexed"], json!(["sku"]));
    let version = part_at("1.3", &json!({"indexed": []}));
    let answer = world.post(&staff, "/events/types", version).await.expect(201);
    assert_eq!(answer.body["indexed"], json!([]));
    refused(&world, &staff, "/events?data.sku=PUMP&event_type=part.moved").await;
    world.projector.sweep().await.unwrap();
    assert_eq!(number(&world, VALUES).await, 0);
    let rows = "select count(*) from annals.indexed_fields where tenant_id is not null";
    assert_eq!(number(&world, rows).await, 0);

    // Again, for the events that are there now.
    let version = part_at("1.4", &json!({"indexed": ["sku", "quantity"]}));
    world.post(&staff, "/events/types", version).await.expect(201);
    assert_eq!(ids(&world, &staff, "/events?data.sku=PUMP&order=asc").await, expected);
    world.projector.sweep().await.unwrap();
    assert_eq!(number(&world, VALUES).await, 13 + 12);
    assert_eq!(ids(&world, &staff, "/events?data.sku=PUMP&order=asc").await, expected);
}

/// A type that a list was resolved for may lose its declaration before the list is read: the events are then read from the log.
#[tokio::test]
async fn a_list_is_complete_even_if_the_declaration_ends_while_it_is_read() {
    let (world, staff) = world_with_parts().await;
    move_part(&world, &staff, json!({"sku": "PUMP"})).await;
    world.projector.sweep().await.unwrap();
    let client = world.session_of(&staff).await;
    let sql = "select count(*) from annals.list_events_of_field(true, null, 10, 4194304, event_types => '{part.moved}', field => 'sku',
        wanted => array['\"PUMP\"'::jsonb])";
    let found = async || client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(found().await, 1);
    let version = part_at("1.1", &json!({"indexed": []}));
    world.post(&staff, "/events/types", version).await.expect(201);
    assert_eq!(found().await, 1);
    world.projector.sweep().await.unwrap();
    assert_eq!(found().await, 1);
}

/// A process keeps the catalog in memory.
#[tokio::test]
async fn a_process_knows_at_once_what_another_one_has_registered() {
    let (world, staff) = (World::new().await, Person::staff());
    let other = world.elsewhere();
    assert!(ids(&other, &staff, "/events?data.sku=PUMP").await.is_empty());
    world.post(&staff, "/events/types", part()).await.expect(201);
    let event = move_part(&world, &staff, json!({"sku": "PUMP"})).await;
    assert_eq!(ids(&other, &staff, "/events?data.sku=PUMP").await, [id(&event)]);
    let version = part_at("1.1", &json!({"indexed": []}));
    world.post(&staff, "/events/types", version).await.expect(201);
    refused(&other, &staff, "/events?data.sku=PUMP&event_type=part.moved").await;
}

#[tokio::test]
async fn sweeps_at_the_same_moment_index_each_event_once_and_appends_none() {
    let (world, staff) = world_with_parts().await;
    for _ in 0..5 {
        move_part(&world, &staff, json!({"sku": "PUMP", "quantity": 2})).await;
    }
    assert_eq!(number(&world, VALUES).await, 0);
    let revision = "select revision from annals.catalog_revision";
    let before = number(&world, revision).await;
    let sweeps: [_; 4] = std::array::from_fn(|_| world.projector.sweep());
    for swept in futures_util::future::join_all(sweeps).await {
        swept.unwrap();
    }
    assert_eq!(number(&world, VALUES).await, 10);
    assert_eq!(
        number(&world, revision).await,
        before,
        "appends need not read the catalog again"
    );
    // A built-in field is indexed for every tenant.
    let product = json!({"sku": "PUMP", "name": "Pump"});
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    world.append(&staff, "product.created", "P-1", product.clone()).await;
    world.append(&elsewhere, "product.created", "P-1", product).await;
    for _ in 0..2 {
        assert_eq!(ids(&world, &elsewhere, "/events?data.sku=PUMP").await.len(), 1);
        assert_eq!(ids(&world, &staff, "/events?data.sku=PUMP").await.len(), 6);
        world.projector.sweep().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_of_too_much_that_is_not_indexed_yet_is_refused_until_the_sweep() {
    let (world, staff) = world_with_parts().await;
    let sku = move_part(&world, &staff, json!({"sku": "PUMP"})).await;
    let many = "insert into annals.events (event_number, created_at, \"timestamp\", id, tenant_id, aggregate_version, event_type, aggregate_type,
                       aggregate_id, version, created_by, posted_by, started_by, source, data, metadata)
                select nextval('annals.event_numbers'), now(), now(), gen_random_uuid(), '00000000-0000-0000-0000-000000000000', n, 'part.moved', 'part', 'many',
                       '1.0', 'system', 'system', 'system', 'api', '{\"sku\": \"HOSE\"}', '{}' from generate_series(1, 100000) as n;
                insert into annals.heads (tenant_id, aggregate_type, aggregate_id, version, projected_version, last_created_at, started_by)
                values ('00000000-0000-0000-0000-000000000000', 'part', 'many', 100000, 100000, now(), 'system')";
    world.superuser().await.batch_execute(many).await.unwrap();
    let answer = world.get(&staff, "/events?data.sku=PUMP").await;
    assert_eq!(answer.problem(503), "field_index_behind");
    assert!(answer.header("retry-after").is_some());
    // Others read what is theirs, and what another filter leaves is little.
    assert!(ids(&world, &Person::user(), "/events?data.sku=PUMP").await.is_empty());
    let stream = format!(
        "/events?data.sku=PUMP&aggregate_id={}",
        sku["aggregate_id"].as_str().unwrap()
    );
    assert_eq!(ids(&world, &staff, &stream).await, [id(&sku)]);
    world.projector.sweep().await.unwrap();
    assert_eq!(ids(&world, &staff, "/events?data.sku=PUMP").await, [id(&sku)]);
    assert_eq!(
        world
            .get(&staff, "/events?data.sku=HOSE&limit=1000")
            .await
            .items()
            .len(),
        1000
    );
}
