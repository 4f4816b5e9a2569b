//! `/audit/…`: who did what, when, and how often.

mod changes;
mod fields;
mod names;

use serde_json::{Value, json};
use tests::{Person, World, redacted};
use uuid::Uuid;

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

fn id(event: &Value) -> &str {
    event["id"].as_str().unwrap()
}

#[tokio::test]
async fn events_of_an_entity_of_any_type_are_listed_newest_first() {
    let world = World::new().await;
    let staff = Person::staff();
    let created = world
        .append(&staff, "customer.created", "X-1", json!({"name": "N"}))
        .await;
    let order = world
        .append(&staff, "order.created", "X-1", json!({"customer_id": "X-1"}))
        .await;
    let updated = world
        .append(&staff, "customer.profile_updated", "X-1", json!({"phone": "1"}))
        .await;
    world
        .append(&staff, "customer.created", "X-2", json!({"name": "N"}))
        .await;
    let found = world.get(&staff, "/audit/entity/X-1").await.expect(200);
    assert_eq!(ids(found.items()), [id(&updated), id(&order), id(&created)]);
    for (item, event) in found.items().iter().zip([&updated, &order, &created]) {
        for (member, value) in event.as_object().unwrap() {
            assert_eq!(&item[member], value, "{member}");
        }
    }
    let customer = world
        .get(&staff, "/audit/entity/X-1?entity_type=customer")
        .await
        .expect(200);
    assert_eq!(ids(customer.items()), [id(&updated), id(&created)]);
    for nothing in ["/audit/entity/X-3", "/audit/entity/X-1?entity_type=dealer"] {
        assert_eq!(
            world.get(&staff, nothing).await.expect(200).body,
            json!({"items": [], "next_cursor": null})
        );
    }
    for (path, count) in [
        ("X-1", 3),
        ("X-1?entity_type=order", 1),
        ("X-2", 1),
        ("X-3", 0),
        ("X-1?entity_type=dealer", 0),
    ] {
        let answer = world.get(&staff, &format!("/audit/count/{path}")).await.expect(200);
        assert_eq!(answer.body, json!({"entity_id": &path[..3], "count": count}), "{path}");
    }
}

#[tokio::test]
async fn ids_that_need_escaping_work_like_others() {
    let world = World::new().await;
    let staff = Person::staff();
    for (aggregate_id, escaped) in [
        ("sale/1", "sale%2F1"),
        ("a b?c#d%", "a%20b%3Fc%23d%25"),
        ("ü€", "%C3%BC%E2%82%AC"),
        ("...", "%2E%2E%2E"),
    ] {
        let event = world
            .append(&staff, "customer.created", aggregate_id, json!({"name": "N"}))
            .await;
        for path in [
            format!("/audit/entity/{escaped}"),
            format!("/events/aggregate/customer/{escaped}/history"),
            format!("/events?aggregate_id={escaped}"),
        ] {
            assert_eq!(
                ids(world.get(&staff, &path).await.expect(200).items()),
                [id(&event)],
                "{path}"
            );
        }
        assert_eq!(
            world.get(&staff, &format!("/audit/count/{escaped}")).await.body,
            json!({"entity_id": aggregate_id, "count": 1})
        );
        assert_eq!(
            world
                .get(&staff, &format!("/entities/customer/{escaped}"))
                .await
                .expect(200)
                .body["aggregate_id"],
            aggregate_id
        );
    }
}

