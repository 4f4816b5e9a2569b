//! Reverts that are killed at any statement: no event is compensated twice, and none is forgotten.

use serde_json::json;
use tests::{Cutter, Person, Strike, Victim, When, World};

use super::large::forget_holder;
use super::{assert_compensated, counts, revert, status, story, uploaded};

/// More statements than a revert runs.
const ENOUGH: usize = 400;
/// Rows so wide that a revert has several steps.
const ROWS: usize = 9;

fn wide_file(turn: &str) -> String {
    let rows = (0..ROWS).map(|row| format!("{turn}-{row},2026-01-31,{row}.00,{}\n", "wide ".repeat(50_000)));
    "sale_id,sale_date,amount,notes\n".to_owned() + &rows.collect::<String>()
}

async fn until_it_ends(world: &World, upload: &str) {
    let staff = Person::staff();
    for _ in 0..500 {
        forget_holder(world, upload).await;
        // The server may need a moment to notice that the killed process's connections are closed.
        let answer = revert(world, &staff, upload).await;
        if answer.status == 200 || answer.body["code"] == "already_reverted" {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never ends");
}

/// Requests a revert with a fault at one statement, and continues it. Returns whether the fault occurred.
async fn strike(world: &World, process: &World, cutter: &Cutter, strike: Strike) -> bool {
    let staff = Person::staff();
    let turn = format!("{:?}{:?}{}", strike.victim, strike.when, strike.statement);
    let upload = uploaded(world, &staff, &wide_file(&turn)).await;
    // One entity has a later fact.
    let path = format!("/entities/sale/{turn}-3");
    world.patch(&staff, &path, json!({"product": "Lamp"})).await.expect(200);
    cutter.arm(strike);
    match strike.victim {
        Victim::Connection => drop(revert(process, &staff, &upload).await),
        Victim::Process => tokio::select! {
            biased;
            () = cutter.struck() => {}
            _answer = revert(process, &staff, &upload) => {}
        },
    }
    let struck = cutter.has_struck();
    cutter.disarm();
    if status(world, &staff, &upload).await.body["status"] != "reverted" {
        until_it_ends(world, &upload).await;
    }
    let total = i64::try_from(ROWS).unwrap();
    let done = status(world, &staff, &upload).await.expect(200).body;
    assert_eq!(counts(&done["revert"]), [total, total - 1, 1], "{strike:?}");
    assert_compensated(world, &upload, [total, total - 1, 1]).await;
    let told = ["import.revert_requested", "import.revert_completed"];
    assert_eq!(story(world, &upload).await, told, "{strike:?}");
    struck
}

async fn strike_everywhere(victim: Victim, when: When, step: usize) {
    let (world, cutter) = (World::new().await, Cutter::start().await);
    let process = cutter.before(&world);
    let mut most = 0;
    for statement in (1..ENOUGH).step_by(step) {
        let at = Strike {
            victim,
            when,
            statement,
        };
        if !strike(&world, &process, &cutter, at).await {
            break;
        }
        most = statement;
    }
    assert!(most > 30, "{most}");
    world.sweep().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn killed_after_any_statement_a_revert_forgets_and_repeats_nothing() {
    strike_everywhere(Victim::Process, When::After, 1).await;
}

#[tokio::test]
async fn killed_before_any_statement_a_revert_forgets_and_repeats_nothing() {
    strike_everywhere(Victim::Process, When::Before, 3).await;
}

#[tokio::test]
async fn connections_may_end_after_any_statement_of_a_revert() {
    strike_everywhere(Victim::Connection, When::After, 3).await;
}
