//! Child collections: each child has its row, by its own events alone, and decimals and dates arrive as they were written.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{catalog, event, kind_of};

/// The types of the catalog that add a child, and the collection.
fn adding(types: &[Value]) -> Vec<(String, String, Value)> {
    types
        .iter()
        .filter_map(|kind| {
            let collection = kind["effect"]["add_child"].as_str()?;
            Some((
                kind["event_type"].as_str()?.to_owned(),
                collection.to_owned(),
                kind["example"].clone(),
            ))
        })
        .collect()
}

#[tokio::test]
async fn a_child_that_is_added_changed_and_removed_leaves_its_table_and_its_siblings_stay() {
    let (world, service) = (World::without_requirements().await, Person::service("loader"));
    let types = catalog(&world).await;
    let example = |name: &str| {
        types
            .iter()
            .find(|kind| kind["event_type"] == name)
            .map(|kind| kind["example"].clone())
    };
    let all = adding(&types);
    let collections = "select count(*) from annals.state_tables where collection is not null";
    let collections: i64 = world
        .superuser()
        .await
        .query_one(collections, &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(all.len(), usize::try_from(collections).unwrap());
    for (added, collection, data) in &all {
        let kind = kind_of(added);
        let mut sibling = data.clone();
        sibling["id"] = json!("sibling");
        world.append(&service, added, "parent", data.clone()).await;
        world.append(&service, added, "parent", sibling.clone()).await;
        if let Some(change) = example(&format!("{kind}.{collection}.updated")) {
            assert_eq!(change["id"], data["id"], "{collection}");
            world
                .append(&service, &format!("{kind}.{collection}.updated"), "parent", change)
                .await;
        }
        let removed = example(&format!("{kind}.{collection}.removed")).unwrap();
        assert_eq!(removed["id"], data["id"], "{collection}");
        world
            .append(&service, &format!("{kind}.{collection}.removed"), "parent", removed)
            .await;
        let state = world
            .get(&service, &format!("/entities/{kind}/parent"))
            .await
            .expect(200);
        assert_eq!(state.body["state"][collection], json!([sibling]), "{kind} {collection}");
    }
    world.project().await;
    let tables = "select format('public.%I', table_name) from annals.state_tables where collection is not null";
    for table in world.superuser().await.query(tables, &[]).await.unwrap() {
        let rows = world.rows_of(table.get(0)).await;
        assert_eq!(
            (rows.len(), &rows[0]["id"]),
            (1, &json!("sibling")),
            "{}",
            table.get::<_, String>(0)
        );
    }
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn no_child_comes_in_by_its_parents_fields() {
    let (world, service) = (World::without_requirements().await, Person::service("loader"));
    let types = catalog(&world).await;
    let before = world.log().await;
    for (added, collection, child) in adding(&types) {
        let created = format!("{}.created", kind_of(&added));
        let mut data = types
            .iter()
            .find(|kind| kind["event_type"] == created.as_str())
            .unwrap()["example"]
            .clone();
        data[&collection] = json!([child]);
        let answer = world.post(&service, "/events", event(&created, "C", &data)).await;
        assert_eq!(answer.problem(422), "schema_violation", "{collection}");
        assert_eq!(answer.body["errors"][0]["pointer"], format!("/data/{collection}"));
        let changes = json!({"changes": {&collection: {"old": null, "new": [child]}}});
        let updated = created.replace("created", "updated");
        let answer = world.post(&service, "/events", event(&updated, "C", &changes)).await;
        assert_eq!(answer.problem(422), "schema_violation", "{collection}");
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn rates_and_days_of_commodities_arrive_as_they_were_written() {
    let (world, service) = (World::without_requirements().await, Person::service("loader"));
    for (event_type, text) in [
        (
            "commodity.tax_rate.added",
            r#"{"id": "gst", "rate": 5.00, "effective_from": "2017-07-01", "effective_to": null}"#,
        ),
        (
            "commodity.tax_rate.added",
            r#"{"id": "gst", "rate": 5.00, "effective_from": "2017-07-01"}"#,
        ),
        (
            "commodity.unit.added",
            r#"{"id": "candy", "name": "candy", "conversion_factor": 355.6200}"#,
        ),
        (
            "commodity.parameter.added",
            r#"{"id": "p", "name": "p", "min_value": -0.10, "max_value": 12345678901234567890.123456789}"#,
        ),
        (
            "commodity.commission_structure.added",
            r#"{"id": "c", "basis": "per_unit", "rate": 0.125, "currency": "INR"}"#,
        ),
        (
            "commodity.payment_term.added",
            r#"{"id": "n", "name": "n", "days": 15, "advance_percent": 12.50}"#,
        ),
    ] {
        let body = format!(
            r#"{{"event_type": "{event_type}", "aggregate_type": "commodity", "aggregate_id": "C", "data": {text}}}"#
        );
        let answer = world.post_text(&service, "/events", body).await;
        // What may be null later is left out at first.
        assert_eq!(
            answer.status,
            if text.contains("null") { 422 } else { 201 },
            "{}",
            answer.text
        );
    }
    world.project().await;
    let written = "select concat_ws(' ', t.rate, t.effective_from, t.effective_to, u.conversion_factor, p.min_value, p.max_value, c.rate, n.days, n.advance_percent)
        from public.commodity_tax_rates t, public.commodity_units u, public.commodity_parameters p, public.commodity_commission_structures c,
             public.commodity_payment_terms n";
    let written: String = world.superuser().await.query_one(written, &[]).await.unwrap().get(0);
    assert_eq!(
        written,
        "5.00 2017-07-01 355.6200 -0.10 12345678901234567890.123456789 0.125 15 12.50"
    );
}
