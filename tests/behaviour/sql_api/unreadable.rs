//! Rows that functions could not read must be refused in the database, because one such row would stop all readers of the tenant,
//! or the projector for all tenants.

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

/// Appends without `post_event`, by the function that every append uses.
async fn append(world: &World, aggregate_id: &str, data: &str, timestamp: &str) -> Result<(), String> {
    let sql = "select annals.append_event(current_setting('request.jwt.claims')::jsonb,
                   jsonb_build_object('id', $1::text, 'event_type', 'customer.created', 'aggregate_type', 'customer', 'aggregate_id', $2::text,
                                      'timestamp', $4::text), $3::text::jsonb, '{}', '{}', null)";
    let session = world.appender(Some(&Person::staff())).await;
    let id = Uuid::now_v7().to_string();
    match session.execute(sql, &[&id, &aggregate_id, &data, &timestamp]).await {
        Ok(_) => Ok(()),
        Err(error) => Err(error
            .code()
            .map_or_else(|| panic!("{error:?}"), |code| code.code().to_owned())),
    }
}

fn nested(levels: usize) -> String {
    format!(r#"{{"a": {}{}}}"#, "[".repeat(levels), "]".repeat(levels))
}

#[tokio::test]
async fn events_that_could_not_be_read_back_are_refused_by_the_append_function() {
    let world = World::new().await;
    let before = world.log().await;
    let time = "2026-01-01T00:00:00Z";
    for (aggregate_id, data, timestamp) in [
        ("C-1", r#"{"name": "N"}"#, "infinity"),
        ("C-1", r#"{"name": "N"}"#, "-infinity"),
        ("C-1", r#"{"name": "N"}"#, "294276-12-31T23:59:59Z"),
        ("C-1", r#"{"name": "N"}"#, "0001-01-01 00:00:00 BC"),
        ("a\u{200b}b", r#"{"name": "N"}"#, time),
        ("a\u{85}", r#"{"name": "N"}"#, time),
        ("\u{feff}", r#"{"name": "N"}"#, time),
        ("a\u{1}", r#"{"name": "N"}"#, time),
        ("", r#"{"name": "N"}"#, time),
        ("C-1", &nested(127), time),
        ("C-1", &nested(1000), time),
        ("C-1", "[]", time),
    ] {
        let refused = append(&world, aggregate_id, data, timestamp).await;
        assert_eq!(
            refused,
            Err("PT422".to_owned()),
            "{aggregate_id:?} {timestamp} {:.40}",
            data
        );
    }
    assert_eq!(world.log().await, before);
    append(&world, "C-2", &nested(70), time).await.unwrap();
    world.projector.sweep().await.unwrap();
    let entity = world.get(&Person::staff(), "/entities/customer/C-2").await.expect(200);
    assert_eq!(
        (&entity.body["projected_version"], entity.body["state"]["a"].is_array()),
        (&json!(1), true)
    );
    assert_eq!(world.all_pages(&Person::staff(), "/events").await.len(), 1);
}

#[tokio::test]
async fn types_that_could_not_be_read_back_are_refused_by_the_table() {
    let world = World::new().await;
    let staff = Person::staff();
    let before = world.log().await;
    // Without the checks in Rust, which come first.
    let session = world.appender(Some(&staff)).await;
    let register = async |event_type: &str, aggregate_type: &str, effect: Value, schema: String| {
        let sql =
            "select annals.register_event_type(current_setting('request.jwt.claims')::jsonb, $1, $2, '1.0', 'A test.',
                                                     $3::text::jsonb, '{staff}', $4::text::jsonb, '{}')";
        session
            .execute(sql, &[&event_type, &aggregate_type, &effect.to_string(), &schema])
            .await
    };
    let plain = || r#"{"type": "object"}"#.to_owned();
    for effect in [
        json!("explode"),
        json!(null),
        json!({}),
        json!([]),
        json!({"add_child": 1}),
        json!({"add_child": "a", "set": {}}),
        json!({"merge": "a"}),
        json!({"set": []}),
        json!({"set": {"a": 1}}),
        json!({"set": {"a": "b"}}),
        json!({"set": {"a": {}}}),
        json!({"set": {"a": ["/a"]}}),
    ] {
        assert!(
            register("widget.made", "widget", effect.clone(), plain())
                .await
                .is_err(),
            "{effect}"
        );
    }
    for (event_type, aggregate_type) in [
        ("widget.part.made", "widget.part"),
        ("Widget.made", "Widget"),
        ("widget", "widget"),
        ("widget.made", ""),
    ] {
        assert!(
            register(event_type, aggregate_type, json!("merge"), plain())
                .await
                .is_err(),
            "{event_type} of {aggregate_type}"
        );
    }
    for levels in [130, 1000] {
        assert!(
            register("widget.made", "widget", json!("merge"), nested(levels))
                .await
                .is_err(),
            "{levels}"
        );
        let deep: Value = json!({"set": {"a": {"const": (0..levels).fold(json!(1), |inner, _| json!([inner]))}}});
        assert!(
            register("widget.made", "widget", deep, plain()).await.is_err(),
            "{levels}"
        );
    }
    for marked in ["Number", "RawValue"] {
        let schema = format!(r#"{{"properties": {{"a": {{"$serde_json::private::{marked}": "x"}}}}}}"#);
        let answer = register("widget.made", "widget", json!("merge"), schema).await;
        assert!(answer.is_err(), "{marked}");
    }
    assert_eq!(world.log().await, before);
    register(
        "widget.made",
        "widget",
        json!({"set": {"a": "/b", "c": {"const": null}, "all": ""}}),
        plain(),
    )
    .await
    .unwrap();
    // Another process, which reads the whole catalog.
    let elsewhere = world.elsewhere();
    elsewhere.append(&staff, "widget.made", "W-1", json!({"b": 1})).await;
    elsewhere.project().await;
    let entity = elsewhere.get(&staff, "/entities/widget/W-1").await.expect(200);
    assert_eq!(entity.body["state"], json!({"a": 1, "all": {"b": 1}, "c": null}));
}
