//! The shortest test of the whole path.

use serde_json::json;
use tests::{Person, World};

#[tokio::test]
async fn an_event_is_appended_projected_and_read() {
    let world = World::new().await;
    let staff = Person::staff();
    let event = world
        .append(
            &staff,
            "customer.registered",
            "C-1",
            json!({"name": "Ada", "email": "ada@example.com"}),
        )
        .await;
    assert_eq!(event["aggregate_version"], 1);
    world.project().await;
    let entity = world.get(&staff, "/entities/customer/C-1").await.expect(200);
    assert_eq!(entity.body["projected_version"], 1);
    let row = world
        .owner()
        .await
        .query_one("select name from public.customers", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, String>(0), "Ada");
}