#[tokio::test]
async fn events_of_a_person_are_found_by_uuid_and_those_of_agents_and_services_by_name() {
    let world = World::new().await;
    let (staff, ada, agent, service) = (
        Person::staff(),
        Person::user(),
        Person::agent("pricing"),
        Person::service("crm"),
    );
    let data = json!({"name": "N", "email": "a@b.cd"});
    let own = world.append(&ada, "customer.registered", "C-1", data.clone()).await;
    let proposed = world
        .append(&agent, "agent.decision_proposed", "D-1", json!({"decision": "D"}))
        .await;
    let event = |created_by: String, user: Option<Uuid>| {
        json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": Uuid::new_v4(), "data": data,
               "created_by": created_by, "user_id": user})
    };
    let for_ada = world
        .post(&service, "/events", event(ada.actor(), None))
        .await
        .expect(201)
        .body;
    let by_agent_for_ada = world
        .post(&service, "/events", event("agent:pricing".to_owned(), Some(ada.sub)))
        .await
        .expect(201)
        .body;
    let by_service = world.append(&service, "customer.registered", "C-2", data.clone()).await;
    for (who, expected) in [
        (ada.sub.to_string(), vec![&by_agent_for_ada, &for_ada, &own]),
        (
            ada.sub.to_string().to_uppercase(),
            vec![&by_agent_for_ada, &for_ada, &own],
        ),
        (ada.actor(), vec![&for_ada, &own]),
        ("agent:pricing".to_owned(), vec![&by_agent_for_ada, &proposed]),
        ("service:crm".to_owned(), vec![&by_service]),
        ("system".to_owned(), vec![]),
        (Uuid::new_v4().to_string(), vec![]),
    ] {
        let found = world.get(&staff, &format!("/audit/user/{who}")).await.expect(200);
        assert_eq!(
            ids(found.items()),
            expected.into_iter().map(id).collect::<Vec<_>>(),
            "{who}"
        );
    }
    insta::assert_snapshot!(redacted(&by_agent_for_ada), @r#"
    {
      "aggregate_id": "[uuid]",
      "aggregate_type": "customer",
      "aggregate_version": 1,
      "causation_id": null,
      "command_id": null,
      "correlation_id": null,
      "created_at": "[time]",
      "created_by": "agent:pricing",
      "created_by_name": "pricing",
      "data": {
        "email": "a@b.cd",
        "name": "N"
      },
      "event_number": 4,
      "event_type": "customer.registered",
      "id": "[uuid]",
      "idempotency_key": null,
      "metadata": {},
      "processed": false,
      "recorded": {
        "posted_by": "service:crm",
        "request_id": "[uuid]"
      },
      "source": "api",
      "tenant_id": "00000000-0000-0000-0000-000000000000",
      "timestamp": "[time]",
      "user_id": "[uuid]",
      "version": "1.0"
    }
    "#);
}

/// Moves recorded times back; this is only possible with the triggers disabled.
async fn age(world: &World, event: &Value, hours: i32) {
    let sql = format!(
        "alter table annals.events disable trigger all;
         update annals.events set created_at = created_at - interval '{hours} hours' where id = '{}'",
        id(event)
    );
    world.superuser().await.batch_execute(&sql).await.unwrap();
}

#[tokio::test]
async fn recent_covers_the_last_day_unless_hours_are_given() {
    let world = World::new().await;
    let staff = Person::staff();
    let mut events = Vec::new();
    for hours in [100, 47, 25, 23, 0] {
        let event = world
            .append(&staff, "customer.created", &format!("C-{hours}"), json!({"name": "N"}))
            .await;
        age(&world, &event, hours).await;
        events.insert(0, id(&event).to_owned());
    }
    let order = world
        .append(&staff, "order.created", "O-1", json!({"customer_id": "C"}))
        .await;
    for (query, expected) in [
        ("?entity_type=customer", &events[..2]),
        ("?entity_type=customer&hours=24", &events[..2]),
        ("?entity_type=customer&hours=1", &events[..1]),
        ("?entity_type=customer&hours=26", &events[..3]),
        ("?hours=876600&entity_type=customer", &events[..]),
        ("?entity_type=order", &[id(&order).to_owned()][..]),
        ("?entity_type=dealer", &[]),
    ] {
        assert_eq!(
            ids(world
                .get(&staff, &format!("/audit/recent{query}"))
                .await
                .expect(200)
                .items()),
            expected,
            "{query}"
        );
        let separator = if query.is_empty() { '?' } else { '&' };
        assert_eq!(
            ids(&world
                .all_pages(&staff, &format!("/audit/recent{query}{separator}limit=1"))
                .await),
            expected,
            "{query}"
        );
    }
    assert_eq!(world.get(&staff, "/audit/recent").await.expect(200).items().len(), 3);
    for bad in [
        "hours=0",
        "hours=-1",
        "hours=1.5",
        "hours=all",
        "hours=",
        "hours=876601",
        "hours=1&hours=2",
        "hours=99999999999",
    ] {
        assert_eq!(
            world.get(&staff, &format!("/audit/recent?{bad}")).await.problem(400),
            "invalid_parameter",
            "{bad}"
        );
    }
}
