//! Rows with ids of entities of other callers, or that a tenant's own schema refuses: each is rejected alone, and all other rows are
//! imported.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{figures, sales_events, scalar};

/// Number of ids that belong to others: more than the attempts of a chunk.
const TAKEN: usize = 30;
const ROWS: usize = 450;

/// Lets agents post sales.
async fn world_of_agents() -> World {
    let world = World::new().await;
    let sql = "update annals.event_types set posters = '{user,agent,staff,service}'
                where event_type in ('sale.created', 'sale.updated', 'import.requested', 'import.started', 'import.completed', 'import.failed')";
    world.owner().await.batch_execute(sql).await.unwrap();
    world
}

fn rows(from: usize, to: usize) -> String {
    let rows = (from..to).map(|row| format!("S-{row},2026-01-31,{row}.00\n"));
    "sale_id,sale_date,amount\n".to_owned() + &rows.collect::<String>()
}

fn errors(body: &Value) -> Vec<(&str, &str)> {
    let errors = body["errors"].as_array().unwrap().iter();
    errors
        .map(|e| (e["code"].as_str().unwrap(), e["value"].as_str().unwrap_or_default()))
        .collect()
}

#[tokio::test]
async fn rows_with_ids_of_other_callers_entities_are_rejected_and_the_others_appended() {
    let (world, agent) = (world_of_agents().await, Person::agent("buyer"));
    world
        .upload_sales(&Person::staff(), &[], rows(0, TAKEN))
        .await
        .expect(200);
    let expected: Vec<String> = (0..TAKEN).map(|row| format!("S-{row}")).collect();
    let (taken, all) = (TAKEN as i64, ROWS as i64);
    for (large, round) in [(false, 0), (true, 1)] {
        let before = sales_events(&world).await;
        // Rows with ids of the staff's sales among new rows, which are others in each round.
        let new = rows(1_000 * (round + 1), 1_000 * (round + 1) + ROWS - TAKEN);
        let file = rows(0, TAKEN) + new.split_once('\n').unwrap().1;
        let upload = async |fields: Value| -> Value {
            if large {
                return world.import(&agent, fields, &file).await.body;
            }
            let fields = fields
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| *name != "dataset");
            let fields: Vec<_> = fields
                .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                .collect();
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            world.upload_sales(&agent, &fields, &file).await.expect(200).body
        };
        let check = |body: &Value, figures_expected: [i64; 7]| {
            assert_eq!(figures(body), figures_expected, "{large} {body}");
            let mut named: Vec<&str> = errors(body)
                .into_iter()
                .map(|(code, value)| {
                    assert_eq!(code, "id_taken");
                    value
                })
                .collect();
            named.sort_by_key(|name| name.len());
            assert_eq!(
                named,
                expected.iter().map(String::as_str).collect::<Vec<_>>(),
                "{large}"
            );
        };
        let dry = upload(json!({"dataset": "sales", "dry_run": "true"})).await;
        check(&dry, [all, all - taken, taken, 0, 0, 0, 0]);
        let whole = upload(json!({"dataset": "sales", "mode": "all_or_nothing"})).await;
        check(&whole, [all, 0, all, 0, 0, 0, 0]);
        assert_eq!(whole["status"], "failed");
        assert_eq!(sales_events(&world).await, before);
        let partial = upload(json!({"dataset": "sales"})).await;
        check(&partial, [all, all - taken, taken, 0, 0, 0, all - taken]);
        assert_eq!(sales_events(&world).await, before + all - taken);
    }
}

/// After a row is rejected, the next row with the same id counts as the first, and is rejected as well.
#[tokio::test]
async fn all_rows_of_an_id_that_a_tenants_own_schema_refuses_are_rejected() {
    let (world, staff) = (World::new().await, Person::staff());
    let strict = json!({"event_type": "sale.created", "version": "2.0",
        "example": {"sale_date": "2026-01-31", "amount_cents": 1, "currency": "USD", "notes": "n"},
        "schema": {"type": "object", "required": ["notes"]},
        "upcasters": [{"from_version": "1.0", "steps": [{"default": {"notes": ""}}]}]});
    world.post(&staff, "/events/types", strict).await.expect(201);
    let mut file = "sale_id,sale_date,amount,notes\n".to_owned();
    for row in 0..600 {
        file += &format!("S-{row},2026-01-31,1.00,n\n");
        if row >= 500 {
            file += "BAD,2026-01-31,2.00,\n";
        }
    }
    let dry = world
        .upload_sales(&staff, &[("dry_run", "true")], &file)
        .await
        .expect(200)
        .body;
    assert_eq!(figures(&dry), [700, 600, 100, 0, 0, 0, 0]);
    let whole = world
        .upload_sales(&staff, &[("mode", "all_or_nothing")], &file)
        .await
        .expect(200)
        .body;
    assert_eq!(figures(&whole), [700, 0, 700, 0, 0, 0, 0]);
    let large = json!({"dataset": "sales", "mode": "all_or_nothing"});
    assert_eq!(
        figures(&world.import(&staff, large, &file).await.body),
        [700, 0, 700, 0, 0, 0, 0]
    );
    let small = world.upload_sales(&staff, &[], &file).await.expect(200).body;
    assert_eq!(figures(&small), [700, 600, 100, 0, 0, 0, 600]);
    assert!(errors(&small).iter().all(|(code, _)| *code == "schema_violation"));
    let large = world.import(&staff, json!({"dataset": "sales"}), &file).await.body;
    assert_eq!(figures(&large), [700, 0, 100, 600, 0, 0, 0]);
    assert_eq!(
        scalar(&world, "select count(*) from annals.heads where aggregate_id = 'BAD'").await,
        0
    );
}

/// Rows of a small upload are planned as new ones until one is known. A row that the schema of `created` refuses may belong to a known
/// entity, and then it is an update.
#[tokio::test]
async fn a_row_of_a_known_entity_that_a_new_one_could_not_have_is_an_update_wherever_it_is_in_the_file() {
    let (world, staff) = (World::new().await, Person::staff());
    let strict = json!({"event_type": "sale.created", "version": "2.0",
        "example": {"sale_date": "2026-01-31", "amount_cents": 1, "currency": "USD", "notes": "n"},
        "schema": {"type": "object", "required": ["notes"]},
        "upcasters": [{"from_version": "1.0", "steps": [{"default": {"notes": ""}}]}]});
    world.post(&staff, "/events/types", strict).await.expect(201);
    let header = "sale_id,sale_date,amount,notes\n";
    let known = format!("{header}KNOWN,2026-01-31,1.00,n\n");
    world.upload_sales(&staff, &[], &known).await.expect(200);
    let mut file = header.to_owned();
    for row in 0..1_200 {
        file += &format!("S-{row},2026-01-31,1.00,n\n");
    }
    file += "KNOWN,2026-01-31,2.00,\n";
    let answer = world.upload_sales(&staff, &[], &file).await.expect(200).body;
    assert_eq!(figures(&answer), [1_201, 1_200, 0, 0, 1, 0, 1_201], "{answer}");
}
