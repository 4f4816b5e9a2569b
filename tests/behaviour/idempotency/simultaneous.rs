//! Equal requests at the same moment, with the catalog as deployed: what a type requires of its stream must not refuse the second
//! request.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{TASKS, assert_one_new, count_events, post_concurrently, with};

fn registered(id: &str, name: &str, key: &str) -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": id, "idempotency_key": key,
           "data": {"name": name, "email": "a@example.com"}})
}

async fn post_by_sql(world: &World, person: &Person, event: &Value) -> Result<String, tokio_postgres::Error> {
    let session = world.session_of(person).await;
    let posted = "select public.post_event($1::text::jsonb) ->> 'id'";
    Ok(session.query_one(posted, &[&event.to_string()]).await?.get(0))
}

#[tokio::test]
async fn a_creation_from_thirty_two_tasks_is_appended_once() {
    let world = World::new().await;
    for person in [Person::staff(), Person::user(), Person::service("crm")] {
        let id = |name: &str| format!("{}-{name}", person.actor());
        let before = count_events(&world).await;
        assert_one_new(&post_concurrently(&world, &person, &registered(&id("a"), "N", "k-1")).await);
        let batch = json!({"events": [registered(&id("b"), "N", "k-2"), registered(&id("c"), "N", "k-3")]});
        assert_one_new(&post_concurrently(&world, &person, &batch).await);
        // A batch that has one more event beside the shared one.
        let posts = (0..TASKS).map(|task| {
            let own = registered(&id(&format!("own-{task}")), "N", &format!("own-{task}"));
            let batch = json!({"events": [own, registered(&id("d"), "N", "k-4")]});
            let (world, person) = (&world, &person);
            async move { world.post(person, "/events", batch).await.expect(201) }
        });
        join_all(posts).await;
        let appended = count_events(&world).await - before;
        assert_eq!(appended, 4 + i64::try_from(TASKS).unwrap());
    }
}

#[tokio::test]
async fn a_change_from_thirty_two_tasks_is_appended_once() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .post(&staff, "/events", registered("C-1", "N", "k"))
        .await
        .expect(201);
    let change = |key: &str| {
        let event = with(registered("C-1", "N", key), "event_type", "customer.profile_updated");
        with(event, "data", json!({"phone": "1"}))
    };
    assert_one_new(&post_concurrently(&world, &staff, &change("k-1")).await);
    let expecting = with(change("k-2"), "expected_version", 2);
    assert_one_new(&post_concurrently(&world, &staff, &expecting).await);
    assert_one_new(&post_concurrently(&world, &staff, &json!({"events": [change("k-3"), change("k-4")]})).await);
    assert_eq!(count_events(&world).await, 5);
}

#[tokio::test]
async fn a_creation_by_sql_from_many_sessions_is_appended_once() {
    let (world, service) = (World::new().await, Person::service("crm"));
    let event = registered("C-1", "N", "k");
    let posts = join_all((0..8).map(|_| post_by_sql(&world, &service, &event))).await;
    let mut ids: Vec<String> = posts.into_iter().map(|posted| posted.expect("an id")).collect();
    ids.dedup();
    assert_eq!((ids.len(), count_events(&world).await), (1, 1));
}

#[tokio::test]
async fn of_thirty_two_creations_with_one_key_one_is_appended() {
    let (world, staff) = (World::new().await, Person::staff());
    let posts = (0..TASKS).map(|task| {
        let event = registered("C-1", &format!("N{task}"), "k");
        let (world, staff) = (&world, &staff);
        async move { world.post(staff, "/events", event).await }
    });
    let answers = join_all(posts).await;
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    let refused = answers.iter().filter(|a| a.status != 201);
    assert!(refused.into_iter().all(|a| a.problem(422) == "idempotency_key_reused"));
}

/// The first request holds the stream when the second has already looked for the key: an interleaving that tasks reach only by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_request_waits_for_the_first_and_returns_its_event() {
    let (world, service) = (World::new().await, Person::service("crm"));
    for way in ["single", "batch", "sql"] {
        let event = registered(way, "N", way);
        let first = world.session_of(&service).await;
        first.batch_execute("begin").await.unwrap();
        let posted = "select public.post_event($1::text::jsonb) ->> 'id'";
        let row = first.query_one(posted, &[&event.to_string()]).await.unwrap();
        let original: String = row.get(0);
        let second = async {
            match way {
                "single" => {
                    let answer = world.post(&service, "/events", event.clone()).await.expect(200);
                    answer.body["id"].as_str().unwrap().to_owned()
                }
                "batch" => {
                    let batch = json!({"events": [event.clone()]});
                    let answer = world.post(&service, "/events", batch).await.expect(200);
                    answer.items()[0]["id"].as_str().unwrap().to_owned()
                }
                _ => post_by_sql(&world, &service, &event).await.unwrap(),
            }
        };
        let commit = async {
            world.until_waiting(1).await;
            first.batch_execute("commit").await.unwrap();
        };
        let (found, ()) = tokio::join!(second, commit);
        assert_eq!(found, original, "{way}");
    }
    assert_eq!(count_events(&world).await, 3);
}
