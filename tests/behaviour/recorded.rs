//! `recorded` holds what the server observed of a request, `metadata` what the client sent. Neither can be mistaken for the other.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Person, World};

fn event(id: &str, metadata: &Value) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}, "metadata": metadata})
}

/// Posts an event by SQL that must be refused; returns SQLSTATE and code of the refusal.
async fn refused_by_sql(world: &World, person: &Person, event: &Value) -> (String, String) {
    let post = "select public.post_event($1::text::jsonb)";
    let session = world.session_of(person).await;
    let error = session.execute(post, &[&event.to_string()]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    (error.code().code().to_owned(), error.constraint().unwrap().to_owned())
}

/// Metadata that look like the server's observations stay the client's, as they were sent.
#[tokio::test]
async fn metadata_stay_as_sent_and_observations_are_in_recorded() {
    let (world, user) = (World::without_requirements().await, Person::user());
    let metadata = json!({"ip_address": "8.8.8.8", "user_agent": "x", "request_id": "r", "posted_by": "service:billing",
                          "source": "sweep", "correlation_id": "mine"});
    let headers = [("user-agent", "curl/8"), ("x-forwarded-for", "10.0.0.1, 192.0.2.7")];
    let post = async |body: Value| {
        world
            .request(Method::POST, &user, "/events", &headers, Some(body))
            .await
    };
    let single = post(event("C-1", &metadata)).await.expect(201);
    let batch = post(json!({"events": [event("C-2", &metadata)]})).await.expect(201);
    for (answer, stored) in [(&single, &single.body), (&batch, &batch.items()[0])] {
        assert_eq!(stored["metadata"], metadata);
        let request_id = answer.header("x-request-id").unwrap();
        let observed = json!({"ip_address": "192.0.2.7", "user_agent": "curl/8", "request_id": request_id, "posted_by": user.actor()});
        assert_eq!(stored["recorded"], observed);
        let read = world
            .get(&user, &format!("/events/{}", stored["id"].as_str().unwrap()))
            .await;
        assert_eq!(&read.expect(200).body, stored);
    }
    for id in ["C-1", "C-2"] {
        let stored = if id == "C-1" { &single.body } else { &batch.items()[0] };
        let history = format!("/events/aggregate/customer/{id}/history");
        let history = world.get(&user, &history).await.expect(200);
        assert_eq!(history.items()[0]["recorded"], stored["recorded"]);
        let sql = "select jsonb_agg(jsonb_build_array(recorded, metadata))::text from public.get_aggregate_events('customer', $1)";
        let row = world.session_of(&user).await.query_one(sql, &[&id]).await.unwrap();
        let by_sql: Value = serde_json::from_str(row.get(0)).unwrap();
        assert_eq!(by_sql, json!([[stored["recorded"], stored["metadata"]]]));
    }
}

/// Reads add `migration_applied` to the metadata of an upcast event, so no client may send it.
#[tokio::test]
async fn metadata_that_claim_an_event_was_upcast_are_refused_over_http_and_sql() {
    let world = World::without_requirements().await;
    for person in [Person::user(), Person::staff(), Person::service("crm")] {
        let before = world.log().await;
        for value in [json!("1.0_to_2.0"), Value::Null] {
            let forged = event("C-1", &json!({"note": "n", "migration_applied": value}));
            let fine = event(
                "C-1",
                &json!({"note": "migration_applied", "within": {"migration_applied": 1}}),
            );
            for (body, pointer) in [
                (forged.clone(), "/metadata/migration_applied"),
                (
                    json!({"events": [fine, forged.clone()]}),
                    "/events/1/metadata/migration_applied",
                ),
            ] {
                let answer = world.post(&person, "/events", body).await;
                assert_eq!(answer.problem(422), "reserved_metadata");
                let error = &answer.body["errors"][0];
                assert_eq!(
                    (&error["pointer"], &error["code"]),
                    (&json!(pointer), &json!("reserved_metadata"))
                );
            }
            assert_eq!(refused_by_sql(&world, &person, &forged).await.1, "reserved_metadata");
        }
        assert_eq!(world.log().await, before);
    }
}

#[tokio::test]
async fn recorded_is_refused_from_callers_over_http_and_sql() {
    let world = World::without_requirements().await;
    for person in [Person::user(), Person::staff(), Person::service("crm")] {
        let mut forged = event("C-1", &json!({}));
        forged["recorded"] = json!({"posted_by": "service:billing"});
        let before = world.log().await;
        let answer = world.post(&person, "/events", forged.clone()).await;
        assert_eq!(answer.problem(400), "malformed_request");
        assert_eq!(answer.body["errors"][0]["pointer"], "/recorded");
        let batch = world.post(&person, "/events", json!({"events": [forged]})).await;
        assert_eq!(batch.body["errors"][0]["pointer"], "/events/0/recorded");
        assert_eq!(refused_by_sql(&world, &person, &forged).await.1, "malformed_event");
        assert_eq!(world.log().await, before);
    }
}

#[tokio::test]
async fn events_that_annals_appends_for_a_caller_record_who_asked_and_from_where() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let headers = [("user-agent", "curl/8"), ("idempotency-key", "k-1")];
    let created = json!({"id": "C-1", "name": "Ada"});
    world.post(&staff, "/entities/customer", created).await.expect(201);
    let change = Some(json!({"name": "Grace"}));
    world
        .request(
            Method::PATCH,
            &staff,
            "/entities/customer/C-1?reason=asked",
            &headers,
            change,
        )
        .await
        .expect(200);
    let changed = world
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200)
        .items()[1]
        .clone();
    assert_eq!(
        changed["metadata"],
        json!({"reason": "asked"}),
        "metadata hold only the reason that was sent"
    );
    assert_eq!(
        (&changed["recorded"]["posted_by"], &changed["recorded"]["user_agent"]),
        (&json!(staff.actor()), &json!("curl/8"))
    );
    let path = format!("/events/{}/compensate", changed["id"].as_str().unwrap());
    let headers = [("user-agent", "curl/8"), ("idempotency-key", "k-2")];
    let body = json!({"reason": "typo", "metadata": {"ticket": 7}});
    let answer = world
        .request(Method::POST, &staff, &path, &headers, Some(body.clone()))
        .await
        .expect(201);
    assert_eq!(answer.body["metadata"], json!({"reason": "typo", "ticket": 7}));
    assert_eq!(answer.body["recorded"]["user_agent"], "curl/8");
    let again = world
        .request(Method::POST, &staff, &path, &headers, Some(body))
        .await
        .expect(200);
    assert_eq!(again.body["id"], answer.body["id"]);
}

