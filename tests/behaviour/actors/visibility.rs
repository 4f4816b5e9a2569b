//! What a caller may not see looks exactly like what does not exist.

use serde_json::json;
use tests::{Person, World};
use uuid::Uuid;

use super::{place_order, registered};

#[tokio::test]
async fn what_a_caller_may_not_see_is_answered_404() {
    let world = World::new().await;
    let (ada, eve, agent, staff) = (
        Person::user(),
        Person::user(),
        Person::agent("pricing"),
        Person::staff(),
    );
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    let event = world.post(&ada, "/events", registered("C-1")).await.expect(201).body;
    let id = event["id"].as_str().unwrap();
    let paths = [
        format!("/events/{id}"),
        "/events/aggregate/customer/C-1/history".to_owned(),
        "/entities/customer/C-1".to_owned(),
    ];
    let lists = [
        "/events",
        "/events?aggregate_id=C-1",
        "/events?event_type=customer.*",
        "/audit/entity/C-1",
        "/audit/recent",
        "/entities/customer",
        "/events/unprocessed",
    ];
    let user_list = format!("/audit/user/{}", ada.sub);
    for projected in [false, true] {
        for person in [&ada, &staff, &Person::service("crm")] {
            for path in &paths {
                world.get(person, path).await.expect(200);
            }
            for list in lists.into_iter().chain([&*user_list]) {
                let expected = usize::from(!(projected && list == "/events/unprocessed"));
                assert_eq!(
                    world.all_pages(person, list).await.len(),
                    expected,
                    "{list} {:?}",
                    person.role
                );
            }
            assert_eq!(world.get(person, "/audit/count/C-1").await.body["count"], 1);
        }
        for person in [&eve, &agent, &stranger] {
            for path in &paths {
                assert_eq!(world.get(person, path).await.problem(404), "not_found", "{path}");
            }
            for list in lists.into_iter().chain([&*user_list]) {
                assert!(
                    world.all_pages(person, list).await.is_empty(),
                    "{list} {:?}",
                    person.role
                );
            }
            assert_eq!(world.get(person, "/audit/count/C-1").await.body["count"], 0);
            assert_eq!(
                world.get(person, "/events/stats").await.expect(200).body["total_events"],
                0
            );
            for (method, body) in [
                (axum::http::Method::PATCH, Some(json!({"name": "Eve"}))),
                (axum::http::Method::DELETE, None),
            ] {
                let answer = world.request(method, person, "/entities/customer/C-1", &[], body).await;
                assert_eq!(answer.problem(404), "not_found");
            }
        }
        world.project().await;
    }
    assert_eq!(world.log().await.events, 1);
}

#[tokio::test]
async fn the_starter_of_an_order_sees_all_of_it_and_another_actor_only_its_own_events() {
    let world = World::new().await;
    let (ada, staff, service) = (Person::user(), Person::staff(), Person::service("crm"));
    place_order(&world, &ada, &staff).await;
    world.post(&staff, "/events", registered("C-2")).await.expect(201);
    let guest = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-2",
                       "data": {"phone": "2"}, "created_by": ada.actor()});
    world.post(&service, "/events", guest).await.expect(201);
    let history = world.get(&ada, "/events/aggregate/order/O-1/history").await.expect(200);
    assert_eq!(history.items().len(), 2);
    assert_eq!(
        world.get(&ada, "/entities/order/O-1").await.expect(200).body["version"],
        2
    );
    let history = world
        .get(&ada, "/events/aggregate/customer/C-2/history")
        .await
        .expect(200);
    assert_eq!(
        history
            .items()
            .iter()
            .map(|e| e["aggregate_version"].clone())
            .collect::<Vec<_>>(),
        [json!(2)]
    );
    // A state that left out hidden events would be wrong, so none is answered.
    world.get(&ada, "/entities/customer/C-2").await.problem(404);
}
