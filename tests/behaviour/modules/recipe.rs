//! The recipe in `migrations/README.md`, run as it stands: a module is a migration and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use refinery::{Migration, Runner};
use serde_json::{Value, json};
use tests::{Person, World, cluster, connect, remove_requirements};

use super::inverses::{assert_inverses, named_without_inverse};
use super::{assert_crud_works, assert_examples_land, assert_schemas_refuse, catalog, kind_of, modules};
use crate::migrations::{without_comment, without_row_security};
use crate::policies::relations;

/// The SQL of a chapter of the README, its blocks in order.
fn chapter(title: &str) -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, text) = readme.split_once(&format!("\n## {title}\n")).expect("the chapter");
    let text = text.split("\n## ").next().unwrap();
    let blocks: Vec<&str> = text
        .split("\n```sql\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "{title}");
    blocks.join("\n")
}

/// Applies a migration as those of the folder are applied.
async fn migrate(world: &World, name: &str, sql: &str) {
    let mut runner = Runner::new(&[Migration::unapplied(name, sql).unwrap()]).set_abort_missing(false);
    runner.set_migration_table_name("annals.schema_history");
    let mut owner = connect(&cluster().url_of(&world.database)).await;
    let report = runner.run_async(&mut owner).await.unwrap();
    assert_eq!(report.applied_migrations().len(), 1);
}

/// A world with the module of the recipe.
async fn invoices() -> World {
    let world = World::new().await;
    migrate(&world, "V9001__invoice", &chapter("Adding a module")).await;
    world
}

fn invoice() -> Value {
    json!({"number": "2026-001", "customer_id": "CUST-0042", "total_cents": 119_000})
}

#[tokio::test]
async fn the_recipes_module_takes_events_shows_them_and_compensates_one() {
    let (world, staff, user) = (invoices().await, Person::staff(), Person::user());
    world.append(&user, "invoice.created", "I-1", invoice()).await;
    let line = json!({"id": "1", "text": "Pump", "amount_cents": 119_000});
    world.append(&staff, "invoice.created", "I-2", invoice()).await;
    world.append(&staff, "invoice.line.added", "I-2", line.clone()).await;
    let paid = json!({"paid_on": "2026-02-01"});
    for id in ["I-1", "I-2"] {
        world.append(&staff, "invoice.paid", id, paid.clone()).await;
    }
    world.project().await;

    let found = world.get(&user, "/events?data.number=2026-001").await.expect(200);
    assert_eq!(found.items()[0]["aggregate_id"], "I-1");
    let state = world.get(&staff, "/entities/invoice/I-2").await.expect(200).body["state"].clone();
    let mut expected = invoice();
    expected["line"] = json!([line]);
    expected["paid_on"] = paid["paid_on"].clone();
    assert_eq!(state, expected);
    let seen = world.get(&user, "/entities/invoice/I-1").await.expect(200).body["state"].clone();
    assert_eq!(seen["paid_on"], paid["paid_on"], "who started it sees what others add");
    assert_eq!(world.get(&user, "/entities/invoice/I-2").await.status, 404);
    for (person, ids) in [(&staff, "I-1 I-2"), (&user, "I-1")] {
        let sql =
            "select coalesce(string_agg(id, ' ' order by id), '') from public.invoices where paid_on = '2026-02-01'";
        let found: String = world.session_of(person).await.query_one(sql, &[]).await.unwrap().get(0);
        assert_eq!(found, ids);
    }
    let sql = "select string_agg(concat_ws(' ', invoice_id, id, text, amount_cents), ',') from public.invoice_lines";
    let found: String = world.session_of(&staff).await.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(found, "I-2 1 Pump 119000");

    let sent = world
        .get(
            &staff,
            "/events?event_type=invoice.paid&aggregate_id=I-2&aggregate_type=invoice",
        )
        .await
        .expect(200);
    let path = format!("/events/{}/compensate", sent.items()[0]["id"].as_str().unwrap());
    let answer = world.post(&staff, &path, json!({})).await.expect(201).body;
    assert_eq!(answer["event_type"], "invoice.payment_reversed", "{answer}");
    let state = world.get(&staff, "/entities/invoice/I-2").await.expect(200).body["state"].clone();
    assert_eq!(state["paid_on"], Value::Null);
    world.project().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    world.assert_read_models_are_the_fold().await;
}

/// What tests check of all modules.
#[tokio::test]
async fn the_recipes_module_keeps_the_rules_of_all_modules() {
    let world = invoices().await;
    let owner = world.owner().await;
    assert_eq!(without_comment(&owner).await, BTreeSet::new());
    assert_eq!(without_row_security(&owner).await, BTreeSet::new());
    let shown: Vec<String> = relations(&owner).await.into_iter().map(|(name, _)| name).collect();
    assert!(shown.contains(&"public.invoice_lines".to_owned()), "{shown:?}");
    let writable = "select string_agg(c.relname || ' ' || r.role || ' ' || p.privilege, ', ')
          from (values ('public.invoices'::regclass), ('public.invoice_lines')) as t (oid) join pg_class c on c.oid = t.oid
         cross join unnest(array['anon', 'authenticated', 'annals_api']) as r (role)
         cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as p (privilege)
         where has_table_privilege(r.role, c.oid, p.privilege) and (r.role, p.privilege) <> ('authenticated', 'select')";
    let writable: Option<String> = owner.query_one(writable, &[]).await.unwrap().get(0);
    assert_eq!(writable, None);

    assert!(modules(&world).await.contains("invoice"));
    let mut types = catalog(&world).await;
    types.retain(|kind| kind_of(kind["event_type"].as_str().unwrap()) == "invoice");
    assert_eq!(
        types.len(),
        8,
        "three of the entity, three of the child, two of its own"
    );
    assert_inverses(&types, &named_without_inverse(&chapter("Adding a module")));
    assert_crud_works(&world, &BTreeSet::from(["invoice".to_owned()])).await;
    let world = invoices().await;
    remove_requirements(&cluster().url_of(&world.database)).await;
    assert_examples_land(&world, &types).await;
    assert_schemas_refuse(&world, &types).await;
}

#[tokio::test]
async fn the_recipes_type_evolves_and_old_events_read_as_the_new_version() {
    let (world, staff) = (invoices().await, Person::staff());
    world.append(&staff, "invoice.created", "I-1", invoice()).await;
    world
        .append(&staff, "invoice.paid", "I-1", json!({"paid_on": "2026-02-01"}))
        .await;
    migrate(&world, "V9002__invoice_paid_method", &chapter("Evolving a type")).await;
    let read = world
        .get(&staff, "/events?event_type=invoice.paid")
        .await
        .expect(200)
        .items()[0]
        .clone();
    assert_eq!(
        (&read["version"], &read["data"]["method"]),
        (&json!("1.1"), &json!("unknown"))
    );
    let data = json!({"paid_on": "2026-02-02", "method": "upi"});
    world.append(&staff, "invoice.paid", "I-1", data).await;
    world.sweep().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    world.assert_read_models_are_the_fold().await;
}