/// The size limit is the same for every event, whichever interface appends it.
#[tokio::test]
async fn too_large_an_event_is_refused_over_http_crud_and_sql() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let large = "x".repeat(256 * 1024);
    world
        .post(
            &staff,
            "/entities/product",
            json!({"id": "P-1", "sku": "S", "name": "N"}),
        )
        .await
        .expect(201);
    world.take_wake_ups().await;
    let before = world.log().await;
    let product = json!({"id": "P-2", "sku": "S", "name": "N", "description": large});
    let event =
        json!({"event_type": "product.created", "aggregate_type": "product", "aggregate_id": "P-2", "data": product});
    let fat = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C", "data": {"phone": "1"},
                     "metadata": {"x": "x".repeat(16 * 1024)}});
    for (answer, code) in [
        (world.post(&staff, "/events", event.clone()).await, "data_too_large"),
        (
            world.post(&staff, "/events", json!({"events": [event]})).await,
            "data_too_large",
        ),
        (world.post(&staff, "/entities/product", product).await, "data_too_large"),
        (
            world
                .patch(&staff, "/entities/product/P-1", json!({"description": large}))
                .await,
            "data_too_large",
        ),
        (world.post(&staff, "/events", fat.clone()).await, "metadata_too_large"),
    ] {
        assert_eq!(answer.problem(413), code, "{}", answer.text);
        let detail = answer.body["detail"].as_str().unwrap();
        let most = if code == "data_too_large" { "262144" } else { "16384" };
        assert!(detail.contains(most) && detail.len() < 200, "{detail}");
    }
    for (body, code) in [(&event, "data_too_large"), (&fat, "metadata_too_large")] {
        let refused = refused_by_sql(&world, &staff, body).await;
        assert_eq!(refused, ("PT413".to_owned(), code.to_owned()));
    }
    assert_eq!(world.log().await, before);
}
